"""Gates: masks of the pixels whose depth should not reach a costmap. Each is one pure function on the device.

A mask is True where the gate lets nothing through.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

EDGE_STEP = 0.15
"""The least step that makes an edge, unless somebody asks for another; `sidepth benchmark edges` draws the choice."""

BASELINE = 4
"""Pixels over which slopes are taken: the edges of a network are five or six pixels wide."""

SURROUNDINGS = 21
"""Window, pixels, in which a slope found everywhere is that of a surface; an edge is narrower."""


def edge_mask(depth: Tensor, step: float = EDGE_STEP) -> Tensor:
    """Return the pixels that fly between two surfaces: (B, 1, h, w) bool, those whose `edge_steps` exceed `step`."""
    return edge_steps(depth) > step


def edge_steps(depth: Tensor) -> Tensor:
    """Return how steeply depth jumps at each pixel: the step of inverse depth over BASELINE pixels, as a share of it.

    On a plane inverse depth is affine in the pixel, so its slope is the same all around, however steeply the plane
    recedes. What a morphological opening leaves of the slope is therefore that of surfaces; the rest (the white
    top-hat) is that of edges, also of those that a network smears over several pixels.

    Args:
        depth: Depth along Z at the network's resolution, (B, 1, h, w), finite, in any unit.

    Returns:
        (B, 1, h, w), 0 on planes.
    """
    inverse = depth.reciprocal()
    margin = BASELINE // 2
    across = inverse[..., margin:-margin, BASELINE:] - inverse[..., margin:-margin, :-BASELINE]
    down = inverse[..., BASELINE:, margin:-margin] - inverse[..., :-BASELINE, margin:-margin]
    # One-sided differences would be another slope: the border takes its neighbours'.
    slope = F.pad(torch.hypot(across, down), (margin,) * 4, mode='replicate')
    surface = _slid(torch.maximum, _slid(torch.minimum, slope, math.inf), -math.inf)
    return (slope - surface) / inverse


def _slid(pick: Callable[[Tensor, Tensor], Tensor], values: Tensor, outside: float) -> Tensor:
    """Return what `pick` leaves of each window of SURROUNDINGS pixels; on a CPU many times faster than pooling is."""
    values = F.pad(values, (SURROUNDINGS // 2,) * 4, value=outside)
    for dim in (-2, -1):
        width = 1
        while width < SURROUNDINGS:  # windows double, so that five steps do for twenty-one pixels
            shift = min(width, SURROUNDINGS - width)
            length = values.shape[dim] - shift
            values = pick(values.narrow(dim, 0, length), values.narrow(dim, shift, length))
            width += shift
    return values


def gate_range(depth: Tensor, nearest: float, farthest: float) -> None:
    """Replace depth nearer than `nearest` by -inf and beyond `farthest` by +inf (REP 117), in place.

    Args:
        depth: Depth along Z, any shape, float32; NaN stays.
        nearest: In the unit of depth.
        farthest: In the unit of depth.
    """
    if depth.device.type == 'cpu':  # where NumPy compares four times faster
        values = depth.numpy()
        too_far, too_near = torch.from_numpy(values > farthest), torch.from_numpy(values < nearest)
    else:
        too_far, too_near = depth > farthest, depth < nearest
    replace(depth, too_far, math.inf)
    replace(depth, too_near, -math.inf)


def replace(depth: Tensor, mask: Tensor, value: float) -> None:
    """Replace depth where a mask of its shape is True, in place."""
    if depth.device.type == 'cpu':  # where NumPy is three times faster
        where = mask.numpy()
        if where.any():
            np.copyto(depth.numpy(), np.float32(value), where=where)
    else:
        depth.masked_fill_(mask, value)


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
