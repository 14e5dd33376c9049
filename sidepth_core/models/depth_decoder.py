"""The depth decoder: gated fusion from coarse to fine, dynamic cross-attention, one disparity map at full size.

Source: DaB-Net, arXiv 2210.03952; the fusion block is DIFFNet's, arXiv 2110.09482.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sidepth_core.errors import ConfigError
from sidepth_core.models.cross_attention import DynamicCrossAttention
from sidepth_core.models.recompute import run_block

CHANNELS = (16, 32, 64, 128, 256)
"""Channels of the published decoder's maps at strides 1, 2, 4, 8 and 16."""

LIGHT_CHANNELS = (0, 16, 24, 48, 112)
"""Channels for light encoders: about theirs at each stride, and none at full size."""

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
        # A map and its enlargement have the same mean, and gates are cheaper to apply before it.
        pooled = torch.cat([F.adaptive_avg_pool2d(coarse, 1), F.adaptive_avg_pool2d(fine, 1)], dim=1)
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(pooled))))
        coarse_gate, fine_gate = gate[:, : coarse.shape[1]], gate[:, coarse.shape[1] :]
        raised = F.interpolate(coarse * coarse_gate, scale_factor=2.0, mode='nearest')
        return F.relu(self.conv(torch.cat([raised, fine * fine_gate], dim=1)), inplace=True)


class DepthDecoder(nn.Module):
    """Turn the five maps of an encoder into disparity.

    Attributes:
        recompute: Whether training computes the fusions again instead of keeping them (see run_block).
    """

    recompute = False

    def __init__(
        self, encoder_channels: Sequence[int], channels: Sequence[int] = CHANNELS, *, attention: bool = True
    ) -> None:
        """Make the layers.

        Args:
            encoder_channels: Channels of the encoder's maps at strides 2, 4, 8, 16 and 32.
            channels: Channels of the decoder's own maps at strides 1, 2, 4, 8 and 16. With 0 at stride 1 there is no
                map of the image's size: each pixel at stride 2 says four disparities, which are laid out side by side
                (sub-pixel convolution, Shi et al., arXiv 1609.05158).
            attention: Whether there is dynamic cross-attention; without it the map at stride 2 goes on as it is.

        Raises:
            ConfigError: If these are not five whole numbers, positive but for the first.
        """
        check_channels(channels)
        super().__init__()
        at_2, at_4, at_8, at_16, at_32 = encoder_channels
        full, half, quarter, eighth, sixteenth = channels
        self.fuse_16 = GatedFusion(at_32, at_16, sixteenth)
        self.fuse_8 = GatedFusion(sixteenth, at_8, eighth)
        self.fuse_4 = GatedFusion(eighth, at_4, quarter)
        self.fuse_2 = GatedFusion(quarter, at_2, half)
        self.dropout = nn.Dropout2d(0.1)
        self.attention = DynamicCrossAttention((quarter, eighth, sixteenth), half, at_32) if attention else None
        self.half_conv = nn.Conv2d(half, full or half, 3, padding=1, bias=False)
        if full:
            self.full_conv = nn.Conv2d(full, full, 3, padding=1, bias=False)
        self.head = nn.Conv2d(full or half, 1 if full else 4, 3, padding=1)
        nn.init.constant_(self.head.bias, INITIAL_LOGIT)  # type: ignore[arg-type]  # it has one
        if not full:  # neighbours start out alike, or the untrained map is a chequerboard
            with torch.no_grad():
                self.head.weight.copy_(self.head.weight[:1].expand(4, -1, -1, -1))
        self.sub_pixel = not full

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
        if self.attention is not None:
            x2 = self.attention((x4, x8, x16), x2, maps[4])
        last = F.elu(self.half_conv(x2), inplace=True)
        if not self.sub_pixel:
            last = F.elu(self.full_conv(F.interpolate(last, scale_factor=2.0, mode='nearest')), inplace=True)
        # A logit of -4 in bfloat16 comes in steps of 0.016, which is 1.6 % of depth: the head stays in float32.
        with torch.autocast(last.device.type, enabled=False):
            bias = self.head.bias
            assert bias is not None  # noqa: S101  # for the type checker
            logits = F.conv2d(last.float(), self.head.weight.float(), bias.float(), padding=1)
            return torch.sigmoid(F.pixel_shuffle(logits, 2) if self.sub_pixel else logits)

    def _fused(self, fusion: GatedFusion, coarse: Tensor, fine: Tensor) -> Tensor:
        fused: Tensor = run_block(fusion, coarse, fine, recompute=self.recompute)
        return fused


def check_channels(channels: Sequence[int]) -> None:
    """Refuse what no decoder has.

    Raises:
        ConfigError: If these are not five whole numbers, positive but for the first.
    """
    if len(channels) != len(CHANNELS) or channels[0] < 0 or any(number < 1 for number in channels[1:]):
        raise ConfigError(
            f'decoder channels {list(channels)!r} cannot be: expected five numbers for strides 1, 2, 4, 8 and 16, '
            f'such as {list(CHANNELS)}; only the first may be 0'
        )
