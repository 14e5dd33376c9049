from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sidepth_core.camera import Camera
from sidepth_core.errors import ConfigError
from sidepth_core.outputs import Cloud, FusedCloud, cloud_of, write_ply
from sidepth_core.outputs.clouds import flying

CAMERA = Camera(8, 6, 10.0, 20.0, 3.0, 2.0)


def test_convention_a_pixel_becomes_its_point_in_the_optical_frame() -> None:
    """Convention: (u, v) at depth z is ((u - cx) / fx, (v - cy) / fy, 1) z; worked out by hand for u = 7, v = 4."""
    depth = np.full((6, 8), np.nan, np.float32)
    depth[4, 7] = 5.0
    image = np.zeros((6, 8, 3), np.uint8)
    image[4, 7] = (10, 20, 30)
    cloud = cloud_of(depth, CAMERA, image, edges=True)
    np.testing.assert_allclose(cloud.points_m, [[2.0, 0.5, 5.0]])
    assert cloud.colours.tolist() == [[10, 20, 30]]


def test_points_that_are_too_far_or_unknown_are_left_out() -> None:
    depth = np.full((6, 8), 3.0, np.float32)
    depth[0, 0], depth[1, 1], depth[2, 2] = np.inf, np.nan, 50.0
    cloud = cloud_of(depth, CAMERA, np.zeros((6, 8, 3), np.uint8), farthest_m=10, edges=True)
    assert len(cloud.points_m) == 6 * 8 - 3


def test_points_between_two_surfaces_are_left_out() -> None:
    depth = np.full((60, 80), 20.0, np.float32)
    depth[:, 40:] = 4.0
    depth[:, 38:42] = (16.0, 12.0, 9.0, 6.0)
    assert flying(depth)[:, 38:42].all()
    assert not flying(depth)[:, :30].any()
    camera = Camera(80, 60, 70.0, 70.0, 39.5, 29.5)
    between = cloud_of(depth, camera, np.zeros((60, 80, 3), np.uint8)).points_m[:, 2]
    assert set(np.unique(between)) == {4.0, 20.0}


def test_sizes_that_differ_are_refused() -> None:
    with pytest.raises(ConfigError, match=r'depth, image and camera of one size: depth \(5, 8\)'):
        cloud_of(np.ones((5, 8), np.float32), CAMERA, np.zeros((6, 8, 3), np.uint8))


def test_fused_frames_lie_where_their_poses_say_with_one_point_a_voxel() -> None:
    """A post 4 m ahead, seen again from 1 m further on and turned by 90 degrees to the right."""
    fused = FusedCloud(voxel_m=0.2)
    near = np.array([[0.0, 0.0, 4.05], [0.05, 0.05, 4.15]], np.float32)
    fused.add(Cloud(near, np.full((2, 3), 10, np.uint8)), np.eye(4))
    turned = np.eye(4)
    turned[:3, :3] = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]  # the camera's forward is the world's right
    turned[:3, 3] = (1.0, 0.0, 0.0)
    fused.add(Cloud(np.array([[0.0, 0.0, 4.0]], np.float32), np.full((1, 3), 99, np.uint8)), turned)
    cloud = fused.cloud()
    assert len(cloud.points_m) == 2
    assert fused.frames == 2
    np.testing.assert_allclose(sorted(cloud.points_m.tolist()), [[0.0, 0.0, 4.05], [5.0, 0.0, 0.0]], atol=1e-6)


def test_of_many_frames_the_latest_point_of_a_voxel_stays() -> None:
    fused = FusedCloud(1.0)
    for index in range(40):
        fused.add(Cloud(np.array([[0.5, 0.5, 0.5]], np.float32), np.full((1, 3), index, np.uint8)), np.eye(4))
    assert fused.cloud().colours.tolist() == [[39, 39, 39]]


def test_a_ply_is_read_back_by_opencv(tmp_path: Path) -> None:
    points = np.array([[1.5, -2.0, 3.25], [0.0, 1.0, 40.0]], np.float32)
    colours = np.array([[255, 0, 128], [1, 2, 3]], np.uint8)
    write_ply(tmp_path / 'new' / 'cloud.ply', Cloud(points, colours))
    if not hasattr(cv2, 'loadPointCloud'):
        pytest.skip('this OpenCV reads no point clouds')
    read = cv2.loadPointCloud(str(tmp_path / 'new' / 'cloud.ply'))
    np.testing.assert_allclose(np.asarray(read[0]).reshape(-1, 3), points)
