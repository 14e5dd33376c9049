"""Trajectory errors against numbers worked out by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from sidepth_core.data.frames import Frame
from sidepth_core.errors import ConfigError
from sidepth_core.evaluation.metrics import FrameEstimate, PoseMetric
from sidepth_core.evaluation.pose_metrics import (
    align,
    ate_rmse,
    chain,
    path_lengths,
    rotation_angle,
    score_trajectory,
    segment_errors,
    snippet_ate,
    step_ratios,
)


def yaw(angle: float) -> np.ndarray:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, 0, s, 0], [0, 1, 0, 0], [-s, 0, c, 0], [0, 0, 0, 1.0]])


def straight(frames: int, step_m: float = 1.0) -> np.ndarray:
    """Return a drive straight ahead (z)."""
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, 2, 3] = np.arange(frames) * step_m
    return poses


def curved(frames: int) -> np.ndarray:
    step = yaw(0.05)
    step[2, 3] = 1.0
    poses = [np.eye(4)]
    for _ in range(frames - 1):
        poses.append(poses[-1] @ step)
    return np.stack(poses)


def test_chain_undoes_relative_steps() -> None:
    truth = curved(6)
    steps = [np.linalg.inv(now) @ before for before, now in pairwise(truth)]
    assert np.allclose(chain(steps), truth)


def test_path_length_follows_the_curve() -> None:
    assert path_lengths(curved(5)) == pytest.approx([0, 1, 2, 3, 4])


def test_a_perfect_trajectory_has_no_error() -> None:
    scores = score_trajectory(curved(150), curved(150))
    assert scores.segments.translation_percent == pytest.approx(0, abs=1e-9)
    assert scores.segments.segments > 0
    assert scores.ate_m == pytest.approx(0, abs=1e-9)
    assert scores.snippet_ate_m == pytest.approx(0, abs=1e-9)
    assert scores.scale_ratio == pytest.approx(1)
    assert (scores.frames, scores.path_m) == (150, pytest.approx(149))


def test_segment_translation_error_of_a_five_percent_short_path() -> None:
    errors = segment_errors(straight(260, 0.95), straight(260))
    # A segment ends at the first frame *beyond* its length: 101 frames for 100 m, 201 for 200 m.
    starts_100, starts_200 = len(range(0, 159, 10)), len(range(0, 59, 10))
    expected = 5 * (1.01 * starts_100 + 1.005 * starts_200) / (starts_100 + starts_200)
    assert errors.segments == starts_100 + starts_200
    assert errors.translation_percent == pytest.approx(expected, rel=1e-6)
    assert errors.rotation_deg_per_m == pytest.approx(0, abs=1e-9)


def test_segment_rotation_error_of_a_steady_turn() -> None:
    turning = np.stack([pose @ yaw(math.radians(0.1) * index) for index, pose in enumerate(straight(110))])
    errors = segment_errors(turning, straight(110), lengths_m=(100,))
    # Only the segment from frame 0 fits: its end, frame 101, is turned by 10.1 degrees over 100 m.
    assert errors.segments == 1
    assert errors.rotation_deg_per_m == pytest.approx(0.101, rel=1e-6)


def test_a_short_path_has_no_segments() -> None:
    errors = segment_errors(straight(50), straight(50))
    assert errors.segments == 0
    assert math.isnan(errors.translation_percent)


def test_rotation_angle_is_exact_for_tiny_and_large_turns() -> None:
    for angle in (0.0, 1e-7, 0.5, 3.0):
        assert rotation_angle(yaw(angle)[:3, :3]) == pytest.approx(angle, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize('kind', ['rigid', 'similarity'])
def test_umeyama_finds_the_motion_that_was_applied(kind: str) -> None:
    points = np.random.default_rng(0).normal(size=(20, 3))
    scale = 2.5 if kind == 'similarity' else 1.0
    truth = scale * points @ yaw(0.7)[:3, :3].T + np.array([1, -2, 3])
    found = align(points, truth, kind)
    assert found.scale == pytest.approx(scale)
    assert np.allclose(found.rotation, yaw(0.7)[:3, :3])
    assert np.allclose(found.translation, [1, -2, 3])


def test_umeyama_never_mirrors() -> None:
    points = np.random.default_rng(1).normal(size=(20, 3))
    found = align(points, points * [1, 1, -1], 'similarity')
    assert np.linalg.det(found.rotation) == pytest.approx(1)


def test_ate_is_a_root_mean_square_and_depends_on_the_alignment() -> None:
    truth, estimate = straight(3), straight(3, 0.5)
    # Positions 0, 1, 2 against 0, 0.5, 1: errors 0, 0.5, 1.
    assert ate_rmse(estimate, truth, 'none') == pytest.approx(math.sqrt((0.25 + 1) / 3))
    # A rigid motion centres the points: errors 0.5, 0, 0.5.
    assert ate_rmse(estimate, truth, 'rigid') == pytest.approx(math.sqrt(0.5 / 3))
    assert ate_rmse(estimate, truth, 'scale') == pytest.approx(0, abs=1e-9)
    assert ate_rmse(estimate, truth, 'similarity') == pytest.approx(0, abs=1e-9)
    with pytest.raises(ConfigError, match=r"alignment 'sim3' is not one of"):
        ate_rmse(estimate, truth, 'sim3')


def test_snippet_ate_divides_the_norm_by_the_number_of_frames() -> None:
    truth, estimate = straight(5), straight(5)
    estimate[2, 0, 3] = 0.3  # one position 0.3 m to the side
    scale = 30 / 30.09  # sum(est * truth) / sum(est^2), z = 0..4
    residual = (scale - 1) ** 2 * 30 + (scale * 0.3) ** 2
    assert snippet_ate(estimate, truth) == pytest.approx([math.sqrt(residual) / 5])


def test_snippet_ate_forgives_each_snippets_own_scale_and_start() -> None:
    estimate = curved(9)
    estimate[:, :3, 3] *= 0.2
    moved = yaw(1.0) @ estimate
    assert snippet_ate(moved, curved(9)) == pytest.approx(np.zeros(5), abs=1e-12)


def test_scale_ratio_is_true_over_estimated_and_skips_standing_frames() -> None:
    truth, estimate = straight(4, 2.0), straight(4, 0.5)
    truth[3], estimate[3] = truth[2], estimate[2]
    assert step_ratios(estimate, truth) == pytest.approx([4, 4])
    assert score_trajectory(estimate, truth).scale_ratio == pytest.approx(4)


def test_scaled_scores_forgive_one_factor_for_the_whole_path() -> None:
    truth, estimate = straight(150), straight(150, 0.5)
    assert score_trajectory(estimate, truth).segments.translation_percent > 49
    scores = score_trajectory(estimate, truth, scaled=True)
    assert scores.segments.translation_percent == pytest.approx(0, abs=1e-6)
    assert scores.scale_ratio == pytest.approx(2)


def test_trajectories_of_different_lengths_are_refused() -> None:
    with pytest.raises(ConfigError, match='3 estimated and 4 true poses'):
        score_trajectory(straight(3), straight(4))


@pytest.mark.parametrize(('missing', 'frames'), [((), 30), ((10,), 19), ((10, 11), 18), ((0,), 29), ((29,), 29)])
def test_a_missing_true_pose_ends_the_stretch_and_costs_a_perfect_motion_nothing(
    missing: tuple[int, ...], frames: int
) -> None:
    truth = curved(30)
    measure = PoseMetric('similarity', scaled=False)
    for index, pose in enumerate(truth):
        known = None if index in missing else pose
        frame = Frame(index * 10**8, np.zeros((2, 2, 3), np.uint8), T_world_camera=known)
        motion = np.linalg.inv(pose) @ truth[index - 1] if index else None
        measure.add(FrameEstimate(index, frame, np.ones((2, 2), np.float32), motion))
    scores = measure.result()
    assert scores is not None
    assert scores.frames == frames
    assert scores.ate_m == pytest.approx(0, abs=1e-9)
    assert scores.scale_drift == pytest.approx(0, abs=1e-9)
