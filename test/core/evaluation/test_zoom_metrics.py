"""Zoom scores: a network whose scale drifts with the zoom cannot hide."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sidepth_core.camera import Camera
from sidepth_core.evaluation.depth_metrics import DepthProtocol
from sidepth_core.evaluation.zoom_metrics import mean_zooms, score_zooms, zoomed_depth, zoomed_image

CAMERA = Camera(60, 40, 50, 60, 29.5, 14.5)
IMAGE = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
TRUTH = np.tile(np.linspace(5, 15, 40, dtype=np.float32)[:, None], (1, 60))


def test_zoomed_camera_doubles_the_focal_length_of_the_middle_half() -> None:
    image, camera = zoomed_image(IMAGE, CAMERA, 0.5)
    assert (camera.fx, camera.fy) == pytest.approx((100, 120))
    assert (camera.cx, camera.cy) == pytest.approx((29.5, (14.5 + 0.5 - 10) * 2 - 0.5))
    assert image.shape == IMAGE.shape
    # The zoomed pixel (20, 30) lies at row (20.5 / 2 + 10) - 0.5 = 19.75, column 29.75 of the original.
    weights = np.array([[0.25 * 0.25, 0.25 * 0.75], [0.75 * 0.25, 0.75 * 0.75]])
    expected = (IMAGE[19:21, 29:31].astype(float) * weights[..., None]).sum((0, 1))
    assert np.abs(image[20, 30] - expected).max() <= 0.51


def test_zoomed_depth_keeps_values_and_unknown_pixels() -> None:
    depth = TRUTH.copy()
    depth[15:25, 25:35] = np.nan
    zoomed = zoomed_depth(depth, 0.5)
    assert np.isnan(zoomed).sum() == 4 * np.isnan(depth).sum()
    assert np.isin(zoomed[np.isfinite(zoomed)], depth).all()


def test_a_scale_that_follows_the_zoom_shows_in_the_full_scale_and_the_drift_only() -> None:
    def predict(_image: np.ndarray, camera: Camera) -> np.ndarray:
        share = CAMERA.fx / camera.fx
        return zoomed_depth(TRUTH, share) * np.float32(share)  # right in shape, too near by the zoom

    rows = mean_zooms(score_zooms(predict, IMAGE, CAMERA, TRUTH, DepthProtocol(), shares=(1.0, 0.5)))
    assert [row.share for row in rows] == [1.0, 0.5]
    assert rows[0].drift_mean == pytest.approx(0)
    assert rows[0].full == rows[0].own
    assert rows[1].own.abs_rel == pytest.approx(0, abs=1e-6)
    assert rows[1].full.abs_rel == pytest.approx(0.5, abs=1e-6)
    assert rows[1].drift_mean == pytest.approx(math.log(0.5), abs=1e-6)


def test_drift_is_spread_over_images() -> None:
    scores = []
    for factor in (0.8, 1.25):

        def predict(_image: np.ndarray, camera: Camera, factor: float = factor) -> np.ndarray:
            share = CAMERA.fx / camera.fx
            return zoomed_depth(TRUTH, share) * np.float32(1 if share == 1 else factor)

        scores += score_zooms(predict, IMAGE, CAMERA, TRUTH, DepthProtocol(), shares=(1.0, 0.6))
    row = mean_zooms(scores)[1]
    assert row.images == 2
    assert row.drift_mean == pytest.approx(0, abs=1e-6)
    assert row.drift_std == pytest.approx(math.log(1.25), abs=1e-6)


def test_an_image_without_truth_has_no_scores() -> None:
    unknown = np.full_like(TRUTH, np.nan)
    assert score_zooms(lambda _image, _camera: TRUTH, IMAGE, CAMERA, unknown, DepthProtocol()) == []
