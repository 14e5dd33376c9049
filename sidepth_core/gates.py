"""Gates: masks of the pixels whose depth should not reach a costmap. Each is one pure function on the device.

A mask is True where the gate lets nothing through.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F


def edge_mask(depth: Tensor, step: float) -> Tensor:
    """Return the pixels that fly between two surfaces: those on a step of inverse depth.

    On a plane inverse depth is affine in the pixel, so its range over a window of 5 is twice that over a window of 3,
    however steeply the plane recedes; on a step both windows see the same range. What is left of twice the small range
    minus the large one is therefore the step alone, and ground running to the horizon passes.

    Args:
        depth: Depth along Z at the network's resolution, (B, 1, h, w), finite.
        step: Smallest step of inverse depth that counts, as a share of the largest inverse depth in the small window.

    Returns:
        (B, 1, h, w) bool.
    """
    inverse = depth.reciprocal()
    small_high, small_low = _extremes(inverse[..., 1:-1, 1:-1], 3)
    large_high, large_low = _extremes(inverse, 5)
    jump = 2 * (small_high - small_low) - (large_high - large_low)
    # Windows that stick out of the image would see a step in every plane: the border takes its neighbours' answer.
    return F.pad((jump > step * small_high).float(), (2, 2, 2, 2), mode='replicate').bool()


def _extremes(values: Tensor, window: int) -> tuple[Tensor, Tensor]:
    return _slid(torch.maximum, values, window), _slid(torch.minimum, values, window)


def _slid(pick: Callable[[Tensor, Tensor], Tensor], values: Tensor, window: int) -> Tensor:
    """Return what `pick` leaves of each window, without padding; on a CPU many times faster than pooling is."""
    for dim in (-2, -1):
        length = values.shape[dim] - window + 1
        values = reduce(pick, (values.narrow(dim, start, length) for start in range(window)))
    return values


def border_mask(height: int, width: int, share: float, *, device: torch.device | str = 'cpu') -> Tensor:
    """Return the pixels within `share` of the height or width from the image border: (height, width) bool."""
    rows = torch.arange(height, device=device)
    columns = torch.arange(width, device=device)
    top, left = round(share * height), round(share * width)
    row_out = (rows < top) | (rows >= height - top)
    column_out = (columns < left) | (columns >= width - left)
    return row_out[:, None] | column_out[None, :]


def sky_mask(depth: Tensor, threshold: float | Tensor) -> Tensor:
    """Return the pixels deeper than `threshold` with nothing nearer above them in their column.

    Args:
        depth: Depth along Z, (B, 1, h, w); +inf counts as deep, NaN as near.
        threshold: In the unit of depth.

    Returns:
        (B, 1, h, w) bool. Far road and walls below something nearer are no sky.
    """
    return (depth > threshold).to(torch.uint8).cummin(dim=-2).values.bool()


def consistency(first: Tensor, second: Tensor) -> Tensor:
    """Return how well two depth estimates of the same pixels agree: smaller over larger, 1 where equal, any shape."""
    return torch.minimum(first, second) / torch.maximum(first, second)
