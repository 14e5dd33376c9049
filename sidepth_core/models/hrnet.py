"""HRNet-W18 in its segmentation variant: four resolutions side by side that exchange features after every module.

Source: Wang et al., "Deep High-Resolution Representation Learning for Visual Recognition", TPAMI 2020,
arXiv 1908.07919, tapped for depth as in DaB-Net, arXiv 2210.03952. Modules carry the names of the published
weights, so that files of both load by prefix alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sidepth_core.models.recompute import run_block
from sidepth_core.models.residual import BasicBlock, Bottleneck, initialize

WIDTHS = (18, 36, 72, 144)
"""Channels of the branches at strides 4, 8, 16 and 32."""

STEM_WIDTH = 64
BLOCKS_IN_BRANCH = 4


def conv_bn(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, relu: bool = True) -> nn.Sequential:
    """Return convolution, batch norm and, if asked for, ReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if relu else nn.Sequential(*layers)


class ExchangeModule(nn.Module):
    """Basic blocks on every branch, then each branch receives the sum of all of them at its own resolution."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width, width) for _ in range(BLOCKS_IN_BRANCH))) for width in widths
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(self._path(widths, source, target) for source in range(len(widths)))
            for target in range(len(widths))
        )

    @staticmethod
    def _path(widths: Sequence[int], source: int, target: int) -> nn.Module:
        """Return what brings branch `source` to the channels of branch `target`, downwards also to its size."""
        if source == target:
            return nn.Identity()
        if source > target:
            return conv_bn(widths[source], widths[target], kernel=1, relu=False)
        steps = [conv_bn(widths[source], widths[source], stride=2) for _ in range(target - source - 1)]
        return nn.Sequential(*steps, conv_bn(widths[source], widths[target], stride=2, relu=False))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Map one tensor (B, C_i, H/2^i, W/2^i) a branch to as many of the same shapes."""
        inner: list[Tensor] = [branch(features) for branch, features in zip(self.branches, maps, strict=True)]
        outputs = []
        for target, paths in enumerate(self.fuse_layers):
            size = inner[target].shape[-2:]
            total: Tensor | None = None
            for source, features in enumerate(inner):
                brought: Tensor = paths[source](features)  # type: ignore[index]  # a ModuleList can be indexed
                if source > target:
                    # Bilinear with aligned corners: the segmentation variant. The classification one takes nearest.
                    brought = F.interpolate(brought, size=size, mode='bilinear', align_corners=True)
                total = brought if total is None else total + brought
            assert total is not None  # noqa: S101  # there is at least one branch
            outputs.append(F.relu(total, inplace=True))
        return outputs


class HRNet(nn.Module):
    """HRNet-W18 encoder; no normalisation of its input.

    Attributes:
        channels: Channels of the five maps it returns.
        recompute: Whether training computes blocks again instead of keeping them.
    """

    channels = (STEM_WIDTH, STEM_WIDTH + 3 * WIDTHS[0], 3 * WIDTHS[1], 2 * WIDTHS[2], WIDTHS[3])
    recompute = False

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, STEM_WIDTH, 3, 2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM_WIDTH)
        self.conv2 = nn.Conv2d(STEM_WIDTH, STEM_WIDTH, 3, 2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(STEM_WIDTH)
        self.layer1 = _bottlenecks(STEM_WIDTH, count=4)
        wide = STEM_WIDTH * Bottleneck.expansion
        self.transition1 = _transition((wide,), WIDTHS[:2])
        self.stage2 = nn.Sequential(ExchangeModule(WIDTHS[:2]))
        self.transition2 = _transition(WIDTHS[:2], WIDTHS[:3])
        self.stage3 = nn.Sequential(*(ExchangeModule(WIDTHS[:3]) for _ in range(4)))
        self.transition3 = _transition(WIDTHS[:3], WIDTHS)
        self.stage4 = nn.Sequential(*(ExchangeModule(WIDTHS) for _ in range(3)))
        initialize(self)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return five maps of an image.

        Args:
            image: (B, 3, H, W) in 0..1, H and W divisible by 32.

        Returns:
            Maps (B, C, H/s, W/s) with the channels C of `channels` at strides s = 2, 4, 8, 16, 32.
        """
        first: Tensor = F.relu(self.bn1(self.conv1(image)), inplace=True)
        second: Tensor = F.relu(self.bn2(self.conv2(first)), inplace=True)
        two = self._stage(self.stage2, _enter(self.transition1, [self._stage(self.layer1, second)]))
        three = self._stage(self.stage3, _enter(self.transition2, two))
        four = self._stage(self.stage4, _enter(self.transition3, three))
        return (
            first,
            torch.cat([second, two[0], three[0], four[0]], dim=1),
            torch.cat([two[1], three[1], four[1]], dim=1),
            torch.cat([three[2], four[2]], dim=1),
            four[3],
        )

    def _stage(self, blocks: nn.Sequential, features: Any) -> Any:  # noqa: ANN401  # one map or a list of them
        for block in blocks:
            features = run_block(block, features, recompute=self.recompute)
        return features


def _bottlenecks(width: int, count: int) -> nn.Sequential:
    """Return `count` bottleneck blocks of that width; the first one widens its input."""
    wide = width * Bottleneck.expansion
    return nn.Sequential(Bottleneck(width, width), *(Bottleneck(wide, width) for _ in range(count - 1)))


def _transition(before: Sequence[int], after: Sequence[int]) -> nn.ModuleList:
    """Return one module a branch of the next stage: unchanged, brought to new channels, or branched off downwards."""
    paths: list[nn.Module] = []
    for index, width in enumerate(after):
        if index >= len(before):
            paths.append(nn.Sequential(conv_bn(before[-1], width, stride=2)))
        else:
            paths.append(nn.Identity() if before[index] == width else conv_bn(before[index], width))
    return nn.ModuleList(paths)


def _enter(transition: nn.ModuleList, maps: Sequence[Tensor]) -> list[Tensor]:
    """Apply a transition; a new branch starts from the coarsest map there is."""
    return [path(maps[min(index, len(maps) - 1)]) for index, path in enumerate(transition)]
