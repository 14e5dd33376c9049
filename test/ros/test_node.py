"""The node over real ROS 2: what it publishes for what it hears."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from ros_graph import FakeCamera, Graph, stamp_of
from sensor_msgs.msg import Image

pytestmark = pytest.mark.ros


def test_every_input_stamp_gets_one_output(graph: Graph, tiny_checkpoint: Path) -> None:
    graph.start(tiny_checkpoint)
    camera = FakeCamera(graph)
    graph.listen(Image, 'depth/image')
    camera.wait_until_heard()
    sent = []
    for count in range(1, 301):
        sent.append(camera.send())
        graph.spin_until(lambda count=count: len(graph.heard['depth/image']) >= count, f'depth image {count}')
    graph.spin(0.2)
    assert [stamp_of(message) for message in graph.heard['depth/image']] == sent
