"""What counts as a flying pixel, on maps whose right answer is plain to see."""

from __future__ import annotations

import numpy as np
import pytest

from sidepth_core.evaluation.flying_pixels import flying_pixels


def step(near_m: float, far_m: float) -> np.ndarray:
    """Return a near wall on the left 20 columns and a far one on the right 20, (30, 40)."""
    depth = np.full((30, 40), far_m, np.float32)
    depth[:, :20] = near_m
    return depth


def test_a_sharp_prediction_has_no_flying_pixels_whatever_its_metres() -> None:
    found = flying_pixels(step(8.0, 40.0), step(5.0, 20.0))
    assert not found.flying.any()
    assert not flying_pixels(step(5.0, 20.0), step(5.0, 20.0)).flying.any()


@pytest.mark.parametrize('scale', [1.0, 0.5])
def test_what_lies_between_the_predicted_walls_flies(scale: float) -> None:
    depth = step(5.0, 20.0)
    depth[:, 18:22] = [5.2, 8.0, 12.0, 19.0]
    found = flying_pixels(scale * depth, step(5.0, 20.0))
    assert found.flying[:, 19:21].all()
    assert found.flying.sum() == 60
    assert not (found.flying & found.good).any()
    assert found.good[:, :19].all()
    assert found.good[:, 21:].all()


def test_columns_are_searched_as_rows_are() -> None:
    depth = step(5.0, 20.0)
    depth[:, 20] = 9.0
    across, down = flying_pixels(depth, step(5.0, 20.0)), flying_pixels(depth.T, step(5.0, 20.0).T)
    assert across.flying[:, 20].all()
    np.testing.assert_array_equal(down.flying, across.flying.T)


def test_ground_that_recedes_has_no_boundary() -> None:
    depth = np.broadcast_to((200 / np.arange(3, 63, dtype=np.float32))[:, None], (60, 40)).copy()
    found = flying_pixels(depth, depth)
    assert not found.flying.any()
    assert found.good.all()


def test_sky_is_a_surface_to_fly_from_and_never_a_good_pixel() -> None:
    depth = step(5.0, 80.0)
    depth[:, 20] = 20.0
    found = flying_pixels(depth, step(5.0, np.inf))
    assert found.flying[:, 20].all()
    assert not found.good[:, 20:].any()


def test_around_things_too_thin_to_have_a_middle_nothing_is_judged() -> None:
    truth = np.full((30, 40), 20.0, np.float32)
    truth[:, 19:22] = 5.0
    found = flying_pixels(np.full((30, 40), 10.0, np.float32), truth)
    assert not found.flying.any()
    assert not found.good[:, 15:25].any()


def test_depth_far_from_the_truth_is_no_good_pixel() -> None:
    truth = np.full((30, 40), 10.0, np.float32)
    depth = truth.copy()
    depth[:, 30:] = 13.0
    found = flying_pixels(depth, truth)
    assert found.good[:, :30].all()
    assert not found.good[:, 30:].any()
