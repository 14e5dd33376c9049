"""Dynamic cross-attention: three attention maps of three feature scales, mixed by weights that depend on the image.

Source: DaB-Net, arXiv 2210.03952, section III. Its four-way weighted sum over {x, x + a_1, x + a_2, x + a_3} is
written here as x + sum_k w_k a_k, which is the same because the weights sum to 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class AttentionBranch(nn.Module):
    """Attention with queries and keys from one decoder scale and values from the finest one.

    Logits are not scaled and positions are not coded, as published.
    """

    def __init__(self, source_channels: int, channels: int, *, pool_source: int, pool_value: int) -> None:
        super().__init__()
        self.pool_source = pool_source
        self.pool_value = pool_value
        self.query = nn.Conv2d(source_channels, channels, 1, bias=False)
        self.key = nn.Conv2d(source_channels, channels, 1, bias=False)
        self.value = nn.Conv2d(channels, channels, 1, bias=False)
        # Unscaled logits of unit variance at the start: attention that is neither flat nor saturated.
        for projection in (self.query, self.key):
            nn.init.normal_(projection.weight, std=source_channels**-0.5 * channels**-0.25)
        nn.init.normal_(self.value.weight, std=channels**-0.5)

    def forward(self, source: Tensor, x: Tensor) -> Tensor:
        """Attend over the whole image.

        Args:
            source: (B, source_channels, h, w), h and w divisible by pool_source.
            x: (B, channels, h', w') with h' / pool_value = h / pool_source, likewise the width.

        Returns:
            The attended values, (B, channels, h' / pool_value, w' / pool_value) float32.
        """
        # The logits reach hundreds. In bfloat16 they would be off by whole units, in float16 they can overflow.
        with torch.autocast(x.device.type, enabled=False):
            source, x = _pool(source.float(), self.pool_source), _pool(x.float(), self.pool_value)
            attended = F.scaled_dot_product_attention(
                _tokens(self.query, source), _tokens(self.key, source), _tokens(self.value, x), scale=1.0
            )
        batch, channels, height, width = x.shape
        return attended.transpose(2, 3).reshape(batch, channels, height, width)


class DynamicCrossAttention(nn.Module):
    """Add to the finest decoder map what three attention branches gather for it.

    Attributes:
        smooth: Whether what was gathered, at strides 8 and 16, is raised to stride 2 bilinearly. As published it is
            not: depth then steps at the borders of squares of 8 and 16 pixels.
    """

    smooth = False

    def __init__(self, source_channels: Sequence[int], channels: int, context_channels: int) -> None:
        """Make the branches.

        Args:
            source_channels: Channels of the decoder maps at strides 4, 8 and 16.
            channels: Channels of the finest decoder map, at stride 2.
            context_channels: Channels of the encoder's coarsest map, which decides the weights.
        """
        super().__init__()
        at_4, at_8, at_16 = source_channels
        self.branches = nn.ModuleList(
            [
                AttentionBranch(at_4, channels, pool_source=2, pool_value=4),
                AttentionBranch(at_8, channels, pool_source=1, pool_value=4),
                AttentionBranch(at_16, channels, pool_source=1, pool_value=8),
            ]
        )
        self.squeeze = nn.Conv2d(context_channels, 16, 3, padding=1, bias=False)
        self.weigh = nn.Conv2d(16, 1 + len(self.branches), 1, bias=False)

    def forward(self, sources: Sequence[Tensor], x: Tensor, context: Tensor) -> Tensor:
        """Return x with attention added.

        Args:
            sources: Decoder maps (B, C, H/s, W/s) at strides s = 4, 8, 16.
            x: The finest decoder map, (B, channels, H/2, W/2).
            context: The encoder's coarsest map, (B, context_channels, H/32, W/32).
        """
        pooled = F.adaptive_avg_pool2d(context, 1)
        weights: Tensor = self.weigh(F.relu(self.squeeze(pooled))).softmax(dim=1)
        mixed = x
        for index, (branch, source) in enumerate(zip(self.branches, sources, strict=True), start=1):
            # The first weight is x's own, which keeps all of itself in the sum.
            attended = branch(source, x) * weights[:, index : index + 1]
            mixed = mixed + self._raised(attended.to(x.dtype), x.shape[-2:])
        return mixed

    def _raised(self, attended: Tensor, size: torch.Size) -> Tensor:
        if self.smooth:
            return F.interpolate(attended, size=size, mode='bilinear', align_corners=False)
        return F.interpolate(attended, size=size, mode='nearest')


def _pool(features: Tensor, factor: int) -> Tensor:
    return F.avg_pool2d(features, factor) if factor > 1 else features


def _tokens(projection: nn.Conv2d, features: Tensor) -> Tensor:
    """Project (B, C, h, w) in float32 and return (B, 1, h * w, d), laid out as the fused attention kernels ask."""
    projected = F.conv2d(features, projection.weight.float())
    return projected.flatten(2).transpose(1, 2).unsqueeze(1).contiguous()
