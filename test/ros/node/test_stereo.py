"""A stereo rig's left camera over real ROS 2: depth of its raw images lies on image_proc's image_rect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from ros_graph import FakeCamera, Graph
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from sidepth_core.camera import Camera
from sidepth_core.rectify import rectified_camera
from sidepth_ros.messages.conversions import NumpyCodec

pytestmark = pytest.mark.ros

K = np.array([[120.0, 0, 71.5], [0, 125.0, 50.25], [0, 0, 1]])
D = [-0.28, 0.07, 0.0005, -0.0007, 0.0]
R = cv2.Rodrigues(np.radians((0.6, -4.0, 0.9)))[0]
P = np.array([[110.0, 0, 78, 0], [0, 110.0, 46, 0], [0, 0, 1, 0]])
LEFT = {'k': K.ravel().tolist(), 'd': D, 'r': R.ravel().tolist(), 'p': P.ravel().tolist()}


@pytest.fixture(scope='module')
def camera(shared_graph: Graph, tiny_checkpoint: Path) -> FakeCamera:
    """Return a camera that a running node listens to."""
    shared_graph.start(tiny_checkpoint, range_gate=False)
    camera = FakeCamera(shared_graph)
    camera.wait_until_heard()
    return camera


def outputs(camera: FakeCamera, image: np.ndarray) -> tuple[np.ndarray, CameraInfo, np.ndarray, Any]:
    """Return depth (H, W), camera_info and points (H, W, 3) of an image, and the header they came under."""
    graph = camera.graph
    with (
        graph.hearing(Image, 'depth/image') as depths,
        graph.hearing(CameraInfo, 'depth/camera_info') as infos,
        graph.hearing(PointCloud2, 'depth/points') as clouds,
    ):
        camera.send_until_heard(depths, infos, clouds)
        camera.send(image, **LEFT)
        graph.spin_until(lambda: depths and infos and clouds, 'depth, camera_info and points')
    cloud, depth = clouds[0], np.asarray(NumpyCodec().imgmsg_to_cv2(depths[0]), np.float64)
    assert depths[0].header == infos[0].header == cloud.header
    return depth, infos[0], np.frombuffer(cloud.data, np.float32).reshape(96, 160, 4)[..., :3], cloud.header


def test_depth_of_raw_images_lies_on_image_rect_pixel_by_pixel(camera: FakeCamera) -> None:
    raw = cv2.GaussianBlur(camera.pixels(seed=3), (0, 0), 2)
    depth, info, points, header = outputs(camera, raw)
    # What image_proc does, fixed-point maps included, and publishes under the same frame.
    maps = cv2.initUndistortRectifyMap(K, np.array(D), R, P[:, :3], (160, 96), cv2.CV_16SC2)
    image_rect = cv2.remap(raw, *maps, cv2.INTER_LINEAR)
    assert camera.graph.set_parameters('depth', rectify='never').successful
    expected, its_info, its_points, _ = outputs(camera, image_rect)
    assert camera.graph.set_parameters('depth', rectify='auto').successful

    assert header.frame_id == camera.frame_id
    np.testing.assert_allclose(np.reshape(info.k, (3, 3)), P[:, :3])
    np.testing.assert_allclose(np.reshape(info.p, (3, 4)), P)
    np.testing.assert_allclose(np.reshape(info.r, (3, 3)), np.eye(3))
    np.testing.assert_array_equal(info.k, its_info.k)
    seen = np.isfinite(depth)
    x, y = cv2.initUndistortRectifyMap(K, np.array(D), R, P[:, :3], (160, 96), cv2.CV_32FC1)
    assert seen[(x > 0) & (x < 159) & (y > 0) & (y < 95)].all()
    assert not seen[(x < -1) | (x > 160) | (y < -1) | (y > 96)].any()
    np.testing.assert_allclose(depth[seen], expected[seen], rtol=0.01)
    np.testing.assert_allclose(points[seen], its_points[seen], rtol=0.01, atol=1e-4)
    rows, columns = np.nonzero(seen)
    rays = np.linalg.inv(P[:, :3]) @ np.stack([columns, rows, np.ones_like(rows)])
    np.testing.assert_allclose(points[seen], (rays * depth[seen]).T, rtol=1e-4, atol=1e-4)


def test_the_unrotated_view_is_to_be_had(camera: FakeCamera) -> None:
    raw = cv2.GaussianBlur(camera.pixels(seed=3), (0, 0), 2)
    assert camera.graph.set_parameters('depth', rectify_rotation=False).successful
    depth, info, _, header = outputs(camera, raw)
    assert camera.graph.set_parameters('depth', rectify_rotation=True).successful
    target = rectified_camera(Camera(160, 96, 120, 125, 71.5, 50.25, 'plumb_bob', tuple(D)))
    np.testing.assert_allclose(np.reshape(info.k, (3, 3)), target.matrix)
    assert header.frame_id == camera.frame_id
    assert np.isfinite(depth).all()
