"""Flying pixels: predicted depth that belongs to neither of the two surfaces that meet at an occlusion boundary."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sidepth_core.data.frames import DepthMap

Mask = npt.NDArray[np.bool_]
Inverse = npt.NDArray[np.floating[Any]]

REACH = 8
"""Pixels to each side of a boundary within which its flying pixels are looked for."""

OCCLUSION = 0.2
"""Least jump of true inverse depth between neighbours, beside its slope, that makes a boundary, as a share."""

SURFACE = 1.1
"""Within this factor of a surface's depth a pixel belongs to it."""

APART = 1.3
"""Least ratio of the two surfaces' predicted depth: nearer together there is nothing between them."""


class FlyingPixels(NamedTuple):
    """The pixels of a predicted map; what is in neither is not judged.

    Attributes:
        flying: Between two surfaces, (H, W).
        good: On a surface and within a factor of 1.25 of the truth once the map is median-scaled, (H, W).
    """

    flying: Mask
    good: Mask


def flying_pixels(depth_m: DepthMap, truth_m: DepthMap) -> FlyingPixels:
    """Return which pixels of a predicted map fly and which are good.

    Truth says where boundaries lie, the prediction how deep it puts the surfaces on both sides: a network whose metres
    are wrong, but whose edges are sharp, has no flying pixels. Boundaries that have another one within REACH in their
    row or column, or the image's border, are left out with what surrounds them.

    Args:
        depth_m: Predicted depth, (H, W), at the network's own size, finite.
        truth_m: Dense true depth of the same pixels, +inf for sky.
    """
    flying, unclear = np.zeros(truth_m.shape, bool), np.zeros(truth_m.shape, bool)
    _search(1 / depth_m, 1 / truth_m, flying, unclear)
    _search(1 / depth_m.T, 1 / truth_m.T, flying.T, unclear.T)
    known = np.isfinite(truth_m)
    error = np.abs(np.log(depth_m / np.where(known, truth_m, 1)) - np.median(np.log(depth_m[known] / truth_m[known])))
    return FlyingPixels(flying, known & (error < np.log(1.25)) & ~flying & ~unclear)


def _search(predicted: Inverse, truth: Inverse, flying: Mask, unclear: Mask) -> None:
    """Mark the pixels along the rows of two maps of inverse depth (H, W)."""
    boundaries = _boundaries(truth)
    rows, columns = np.nonzero(boundaries)
    before = np.pad(np.cumsum(boundaries, axis=1), ((0, 0), (1, 0)))  # boundaries left of each gap between pixels
    width = truth.shape[1]
    first, last = columns - REACH, columns + 1 + REACH
    inside = (first >= 0) & (last < width)
    alone = inside & (before[rows, np.minimum(last, width - 1)] - before[rows, np.maximum(first, 0)] == 1)
    for offset in range(1 - REACH, 1 + REACH):
        unclear[rows[~alone], np.clip(columns[~alone] + offset, 0, width - 1)] = True
    rows, columns, first, last = rows[alone], columns[alone], first[alone], last[alone]

    def beside(far: npt.NDArray[np.intp], close: npt.NDArray[np.intp]) -> Inverse:
        """Return inverse depth at the boundary of the surface that is predicted at `far`; truth knows its slope."""
        start, end = truth[rows, far], truth[rows, close]
        slanted = (start > 0) & (end > 0)
        return np.asarray(predicted[rows, far] * np.where(slanted, end / np.where(slanted, start, 1), 1))

    sides = np.stack([beside(first, columns), beside(last, columns + 1)])
    lower, upper = sides.min(axis=0), sides.max(axis=0)
    # Where the prediction has no step, or the nearer surface as the farther one, there is nothing to fly between.
    same_order = (sides[0] > sides[1]) == (truth[rows, columns] > truth[rows, columns + 1])
    apart = same_order & (upper > APART * lower)
    rows, columns, lower, upper = rows[apart], columns[apart], lower[apart], upper[apart]
    for offset in range(1 - REACH, 1 + REACH):
        values = predicted[rows, columns + offset]
        between = (values > SURFACE * lower) & (values < upper / SURFACE)
        flying[rows[between], columns[between] + offset] = True


def _boundaries(truth: Inverse) -> Mask:
    """Return between which neighbours along rows of true inverse depth (H, W) one surface hides another, (H, W-1)."""
    jump = np.diff(truth, axis=1)
    beside = np.pad(jump, ((0, 0), (1, 1)), mode='edge')
    onward = np.sign(jump) * np.stack([beside[:, :-2], beside[:, 2:]])  # a slope goes on the same way on one side
    slope = np.clip(onward.max(axis=0), 0, np.abs(jump))
    return np.asarray(np.abs(jump) - slope > OCCLUSION * np.maximum(truth[:, :-1], truth[:, 1:]))
