"""Depth of dense pixels from how they move: by hand, and on a rendered street of known depth."""

from __future__ import annotations

import numpy as np
import pytest

from sidepth_core.data.synthetic import SyntheticSource
from sidepth_core.data.two_view_depth import Floats, parallax_and_depth, triangulated_depth

K = np.array([[200.0, 0, 40], [0, 100, 30], [0, 0, 1]])
SIZE = (48, 96)


def flow_to(u: float, v: float, at: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return flow there and back of images in which all moves as the pixel `at`, column and row, moves to (u, v)."""
    there = np.empty((*SIZE, 2))
    there[:] = u - at[0], v - at[1]
    return there, -there


def motion(x: float, y: float, z: float) -> Floats:
    T = np.eye(4)
    T[:3, 3] = x, y, z
    return T


def test_convention_a_point_ahead_moves_outwards_when_the_camera_has_gone_forward() -> None:
    # (1, 0.5, 10) m is seen at (40 + 200 / 10, 30 + 100 * 0.5 / 10) = (60, 35); from 2 m ahead, its depth is 8 m:
    # (40 + 200 / 8, 30 + 50 / 8) = (65, 36.25). Parallax in units of the focal length is (1/8 - 1/10, 0.5/8 - 0.5/10)
    # = (0.025, 0.0125), times the mean focal length of 150 px: 150 * 0.02795 = 4.19 px.
    parallax, depth = parallax_and_depth(*flow_to(65, 36.25, (60, 35)), K, motion(0, 0, -2))
    assert depth[35, 60] == pytest.approx(10)
    assert parallax[35, 60] == pytest.approx(4.193, abs=1e-3)
    unit = parallax_and_depth(*flow_to(65, 36.25, (60, 35)), K, motion(0, 0, -1))[1]
    assert unit[35, 60] == pytest.approx(5)  # in lengths of the motion


def test_convention_a_point_moves_inwards_to_where_the_camera_was_before() -> None:
    # From 2 m behind, the depth of that point is 12 m: (40 + 200 / 12, 30 + 50 / 12).
    _, depth = parallax_and_depth(*flow_to(40 + 200 / 12, 30 + 50 / 12, (60, 35)), K, motion(0, 0, 2))
    assert depth[35, 60] == pytest.approx(10)


def test_convention_rotation_is_taken_out_before_parallax_is_measured() -> None:
    # The source is turned right by atan(0.05), so that (0, 0, 1) is seen at -0.05, and stands 1 m to the left: a point
    # (0, 0, 10) is at (1, 0, 10) from there before the turn. Turned: x = c - 10 s, z = s + 10 c.
    c, s = np.cos(np.arctan(0.05)), np.sin(np.arctan(0.05))
    T = np.array([[c, 0, -s, c], [0, 1, 0, 0], [s, 0, c, s], [0, 0, 0, 1.0]])
    u = 40 + 200 * (c - 10 * s) / (s + 10 * c)
    parallax, depth = parallax_and_depth(*flow_to(u, 30, (40, 30)), K, T)
    assert depth[30, 40] == pytest.approx(10)
    assert parallax[30, 40] == pytest.approx(150 * (u - 40 + 200 * 0.05) / 200)


@pytest.mark.parametrize(
    ('goal', 'back_px'),
    [
        ((55.0, 33.75), 0.0),  # inwards: behind a camera that goes forward
        ((65.0, 34.0), 0.0),  # off its epipolar line
        ((60.4, 35.1), 0.0),  # hardly moves
        ((65.0, 36.25), 0.6),  # does not return
        ((65.0 + 40, 36.25 + 10), 0.0),  # leaves the image
    ],
)
def test_what_no_point_at_rest_would_do_is_not_believed(goal: tuple[float, float], back_px: float) -> None:
    there, back = flow_to(*goal, (60, 35))
    parallax, depth = parallax_and_depth(there, back + np.array([back_px, 0]), K, motion(0, 0, -2))
    assert np.isnan(depth[35, 60])
    assert np.isnan(parallax[35, 60])


@pytest.fixture(scope='module')
def street() -> tuple[list[np.ndarray], np.ndarray, np.ndarray, list[np.ndarray]]:
    """Return images, camera, depth of the middle one, and motions of length 1 from it to the others."""
    frames = list(SyntheticSource('street', seed=8, frames=3, width=416, height=160, fov_deg=80.0))
    assert frames[1].camera is not None
    assert frames[1].depth_m is not None
    motions = [np.linalg.inv(frames[other].T_world_camera) @ frames[1].T_world_camera for other in (0, 2)]
    for T in motions:
        T[:3, 3] /= np.linalg.norm(T[:3, 3])
    return [frame.image for frame in frames], frames[1].camera.matrix, frames[1].depth_m, motions


def test_a_street_is_triangulated_up_to_one_factor(
    street: tuple[list[np.ndarray], np.ndarray, np.ndarray, list[np.ndarray]],
) -> None:
    (before, now, after), camera, true_m, motions = street
    depth = triangulated_depth(now, [before, after], camera, motions)
    assert depth is not None
    told = np.isfinite(depth) & (true_m < 80)
    error = np.log(depth[told] / true_m[told])
    error = np.abs(error - np.median(error))
    assert told.sum() > 0.35 * (true_m < 80).sum()
    assert np.median(error) < 0.04
    assert error.mean() < 0.12
    flat = np.abs(np.log(true_m[told] / np.median(true_m[told]))).mean()
    assert error.mean() < 0.25 * flat


def test_neighbours_that_contradict_each_other_are_not_believed(
    street: tuple[list[np.ndarray], np.ndarray, np.ndarray, list[np.ndarray]],
) -> None:
    (before, now, after), camera, _, motions = street
    both, one = (
        triangulated_depth(now, images, camera, known)
        for images, known in (([before, after], motions), ([before], motions[:1]))
    )
    assert both is not None
    assert one is not None
    dropped = np.isfinite(one) & np.isnan(both)
    assert 0 < dropped.sum() < 0.5 * np.isfinite(one).sum()


def test_without_a_motion_there_is_no_depth(
    street: tuple[list[np.ndarray], np.ndarray, np.ndarray, list[np.ndarray]],
) -> None:
    (before, now, after), camera, _, motions = street
    unknown = np.full((4, 4), np.nan)
    assert triangulated_depth(now, [before, after], camera, [unknown, unknown]) is None
    one = triangulated_depth(now, [before], camera, motions[:1])
    beside_unknown = triangulated_depth(now, [before, after], camera, [motions[0], unknown])
    assert np.array_equal(one, beside_unknown, equal_nan=True)
