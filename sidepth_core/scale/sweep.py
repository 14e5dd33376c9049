"""How far off predicted depth is in each part of an image, by an earlier image from a known distance away.

A factor on the predicted depth says where each pixel was in the earlier image. Factors are tried one after the other,
and the difference of the two images tells the right one: a plane sweep (Collins, "A space-sweep approach to true
multi-image matching", CVPR 1996) with the prediction's own shape in place of planes.

A road has little texture and says little in each cell of the image. Its cells are asked together: the plane that all
of them speak for is held to be ground, as far as the pixels of a cell do not speak against it. And each cell takes
into account what its neighbours say (semi-global matching: Hirschmueller, PAMI 2008).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from sidepth_core.camera import Camera
from sidepth_core.data.frames import Image
from sidepth_core.scale.robust import Floats

Singles = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]

SAMPLES_ACROSS = 139
"""About so many pixels of a row are compared."""
CELL = 8
"""Samples across and down in a cell, which has one factor."""
STEP = 0.07
"""From one factor to the next, in its logarithm."""
STEPS = 17
"""Factors tried on each side of the middle."""
SHARPEST_PX, BROADEST_PX = 0.8, 5.0
"""Structure finer than the one is noise, broader than the other is light and shade."""
GROWTH, GROWTHS = 1.3, 8
"""What has come nearer looks larger, and shows more: it is made smaller by the nearest power of GROWTH."""
FLATTENED = 1.5
"""The power of the growth by which ground grows: once across, and twice along the way, where it is seen flat."""
MIN_NOISE = 1.0
"""Differences below so many grey levels say nothing."""
OUTLIER = 3.0
"""A pixel that differs by more than so many times the noise is hidden in one image, or moves."""
CORRELATED = 6.0
"""Samples that count as one: noise of neighbours is shared, and so is what is wrong with the predicted shape."""
MIN_SEEN = 0.5
"""A cell of which less was in view of the earlier image is not compared."""
MIN_NEAR = 1e-3
"""What would have been nearer to the earlier camera than this share of its depth was not in view."""
UNKNOWN = 1e6
"""Stands for a depth that is not known, which is not compared."""
UNLIKE, UNLIKE_MOST = 8.0, 4.0
"""What it costs neighbours to differ, in nats for a unit of the logarithm of their factors, and at most: where one
thing ends and another begins, any difference is as likely."""
CLEAR = 3.0
"""A cell tells its factor where factors differ by so many nats."""

MIN_DIP = 0.07
"""Rays that go down by less than this sine meet the ground too far away."""
TILTS_DEG, TILT_STD_DEG = (-2.0, -1.0, 0.0, 1.0, 2.0), 1.0
ROLLS_DEG, ROLL_STD_DEG = (-3.0, -1.5, 0.0, 1.5, 3.0), 1.5
"""Hypotheses of how the ground lies against the way that was driven, and how likely they are."""
HEIGHTS = np.exp(np.arange(-3.0, 3.0, 0.05))
"""Heights of the camera over the ground that are tried, metres."""
CELL_SAYS = 3.0
"""One cell speaks for or against ground by so many nats at most: it may show something else."""
MIN_GROUND = 10.0
"""A plane for which all cells together speak by less than so many nats is none."""
OFF_GROUND, OFF_GROUND_MOST = 12.0, 4.0
"""What it costs a cell to be off the ground, in nats for a unit of the logarithm, and at most."""


class Factors(NamedTuple):
    """What each cell of an image makes of the predicted depth.

    Attributes:
        logs: Logarithm of metres per unit of predicted depth, (rows, columns).
        clear: Whether the cell tells, by its own pixels or as a part of the ground, (rows, columns).
        depths: Median of the predicted depth, (rows, columns); inf where it is not known.
        shares: Share of the cell in which depth is known, (rows, columns).
    """

    logs: Floats
    clear: Flags
    depths: Floats
    shares: Floats


class _Samples(NamedTuple):
    """The pixels that are compared, whole cells of them: columns and rows."""

    u: Places
    v: Places

    def rays(self, camera: Camera) -> Floats:
        """Return a ray through the middle of each cell, (rows of cells, columns of cells, 3), with z = 1."""
        u, v = (axis.reshape(-1, CELL).mean(axis=1) for axis in self)
        x, y = np.meshgrid((u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy)
        return np.stack([x, y, np.ones_like(x)], axis=-1)


def swept_factors(
    before: Image, now: Image, camera: Camera, depth: Singles, T_before_now: Floats, middle: float
) -> Factors:
    """Return the factor of each cell of the later image.

    Args:
        before: The earlier image, (H, W, 3) RGB.
        now: The later one, of the same camera.
        camera: That camera.
        depth: Predicted depth of the later image, (h, w), any unit and size.
        T_before_now: Motion of the camera, maps points of its later frame into its earlier one, (4, 4), metres.
        middle: Metres per unit of depth about which factors are tried.
    """
    samples = _samples(camera)
    predicted = _at(depth, camera, samples)
    known = np.isfinite(predicted) & (predicted > 0)
    metres = np.where(known, predicted, UNKNOWN) * np.float32(middle)
    far, near = _lines(samples, camera, metres, T_before_now)
    earlier, later = _structure(_grey(before)), _shrunk(_grey(now), samples, far[2] + near[2])
    steps = [math.exp(-step * STEP) for step in range(-STEPS, STEPS + 1)]
    compared = [_compared(earlier, later, far + near * np.float32(step), known) for step in steps]
    costs = _costs(np.stack([one[0] for one in compared]), np.stack([one[1] for one in compared]))
    depths = np.median(_cells(np.where(known, predicted, np.inf)), axis=-1)
    costs += _off_ground(costs, samples.rays(camera), depths * middle, T_before_now[:3, 3])
    labels = _lowest(_joined(costs))
    return Factors(
        math.log(middle) + (labels - STEPS) * STEP,
        costs.max(axis=-1) - costs.min(axis=-1) > CLEAR,
        depths,
        _cells(known.astype(np.float32)).mean(axis=-1),
    )


def _samples(camera: Camera) -> _Samples:
    stride = max(1, round(camera.width / SAMPLES_ACROSS))
    across, down = (size // (stride * CELL) * CELL for size in (camera.width, camera.height))
    left, top = (camera.width - across * stride) // 2, (camera.height - down * stride) // 2
    return _Samples(left + stride // 2 + stride * np.arange(across), top + stride // 2 + stride * np.arange(down))


def _at(depth: Singles, camera: Camera, samples: _Samples) -> Singles:
    """Return a depth map of any size at samples, by its nearest pixels."""
    height, width = depth.shape
    columns = (samples.u * 2 + 1) * width // (2 * camera.width)
    rows = (samples.v * 2 + 1) * height // (2 * camera.height)
    return depth[np.ix_(rows, columns)]


def _grey(image: Image) -> Singles:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)


def _structure(grey: Singles) -> Singles:
    """Return what of an image is neither noise nor light and shade, (H, W)."""
    fine, broad = (cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in (SHARPEST_PX, BROADEST_PX))
    return np.asarray(fine - broad)


def _shrunk(grey: Singles, samples: _Samples, growth: Singles) -> Singles:
    """Return the structure of the later image at samples, each as small as the earlier image shows it."""
    power = np.log(np.maximum(growth, 1.0)) * (FLATTENED / math.log(GROWTH))
    level = np.clip(np.round(power), 0, GROWTHS - 1).astype(np.int64)
    found = np.zeros_like(growth)
    for one in np.unique(level):
        height, width = (max(2, round(side / GROWTH ** float(one))) for side in grey.shape)
        small = _structure(np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), np.float32))
        x = (samples.u + 0.5) * width / grey.shape[1] - 0.5
        y = (samples.v + 0.5) * height / grey.shape[0] - 0.5
        columns, rows = (axis.astype(np.float32) for axis in np.meshgrid(x, y))
        here = cv2.remap(small, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        found[level == one] = here[level == one]
    return found


def _lines(samples: _Samples, camera: Camera, depth_m: Singles, T_before_now: Floats) -> tuple[Singles, Singles]:
    """Return where samples are seen from the earlier place if they are infinitely far, and what their depth adds to it.

    Both are homogeneous pixels, (3, rows, columns).
    """
    K = camera.matrix
    turned = K @ T_before_now[:3, :3] @ np.linalg.inv(K)
    columns, rows = np.meshgrid(samples.u, samples.v)
    far = np.tensordot(turned, np.stack([columns, rows, np.ones_like(rows)]), 1).astype(np.float32)
    moved = (K @ T_before_now[:3, 3]).astype(np.float32)
    return far, moved[:, None, None] / depth_m


def _compared(earlier: Singles, later: Singles, places: Singles, known: Flags) -> tuple[Singles, Flags]:
    """Return the squared difference of the images at homogeneous pixels, and where they can be compared."""
    inverse = 1 / np.maximum(places[2], MIN_NEAR)
    x, y = places[0] * inverse, places[1] * inverse
    warped = cv2.remap(earlier, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    height, width = earlier.shape
    seen = known & (places[2] > MIN_NEAR) & (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    return np.square(warped - later), seen


def _costs(squares: Singles, seen: Flags) -> Singles:
    """Return how much speaks against each factor in each cell, (rows, columns, steps), nats.

    Args:
        squares: Squared differences of the samples, (steps, rows of samples, columns of samples), grey levels.
        seen: Where they could be compared, the same shape.
    """
    shares = _means(seen)
    enough = shares >= MIN_SEEN
    divisors = np.maximum(shares, MIN_SEEN)
    least = np.where(enough, _means(squares * seen) / divisors, np.inf).min(axis=-1)
    found = least[np.isfinite(least)]
    noise = max(float(np.median(found)) if len(found) else 0.0, MIN_NOISE**2)
    limit = np.float32(OUTLIER**2 * noise)
    against = seen * squares * (limit / (squares + limit))
    costs = _means(against) / divisors * np.float32(CELL * CELL / (2 * noise * CORRELATED))
    # What had left the view speaks neither for nor against.
    some = enough.any(axis=-1)
    costs[some] = np.where(enough[some], costs[some], np.nan)
    costs[some] = np.where(enough[some], costs[some], np.nanmedian(costs[some], axis=-1, keepdims=True))
    costs[~some] = 0
    return np.asarray(costs, np.float32)


def _means(values: Flags | Singles) -> Singles:
    """Return the means over cells of (steps, rows, columns), (rows of cells, columns of cells, steps)."""
    size = values.shape[2] // CELL, values.shape[1] // CELL
    return np.stack([cv2.resize(one.astype(np.float32), size, interpolation=cv2.INTER_AREA) for one in values], axis=-1)


def _cells(values: npt.NDArray[np.floating]) -> Floats:
    """Return (rows, columns) by cells, (rows of cells, columns of cells, samples)."""
    rows, columns = values.shape
    by_cell = values.reshape(rows // CELL, CELL, columns // CELL, CELL).transpose(0, 2, 1, 3)
    return np.asarray(by_cell.reshape(rows // CELL, columns // CELL, CELL * CELL), np.float64)


def _off_ground(costs: Singles, rays: Floats, depths_m: Floats, way: Floats) -> Singles:
    """Return what it costs cells to be off the ground, (rows, columns, steps), nats; zeros where none is found.

    Args:
        costs: What speaks against each factor, (rows, columns, steps).
        rays: Through the cells, (rows, columns, 3).
        depths_m: Depth of the cells by the middle factor, (rows, columns); inf where not known.
        way: Which way the camera moved, (3,).
    """
    says = np.clip(costs - np.median(costs, axis=-1, keepdims=True), -CELL_SAYS, CELL_SAYS)
    best, ground = -MIN_GROUND, np.full(depths_m.shape, np.nan)
    for normal, unlikely in _lies(way / np.linalg.norm(way)):
        dips = rays @ normal
        below = (dips > MIN_DIP * np.linalg.norm(rays, axis=-1)) & np.isfinite(depths_m)
        steps = STEPS - np.log(dips[below] * depths_m[below]) / STEP  # where the ground lies a metre below
        places = np.round(steps + np.log(HEIGHTS)[:, None] / STEP).astype(np.int64)
        tried = (places >= 0) & (places < costs.shape[-1])
        found = says[below][np.arange(len(steps)), np.where(tried, places, 0)]
        sums = (found * tried).sum(axis=1) + unlikely
        if sums.min() < best:
            best = float(sums.min())
            ground = np.full(depths_m.shape, np.nan)
            ground[below] = steps + math.log(HEIGHTS[sums.argmin()]) / STEP
    off = np.abs(np.arange(costs.shape[-1]) - ground[..., None]) * STEP
    return np.asarray(np.nan_to_num(np.minimum(off * OFF_GROUND, OFF_GROUND_MOST)), np.float32)


def _lies(way: Floats) -> list[tuple[Floats, float]]:
    """Return hypotheses of the ground's normal for a way along it, and how unlikely they are, nats."""
    down = np.array([0.0, 1.0, 0.0])
    down = down - (down @ way) * way
    down /= max(float(np.linalg.norm(down)), 1e-9)
    across = np.cross(down, way)
    return [
        (
            down + math.tan(math.radians(tilt)) * way + math.tan(math.radians(roll)) * across,
            0.5 * ((tilt / TILT_STD_DEG) ** 2 + (roll / ROLL_STD_DEG) ** 2),
        )
        for tilt in TILTS_DEG
        for roll in ROLLS_DEG
    ]


