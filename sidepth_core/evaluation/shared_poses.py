"""View synthesis error with shared poses: which of two depth networks explains a drive better.

With predicted poses the error scores depth and pose network together, and a pose network that adapts to a camera can
hide that depth became flat. Here both networks' depth is judged with the same poses: true ones where known, and
two-view poses with the length of the true ones or, without those, with the length that either depth gives to the
corners that show them; where no two-view pose is found, those of the pose networks. For each depth the poses that fit
it best count, and one factor on depth for the whole drive; where poses are in metres, that factor is the scale error of
depth.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sidepth_core.camera import Camera
from sidepth_core.data.frames import DepthMap, Frame, Image
from sidepth_core.data.tracks import rigid
from sidepth_core.data.two_view import TwoViewGeometry, two_view_geometry
from sidepth_core.evaluation.evaluated_model import EvaluatedModel
from sidepth_core.evaluation.metrics import synthesis_error

Pose = npt.NDArray[np.float64]
Errors = npt.NDArray[np.float64]

FACTORS = np.geomspace(0.5, 2.0, 11)
MOST_PAIRS = 20
"""Enough for a mean, few enough for a small processor."""
GAP_NS = 1_000_000_000
"""Frames farther apart than this are no neighbours."""


class DepthFit(NamedTuple):
    """View synthesis error of depth with given poses, at the best scale.

    Attributes:
        error: Mean photometric error at the best factor; NaN where no pair of frames has a camera and a pose.
        factor: What depth has to be multiplied by to fit the poses best; NaN where no pose is in metres.
    """

    error: float
    factor: float


class _Pair(NamedTuple):
    """Two neighbouring frames and the candidate poses between them, each T_now_before, (4, 4)."""

    before: Image
    now: Image
    camera: Camera
    poses: tuple[Pose, ...]


def fit_with_shared_poses(
    first: EvaluatedModel, second: EvaluatedModel, frames: Sequence[Frame]
) -> tuple[DepthFit, DepthFit]:
    """Return the view synthesis errors of two checkpoints with the same poses.

    Args:
        first: One checkpoint.
        second: The other one.
        frames: Rectified frames in order of time; where they have poses at all, only those with one count.
    """
    in_metres = any(frame.T_world_camera is not None for frame in frames)
    pairs = list(_pairs(frames, (first, second), in_metres=in_metres))
    count = min(len(pairs), MOST_PAIRS)
    pairs = [pairs[index * len(pairs) // count] for index in range(count)]
    found, other = (_fit(model, pairs) for model in (first, second))
    return (found, other) if in_metres else (found._replace(factor=math.nan), other._replace(factor=math.nan))


def _pairs(frames: Sequence[Frame], models: Sequence[EvaluatedModel], *, in_metres: bool) -> Iterator[_Pair]:
    """Yield neighbours that have a camera and a pose."""
    for before, now in pairwise(frames):
        if now.camera is None or not 0 < now.stamp_ns - before.stamp_ns <= GAP_NS:
            continue
        if in_metres and (before.T_world_camera is None or now.T_world_camera is None):
            continue
        poses = _candidates(before, now, now.camera, models)
        if poses:
            yield _Pair(before.image, now.image, now.camera, tuple(poses))


def _candidates(before: Frame, now: Frame, camera: Camera, models: Sequence[EvaluatedModel]) -> list[Pose]:
    """Return the poses between two frames that depth is judged with."""
    seen = two_view_geometry(before.image, now.image, camera.matrix)
    if before.T_world_camera is not None and now.T_world_camera is not None:
        true = np.linalg.inv(now.T_world_camera) @ before.T_world_camera
        estimates = _predicted(before, now, models) if seen is None else [seen.T_now_before]
        return [true, *(_as_long_as(true, pose) for pose in estimates)]
    if seen is None:
        return _predicted(before, now, models)
    lengths = (_length_by(model.depth(now.image, camera), seen) for model in models)
    return [rigid(seen.T_now_before[:3, :3], length * seen.T_now_before[:3, 3]) for length in lengths]


def _predicted(before: Frame, now: Frame, models: Sequence[EvaluatedModel]) -> list[Pose]:
    return [model.pose(before.image, now.image) for model in models if model.pose_net is not None]


def _length_by(depth_m: DepthMap, seen: TwoViewGeometry) -> float:
    """Return the length of a motion, as the depth of the corners that show it has it."""
    distances = seen.points @ seen.T_now_before[2, :3] + seen.T_now_before[2, 3]
    columns, rows = np.rint(seen.now_px).astype(int).T
    there = (distances > 0) & (columns < depth_m.shape[1]) & (rows < depth_m.shape[0])
    return float(np.median(depth_m[rows[there], columns[there]] / distances[there])) if there.any() else 0.0


def _as_long_as(true: Pose, estimated: Pose) -> Pose:
    """Return the estimated pose with the length of the true one."""
    scale = np.linalg.norm(true[:3, 3]) / max(float(np.linalg.norm(estimated[:3, 3])), 1e-9)
    return rigid(estimated[:3, :3], scale * estimated[:3, 3])


def _fit(model: EvaluatedModel, pairs: Sequence[_Pair]) -> DepthFit:
    """Return the fit with the best of the poses."""
    tables = [_errors(model.depth(pair.now, pair.camera), pair) for pair in pairs]
    tables = [table for table in tables if np.isfinite(table).all()]
    if not tables:
        return DepthFit(math.nan, math.nan)
    errors = np.mean(tables, axis=0)
    place, best = np.unravel_index(int(errors.argmin()), errors.shape)
    factor = FACTORS[best] * _step() ** _offset(errors[place], int(best))
    return DepthFit(float(errors[place, best]), float(factor))


def _step() -> float:
    return float(FACTORS[1] / FACTORS[0])


def _offset(errors: Errors, best: int) -> float:
    """Return where between its neighbours the minimum lies, -0.5..0.5 steps, by the parabola through the three."""
    if not 0 < best < len(errors) - 1:
        return 0.0
    left, middle, right = errors[best - 1 : best + 2]
    bend = left - 2 * middle + right
    return float(0.5 * (left - right) / bend) if bend > 0 else 0.0


def _errors(depth_m: DepthMap, pair: _Pair) -> Errors:
    """Return the error of one pair for each of its poses and each factor; NaN where the views do not overlap."""
    table = np.full((len(pair.poses), len(FACTORS)), np.nan)
    for (row, pose), (column, factor) in product(enumerate(pair.poses), enumerate(FACTORS)):
        error = synthesis_error(pair.before, pair.now, depth_m * np.float32(factor), pair.camera, pose)
        table[row, column] = math.nan if error is None else error[0]
    return table
