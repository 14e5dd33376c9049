"""Ray casting against what one can work out by hand, and against casting without any bounding boxes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sidepth_core.camera import Camera
from sidepth_core.data.synthetic.ground import ground_depth
from sidepth_core.data.synthetic.rays import camera_rays, undistort
from sidepth_core.data.synthetic.shapes import Builder, Kind, Shapes
from sidepth_core.data.synthetic.trace import Pairs, cast, trace, view
from sidepth_core.rectify import distort, rectified_camera, rectify_image

CPU = torch.device('cpu')
CAMERA = Camera(64, 48, 60.0, 50.0, 30.0, 22.0)
UP = np.array([0.0, 0.0, 1.0])
LENSES = {
    'plumb_bob': (-0.28, 0.09, 0.001, -0.0008, -0.01),
    'rational_polynomial': (0.3, 0.05, 0.0005, -0.001, 0.01, 0.5, 0.1, 0.02),
    'equidistant': (-0.02, 0.004, -0.002, 0.0004),
}


def looking_ahead(height_m: float = 0.0) -> np.ndarray:
    """Return the pose of a camera at the origin that looks along the world's x axis."""
    pose = np.eye(4)
    pose[:3, :3] = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    pose[2, 3] = height_m
    return pose


def depth_of(shapes: Shapes, camera: Camera = CAMERA, pose: np.ndarray | None = None) -> np.ndarray:
    rays = camera_rays(camera, CPU)
    solids = view(shapes, looking_ahead() if pose is None else pose, UP, rays)
    hits = trace(solids, rays, torch.full_like(rays.x, math.inf))
    return hits.depth_m.reshape(camera.height, camera.width).numpy()


def one(kind: Kind, centre: tuple[float, float, float], size: tuple[float, float, float], **more: object) -> Shapes:
    build = Builder()
    build.add(kind, centre, size, 0, **more)  # type: ignore[arg-type]
    return build.build()


def test_depth_is_along_z_and_not_along_the_ray() -> None:
    depth = depth_of(one(Kind.BOX, (10.0, 0.0, 0.0), (2.0, 4.0, 3.0)))
    # The front stands at x = 9 and reaches 2 m to both sides, 1.5 m up and down: u = 30 +- 60 * 2 / 9.
    rows, columns = np.nonzero(np.isfinite(depth))
    assert (columns.min(), columns.max()) == (17, 43)
    assert (rows.min(), rows.max()) == (14, 30)
    assert depth[np.isfinite(depth)] == pytest.approx(9.0, rel=1e-6)


def test_a_ball_and_a_pole_are_nearest_in_their_middle() -> None:
    ball = depth_of(one(Kind.ELLIPSOID, (8.0, 0.0, 0.0), (2.0, 2.0, 2.0)))
    pole = depth_of(one(Kind.CYLINDER, (8.0, 0.0, 0.0), (2.0, 2.0, 20.0)))
    assert ball[22, 30] == pytest.approx(7.0, rel=1e-6)
    assert pole[:, 30] == pytest.approx(7.0, rel=1e-6)
    # Off the axis by 6 columns, the ray x = 0.1 z meets the circle (z - 8)^2 + (0.1 z)^2 = 1.
    expected = (8 - math.sqrt(64 - 1.01 * 63)) / 1.01
    assert ball[22, 36] == pytest.approx(expected, rel=1e-5)
    assert pole[5, 36] == pytest.approx(expected, rel=1e-5)


def test_a_thin_pole_far_away_keeps_its_width_and_depth() -> None:
    camera = Camera(400, 8, 40000.0, 40000.0, 199.5, 3.5)
    depth = depth_of(one(Kind.CYLINDER, (100.0, 0.0, 0.0), (0.1, 0.1, 5.0)), camera)
    # 40 pixels wide; a discriminant in float32 would lose its edge.
    assert abs(np.isfinite(depth[4]).sum() - 40) <= 1
    assert depth[4, 199] == pytest.approx(99.95, abs=1e-3)


