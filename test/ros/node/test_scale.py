"""The node measures its scale, says how well, and never lets depth without metres onto a topic that promises them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Vector3Stamped
from lifecycle_msgs.msg import Transition
from ros_graph import FakeCamera, Graph, status_of, write_checkpoint
from sensor_msgs.msg import Image, LaserScan

pytestmark = pytest.mark.ros

WALL_M = 3.0
PATIENT = {'latency_warn': 3000.0, 'latency_error': 3600.0}
"""Latency of a busy machine is not what is tested."""


class Laser:
    """A scanner in the camera's place that sees a wall."""

    def __init__(self, graph: Graph, camera: FakeCamera) -> None:
        self._publisher = graph.node.create_publisher(LaserScan, 'range', 5)
        self._camera = camera
        self.wall_m = WALL_M

    def transform(self) -> str:
        """Return where it sits."""
        return f'laser {self._camera.frame_id} 0 0 0 -1.5707963 0 -1.5707963'

    def send(self) -> None:
        """Publish a scan with the stamp that the next image will have."""
        angles = np.linspace(-0.4, 0.4, 81)
        scan = LaserScan(angle_min=-0.4, angle_increment=0.01, range_min=0.1, range_max=50.0)
        scan.ranges = (self.wall_m / np.cos(angles)).astype(np.float32).tolist()
        scan.header.frame_id = 'laser'
        scan.header.stamp.sec, scan.header.stamp.nanosec = divmod(self._camera.stamp_ns + 100_000_000, 1_000_000_000)
        self._publisher.publish(scan)


@pytest.fixture(scope='session')
def relative_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small checkpoint without metres."""
    return write_checkpoint(tmp_path_factory.mktemp('relative'), seed=0, scale='relative')


def pixels(message: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the depth of an image message."""
    return np.frombuffer(message.data, np.float32).reshape(message.height, message.width)


def show(graph: Graph, camera: FakeCamera, laser: Laser, heard: list[Any], count: int) -> None:
    """Send scans and images, one after the other, until so many messages were heard."""

    def step() -> bool:
        laser.send()
        graph.spin(0.05)
        camera.send()
        graph.spin(0.2)
        return len(heard) >= count

    graph.spin_until(step, f'{count} messages')


def test_ranges_give_metres_that_outlive_a_deactivation(graph: Graph, relative_checkpoint: Path) -> None:
    camera = FakeCamera(graph)
    laser = Laser(graph, camera)
    graph.start(relative_checkpoint, scale_source='range', transforms=[laser.transform()], range_gate=False)
    with (
        graph.hearing(Image, 'depth/image') as depths,
        graph.hearing(Vector3Stamped, 'depth/scale') as scales,
        graph.hearing(DiagnosticArray, '/diagnostics') as told,
    ):
        camera.wait_until_heard()
        show(graph, camera, laser, depths, 2)
        known = [one for one in scales if math.isfinite(one.vector.x)]
        assert any(math.isnan(one.vector.x) for one in scales), 'the first ones say that nothing is known yet'
        # The row of pixels that the scanner sees is a wall at its distance, as far as random weights are flat.
        row = pixels(depths[-1])[50, 20:140]
        assert np.median(row) == pytest.approx(WALL_M, rel=0.1)
        assert 0 < known[-1].vector.y < 1
        assert known[-1].vector.z == pytest.approx(0, abs=0.5)
        told.clear()
        graph.spin_until(lambda: told, 'diagnostics')
        values = status_of(told[-1], 'depth: camera').values
        assert values['scale in use'] == 'range'
        assert float(values['range: accepted']) >= 3
        assert float(values['dropped: scale not known yet']) >= 1

        assert graph.change_state('/depth', Transition.TRANSITION_DEACTIVATE)
        assert graph.change_state('/depth', Transition.TRANSITION_ACTIVATE)
        camera.wait_until_heard()
        scales.clear()
        graph.spin_until(lambda: camera.send() and graph.spins_until(lambda: scales, 1.0), 'a scale')
        assert math.isfinite(scales[0].vector.x), 'no scan came since: it is the one from before'

        camera.stamp_ns -= 3_600_000_000_000
        scales.clear()
        graph.spin_until(lambda: camera.send() and graph.spins_until(lambda: scales, 1.0), 'a scale')
        assert math.isnan(scales[-1].vector.x), 'time went back: what was learned is of another time'


def test_without_transform_nothing_promises_metres_and_relative_depth_is_marked(
    graph: Graph, relative_checkpoint: Path
) -> None:
    camera = FakeCamera(graph)
    graph.start(relative_checkpoint, scale_source='camera_height', scale_before='relative', **PATIENT)
    with (
        graph.hearing(Image, 'depth/image') as depths,
        graph.hearing(Image, 'depth/relative') as relative,
        graph.hearing(DiagnosticArray, '/diagnostics') as told,
    ):
        camera.wait_until_heard()
        camera.send_until_heard(relative)
        camera.send_until_heard(relative)
        assert not depths
        told.clear()
        graph.spin_until(lambda: told, 'diagnostics')
        status = status_of(told[-1], 'depth: camera')
        assert status.level == 1
        assert 'the scale is not known yet (camera_height: no transform' in status.message
        assert 'set camera_height' in status.message
        assert status.values['scale in use'] == 'none yet'


def test_relative_weights_without_source_name_the_measured_ones(graph: Graph, relative_checkpoint: Path) -> None:
    process = graph.start(relative_checkpoint)
    process.wait_for_words("'camera_height', 'odometry', 'range' or 'auto'")
    assert graph.state('/depth') == 'inactive'


def test_scale_that_ages_stops_depth_where_asked(graph: Graph, relative_checkpoint: Path) -> None:
    camera = FakeCamera(graph)
    laser = Laser(graph, camera)
    graph.start(
        relative_checkpoint, scale_source='range', transforms=[laser.transform()], range_gate=False,
        scale_timeout=2.0, scale_on_error='stop', **PATIENT,
    )  # fmt: skip
    with (
        graph.hearing(Image, 'depth/image') as depths,
        graph.hearing(DiagnosticArray, '/diagnostics') as told,
    ):
        camera.wait_until_heard()
        show(graph, camera, laser, depths, 2)
        camera.stamp_ns += 5_000_000_000
        graph.spin_until_quiet(depths)
        depths.clear()
        for _ in range(3):
            camera.send()
            graph.spin(0.5)
        assert not depths
        told.clear()
        graph.spin_until(lambda: told, 'diagnostics')
        status = status_of(told[-1], 'depth: camera')
        assert status.level == 2
        assert 'scale: range: not measured for' in status.message
        assert float(status.values['dropped: scale in ERROR']) >= 1
