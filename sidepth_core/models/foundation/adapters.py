"""Low-rank adapters (Hu et al., LoRA, ICLR 2022; arXiv 2106.09685) in a foundation model's encoder, by `peft`."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from sidepth_core.errors import CheckpointError, ConfigError
from sidepth_core.models.foundation.loading import INSTALL
from sidepth_core.models.foundation.network import FoundationNet

ATTENTION = re.compile(r'(^|\.)(query|key|value|qkv|q_proj|k_proj|v_proj)$')
"""The projections of attention, as `transformers` names them: what adapters are usually put on."""


def add_adapters(network: FoundationNet, rank: int, base: str, base_sha256: str) -> None:
    """Put adapters on the encoder's attention, which change nothing yet; only they, scale and shift learn.

    Args:
        network: Changed in place.
        rank: Of the adapters; each has (inputs + outputs) * rank weights.
        base: The checkpoint whose weights the network has: an address or a folder.
        base_sha256: Of these weights.

    Raises:
        CheckpointError: If `peft` is not installed.
        ConfigError: If the encoder has no attention to put adapters on.
    """
    peft = _peft()
    names = [
        name
        for name, layer in network.encoder.named_modules()
        if isinstance(layer, nn.Linear) and ATTENTION.search(name)
    ]
    if not names:
        raise ConfigError(f'{network.backbone} has no attention to put adapters on: choose model.tune decoder or whole')
    network.requires_grad_(requires_grad=False)
    settings = peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=names)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rank)  # the same adapters whatever was drawn before
        peft.inject_adapter_in_model(settings, network.encoder)
    for parameter in network.scale_parameters:
        parameter.requires_grad = True
    described = replace(network.foundation, adapter_rank=rank, base=base, base_sha256=base_sha256)
    network.foundation = described


def merge_adapters(network: FoundationNet) -> None:
    """Add the adapters to the weights that they are on, in place: the network is a plain one again."""
    from peft.tuners.lora import LoraLayer  # noqa: PLC0415 - only where there are adapters

    for parent in list(network.encoder.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, LoraLayer):
                merged: Any = layer
                merged.merge(safe_merge=True)
                setattr(parent, name, merged.get_base_layer())
    network.requires_grad_(requires_grad=True)
    network.foundation = replace(network.foundation, adapter_rank=0, base='', base_sha256='')


def _peft() -> Any:  # noqa: ANN401 - an optional library
    try:
        import peft  # noqa: PLC0415 - seconds to import
    except ImportError as error:
        raise CheckpointError(f'adapters need the library peft ({error}): {INSTALL}') from error
    return peft
