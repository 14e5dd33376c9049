"""Rectification: the rectified view is full, straight, and agrees with projecting points through the lens."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from sidepth_core.camera import Camera
from sidepth_core.errors import ConfigError
from sidepth_core.rectify import (
    distort,
    fold_radius,
    rectification_grid,
    rectification_maps,
    rectified_camera,
    rectify_image,
)

PLUMB_BOB = Camera(1280, 720, 1155.9, 1150.6, 672.2, 388.6, 'plumb_bob', (-0.2485, -0.0195, -0.0006, 0.0002, 0.0086))
PINCUSHION = Camera(640, 480, 400, 410, 300, 250, 'plumb_bob', (0.3, 0.05, 0.001, -0.001))
RATIONAL = Camera(640, 480, 400, 410, 300, 250, 'rational_polynomial', (8.0, 4.0, 1e-4, 0, 0.2, 8.3, 6.0, 1.2))
FISHEYE = Camera(1280, 800, 420, 425, 640, 390, 'equidistant', (0.02, -0.01, 0.003, -0.001))
WIDE_FISHEYE = Camera(640, 480, 150, 150, 320, 240, 'equidistant', (0, 0, 0, 0))
LENSES = (PLUMB_BOB, PINCUSHION, RATIONAL, FISHEYE, WIDE_FISHEYE)


@pytest.mark.parametrize('camera', LENSES, ids=lambda camera: f'{camera.distortion_model}_{camera.fx:g}')
def test_rectified_view_shows_only_pixels_that_exist(camera: Camera) -> None:
    maps = rectification_maps(camera, rectified_camera(camera))
    assert maps.x.shape == (camera.height, camera.width)
    # 0.02 px for the rounding of OpenCV's float32 maps.
    assert maps.x.min() >= -0.02
    assert maps.x.max() <= camera.width - 1 + 0.02
    assert maps.y.min() >= -0.02
    assert maps.y.max() <= camera.height - 1 + 0.02


@pytest.mark.parametrize('camera', LENSES[:4], ids=lambda camera: f'{camera.distortion_model}_{camera.fx:g}')
def test_rectified_view_is_as_wide_as_it_can_be(camera: Camera) -> None:
    maps = rectification_maps(camera, rectified_camera(camera))
    slack = (maps.x.min(), camera.width - 1 - maps.x.max(), maps.y.min(), camera.height - 1 - maps.y.max())
    # Each side touches the border of the distorted image, or the limit of the half angle.
    tangents = rectified_camera(camera)
    at_limit = max(tangents.cx / tangents.fx, (camera.width - 1 - tangents.cx) / tangents.fx) > 2.14
    assert min(slack) < 1.0
    assert at_limit or max(slack) < 3.0


def test_convention_a_distorted_point_comes_back_to_its_rectified_pixel() -> None:
    target = rectified_camera(PLUMB_BOB)
    maps = rectification_maps(PLUMB_BOB, target)
    u, v = 100, 650
    point = np.array([[(u - target.cx) / target.fx, (v - target.cy) / target.fy, 1.0]])
    x, y = distort(point, PLUMB_BOB)[0]
    # Brown-Conrady by hand: x' = x (1 + k1 r2 + k2 r4 + k3 r6) + 2 p1 x y + p2 (r2 + 2 x2)
    a, b = point[0, :2]
    k1, k2, p1, p2, k3 = PLUMB_BOB.distortion
    r2 = a * a + b * b
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    by_hand = PLUMB_BOB.fx * (a * radial + 2 * p1 * a * b + p2 * (r2 + 2 * a * a)) + PLUMB_BOB.cx
    assert x == pytest.approx(by_hand, abs=1e-6)
    assert maps.x[v, u] == pytest.approx(x, abs=0.02)
    assert maps.y[v, u] == pytest.approx(y, abs=0.02)


def test_convention_equidistant_image_radius_is_proportional_to_the_angle() -> None:
    angle = np.radians(50)
    point = np.array([[np.sin(angle), 0, np.cos(angle)]])
    assert distort(point, WIDE_FISHEYE)[0] == pytest.approx([320 + 150 * angle, 240])


def test_convention_grid_samples_the_same_pixels_as_the_maps() -> None:
    target = rectified_camera(PLUMB_BOB)
    generator = np.random.default_rng(0)
    image = cv2.GaussianBlur(generator.integers(0, 255, (720, 1280, 3), dtype=np.uint8), (0, 0), 3)
    by_map = rectify_image(image, PLUMB_BOB).astype(np.float32)
    grid = torch.from_numpy(rectification_grid(PLUMB_BOB, target))[None]
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    by_grid = torch.nn.functional.grid_sample(tensor, grid, align_corners=False)[0].permute(1, 2, 0).numpy()
    # OpenCV interpolates with 1/32 pixel and rounds to whole grey levels.
    assert np.abs(by_map - by_grid).max() < 2.5
    assert grid.shape == (1, 720, 1280, 2)
    assert grid.dtype == torch.float32


def test_a_straight_wall_is_straight_after_rectification() -> None:
    # A vertical line at x = 0.45 of the plane Z = 1, drawn through the lens.
    image = np.zeros((720, 1280, 3), np.uint8)
    line = np.column_stack([np.full(400, 0.45), np.linspace(-0.3, 0.3, 400), np.ones(400)])
    pixels = distort(line, PLUMB_BOB)
    assert np.ptp(pixels[:, 0]) > 3
    cv2.polylines(image, [np.round(pixels).astype(np.int32)], False, (255, 255, 255), 2, cv2.LINE_AA)
    straight = rectify_image(image, PLUMB_BOB)[150:600, :, 0].astype(float)
    columns = straight @ np.arange(1280) / straight.sum(axis=1)
    target = rectified_camera(PLUMB_BOB)
    assert columns == pytest.approx(0.45 * target.fx + target.cx, abs=1.0)


def test_rectified_camera_of_a_rectified_camera_is_itself() -> None:
    camera = Camera(640, 480, 500, 510, 320, 240, 'plumb_bob', (0, 0, 0, 0, 0))
    assert rectified_camera(camera) == Camera(640, 480, 500, 510, 320, 240)
    image = np.zeros((480, 640, 3), np.uint8)
    assert rectify_image(image, camera) is image


def test_an_equidistant_lens_without_coefficients_still_bends_lines() -> None:
    assert not WIDE_FISHEYE.is_rectified
    assert rectified_camera(WIDE_FISHEYE).field_of_view_deg[0] == pytest.approx(130, abs=0.5)


def test_fold_radius_is_where_the_polynomial_turns_back() -> None:
    # d/dr (r + k1 r^3) = 0 at r = sqrt(1 / (3 * 0.3)).
    camera = Camera(640, 480, 400, 400, 320, 240, 'plumb_bob', (-0.3, 0, 0, 0))
    assert fold_radius(camera) == pytest.approx((1 / 0.9) ** 0.5, rel=0.01)


def test_coefficients_of_another_lens_are_refused() -> None:
    camera = Camera(640, 480, 400, 400, 3200, 240, 'plumb_bob', (-0.3, 0.1, 0, 0))
    with pytest.raises(ConfigError, match='expected the coefficients of this very camera'):
        rectified_camera(camera)


def turned(degrees: tuple[float, float, float]) -> np.ndarray:
    """Return the rotation by a vector of angles, (3, 3)."""
    return cv2.Rodrigues(np.radians(degrees))[0]


@pytest.mark.parametrize('camera', [PLUMB_BOB, RATIONAL, FISHEYE], ids=lambda camera: camera.distortion_model)
def test_convention_rotation_turns_directions_of_the_lens_into_those_of_the_target(camera: Camera) -> None:
    target = Camera(camera.width, camera.height, 300, 310, 250, 200)
    R = turned((2.0, -5.0, 1.0))
    maps = rectification_maps(camera, target, tuple(R.ravel().tolist()))
    point = np.array([0.1, -0.2, 2.0])  # in the lens' frame
    u, v, w = target.matrix @ R @ point
    by_lens = distort(point[None], camera)[0]
    spot = np.array([[[u / w, v / w]]], np.float32)
    found = [cv2.remap(values, spot, None, cv2.INTER_LINEAR)[0, 0] for values in maps]
    assert found == pytest.approx(by_lens, abs=0.1)


def test_maps_of_a_stereo_rigs_left_camera_are_those_of_opencv() -> None:
    R, target = turned((0.6, -2.0, 0.9)), Camera(1280, 720, 1000, 1000, 640, 360)
    K, D = PLUMB_BOB.matrix, np.array(PLUMB_BOB.distortion)
    x, y = cv2.initUndistortRectifyMap(K, D, R, target.matrix, (1280, 720), cv2.CV_32FC1)
    maps = rectification_maps(PLUMB_BOB, target, tuple(R.ravel().tolist()))
    np.testing.assert_array_equal(maps.x, x)
    np.testing.assert_array_equal(maps.y, y)
    assert np.abs(x - rectification_maps(PLUMB_BOB, target).x).mean() > 10
