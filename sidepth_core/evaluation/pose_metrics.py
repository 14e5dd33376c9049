"""Trajectory errors: KITTI odometry's segments, absolute trajectory error, SfMLearner's snippets.

A trajectory is T_world_camera of each frame, (N, 4, 4) float64, metres, in order of time. The evo package has
similar metrics under the GPL, which this package cannot include.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sidepth_core.errors import ConfigError

Trajectory = npt.NDArray[np.float64]
Points = npt.NDArray[np.float64]

SEGMENT_LENGTHS_M = (100, 200, 300, 400, 500, 600, 700, 800)
SEGMENT_STEP = 10
"""A segment starts at every tenth frame, as in KITTI's development kit."""
ALIGNMENTS = ('none', 'scale', 'rigid', 'similarity')


class SegmentErrors(NamedTuple):
    """KITTI odometry's errors, means over all segments; NaN when the path is shorter than the shortest segment.

    Attributes:
        translation_percent: End point error over segment length, %.
        rotation_deg_per_m: End rotation error over segment length, degrees a metre.
        segments: How many segments there were.
    """

    translation_percent: float
    rotation_deg_per_m: float
    segments: int


class Similarity(NamedTuple):
    """x' = scale R x + t, which moves one trajectory's points onto another's."""

    scale: float
    rotation: npt.NDArray[np.float64]
    translation: npt.NDArray[np.float64]


class PoseScores(NamedTuple):
    """How an estimated trajectory compares with the true one.

    Attributes:
        segments: KITTI odometry's errors after one scale for the whole path when `scaled`, else as it is.
        ate_m: Absolute trajectory error after the chosen alignment: root mean square of positions, metres.
        snippet_ate_m: SfMLearner's 5-frame error, mean over snippets, metres (see snippet_ate).
        snippet_ate_std_m: Its standard deviation, metres.
        scale_ratio: Median of true over estimated step length, before any scaling: 1 for a metric estimate.
        scale_drift: Standard deviation of the logarithm of that ratio from step to step.
        path_m: Length of the true path, metres.
        frames: How many poses were compared.
    """

    segments: SegmentErrors
    ate_m: float
    snippet_ate_m: float
    snippet_ate_std_m: float
    scale_ratio: float
    scale_drift: float
    path_m: float
    frames: int


def chain(T_next_previous: Sequence[npt.NDArray[np.float64]]) -> Trajectory:
    """Return T_world_camera of each frame from steps that map points of a frame into the next one's frame.

    The world is the first camera's frame.
    """
    poses = [np.eye(4)]
    for step in T_next_previous:
        poses.append(poses[-1] @ np.linalg.inv(step))
    return np.stack(poses)