def _joined(costs: Singles) -> Singles:
    """Return the costs with what neighbours say along four ways through the image, the same shape."""
    steps = np.arange(costs.shape[-1])
    unlike = np.minimum(np.abs(steps[:, None] - steps) * (STEP * UNLIKE), UNLIKE_MOST).astype(np.float32)
    down, across = costs, costs.transpose(1, 0, 2)
    total = _passed(down, unlike) + _passed(down[::-1], unlike)[::-1]
    total += (_passed(across, unlike) + _passed(across[::-1], unlike)[::-1]).transpose(1, 0, 2)
    return np.asarray(total - 3 * costs)  # each of the four ways counted the cell's own


def _passed(costs: Singles, unlike: Singles) -> Singles:
    """Return the costs with the least ones of what came before along the first axis."""
    passed = costs.copy()
    for index in range(1, len(costs)):
        before = passed[index - 1]
        passed[index] += (before[:, None, :] + unlike).min(axis=-1) - before.min(axis=-1, keepdims=True)
    return np.asarray(passed)


def _lowest(costs: Singles) -> Floats:
    """Return where each cell's cost is lowest, between the steps too, (rows, columns)."""
    best = np.clip(costs.argmin(axis=-1), 1, costs.shape[-1] - 2)
    left, middle, right = (np.take_along_axis(costs, (best + i)[..., None], -1)[..., 0] for i in (-1, 0, 1))
    bend = left - 2 * middle + right
    return np.asarray(best + np.clip(np.where(bend > 0, (left - right) / np.maximum(2 * bend, 1e-9), 0), -1, 1))
