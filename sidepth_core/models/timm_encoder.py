"""Any encoder of timm that has maps at strides 4 to 32 (and 2, or a small stem of ours makes that one).

timm is imported only where one of these is asked for: it takes seconds, and the shipped checkpoints run without it.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sidepth_core.errors import CheckpointError, ConfigError
from sidepth_core.models.pretrained import check_hub
from sidepth_core.models.recompute import run_block

STRIDES = (2, 4, 8, 16, 32)
"""Of the maps that a decoder takes."""

STEM_WIDTH = 32
"""Channels of the stem that makes the map at stride 2 where the network has none."""


def create_timm(name: str, *, pretrained: str = 'none', **options: Any) -> nn.Module:  # noqa: ANN401  # what timm takes
    """Return timm's network of that name as one that gives its feature maps.

    Args:
        name: As `timm.list_models()` has it, with or without a tag of weights.
        pretrained: 'none', 'hub' for the weights that timm names, or a file of weights in timm's own format.
        options: What timm's create_model takes besides.

    Raises:
        ConfigError: If timm is missing, or has no such network.
        CheckpointError: If the weights cannot be had or are of another network.
    """
    try:
        import timm  # noqa: PLC0415 - seconds to import, and few need it
    except ImportError:
        raise ConfigError(
            f'backbone {name!r} is a network of timm, which is not installed: run `pip install timm`'
        ) from None
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.6)
        hint = f'did you mean {" or ".join(map(repr, close))}?' if close else 'timm.list_models() lists its networks'
        raise ConfigError(f'backbone {name!r} is known neither here nor to timm {timm.__version__}: {hint}')
    options['features_only'] = True
    if pretrained == 'none':
        return timm.create_model(name, **options)
    if pretrained != 'hub':
        if not Path(pretrained).expanduser().is_file():
            raise CheckpointError(f'no file {pretrained!r}: expected weights of {name} (.safetensors, .pth, .bin)')
        options['pretrained_cfg_overlay'] = {'file': str(Path(pretrained).expanduser())}
    else:
        check_hub(name)
    try:
        return timm.create_model(name, pretrained=True, **options)
    except (OSError, RuntimeError, ValueError) as error:  # of the Hub, of unlike shapes, of a damaged file
        lines = str(error).strip().splitlines() or [type(error).__name__]
        where = 'the Hub' if pretrained == 'hub' else repr(pretrained)
        raise CheckpointError(f'weights of {name} cannot be taken from {where}: {" ".join(lines[:3])}') from error


class TimmEncoder(nn.Module):
    """A network of timm, brought to the input and the maps that the decoder expects.

    Attributes:
        channels: Channels of the five maps it returns.
        recompute: Whether training computes the encoder again instead of keeping it (see run_block).
        network: timm's network.
    """

    channels: tuple[int, ...]
    recompute = False

    def __init__(
        self,
        name: str,
        *,
        pretrained: str = 'none',
        inputs: int = 3,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        """Make the network.

        Args:
            name: See create_timm.
            pretrained: 'none', 'hub' or a file (see create_timm).
            inputs: Channels of the input; with more than 3, pretrained first weights are repeated and scaled down.
            mean: Of each input channel, subtracted; None is what the network was trained with.
            std: Of each input channel, divided by; None likewise.

        Raises:
            ConfigError: If timm is missing, or has no such network, or one without these maps.
            CheckpointError: If the weights cannot be had or are of another network.
        """
        super().__init__()
        self.network = create_timm(name, pretrained=pretrained, in_chans=inputs)
        info: Any = self.network.feature_info
        strides, channels = list(info.reduction()), list(info.channels())
        missing = [stride for stride in STRIDES[1:] if stride not in strides]
        if missing:
            raise ConfigError(
                f'backbone {name!r} has maps at strides {strides}: expected 4, 8, 16 and 32, it lacks {missing}'
            )
        # Of maps of one stride the last one knows most.
        self._places = [len(strides) - 1 - strides[::-1].index(stride) for stride in STRIDES if stride in strides]
        widths = [channels[place] for place in self._places]
        self.stem = None if 2 in strides else _stem(inputs)
        self.channels = tuple(widths if self.stem is None else [STEM_WIDTH, *widths])
        settings: Any = self.network.default_cfg
        self.mean = tuple(mean or settings['mean'])
        self.std = tuple(std or settings['std'])

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Map an image (B, inputs, H, W) in 0..1, H and W divisible by 32, to five maps (see Encoder)."""
        normal = (image - by_channel(self.mean, image)) / by_channel(self.std, image)
        maps = run_block(self.network, normal, recompute=self.recompute)
        chosen = tuple(maps[place] for place in self._places)
        return chosen if self.stem is None else (self.stem(normal), *chosen)


def by_channel(values: Sequence[float], image: Tensor) -> Tensor:
    """Return one value a channel, (C, 1, 1), on the image's device and of its type."""
    # Filled on the device: a CUDA graph cannot record a copy from main memory.
    return torch.stack([image.new_full((1, 1), value) for value in values])


def _stem(inputs: int) -> nn.Sequential:
    """Return what makes a map at stride 2 of an image."""
    convolution = nn.Conv2d(inputs, STEM_WIDTH, 3, 2, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity='relu')
    return nn.Sequential(convolution, nn.BatchNorm2d(STEM_WIDTH), nn.ReLU(inplace=True))
