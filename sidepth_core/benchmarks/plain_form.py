"""The plain form of DaB-Net, which benchmarks compare with: as the network is published, and as most trainers run.

Eager float32, memory in torch's own order, attention maps made in full, batch norms as layers of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from sidepth_core.engines import Engine, Target
from sidepth_core.engines.torch_engines import eager
from sidepth_core.errors import ConfigError
from sidepth_core.models import DepthNetwork


def materialised_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    *,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Compute attention as it is written in papers: the whole map of every query with every key exists at once.

    Arguments are torch's own, as networks of `transformers` give them; a mask is added to the logits. Dropout, causal
    order and masks of booleans, which no depth network asks for in evaluation, are refused.

    Raises:
        ConfigError: If one of these is asked for.
    """
    if dropout_p or is_causal or (attn_mask is not None and attn_mask.dtype == torch.bool):
        raise ConfigError('the plain form has no attention with dropout, causal order or a mask of booleans')
    logits = (query.shape[-1] ** -0.5 if scale is None else scale) * (query @ key.transpose(-2, -1))
    if attn_mask is not None:
        logits = logits + attn_mask
    return torch.softmax(logits, dim=-1) @ value


@contextmanager
def attention_maps_made() -> Iterator[None]:
    """Let every network of this process make its attention maps."""
    fused = F.scaled_dot_product_attention
    F.scaled_dot_product_attention = materialised_attention  # type: ignore[assignment]  # that is the comparison
    try:
        yield
    finally:
        F.scaled_dot_product_attention = fused


def plain_engine(depth_net: DepthNetwork, target: Target) -> Engine:
    """Return a network in its plain form; the target's precision must be float32."""
    engine = eager(depth_net, target)

    def run(images: Tensor) -> Tensor:
        with attention_maps_made():
            return engine(images)

    return run