def test_a_cut_takes_the_corner_off_a_box() -> None:
    # What is kept is z - x <= 1 in half sizes: the upper edge of the front slopes away.
    cut = ((-1.0, 0.0, 1.0, 1.0),)
    depth = depth_of(one(Kind.CUT_BOX, (10.0, 0.0, 0.0), (4.0, 4.0, 4.0), cuts=cut))
    assert depth[30, 30] == pytest.approx(8.0, rel=1e-6)
    # Row 20 looks up by 2 / 50: the slope is the plane z = x - 8 there, met at x = 8 / (1 - 0.04).
    assert depth[20, 30] == pytest.approx(8 / 0.96, rel=1e-5)


def test_boxes_on_the_screen_lose_no_pixel() -> None:
    rng = np.random.default_rng(5)
    build = Builder()
    for kind in np.resize(list(Kind), 60):
        centre = (float(rng.uniform(-3, 30)), float(rng.uniform(-12, 12)), float(rng.uniform(-4, 4)))
        size = (float(rng.uniform(0.1, 5)), float(rng.uniform(0.1, 5)), float(rng.uniform(0.1, 5)))
        cuts = ((0.5, 0.2, 0.7, 0.6), (-0.4, 0.1, 0.8, 0.7))
        build.add(Kind(kind), centre, size, 0, yaw=float(rng.uniform(0, 6)), lie=bool(rng.integers(2)), cuts=cuts)
    shapes, rays = build.build(), camera_rays(CAMERA, CPU)
    solids = view(shapes, looking_ahead(), UP, rays)
    pixels = torch.arange(len(rays.x))
    count = len(solids.kind)
    everything = Pairs(torch.arange(count).repeat_interleave(len(pixels)), pixels.repeat(count))
    depth = torch.full_like(rays.x, math.inf)
    cast(solids, everything, rays.x, rays.y, depth, torch.full_like(pixels, -1))
    assert 0.2 < float(torch.isfinite(depth).float().mean()) < 1
    np.testing.assert_array_equal(depth_of(shapes).ravel(), depth.numpy())


def test_what_is_behind_the_camera_is_not_seen() -> None:
    assert np.isinf(depth_of(one(Kind.BOX, (-10.0, 0.0, 0.0), (2.0, 4.0, 3.0)))).all()


def test_the_ground_lies_where_its_row_says() -> None:
    rays = camera_rays(CAMERA, CPU)
    depth = ground_depth(rays.x, rays.y, looking_ahead(1.5)).reshape(48, 64)
    # Row 32 lies 10 below the horizon, which is row cy = 22.
    assert float(depth[32, 10]) == pytest.approx(1.5 * 50 / 10, rel=1e-5)
    assert torch.isinf(depth[:23]).all()


@pytest.mark.parametrize('model', LENSES)
def test_rays_of_a_distorted_camera_go_back_to_their_pixels(model: str) -> None:
    camera = Camera(96, 64, 60.0, 63.0, 50.0, 30.0, model, LENSES[model])
    u, v = np.meshgrid(np.arange(96.0), np.arange(64.0))
    x, y = undistort(camera, u, v)
    seen = np.isfinite(x)
    assert seen.mean() > 0.7
    back = distort(np.column_stack([x[seen], y[seen], np.ones(seen.sum())]), camera)
    np.testing.assert_allclose(back, np.column_stack([u[seen], v[seen]]), atol=1e-3)


@pytest.mark.parametrize('model', LENSES)
def test_a_distorted_view_rectified_is_the_rectified_view(model: str) -> None:
    camera = Camera(160, 120, 95.0, 99.0, 82.0, 57.0, model, LENSES[model])
    shapes = Shapes.joined(
        [one(Kind.BOX, (6.0, y, z), (1.0, 0.9, 0.8)) for y in (-3.0, -1.0, 1.0, 3.0) for z in (-1.5, 0.0, 1.5)]
    )
    seen = np.where(np.isfinite(depth_of(shapes, camera)), 255, 0).astype(np.uint8)
    flat = rectify_image(np.repeat(seen[..., None], 3, axis=2), camera)[..., 0]
    expected = np.where(np.isfinite(depth_of(shapes, rectified_camera(camera))), 255, 0)
    # Only the pixels that the boxes' edges run through may differ.
    assert (np.abs(flat.astype(int) - expected) > 128).mean() < 0.02
    assert 0.05 < (expected > 0).mean() < 0.9


def test_an_empty_world_is_all_background() -> None:
    assert np.isinf(depth_of(Builder().build())).all()
