"""Weights of the canonical zoom convention: without a camera_info they say no metres, with one those of its lens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from diagnostic_msgs.msg import DiagnosticArray
from ros_graph import FakeCamera, Graph, status_of, write_checkpoint
from sensor_msgs.msg import Image

from sidepth_ros.messages.conversions import NumpyCodec

pytestmark = pytest.mark.ros


def test_metres_wait_for_the_camera_and_follow_its_focal_length(graph: Graph, tmp_path: Path) -> None:
    weights = write_checkpoint(tmp_path / 'canonical', seed=0, zoom_convention='canonical', focal_px=50.0)
    graph.start(weights, range_gate=False, input_timeout=0.5)
    camera = FakeCamera(graph)
    camera.wait_until_heard()
    with graph.hearing(Image, 'depth/image') as heard, graph.hearing(DiagnosticArray, '/diagnostics') as diagnostics:

        def is_missed() -> bool:
            camera.stamp_ns += 100_000_000
            camera.images.publish(camera.image())
            graph.spin(0.1)
            found = diagnostics[-1].status if diagnostics else []
            return any('no message on /camera_info ever' in status.message for status in found)

        graph.spin_until(is_missed, 'diagnostics that miss camera_info')
        assert status_of(diagnostics[-1], 'depth: camera').level == 2
        assert not heard
        camera.send_until_heard(heard)
        medians = []
        for zoom in (1.0, 2.0):
            camera.send(k=[120.0 * zoom, 0.0, 71.5, 0.0, 125.0 * zoom, 50.25, 0.0, 0.0, 1.0])
            graph.spin_until(lambda: heard, 'depth')
            medians.append(float(np.median(NumpyCodec().imgmsg_to_cv2(heard.pop()))))
    assert medians[1] == pytest.approx(2 * medians[0], rel=1e-3)
