"""Which of two depth networks explains a drive better, whatever their pose networks say.

View synthesis scores depth and motion together, and a pose network that gets used to a camera can hide that depth
became flat. Here both networks' depth moves the same frames along the same paths: the true one where it is known, and
the one that corners show, as long as the true one or as each pose network says; where too few corners are seen, those
of both pose networks. For each depth the path counts that suits it best, and it may be
multiplied by one factor for the whole drive; where the path is in metres, that factor tells how far depth is from them.
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
from sidepth_core.data.prepare.two_view import two_view_pose
from sidepth_core.data.tracks import rigid
from sidepth_core.evaluation.evaluated_model import EvaluatedModel
from sidepth_core.evaluation.metrics import synthesis_error

Motion = npt.NDArray[np.float64]
Errors = npt.NDArray[np.float64]

FACTORS = np.geomspace(0.5, 2.0, 11)
MOST_PAIRS = 20
"""Enough for a mean, few enough for a small processor."""
GAP_NS = 1_000_000_000
"""Frames farther apart than this are no neighbours."""


class DepthFit(NamedTuple):
    """How well depth explains frames along a given path.

    Attributes:
        error: Mean photometric error at the best factor; NaN where no pair of frames has a camera and a motion.
        factor: What depth has to be multiplied by to fit the path best; NaN where no path is in metres.
    """

    error: float
    factor: float


class _Pair(NamedTuple):
    """Two neighbouring frames and the motions that are claimed between them, each T_now_before, (4, 4)."""

    before: Image
    now: Image
    camera: Camera
    motions: tuple[Motion, ...]


def fit_with_shared_poses(
    first: EvaluatedModel, second: EvaluatedModel, frames: Sequence[Frame]
) -> tuple[DepthFit, DepthFit]:
    """Return how well the depth of two checkpoints explains frames along the same paths.

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


def _pairs(frames: Sequence[Frame], movers: Sequence[EvaluatedModel], *, in_metres: bool) -> Iterator[_Pair]:
    """Yield neighbours that have a camera and a motion."""
    for before, now in pairwise(frames):
        if now.camera is None or not 0 < now.stamp_ns - before.stamp_ns <= GAP_NS:
            continue
        if in_metres and (before.T_world_camera is None or now.T_world_camera is None):
            continue
        motions = [mover.pose(before.image, now.image) for mover in movers if mover.pose_net is not None]
        seen = two_view_pose(before.image, now.image, now.camera.matrix)
        if seen is not None:
            motions = [_as_long_as(motion, seen) for motion in motions]
        if before.T_world_camera is not None and now.T_world_camera is not None:
            true = np.linalg.inv(now.T_world_camera) @ before.T_world_camera
            motions = [true, *(_as_long_as(true, motion) for motion in motions)]
        if motions:
            yield _Pair(before.image, now.image, now.camera, tuple(motions))


def _as_long_as(true: Motion, estimated: Motion) -> Motion:
    """Return the estimated motion with the length of the true one."""
    scale = np.linalg.norm(true[:3, 3]) / max(float(np.linalg.norm(estimated[:3, 3])), 1e-9)
    return rigid(estimated[:3, :3], scale * estimated[:3, 3])


def _fit(model: EvaluatedModel, pairs: Sequence[_Pair]) -> DepthFit:
    """Return the fit along the best of the paths."""
    tables = [_errors(model.depth(pair.now, pair.camera), pair) for pair in pairs]
    tables = [table for table in tables if np.isfinite(table).all()]
    if not tables:
        return DepthFit(math.nan, math.nan)
    errors = np.mean(tables, axis=0)
    path, best = np.unravel_index(int(errors.argmin()), errors.shape)
    factor = FACTORS[best] * _step() ** _offset(errors[path], int(best))
    return DepthFit(float(errors[path, best]), float(factor))


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
    """Return the error of one pair for each of its motions and each factor; NaN where nothing is seen."""
    table = np.full((len(pair.motions), len(FACTORS)), np.nan)
    for (path, motion), (place, factor) in product(enumerate(pair.motions), enumerate(FACTORS)):
        error = synthesis_error(pair.before, pair.now, depth_m * np.float32(factor), pair.camera, motion)
        table[path, place] = math.nan if error is None else error[0]
    return table
