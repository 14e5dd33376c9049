"""MobileNetV3-Large (Howard et al., arXiv 1905.02244) without its last convolution and classifier, as an encoder.

Layers have torchvision's names. Checkpoints of this backbone keep loading; new networks take an EfficientNet-Lite,
which has pretrained weights that can be given away.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from sidepth_core.models.recompute import run_block
from sidepth_core.models.timm_encoder import by_channel

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Row(NamedTuple):
    """One row of the paper's table 1.

    Attributes:
        inputs: Channels of the input.
        kernel: Side of the depthwise convolution.
        inner: Channels between the two 1x1 convolutions.
        outputs: Channels of the output.
        attends: Whether channels are weighed (squeeze and excitation).
        hard_swish: Whether the non-linearity is hard-swish; else ReLU.
        stride: Of the depthwise convolution.
    """

    inputs: int
    kernel: int
    inner: int
    outputs: int
    attends: bool
    hard_swish: bool
    stride: int


LARGE = (
    Row(16, 3, 16, 16, False, False, 1),
    Row(16, 3, 64, 24, False, False, 2),
    Row(24, 3, 72, 24, False, False, 1),
    Row(24, 5, 72, 40, True, False, 2),
    Row(40, 5, 120, 40, True, False, 1),
    Row(40, 5, 120, 40, True, False, 1),
    Row(40, 3, 240, 80, False, True, 2),
    Row(80, 3, 200, 80, False, True, 1),
    Row(80, 3, 184, 80, False, True, 1),
    Row(80, 3, 184, 80, False, True, 1),
    Row(80, 3, 480, 112, True, True, 1),
    Row(112, 3, 672, 112, True, True, 1),
    Row(112, 5, 672, 160, True, True, 2),
    Row(160, 5, 960, 160, True, True, 1),
    Row(160, 5, 960, 160, True, True, 1),
)
"""Every block of the large variant."""


class SqueezeExcitation(nn.Module):
    """Weigh each channel by what all channels are on average."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        pooled = F.adaptive_avg_pool2d(features, 1)
        return F.hardsigmoid(self.fc2(F.relu(self.fc1(pooled)))) * features


class InvertedResidual(nn.Module):
    """Widen, convolve each channel on its own, weigh the channels, narrow; and the input added where shapes agree."""

    def __init__(self, row: Row) -> None:
        super().__init__()
        self.adds = row.stride == 1 and row.inputs == row.outputs
        activation = nn.Hardswish if row.hard_swish else nn.ReLU
        layers: list[nn.Module] = []
        if row.inner != row.inputs:
            layers.append(convolution(row.inputs, row.inner, activation=activation))
        layers.append(convolution(row.inner, row.inner, row.kernel, row.stride, row.inner, activation=activation))
        if row.attends:
            layers.append(SqueezeExcitation(row.inner, divisible_by_8(row.inner // 4)))
        self.block = nn.Sequential(*layers, convolution(row.inner, row.outputs))

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        change: Tensor = self.block(features)
        return change + features if self.adds else change


def convolution(
    inputs: int,
    outputs: int,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    *,
    activation: type[nn.Hardswish | nn.ReLU] | None = None,
) -> nn.Sequential:
    """Return convolution, batch norm and, if asked for, a non-linearity."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=0.001, momentum=0.01),
    ]
    return nn.Sequential(*layers, activation(inplace=True)) if activation else nn.Sequential(*layers)


def divisible_by_8(channels: int) -> int:
    """Return the nearest multiple of 8 that is not smaller by more than a tenth."""
    nearest = max(8, (channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


def mobilenet_v3_large() -> nn.Sequential:
    """Return the first convolution and the fifteen blocks, with random weights."""
    blocks = nn.Sequential(convolution(3, 16, 3, 2, activation=nn.Hardswish), *map(InvertedResidual, LARGE))
    for module in blocks.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return blocks


class MobileNetEncoder(nn.Module):
    """MobileNetV3-Large without its last 1x1 convolution and classifier (Howard et al., arXiv 1905.02244)."""

    channels = (16, 24, 40, 112, 160)
    recompute = False
    _ENDS = (2, 4, 7, 13, 16)  # the last block at each stride, and the end of what is kept

    def __init__(self) -> None:
        super().__init__()
        blocks = mobilenet_v3_large()
        starts = (0, *self._ENDS[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(*blocks[start:end]) for start, end in zip(starts, self._ENDS, strict=True)
        )

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Map an image (B, 3, H, W) in 0..1 to five maps (see Encoder)."""
        features = (image - by_channel(IMAGENET_MEAN, image)) / by_channel(IMAGENET_STD, image)
        maps = []
        for stage in self.stages:
            features = run_block(stage, features, recompute=self.recompute)
            maps.append(features)
        return tuple(maps)
