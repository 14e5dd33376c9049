"""Medians that count parts of the image, not points."""

from __future__ import annotations

import numpy as np
import pytest

from sidepth_core.camera import Camera
from sidepth_core.scale.robust import evenly, least_relative, middle_of, weighted_middle


def test_weighted_middle_has_half_of_the_weights_below_it() -> None:
    values = np.array([10.0, 1.0, 3.0, 2.0])
    assert weighted_middle(values, np.array([5.0, 1.0, 1.0, 1.0])) == 10.0
    assert weighted_middle(values, np.array([1.0, 5.0, 1.0, 1.0])) == 1.0
    assert weighted_middle(values, np.ones(4)) == middle_of(values) == 3.0


def test_factor_for_all_parts_errs_least_as_a_share_of_the_true_depth() -> None:
    factors = np.array([0.5, 0.6, 0.8, 1.0, 1.9, 2.0])
    weights = np.array([1.0, 2.0, 1.0, 3.0, 4.0, 1.0])
    found = np.exp(least_relative(np.log(factors), weights))
    errors = {s: float((weights * np.abs(s / factors - 1)).sum()) for s in np.linspace(0.4, 2.1, 171)}
    best = min(errors, key=lambda s: errors[s])
    assert found == pytest.approx(best, abs=0.01)
    assert found < np.exp(weighted_middle(np.log(factors), weights)), 'what is too far errs by more than all'


def test_convention_parts_of_the_image_begin_at_the_edges_of_pixels() -> None:
    camera = Camera(80, 50, 60, 70, 33.0, 21.0)  # 8 x 5 parts of 10 x 10 pixels; pixel 9 is the last of the first
    pixels = np.array([[-0.5, 0], [0, 0], [9.4, 9.4], [9.6, 0], [79.4, 49.4]])
    assert evenly(pixels, camera) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1, 1])
