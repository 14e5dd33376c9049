"""HRNet-W18 as DaB-Net taps it: four resolutions side by side, and for each stride the maps of all stages together.

Source: Wang et al., arXiv 1908.07919; the taps are those of DaB-Net, arXiv 2210.03952. The layers are those of timm's
`hrnet_w18`, which holds the published state dict name by name. Two things differ from timm's own features and are done
here: coarse branches are raised bilinearly with aligned corners (the segmentation variant; timm has the classification
variant, which takes the nearest pixel), and the maps of every stage are handed out, not the last stage's alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sidepth_core.models.recompute import run_block
from sidepth_core.models.timm_encoder import create_timm

WIDTHS = (18, 36, 72, 144)
"""Channels of the branches at strides 4, 8, 16 and 32."""

STEM_WIDTH = 64


class HRNet(nn.Module):
    """HRNet-W18 encoder; no normalisation of its input.

    Attributes:
        channels: Channels of the five maps it returns.
        recompute: Whether training computes blocks again instead of keeping them.
    """

    channels = (STEM_WIDTH, STEM_WIDTH + 3 * WIDTHS[0], 3 * WIDTHS[1], 2 * WIDTHS[2], WIDTHS[3])
    recompute = False

    def __init__(self, *, pretrained: str = 'none') -> None:
        """Make the network.

        Args:
            pretrained: 'none', 'hub' or a file (see make_encoder).

        Raises:
            ConfigError: If timm is missing.
            CheckpointError: If the weights cannot be had or are of another network.
        """
        super().__init__()
        # Its layers become ours one by one, so that tensors keep the names of the published files.
        for name, layer in create_timm('hrnet_w18', pretrained=pretrained, feature_location='').named_children():
            self.add_module(name, layer)
        for module in self.modules():
            if isinstance(module, nn.Upsample):
                module.mode, module.align_corners = 'bilinear', True

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return five maps of an image.

        Args:
            image: (B, 3, H, W) in 0..1, H and W divisible by 32.

        Returns:
            Maps (B, C, H/s, W/s) with the channels C of `channels` at strides s = 2, 4, 8, 16, 32.
        """
        layers: Any = self  # added by name in __init__
        first: Tensor = layers.act1(layers.bn1(layers.conv1(image)))
        second: Tensor = layers.act2(layers.bn2(layers.conv2(first)))
        two = self._stage(layers.stage2, _enter(layers.transition1, [self._stage(layers.layer1, second)]))
        three = self._stage(layers.stage3, _enter(layers.transition2, two))
        four = self._stage(layers.stage4, _enter(layers.transition3, three))
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


def _enter(transition: nn.ModuleList, maps: list[Tensor]) -> list[Tensor]:
    """Apply a transition; a new branch starts from the coarsest map there is."""
    return [path(maps[min(index, len(maps) - 1)]) for index, path in enumerate(transition)]
