"""What the node does with bad, late and odd input, over real ROS 2; it must go on whatever comes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from diagnostic_msgs.msg import DiagnosticArray
from ros_graph import FakeCamera, Graph, stamp_of, status_of
from sensor_msgs.msg import CameraInfo, Image

pytestmark = pytest.mark.ros


@pytest.fixture(scope='module')
def camera(shared_graph: Graph, tiny_checkpoint: Path) -> FakeCamera:
    """Return a camera that a running node listens to; nothing has been sent yet."""
    shared_graph.start(tiny_checkpoint)
    camera = FakeCamera(shared_graph)
    camera.wait_until_heard()
    return camera


def test_image_before_the_first_camera_info_waits_for_it(camera: FakeCamera) -> None:
    graph = camera.graph
    with graph.hearing(Image, 'depth/image') as heard:
        graph.spin(1.0)
        camera.stamp_ns += 100_000_000
        camera.images.publish(camera.image())
        graph.spin(1.0)
        assert not heard
        camera.infos.publish(camera.info())
        graph.spin_until(lambda: heard, 'the image that waited')
        assert stamp_of(heard[0]) == camera.stamp_ns


def test_changed_camera_info_counts_from_its_own_stamp_on(camera: FakeCamera) -> None:
    graph = camera.graph
    zoomed = [240.0, 0.0, 70.5, 0.0, 250.0, 51.0, 0.0, 0.0, 1.0]
    with graph.hearing(Image, 'depth/image') as depths, graph.hearing(CameraInfo, 'depth/camera_info') as infos:
        camera.send_until_heard(depths, infos)
        camera.send(k=zoomed)
        graph.spin_until(lambda: infos, 'a camera_info')
        assert infos[0].k[0] == 240.0
        infos.clear()
        camera.send()
        graph.spin_until(lambda: infos, 'a camera_info')
        assert infos[0].k[0] == 120.0


def test_region_of_interest_and_binning_are_in_the_camera_info(camera: FakeCamera) -> None:
    graph = camera.graph
    full = camera.info(width=400, height=300)
    full.roi.x_offset, full.roi.y_offset, full.roi.width, full.roi.height = 20, 10, 320, 192
    with graph.hearing(CameraInfo, 'depth/camera_info') as infos, graph.hearing(Image, 'depth/image') as depths:
        camera.send_until_heard(infos, depths)
        camera.send(width=400, height=300, roi=full.roi, binning_x=2, binning_y=2)
        graph.spin_until(lambda: infos and depths, 'a camera_info')
    # cx: crop by 20, then halve by the half-pixel rule: (71.5 - 20 + 0.5) / 2 - 0.5
    np.testing.assert_allclose(infos[0].k, [60, 0, 25.5, 0, 62.5, 19.875, 0, 0, 1])
    assert (infos[0].width, infos[0].height) == (depths[0].width, depths[0].height) == (160, 96)


def test_calibration_that_looks_wrong_is_said_and_used(camera: FakeCamera) -> None:
    graph = camera.graph
    with graph.hearing(Image, 'depth/image') as heard:
        camera.send_until_heard(heard)
        camera.send(k=[120.0, 0.0, 2.0, 0.0, 125.0, 50.25, 0.0, 0.0, 1.0])
        graph.spin_until(lambda: heard, 'a depth image')
    assert '/camera_info: principal point (2.0, 50.2) is far from the middle' in graph.said()


def wrong_length(camera: FakeCamera) -> None:
    image = camera.image()
    image.data = image.data[:-1]
    camera.images.publish(image)


def wrong_step(camera: FakeCamera) -> None:
    image = camera.image()
    image.step = 17
    camera.images.publish(image)


def wrong_encoding(camera: FakeCamera) -> None:
    image = camera.image()
    image.encoding = 'polka_dots'
    camera.images.publish(image)


def wrong_size(camera: FakeCamera) -> None:
    image = camera.image()
    image.height += 2
    camera.images.publish(image)


def info_of_another_size(camera: FakeCamera) -> None:
    camera.infos.publish(camera.info(width=320, height=240))
    camera.images.publish(camera.image())


def zero_k(camera: FakeCamera) -> None:
    camera.infos.publish(camera.info(k=[0.0] * 9))
    camera.images.publish(camera.image())


def unknown_distortion(camera: FakeCamera) -> None:
    camera.infos.publish(camera.info(distortion_model='funhouse', d=[0.1] * 5))
    camera.images.publish(camera.image())


@pytest.mark.parametrize(
    ('spoil', 'reason', 'detail'),
    [
        (wrong_length, 'image that cannot be decoded', 'expected 46080'),
        (wrong_step, 'image that cannot be decoded', 'step 17 is shorter'),
        (wrong_encoding, 'image that cannot be decoded', 'polka_dots'),
        (wrong_size, 'camera_info of another size', '160x98'),
        (info_of_another_size, 'camera_info of another size', '320x240'),
        (zero_k, 'camera_info that cannot be used', 'fx=0'),
        (unknown_distortion, 'camera_info that cannot be used', 'funhouse'),
    ],
)
def test_bad_input_is_counted_named_and_survived(
    camera: FakeCamera, spoil: Callable[[FakeCamera], None], reason: str, detail: str
) -> None:
    graph = camera.graph
    with graph.hearing(Image, 'depth/image') as heard, graph.hearing(DiagnosticArray, '/diagnostics') as diagnostics:
        camera.send_until_heard(heard)
        camera.stamp_ns += 100_000_000
        spoil(camera)
        graph.spin(0.3)
        # Of a size that does not fit, one image waits for a camera_info that does until the next one comes.
        stamp = camera.send()
        graph.spin_until(lambda: heard, 'depth of the good image after the bad one')
        assert [stamp_of(message) for message in heard] == [stamp]
        diagnostics.clear()
        graph.spin_until(lambda: diagnostics, 'diagnostics')
    status = status_of(diagnostics[-1], 'depth: camera')
    assert int(status.values[f'dropped: {reason}']) >= 1
    assert detail in status.message
    assert reason in graph.said()


def test_time_that_jumps_back_is_followed(camera: FakeCamera) -> None:
    graph = camera.graph
    assert graph.set_parameters('depth', stabilise=True).successful
    with graph.hearing(Image, 'depth/image') as heard, graph.hearing(DiagnosticArray, '/diagnostics') as diagnostics:
        camera.send_until_heard(heard)
        camera.stamp_ns -= 60_000_000_000
        sent = [camera.send()]
        graph.spin_until(lambda: heard, 'depth after the jump')
        sent.append(camera.send())
        graph.spin_until(lambda: len(heard) > 1, 'depth after that')
        assert [stamp_of(message) for message in heard] == sent
        diagnostics.clear()
        graph.spin_until(lambda: diagnostics, 'diagnostics')
    assert int(status_of(diagnostics[-1], 'depth: camera').values['jumps back in time']) >= 1


def test_depth_after_a_jump_owes_nothing_to_the_images_before_it(camera: FakeCamera) -> None:
    graph = camera.graph
    random = np.random.default_rng(1)
    before, after = random.integers(0, 256, (2, camera.height, camera.width, 3), dtype=np.uint8)
    with graph.hearing(Image, 'depth/image') as heard:
        camera.send_until_heard(heard)

        def depth_of(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            heard.clear()
            camera.send(image)
            graph.spin_until(lambda: heard, 'depth')
            return np.frombuffer(heard[-1].data, np.float32)

        assert graph.set_parameters('depth', stabilise=False).successful
        alone = depth_of(after)
        assert graph.set_parameters('depth', stabilise=True, stabilise_time=10.0).successful
        depth_of(before)
        assert not np.array_equal(depth_of(after), alone, equal_nan=True)
        camera.stamp_ns -= 60_000_000_000
        assert np.array_equal(depth_of(after), alone, equal_nan=True)
    assert graph.set_parameters('depth', stabilise=False).successful


def test_images_older_than_max_age_are_dropped_and_counted(camera: FakeCamera) -> None:
    graph = camera.graph
    with graph.hearing(Image, 'depth/image') as heard, graph.hearing(DiagnosticArray, '/diagnostics') as diagnostics:
        camera.send_until_heard(heard)
        assert graph.set_parameters('depth', max_age=5.0).successful
        camera.stamp_ns -= 600_000_000_000
        camera.send()
        graph.spin(1.0)
        assert not heard
        assert graph.set_parameters('depth', max_age=0.0).successful
        stamp = camera.send()
        graph.spin_until(lambda: heard, 'depth without a limit')
        assert stamp_of(heard[0]) == stamp
        diagnostics.clear()
        graph.spin_until(lambda: diagnostics, 'diagnostics')
    assert int(status_of(diagnostics[-1], 'depth: camera').values['dropped: older than max_age']) >= 1


def test_images_larger_than_the_limit_are_dropped_and_counted(camera: FakeCamera) -> None:
    graph = camera.graph
    with graph.hearing(Image, 'depth/image') as heard, graph.hearing(DiagnosticArray, '/diagnostics') as diagnostics:
        camera.send_until_heard(heard)
        assert graph.set_parameters('depth', max_image_pixels=10_000).successful
        camera.send()
        graph.spin(1.0)
        assert not heard
        assert graph.set_parameters('depth', max_image_pixels=100_000).successful
        stamp = camera.send()
        graph.spin_until(lambda: heard, 'depth with a larger limit')
        assert stamp_of(heard[0]) == stamp
        diagnostics.clear()
        graph.spin_until(lambda: diagnostics, 'diagnostics')
    status = status_of(diagnostics[-1], 'depth: camera')
    assert int(status.values['dropped: larger than max_image_pixels']) >= 1
    assert '160x96 has more than 10000 pixels' in status.message


def test_nothing_is_worked_on_while_nobody_subscribes(camera: FakeCamera) -> None:
    graph = camera.graph
    with graph.hearing(DiagnosticArray, '/diagnostics') as diagnostics:

        def count(key: str) -> int:
            diagnostics.clear()
            graph.spin_until(lambda: diagnostics, 'diagnostics')
            return int(status_of(diagnostics[-1], 'depth: camera').values[key])

        graph.spin(0.5)
        before = count('depth images published'), count('images without a subscriber')
        for _ in range(3):
            camera.send()
            graph.spin(0.3)
        assert count('images without a subscriber') > before[1]
        assert count('depth images published') == before[0]


def test_stamps_that_differ_are_said_and_depth_goes_on(camera: FakeCamera) -> None:
    graph = camera.graph
    with graph.hearing(Image, 'depth/image') as heard, graph.hearing(DiagnosticArray, '/diagnostics') as diagnostics:

        def is_said() -> bool:
            camera.stamp_ns += 50_000_000
            camera.infos.publish(camera.info())
            camera.stamp_ns += 50_000_000
            camera.images.publish(camera.image())
            graph.spin(0.05)
            words = 'stamps of /image and /camera_info differ: the newest camera_info is used'
            return bool(diagnostics) and words in status_of(diagnostics[-1], 'depth: camera').message

        graph.spin_until(is_said, 'diagnostics about the stamps')
    assert status_of(diagnostics[-1], 'depth: camera').level == 1
    assert heard
