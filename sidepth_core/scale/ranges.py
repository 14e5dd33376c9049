"""Scale from a range sensor: what it measures in metres over what is predicted in the same direction."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sidepth_core.camera import Camera
from sidepth_core.scale.measurement import Measurement, Refusal
from sidepth_core.scale.robust import (
    INDEPENDENT,
    Floats,
    disagreement,
    evenly,
    least_relative,
    middle_of,
    ranks,
    spread_of,
    weighted_middle,
)

MAX_POINTS = 500
MIN_POINTS = 15
MIN_DEPTH_M = 0.05
MAX_SPREAD = 0.45
"""Ranges that agree with the depth no better than this share see something else: a pane, another direction."""
AGREE = 0.25
"""Points within this share of the scale count as agreeing with it."""
MIN_AGREEING = 0.4
SENSOR_STD = 0.02
CONE_STD = 0.15
"""One range has no shape that could be compared: the surface that echoed may be another than the one that is seen."""
ROUNDS = 5

OUT_OF_VIEW = 'range: too few points in view of the camera'
OTHER_SHAPE = 'range: ranges and predicted depth have different shapes'
NO_ECHO = 'range: nothing within the range of the sensor'
FLAT = 'range: too little difference in depth for a shift'


class Ranges(NamedTuple):
    """What a sensor measured at one time.

    Attributes:
        stamp_ns: Its time.
        points: What echoed, in the camera's optical frame, (N, 3), metres.
        cone: Half the opening angle, radians, of a sensor that measures one distance; 0 for one that measures points.
    """

    stamp_ns: int
    points: Floats
    cone: float = 0.0


def scan_points(ranges: Floats, angle_min: float, angle_step: float, range_min: float, range_max: float) -> Floats:
    """Return the points of a sensor_msgs/LaserScan in the scanner's frame, (N, 3), metres.

    Args:
        ranges: (N,), metres; NaN, infinite ones and those out of range are left out (REP 117), and those at an
            angle that is not finite.
        angle_min: Angle of the first, radians, counter-clockwise about z from x.
        angle_step: Angle from one to the next, radians.
        range_min: Nearest that counts, metres.
        range_max: Farthest that counts, metres.
    """
    with np.errstate(invalid='ignore', over='ignore'):
        angles = angle_min + angle_step * np.arange(len(ranges))
        good = np.isfinite(ranges) & np.isfinite(angles) & (ranges >= max(range_min, 0.0)) & (ranges > 0)
        good &= ranges <= (range_max if range_max > 0 else math.inf)
    r, a = ranges[good], angles[good]
    return np.stack([r * np.cos(a), r * np.sin(a), np.zeros(len(r))], axis=-1)


def depth_image_points(depth_m: Floats, camera: Camera) -> Floats:
    """Return the points of a depth image, (N, 3), metres, in its camera's optical frame; at most MAX_POINTS of them."""
    rows, columns = np.nonzero(np.isfinite(depth_m) & (depth_m > 0))
    step = max(1, len(rows) // MAX_POINTS)
    rows, columns = rows[::step], columns[::step]
    z = depth_m[rows, columns]
    return np.stack([(columns - camera.cx) / camera.fx * z, (rows - camera.cy) / camera.fy * z, z], axis=-1)


def measure_ranges(depth: Tensor, camera: Camera, ranges: Ranges, *, fit_shift: bool = False) -> Measurement | Refusal:
    """Return the scale of a depth map.

    Args:
        depth: Depth along Z in any unit, (1, h, w), on any device.
        camera: The rectified camera of that map, of its size.
        ranges: What the sensor measured.
        fit_shift: Fit a shift in inverse depth too, 1/z = 1/(scale d) + shift: for weights that know depth up to both.
    """
    if ranges.cone > 0:
        return _measure_cone(depth, camera, ranges)
    points = ranges.points
    if len(points) > 4 * MAX_POINTS:
        points = points[:: len(points) // (4 * MAX_POINTS)]
    seen = points[points[:, 2] > MIN_DEPTH_M]
    u, v = (np.floor(seen[:, i] / seen[:, 2] * f + c + 0.5) for i, f, c in (
        (0, camera.fx, camera.cx), (1, camera.fy, camera.cy)))  # fmt: skip
    inside = (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
    if inside.sum() < MIN_POINTS:
        return Refusal(OUT_OF_VIEW, f'{int(inside.sum())} of {len(points)}')
    index = (v[inside] * camera.width + u[inside]).astype(np.int64)
    predicted = depth.flatten()[torch.from_numpy(index).to(depth.device)].double().cpu().numpy()
    known = np.isfinite(predicted) & (predicted > 0)
    if known.sum() < MIN_POINTS:
        return Refusal(OUT_OF_VIEW, f'depth is known at {int(known.sum())} of {len(points)}')
    z, predicted = seen[inside, 2][known], predicted[known]
    pixels = np.stack([u[inside], v[inside]], axis=-1)[known]
    shift = 0.0
    if fit_shift:
        fitted = _affine(1 / predicted, 1 / z)
        if fitted is None:
            return Refusal(FLAT)
        shift = fitted
        z = 1 / np.maximum(1 / z - shift, 1e-6)
    return _scale(z, predicted, pixels, camera, shift)


def _scale(z: Floats, predicted: Floats, pixels: Floats, camera: Camera, shift: float) -> Measurement | Refusal:
    logs = np.log(z / predicted)
    weights = evenly(pixels, camera)
    middle = weighted_middle(logs, weights)
    spread = spread_of(logs, middle)
    agreeing = float((np.abs(logs - middle) < AGREE).mean())
    if spread > MAX_SPREAD or agreeing < MIN_AGREEING:
        return Refusal(OTHER_SHAPE, f'spread {spread:.0%}, {agreeing:.0%} agree')
    bias, _ = disagreement(logs, 2 * ranks(pixels[:, 0], 3) + ranks(z, 2), 5)
    noise = spread / math.sqrt(min(len(logs), INDEPENDENT))
    near = np.abs(logs - middle) < MAX_SPREAD
    factor = least_relative(logs[near], weights[near])
    return Measurement(math.exp(factor), math.hypot(noise, SENSOR_STD), bias, shift)


def _affine(x: Floats, y: Floats) -> float | None:
    """Return the intercept of y = a x + b, by reweighted least squares; None where it cannot be told."""
    if np.ptp(np.quantile(x, (0.1, 0.9))) < 0.3 * float(np.median(x)):
        return None
    weights = np.ones(len(x))
    slope, intercept = 1.0, 0.0
    for _ in range(ROUNDS):
        design = np.stack([x, np.ones(len(x))], axis=-1) * weights[:, None]
        (slope, intercept), *_ = np.linalg.lstsq(design, y * weights, rcond=None)
        off = np.abs(slope * x + intercept - y) / y  # errors of depth are relative
        limit = 4.685 * max(1.4826 * middle_of(off), 0.01)
        weights = np.maximum(1 - (off / limit) ** 2, 0) / y
    return float(intercept) if slope > 0 else None


def _measure_cone(depth: Tensor, camera: Camera, ranges: Ranges) -> Measurement | Refusal:
    """Return the scale by one distance: that of the nearest surface in a cone."""
    if not len(ranges.points):
        return Refusal(NO_ECHO)
    x, y, z = ranges.points[0]
    if not z > MIN_DEPTH_M:
        return Refusal(OUT_OF_VIEW, 'the sensor looks elsewhere')
    middle_u, middle_v = x / z * camera.fx + camera.cx, y / z * camera.fy + camera.cy
    reach = max(math.tan(min(ranges.cone, 1.2)), 2 / camera.fx)
    left, right = (round(middle_u + side * reach * camera.fx) for side in (-1, 1))
    top, bottom = (round(middle_v + side * reach * camera.fy) for side in (-1, 1))
    window = depth[0, max(top, 0) : max(bottom + 1, 0), max(left, 0) : max(right + 1, 0)]
    if window.numel() < 4:
        return Refusal(OUT_OF_VIEW, f'it looks at pixel ({middle_u:.0f}, {middle_v:.0f})')
    values = window.flatten().double().cpu().numpy()
    values = values[np.isfinite(values) & (values > 0)]
    if len(values) < 4:
        return Refusal(OUT_OF_VIEW, 'no depth is known where it looks')
    near, middle = np.quantile(values, (0.1, 0.5))
    return Measurement(float(z / near), math.hypot(SENSOR_STD, CONE_STD), float(math.log(middle / near)))
