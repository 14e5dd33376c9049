"""What the node publishes for what it hears, over real ROS 2; one node for all tests here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from rclpy.qos import qos_profile_sensor_data
from ros_graph import FakeCamera, Graph, stamp_of
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from sidepth_ros.messages.conversions import NumpyCodec

pytestmark = pytest.mark.ros

CONFIG = Path(__file__).parents[3] / 'config' / 'depth.yaml'


@pytest.fixture(scope='module')
def camera(shared_graph: Graph, tiny_checkpoint: Path) -> Iterator[FakeCamera]:
    """Return a camera that a running node listens to; it takes its defaults from the config file."""
    shared_graph.start(tiny_checkpoint, '--params-file', str(CONFIG), range_gate=False, confidence='flip')
    camera = FakeCamera(shared_graph)
    camera.wait_until_heard()
    return camera


def depth_of(message: Image) -> np.ndarray:
    return np.asarray(NumpyCodec().imgmsg_to_cv2(message), np.float64)


def points_of(message: PointCloud2) -> np.ndarray:
    values = np.frombuffer(message.data, np.float32).reshape(message.height, message.width, message.point_step // 4)
    return values[..., :3].astype(np.float64)


def test_every_input_stamp_gets_one_output(camera: FakeCamera) -> None:
    with camera.graph.hearing(Image, 'depth/image') as heard:
        camera.send_until_heard(heard)
        sent = []
        for count in range(1, 301):
            sent.append(camera.send())
            camera.graph.spin_until(lambda count=count: len(heard) >= count, f'depth image {count}')
        camera.graph.spin_until_quiet(heard)
        assert [stamp_of(message) for message in heard] == sent


def test_depth_image_is_what_rep_118_says(camera: FakeCamera) -> None:
    with camera.graph.hearing(Image, 'depth/image') as heard:
        camera.send_until_heard(heard)
        stamp = camera.send()
        camera.graph.spin_until(lambda: heard, 'a depth image')
    message = heard[0]
    assert (stamp_of(message), message.header.frame_id) == (stamp, 'camera_optical')
    assert (message.width, message.height, message.encoding, message.is_bigendian) == (160, 96, '32FC1', 0)
    assert (message.step, len(message.data)) == (160 * 4, 160 * 4 * 96)
    depth = depth_of(message)
    assert np.isfinite(depth).all()
    assert ((depth > 0.09) & (depth < 101)).all()
    assert depth.std() > 0


def test_camera_info_describes_the_depth_image(camera: FakeCamera) -> None:
    with camera.graph.hearing(CameraInfo, 'depth/camera_info') as heard:
        camera.send_until_heard(heard)
        stamp = camera.send()
        camera.graph.spin_until(lambda: heard, 'a camera_info')
    message = heard[0]
    assert (stamp_of(message), message.header.frame_id) == (stamp, 'camera_optical')
    assert (message.width, message.height) == (160, 96)
    np.testing.assert_allclose(message.k, [120, 0, 71.5, 0, 125, 50.25, 0, 0, 1])
    np.testing.assert_allclose(message.p, [120, 0, 71.5, 0, 0, 125, 50.25, 0, 0, 0, 1, 0])
    np.testing.assert_allclose(message.r, np.eye(3).ravel())
    assert not any(message.d)


@pytest.mark.parametrize('stride', [1, 3])
def test_cloud_agrees_with_depth_and_camera_info(camera: FakeCamera, stride: int) -> None:
    graph = camera.graph
    assert graph.set_parameters('depth', cloud_stride=stride).successful
    with (
        graph.hearing(Image, 'depth/image') as depths,
        graph.hearing(CameraInfo, 'depth/camera_info') as infos,
        graph.hearing(PointCloud2, 'depth/points') as clouds,
    ):
        camera.send_until_heard(depths, infos, clouds)
        stamp = camera.send(camera.pixels(seed=1))
        graph.spin_until(lambda: depths and infos and clouds, 'depth, camera_info and points')
    assert [stamp_of(heard[0]) for heard in (depths, infos, clouds)] == [stamp] * 3
    cloud, depth, k = clouds[0], depth_of(depths[0]), np.asarray(infos[0].k).reshape(3, 3)
    assert [(field.name, field.offset) for field in cloud.fields] == [('x', 0), ('y', 4), ('z', 8), ('rgb', 12)]
    assert (cloud.height, cloud.width) == (-(-96 // stride), -(-160 // stride))
    assert (cloud.point_step, cloud.row_step) == (16, 16 * cloud.width)
    assert not cloud.is_dense
    rows, columns = np.mgrid[0:96:stride, 0:160:stride]
    expected = np.linalg.inv(k) @ np.stack([columns, rows, np.ones_like(rows)]).reshape(3, -1)
    expected = (expected * depth[::stride, ::stride].ravel()).T.reshape(*rows.shape, 3)
    np.testing.assert_allclose(points_of(cloud), expected, atol=1e-4 * depth.max())
    # And back: the cloud seen through camera_info is the depth image again.
    pixels = points_of(cloud) @ k.T
    np.testing.assert_allclose(pixels[..., 0] / pixels[..., 2], columns, atol=1e-3)
    np.testing.assert_allclose(pixels[..., 1] / pixels[..., 2], rows, atol=1e-3)


def test_cloud_has_the_colours_of_the_image(camera: FakeCamera) -> None:
    graph = camera.graph
    assert graph.set_parameters('depth', cloud_stride=1).successful
    image = camera.pixels(seed=2)
    with graph.hearing(PointCloud2, 'depth/points') as clouds:
        camera.send_until_heard(clouds)
        camera.send(image)
        graph.spin_until(lambda: clouds, 'a cloud')
    packed = np.frombuffer(clouds[0].data, np.uint32).reshape(96, 160, 4)[..., 3]
    colours = np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=-1)
    np.testing.assert_array_equal(colours, image)


def test_other_images_say_the_same_as_the_depth_image(camera: FakeCamera) -> None:
    graph = camera.graph
    with (
        graph.hearing(Image, 'depth/image') as depths,
        graph.hearing(Image, 'depth/image_raw') as raws,
        graph.hearing(Image, 'depth/image_color') as colours,
        graph.hearing(Image, 'depth/confidence') as confidences,
    ):
        camera.send_until_heard(depths, raws, colours, confidences)
        stamp = camera.send()
        graph.spin_until(lambda: depths and raws and colours and confidences, 'all images')
    assert {stamp_of(heard[0]) for heard in (depths, raws, colours, confidences)} == {stamp}
    raw, colour, confidence = raws[0], colours[0], confidences[0]
    assert (raw.encoding, raw.step, colour.encoding, colour.step) == ('16UC1', 320, 'rgb8', 480)
    millimetres = np.where(depth_of(depths[0]) <= 65.535, depth_of(depths[0]) * 1000, 0)
    np.testing.assert_allclose(depth_of(raw), millimetres, atol=0.51)
    assert confidence.encoding == '32FC1'
    assert (depth_of(confidence) >= 0).all()
    assert (depth_of(confidence) <= 1).all()


def test_late_best_effort_and_reliable_subscribers_all_hear(camera: FakeCamera) -> None:
    graph = camera.graph
    with graph.hearing(Image, 'depth/image', 10) as reliable:
        camera.send_until_heard(reliable)
        with graph.hearing(Image, 'depth/image', qos_profile_sensor_data) as late:
            camera.send_until_heard(reliable, late)
            stamp = camera.send()
            graph.spin_until(lambda: reliable and late, 'both to hear')
    assert stamp_of(reliable[0]) == stamp_of(late[0]) == stamp