def path_lengths(trajectory: Trajectory) -> npt.NDArray[np.float64]:
    """Return the distance driven until each frame, (N,), metres."""
    steps = np.linalg.norm(np.diff(trajectory[:, :3, 3], axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def align(estimate: Points, truth: Points, kind: str) -> Similarity:
    """Return what moves estimated points onto the true ones with least squares (Umeyama, TPAMI 1991).

    Args:
        estimate: (N, 3), metres.
        truth: (N, 3), metres.
        kind: 'none'; 'scale': one factor about the first point; 'rigid': rotation and translation;
            'similarity': all three.

    Raises:
        ConfigError: If the kind is unknown.
    """
    if kind not in ALIGNMENTS:
        raise ConfigError(f'alignment {kind!r} is not one of {", ".join(ALIGNMENTS)}')
    if kind == 'none':
        return Similarity(1.0, np.eye(3), np.zeros(3))
    if kind == 'scale':
        moved, goal = estimate - estimate[0], truth - truth[0]
        scale = float((moved * goal).sum() / max(float((moved**2).sum()), 1e-12))
        return Similarity(scale, np.eye(3), truth[0] - scale * estimate[0])
    mean_estimate, mean_truth = estimate.mean(0), truth.mean(0)
    centred = estimate - mean_estimate
    left, values, right = np.linalg.svd((truth - mean_truth).T @ centred / len(truth))
    signs = np.ones(3)
    signs[2] = np.sign(np.linalg.det(left) * np.linalg.det(right)) or 1.0
    rotation = left @ np.diag(signs) @ right
    variance = float((centred**2).sum() / len(truth))
    scale = float((values * signs).sum() / max(variance, 1e-12)) if kind == 'similarity' else 1.0
    return Similarity(scale, rotation, mean_truth - scale * rotation @ mean_estimate)


def ate_rmse(estimate: Trajectory, truth: Trajectory, alignment: str = 'similarity') -> float:
    """Return the root mean square distance of positions after alignment, metres."""
    points, goal = estimate[:, :3, 3], truth[:, :3, 3]
    scale, rotation, translation = align(points, goal, alignment)
    error = scale * points @ rotation.T + translation - goal
    return float(np.sqrt((error**2).sum(1).mean()))


def segment_errors(
    estimate: Trajectory, truth: Trajectory, lengths_m: Sequence[float] = SEGMENT_LENGTHS_M
) -> SegmentErrors:
    """Return KITTI odometry's mean errors over all segments of the given lengths along the true path."""
    driven = path_lengths(truth)
    translations, rotations = [], []
    for first in range(0, len(truth), SEGMENT_STEP):
        for length in lengths_m:
            last = int(np.searchsorted(driven, driven[first] + length, side='right'))
            if last >= len(truth):
                continue
            T_truth = np.linalg.inv(truth[first]) @ truth[last]
            T_estimate = np.linalg.inv(estimate[first]) @ estimate[last]
            error = np.linalg.inv(T_estimate) @ T_truth
            translations.append(np.linalg.norm(error[:3, 3]) / length)
            rotations.append(rotation_angle(error[:3, :3]) / length)
    if not translations:
        return SegmentErrors(float('nan'), float('nan'), 0)
    return SegmentErrors(
        float(100 * np.mean(translations)), float(np.degrees(np.mean(rotations))), len(translations)
    )


def rotation_angle(rotation: npt.NDArray[np.float64]) -> float:
    """Return the angle of a rotation matrix, radians."""
    skew = rotation - rotation.T
    sine = np.linalg.norm([skew[2, 1], skew[0, 2], skew[1, 0]]) / 2
    return float(np.arctan2(sine, (np.trace(rotation) - 1) / 2))  # exact at small angles, where arccos is not


def snippet_ate(estimate: Trajectory, truth: Trajectory, frames: int = 5) -> npt.NDArray[np.float64]:
    """Return the error of every run of frames, (N - frames + 1,), metres, in SfMLearner's convention.

    Each run starts at the origin of its first camera and gets its own scale; the error is the *norm over all positions
    divided by their number*, sqrt(sum |e|^2) / frames, which is smaller than a root mean square by sqrt(frames).
    """
    errors = []
    for first in range(len(truth) - frames + 1):
        part = slice(first, first + frames)
        points = (np.linalg.inv(estimate[first]) @ estimate[part])[:, :3, 3]
        goal = (np.linalg.inv(truth[first]) @ truth[part])[:, :3, 3]
        scale = (points * goal).sum() / max((points**2).sum(), 1e-12)
        errors.append(np.sqrt(((scale * points - goal) ** 2).sum()) / frames)
    return np.array(errors)


def step_ratios(estimate: Trajectory, truth: Trajectory, least_m: float = 0.02) -> npt.NDArray[np.float64]:
    """Return true over estimated length of each step in which the camera moved at least least_m, (M,)."""
    true_steps = np.linalg.norm(np.diff(truth[:, :3, 3], axis=0), axis=1)
    steps = np.linalg.norm(np.diff(estimate[:, :3, 3], axis=0), axis=1)
    moved = true_steps >= least_m
    return np.asarray(true_steps[moved] / np.maximum(steps[moved], 1e-9))


def score_trajectory(
    estimate: Trajectory, truth: Trajectory, alignment: str = 'similarity', *, scaled: bool = False
) -> PoseScores:
    """Return every error of an estimated trajectory.

    Args:
        estimate: (N, 4, 4), N > 1.
        truth: (N, 4, 4).
        alignment: A name of ALIGNMENTS, for ate_m.
        scaled: Multiply the estimate by its best single scale before the segments are compared: for relative poses.

    Raises:
        ConfigError: If the lengths differ or there are fewer than two poses.
    """
    if len(estimate) != len(truth) or len(truth) < 2:
        raise ConfigError(f'{len(estimate)} estimated and {len(truth)} true poses, expected as many, at least two')
    ratios = step_ratios(estimate, truth)
    if scaled:
        factor = align(estimate[:, :3, 3], truth[:, :3, 3], 'similarity').scale
        estimate = estimate.copy()
        estimate[:, :3, 3] *= factor
    snippets = snippet_ate(estimate, truth)
    return PoseScores(
        segments=segment_errors(estimate, truth),
        ate_m=ate_rmse(estimate, truth, alignment),
        snippet_ate_m=float(snippets.mean()) if len(snippets) else float('nan'),
        snippet_ate_std_m=float(snippets.std()) if len(snippets) else float('nan'),
        scale_ratio=float(np.median(ratios)) if len(ratios) else float('nan'),
        scale_drift=float(np.log(ratios).std()) if len(ratios) else float('nan'),
        path_m=float(path_lengths(truth)[-1]),
        frames=len(truth),
    )
