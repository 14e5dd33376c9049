"""Scale and shift of single images: what the layout of an image's own map tells of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROWS, COLUMNS = 6, 8
LEAST_MEAN = 1e-6


class ImageScale(nn.Module):
    """A change of scale and shift for each image, linear in a coarse grid of its map.

    A relative model brings each image to its own range, so that one pair for a whole run cannot fit a street and a
    corridor both. What a camera at a known height sees of the ground says how to undo it: rows of the map near the
    bottom, beside the rest. Linear and without a bias, it starts as no change, and learns as fast as the scale itself.

    Attributes:
        layout: Weights of the grid, row by row, over its mean, for scale and shift, (2, ROWS * COLUMNS).
        level: Weights of the logarithm of the map's mean, (2,).
    """

    def __init__(self) -> None:
        super().__init__()
        self.layout = nn.Parameter(torch.zeros(2, ROWS * COLUMNS))
        self.level = nn.Parameter(torch.zeros(2))

    def forward(self, inverse: Tensor) -> tuple[Tensor, Tensor]:
        """Return the factor on inverse depth and what is added to it then.

        Args:
            inverse: Inverse depth by the scale of the run, (B, 1, H, W) float32, at least ROWS x COLUMNS.

        Returns:
            Two tensors (B, 1, 1, 1); the second in the unit of `inverse`.
        """
        height, width = int(inverse.shape[-2]), int(inverse.shape[-1])  # of a graph that is recorded they are tensors
        left = width % COLUMNS // 2
        even = inverse[..., height % ROWS :, left : left + width // COLUMNS * COLUMNS]  # a few rows of sky are left out
        grid = F.avg_pool2d(even, (height // ROWS, width // COLUMNS)).flatten(1)
        mean = grid.mean(1, keepdim=True).clamp(min=LEAST_MEAN)
        features = grid / mean - 1
        # Element by element: a matrix product would be rounded to bfloat16 where networks are.
        change = (features[:, None] * self.layout).mean(2) + mean.log() * self.level
        factor = change[:, :1].exp()
        return factor[..., None, None], (change[:, 1:] * mean)[..., None, None]
