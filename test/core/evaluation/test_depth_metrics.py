"""Depth scores against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sidepth_core.errors import ConfigError
from sidepth_core.evaluation.depth_metrics import (
    DepthProtocol,
    depth_scores,
    mean_scores,
    score_constant,
    score_image,
)


def row(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


def test_every_score_by_hand() -> None:
    # Off by +1 at 2 m, exact at 4 m, -4 at 10 m: ratios 1.5, 1, 1.667.
    scores = depth_scores(np.array([3.0, 4.0, 6.0]), np.array([2.0, 4.0, 10.0]))
    logs = np.array([math.log(1.5), 0, math.log(0.6)])
    assert scores.abs_rel == pytest.approx((0.5 + 0 + 0.4) / 3)
    assert scores.sq_rel == pytest.approx((0.5 + 0 + 1.6) / 3)
    assert scores.rmse == pytest.approx(math.sqrt((1 + 0 + 16) / 3))
    assert scores.rmse_log == pytest.approx(math.sqrt((logs**2).mean()))
    assert scores.silog == pytest.approx(100 * math.sqrt((logs**2).mean() - logs.mean() ** 2))
    assert (scores.d1, scores.d2, scores.d3) == pytest.approx((1 / 3, 2 / 3, 1))


def test_a_perfect_prediction_scores_zero_errors() -> None:
    truth = np.random.default_rng(0).uniform(1, 70, 50)
    assert depth_scores(truth, truth) == (0, 0, 0, 0, 0, 1, 1, 1)


def test_median_scaling_forgives_a_factor_and_the_unscaled_score_does_not() -> None:
    score = score_image(row(1, 2, 5), row(2, 4, 10), DepthProtocol())
    assert score is not None
    assert score.ratio == pytest.approx(2)
    assert score.scaled.abs_rel == pytest.approx(0, abs=1e-7)
    assert score.unscaled.abs_rel == pytest.approx(0.5)
    assert score.pixels == 3


def test_unknown_sky_and_far_truth_is_left_out() -> None:
    truth = row(np.nan, np.inf, 0, -3, 90, 10)
    score = score_image(row(1, 1, 1, 1, 1, 5), truth, DepthProtocol(max_depth_m=80))
    assert score is not None
    assert score.pixels == 1
    assert score.ratio == pytest.approx(2)
    assert score_image(row(1, 1), row(np.nan, np.inf), DepthProtocol()) is None


def test_predictions_are_capped_and_infinite_ones_count_as_far() -> None:
    score = score_image(row(np.inf, 500, np.nan, 10), row(40, 40, 40, 10), DepthProtocol(max_depth_m=80))
    assert score is not None
    assert score.unscaled.abs_rel == pytest.approx(3 / 4)
    low = score_image(row(1e-6, 10), row(2, 10), DepthProtocol(min_depth_m=1))
    assert low is not None
    assert low.unscaled.abs_rel == pytest.approx(0.5 / 2)


@pytest.mark.parametrize(
    ('crop', 'box'),
    # On KITTI's 375 x 1242: rows and columns as published code prints them.
    [('none', (0, 375, 0, 1242)), ('garg', (153, 371, 44, 1197)), ('eigen', (124, 342, 44, 1197))],
)
def test_crops_of_a_kitti_image(crop: str, box: tuple[int, int, int, int]) -> None:
    scored = DepthProtocol(crop=crop).scored(np.full((375, 1242), 10, np.float32))
    rows, columns = np.nonzero(scored.any(1))[0], np.nonzero(scored.any(0))[0]
    assert (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) == box


def test_the_best_constant_is_each_images_median() -> None:
    score = score_constant(row(5, 10, 20), DepthProtocol(), constant_m=4)
    assert score is not None
    assert score.scaled.abs_rel == pytest.approx((1 + 0 + 0.5) / 3)
    assert score.unscaled.abs_rel == pytest.approx((0.2 + 0.6 + 0.8) / 3)


def test_the_mean_counts_every_image_the_same() -> None:
    first = depth_scores(np.array([2.0]), np.array([1.0]))
    second = depth_scores(np.array([1.0, 1.0, 1.0]), np.array([1.0, 1.0, 1.0]))
    assert mean_scores([first, second]).abs_rel == pytest.approx(0.5)
    assert math.isnan(mean_scores([]).abs_rel)


def test_an_impossible_protocol_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"crop 'eigan' is not one of none, eigen, garg"):
        DepthProtocol(crop='eigan')
    with pytest.raises(ConfigError, match='0 < min < max'):
        DepthProtocol(min_depth_m=5, max_depth_m=5)
    with pytest.raises(ConfigError, match='expected the truth'):
        score_image(row(1, 2), row(1, 2, 3), DepthProtocol())
