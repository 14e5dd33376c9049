"""Flicker: zero for a true drive, and the size of what was added for a wrong one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sidepth_core.camera import Camera
from sidepth_core.evaluation.flicker import FlickerPair, flicker_pair, mean_flicker

CAMERA = Camera(60, 40, 50, 60, 29.5, 14.5)


def wall(depth: float) -> np.ndarray:
    return np.full((40, 60), depth, np.float32)


def road(height_m: float = 1.5, horizon: float = np.inf) -> np.ndarray:
    """Return the depth of a plane below the camera; what is above the horizon is `horizon` far."""
    below = np.maximum(np.arange(40, dtype=np.float32)[:, None] - 14.5, 1e-9)
    depth = np.where(np.arange(40)[:, None] > 15, 60 * height_m / below, horizon).astype(np.float32)
    return np.tile(depth, (1, 60))


def forward(metres: float) -> np.ndarray:
    """Return T_now_before of a camera that drove ahead."""
    T = np.eye(4)
    T[2, 3] = -metres
    return T


def test_depth_that_follows_the_motion_does_not_flicker() -> None:
    towards_a_wall = flicker_pair(wall(10), wall(9), CAMERA, forward(1))
    assert towards_a_wall is not None
    assert towards_a_wall.scale == pytest.approx(0, abs=1e-6)
    along_a_road = flicker_pair(road(), road(), CAMERA, forward(0.7))
    assert along_a_road is not None
    assert (along_a_road.scale, along_a_road.shape) == pytest.approx((0, 0), abs=1e-3)


def test_the_same_depth_again_flickers_when_the_camera_moved() -> None:
    pair = flicker_pair(wall(10), wall(10), CAMERA, forward(1))
    assert pair is not None
    assert pair.scale == pytest.approx(math.log(10 / 9), abs=1e-6)
    assert pair.shape == pytest.approx(0, abs=1e-6)


def test_scale_and_shape_are_told_apart() -> None:
    now = wall(9) * np.float32(1.1)
    now[::2] *= np.float32(1.02)
    now[1::2] /= np.float32(1.02)
    pair = flicker_pair(wall(10), now, CAMERA, forward(1))
    assert pair is not None
    assert pair.scale == pytest.approx(math.log(1.1), abs=0.021)
    assert 0.01 < pair.shape < 0.04


def test_occluded_points_are_left_out_when_truth_is_known() -> None:
    before, now = wall(10), wall(9)
    before[:, 20:] = 3.0  # a thing stood before most of the wall, and is gone
    pair = flicker_pair(before, now, CAMERA, forward(1), before, now)
    assert pair is not None
    assert pair.scale == pytest.approx(0, abs=1e-6)
    blind = flicker_pair(before, now, CAMERA, forward(1))
    assert blind is not None
    assert blind.scale > 1


def test_unknown_depth_is_left_out_and_nothing_to_compare_is_none() -> None:
    now = wall(9)
    now[:20] = np.nan
    pair = flicker_pair(wall(10), now, CAMERA, forward(1))
    assert pair is not None
    assert pair.pixels <= 20 * 60
    assert flicker_pair(wall(10), wall(np.nan), CAMERA, forward(1)) is None


def test_the_drive_is_the_root_mean_square_of_scales_and_the_mean_of_shapes() -> None:
    scores = mean_flicker([FlickerPair(0.03, 0.01, 5), FlickerPair(-0.01, 0.02, 5)])
    assert scores.scale == pytest.approx(math.sqrt((9 + 1) / 2) / 100)
    assert scores.shape == pytest.approx(0.015)
    assert scores.total == pytest.approx(math.hypot(scores.scale, scores.shape))
    assert scores.pairs == 2
    assert math.isnan(mean_flicker([]).total)
