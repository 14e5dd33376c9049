"""The best depth by row: right where depth depends on the row alone, and never learned from what it is scored on."""

from __future__ import annotations

import numpy as np
import pytest

from sidepth_core.data.frames import DepthMap
from sidepth_core.evaluation.depth_metrics import DepthProtocol
from sidepth_core.evaluation.row_prior import RowPrior


def ground(height: int = 96, width: int = 128, *, camera_height_m: float = 1.5) -> DepthMap:
    """Return the depth of flat ground below a horizon in the middle, NaN above."""
    v = np.arange(height, dtype=np.float32)[:, None] - height / 2 + 0.5
    return np.where(v > 0, camera_height_m * height / np.maximum(v, 0.1), np.nan).repeat(width, 1).astype(np.float32)


def test_depth_that_the_row_tells_has_no_error_at_any_scale_and_size() -> None:
    prior = RowPrior(DepthProtocol())
    for place in range(6):
        prior.add(ground(96 * (1 + place % 2), camera_height_m=0.5 + place))
    scores = prior.result()
    assert scores is not None
    # A row of 128 holds up to two of an image, which are not equally far.
    assert scores.abs_rel < 0.02


def test_what_only_one_image_shows_is_not_known_before() -> None:
    prior = RowPrior(DepthProtocol())
    for place in range(5):
        truth = ground()
        if place == 2:
            truth[60:, :] = 4.0  # a wall that none of the others has
        prior.add(truth)
    scores = prior.result()
    assert scores is not None
    assert scores.abs_rel == pytest.approx(0.2 * 0.6, abs=0.1)
    assert scores.abs_rel > 0.05


def test_one_image_has_no_others_to_learn_from() -> None:
    prior = RowPrior(DepthProtocol())
    prior.add(ground())
    prior.add(np.full((96, 128), np.nan, np.float32))
    assert prior.result() is None


def test_rows_that_nobody_has_seen_take_the_depth_of_their_neighbours() -> None:
    prior = RowPrior(DepthProtocol())
    sparse = ground()
    sparse[50:70] = np.nan
    prior.add(sparse)
    prior.add(ground())
    scores = prior.result()
    assert scores is not None
    assert np.isfinite(scores).all()
