"""The depth decoder: gated fusion from coarse to fine, dynamic cross-attention, one disparity map at full size.

Source: DaB-Net, arXiv 2210.03952; the fusion block is DIFFNet's, arXiv 2110.09482.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sidepth_core.models.cross_attention import DynamicCrossAttention
from sidepth_core.models.recompute import run_block

WIDTHS = (32, 64, 128, 256)
"""Channels of the decoder's maps at strides 2, 4, 8 and 16."""

INITIAL_LOGIT = -4.0
"""Where training starts: sigmoid(-4) is a depth of about 5 m within 0.1..100 m, in a room and on a road."""


class GatedFusion(nn.Module):
    """Join a coarse map with the next finer one and let a channel gate choose among both (squeeze and excitation)."""

    def __init__(self, coarse: int, fine: int, outputs: int) -> None:
        super().__init__()
        channels = coarse + fine
        self.squeeze = nn.Conv2d(channels, channels // 16, 1, bias=False)
        self.excite = nn.Conv2d(channels // 16, channels, 1, bias=False)
        self.conv = nn.Conv2d(channels, outputs, 3, padding=1)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity='relu')
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]  # it has one

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Fuse (B, C1, h, w) with (B, C2, 2h, 2w) into (B, outputs, 2h, 2w)."""
        joined = torch.cat([F.interpolate(coarse, scale_factor=2.0, mode='nearest'), fine], dim=1)
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(joined, 1)))))
        return F.relu(self.conv(joined * gate), inplace=True)


class DepthDecoder(nn.Module):
    """Turn the five maps of an encoder into disparity.

    Attributes:
        recompute: Whether training computes the fusions again instead of keeping them (see run_block).
    """

    recompute = False

    def __init__(self, encoder_channels: Sequence[int]) -> None:
        """Make the layers.

        Args:
            encoder_channels: Channels of the encoder's maps at strides 2, 4, 8, 16 and 32.
        """
        super().__init__()
        at_2, at_4, at_8, at_16, at_32 = encoder_channels
        self.fuse_16 = GatedFusion(at_32, at_16, WIDTHS[3])
        self.fuse_8 = GatedFusion(WIDTHS[3], at_8, WIDTHS[2])
        self.fuse_4 = GatedFusion(WIDTHS[2], at_4, WIDTHS[1])
        self.fuse_2 = GatedFusion(WIDTHS[1], at_2, WIDTHS[0])
        self.dropout = nn.Dropout2d(0.1)
        self.attention = DynamicCrossAttention(WIDTHS[1:], WIDTHS[0], at_32)
        self.half_conv = nn.Conv2d(WIDTHS[0], 16, 3, padding=1, bias=False)
        self.full_conv = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.head = nn.Conv2d(16, 1, 3, padding=1)
        nn.init.constant_(self.head.bias, INITIAL_LOGIT)  # type: ignore[arg-type]  # it has one

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return disparity sigma.

        Args:
            maps: Five maps (B, C, H/s, W/s) at strides s = 2, 4, 8, 16, 32.

        Returns:
            (B, 1, H, W) in (0, 1), float32.
        """
        x16 = self._fused(self.fuse_16, maps[4], maps[3])
        x8 = self._fused(self.fuse_8, x16, maps[2])
        x4 = self._fused(self.fuse_4, x8, maps[1])
        x2 = self.dropout(self._fused(self.fuse_2, x4, maps[0]))
        x2 = self.attention((x4, x8, x16), x2, maps[4])
        half = F.elu(self.half_conv(x2), inplace=True)
        full = F.elu(self.full_conv(F.interpolate(half, scale_factor=2.0, mode='nearest')), inplace=True)
        # A logit of -4 in bfloat16 comes in steps of 0.016, which is 1.6 % of depth: the head stays in float32.
        with torch.autocast(full.device.type, enabled=False):
            bias = self.head.bias
            assert bias is not None  # noqa: S101  # for the type checker
            return torch.sigmoid(F.conv2d(full.float(), self.head.weight.float(), bias.float(), padding=1))

    def _fused(self, fusion: GatedFusion, coarse: Tensor, fine: Tensor) -> Tensor:
        fused: Tensor = run_block(fusion, coarse, fine, recompute=self.recompute)
        return fused
