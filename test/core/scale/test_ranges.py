"""A range sensor gives the scale where it sees what the camera sees."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from sidepth_core.camera import Camera
from sidepth_core.scale import Measurement, Ranges, Refusal
from sidepth_core.scale.ranges import (
    FLAT,
    NO_ECHO,
    OTHER_SHAPE,
    OUT_OF_VIEW,
    depth_image_points,
    measure_ranges,
    scan_points,
)

CAMERA = Camera(256, 160, 190, 200, 125.0, 82.0)


def room() -> Tensor:
    """Return a depth that differs over the image, (1, h, w), metres: a wall that runs away to the right."""
    u = torch.arange(CAMERA.width, dtype=torch.float32)
    return (2 + 8 * u / CAMERA.width).expand(1, CAMERA.height, -1).clone()


def scan_of(depth: Tensor, row: int = 90, noise: float = 0.0) -> npt.NDArray[np.float64]:
    """Return what a scanner measures along a row, in the optical frame, (N, 3)."""
    u = np.arange(0, CAMERA.width, 4)
    z = depth[0, row, u].double().numpy() * np.exp(np.random.default_rng(0).normal(0, noise, len(u)))
    return np.stack([(u - CAMERA.cx) / CAMERA.fx * z, (row - CAMERA.cy) / CAMERA.fy * z, z], axis=-1)


def measured(depth: Tensor, points: npt.NDArray[np.float64], *, fit_shift: bool = False) -> Measurement:
    """Return a measurement, which there must be."""
    found = measure_ranges(depth, CAMERA, Ranges(0, points), fit_shift=fit_shift)
    assert isinstance(found, Measurement), found
    return found


def refusal(depth: Tensor, points: npt.NDArray[np.float64], cone: float = 0.0, *, fit_shift: bool = False) -> str:
    """Return why nothing is measured."""
    found = measure_ranges(depth, CAMERA, Ranges(0, points, cone), fit_shift=fit_shift)
    assert isinstance(found, Refusal), found
    return found.reason


def test_convention_scan_runs_counter_clockwise_from_x() -> None:
    points = scan_points(np.array([1.0, 2.0]), 0.0, math.pi / 2, 0.1, 10)
    assert points == pytest.approx(np.array([[1, 0, 0], [0, 2, 0]]))


def test_ranges_that_are_none_are_left_out() -> None:
    ranges = np.array([math.nan, math.inf, -math.inf, 0.0, -1.0, 0.05, 11.0, 5.0])
    assert len(scan_points(ranges, 0.0, 0.01, 0.1, 10.0)) == 1
    assert len(scan_points(np.full(9, math.nan), 0.0, 0.01, 0.1, 10.0)) == 0
    assert len(scan_points(np.ones(9), math.nan, 0.01, 0.1, 10.0)) == 0
    assert len(scan_points(np.ones(9), 0.0, math.inf, 0.1, 10.0)) == 0


def test_scale_is_measured_over_predicted() -> None:
    found = measured(room() / 2.5, scan_of(room(), noise=0.02))
    assert found.factor == pytest.approx(2.5, rel=0.02)
    assert found.std < 0.04


def test_a_third_of_wrong_ranges_changes_nothing() -> None:
    points = scan_of(room())
    points[::3] *= 0.3  # rain, dust, the robot's own arm
    assert measured(room(), points).factor == pytest.approx(1.0, rel=0.05)


def test_pane_that_the_scanner_sees_and_the_camera_does_not_is_refused() -> None:
    points = scan_of(room())
    pane = points / points[:, 2:] * 0.9
    assert refusal(room(), pane) == OTHER_SHAPE


def test_scanner_in_another_frame_is_refused() -> None:
    u = torch.arange(CAMERA.width, dtype=torch.float32)
    uneven = (6 + 5 * torch.sin(u / 9)).expand(1, CAMERA.height, -1)
    assert refusal(uneven, scan_of(uneven.roll(28, 2))) == OTHER_SHAPE


def test_points_behind_or_beside_the_view_are_not_used() -> None:
    assert refusal(room(), -scan_of(room())) == OUT_OF_VIEW
    assert refusal(room(), scan_of(room()) + np.array([100.0, 0, 0])) == OUT_OF_VIEW
    assert refusal(room(), np.empty((0, 3))) == OUT_OF_VIEW


def test_depth_that_is_not_known_is_not_compared() -> None:
    assert refusal(torch.full((1, 160, 256), math.nan), scan_of(room())) == OUT_OF_VIEW


def test_shift_in_inverse_depth_is_fitted_where_asked() -> None:
    predicted = 1 / ((1 / room() - 0.05) / 0.5)  # 1/z = 0.5/d + 0.05, so z = 2 d before the shift
    found = measured(predicted, scan_of(room()), fit_shift=True)
    assert found.factor == pytest.approx(2.0, rel=0.05)
    assert found.shift_per_m == pytest.approx(0.05, rel=0.1)
    assert measured(room() / 2, scan_of(room()), fit_shift=True).shift_per_m == pytest.approx(0, abs=5e-3)


def test_shift_needs_near_and_far() -> None:
    wall = torch.full((1, 160, 256), 3.0)
    assert refusal(wall, scan_of(wall), fit_shift=True) == FLAT


def test_single_range_takes_the_nearest_surface_in_its_cone() -> None:
    depth = torch.full((1, 160, 256), 8.0)
    depth[0, 60:100, 118:132] = 2.0
    found = measure_ranges(depth, CAMERA, Ranges(0, np.array([[0, 0, 3.0]]), cone=0.1))
    assert isinstance(found, Measurement)
    assert found.factor == pytest.approx(1.5)
    assert found.bias > 0.5, 'what echoed may as well be what is behind'


def test_single_range_without_echo_or_out_of_view_says_nothing() -> None:
    assert refusal(room(), np.empty((0, 3)), cone=0.1) == NO_ECHO
    assert refusal(room(), np.array([[0, 0, -3.0]]), cone=0.1) == OUT_OF_VIEW
    assert refusal(room(), np.array([[30.0, 0, 3.0]]), cone=0.1) == OUT_OF_VIEW


def test_sparse_depth_image_becomes_points() -> None:
    depth = np.full((CAMERA.height, CAMERA.width), np.nan)
    depth[20, 30], depth[100, 200], depth[1, 1], depth[2, 2] = 4.0, 6.0, np.inf, 0.0
    points = depth_image_points(depth, CAMERA)
    expected = [(30 - 125) / 190 * 4, (20 - 82) / 200 * 4, 4.0]
    assert points[0] == pytest.approx(expected)
    assert points.shape == (2, 3)
