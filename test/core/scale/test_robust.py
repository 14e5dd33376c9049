"""Medians that count parts of the image, not points."""

from __future__ import annotations

import numpy as np
import pytest

from sidepth_core.camera import Camera
from sidepth_core.scale.robust import evenly, middle_of, weighted_middle


def test_weighted_middle_has_half_of_the_weights_below_it() -> None:
    values = np.array([10.0, 1.0, 3.0, 2.0])
    assert weighted_middle(values, np.array([5.0, 1.0, 1.0, 1.0])) == 10.0
    assert weighted_middle(values, np.array([1.0, 5.0, 1.0, 1.0])) == 1.0
    assert weighted_middle(values, np.ones(4)) == middle_of(values) == 3.0


def test_convention_parts_of_the_image_begin_at_the_edges_of_pixels() -> None:
    camera = Camera(80, 50, 60, 70, 33.0, 21.0)  # 8 x 5 parts of 10 x 10 pixels; pixel 9 is the last of the first
    pixels = np.array([[-0.5, 0], [0, 0], [9.4, 9.4], [9.6, 0], [79.4, 49.4]])
    assert evenly(pixels, camera) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1, 1])
