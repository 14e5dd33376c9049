"""Hostile messages through a running node, each beside a good image, which gets its answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')
pytest.importorskip('hypothesis', reason='hypothesis is not installed: `make setup` brings it')

from diagnostic_msgs.msg import DiagnosticArray
from hostile_messages import camera_infos, clouds, compressed_images, odometries, raw_images, scans
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from nav_msgs.msg import Odometry
from ros_graph import FakeCamera, Graph, stamp_of, status_of
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan, PointCloud2
from soak_cases import few_or_many, resident_mib

pytestmark = [pytest.mark.ros, pytest.mark.one_distribution]

CASES = few_or_many(12, 250)
"""How many hostile messages of each of four kinds a node is sent."""
GROWTH_MIB = 60
"""What the node's memory may grow by: its decoders, maps and meters fill, no message is kept."""


class Rig:
    """A node with one kind of range sensor, all scale sources on, and who sends to it."""

    def __init__(self, graph: Graph, checkpoint: Path, transport: str, range_type: str) -> None:
        self.graph = graph
        self.process = graph.start(
            checkpoint,
            device='cpu',
            image_transport=transport,
            range_type=range_type,
            scale_source='auto',
            scale_before='relative',
            camera_height=1.2,
            transforms=['base_link camera_optical 0 0 1 -1.57 0 -1.57', 'base_link laser 0 0 1 0 0 0'],
            max_image_pixels=65536,
        )
        self.is_raw = transport == 'raw'
        self.camera = FakeCamera(graph)
        kind, self.images = Image, self.camera.images
        if not self.is_raw:
            graph.node.destroy_publisher(self.images)
            kind, self.images = CompressedImage, graph.node.create_publisher(CompressedImage, 'image', 5)
        self.publishers = {
            kind: self.images,
            CameraInfo: self.camera.infos,
            Odometry: graph.node.create_publisher(Odometry, 'odometry', 5),
            **{kind: graph.node.create_publisher(kind, 'range', 5) for kind in (_range_kind(range_type),)},
        }
        self.answers: list[int] = []
        self.diagnostics: list[DiagnosticArray] = []
        for topic in ('depth/image', 'depth/relative'):
            graph.node.create_subscription(Image, topic, lambda message: self.answers.append(stamp_of(message)), 10)
        graph.node.create_subscription(DiagnosticArray, '/diagnostics', self.diagnostics.append, 10)

    def good(self) -> None:
        """Send a good image with its camera_info and wait for its depth."""
        self.camera.stamp_ns += 100_000_000
        self.camera.infos.publish(self.camera.info())
        self.images.publish(self.camera.image() if self.is_raw else self.camera.compressed())
        stamp = self.camera.stamp_ns
        self.graph.spin_until(lambda: stamp in self.answers, f'depth of the good image, stamp {stamp}')
        self.answers.clear()

    def hostile(self, message: Any) -> None:
        """Send a message that nobody should, and a good image after it."""
        if isinstance(message, Image):  # with a camera_info that fits it, or nobody would look into it
            self.camera.infos.publish(self.camera.info(width=message.width, height=message.height))
        self.publishers[type(message)].publish(message)
        self.graph.spin(0.02)
        self.good()

    def values(self) -> dict[str, str]:
        """Return the camera's values in the next diagnostics."""
        self.diagnostics.clear()
        self.graph.spin_until(lambda: self.diagnostics, 'diagnostics')
        return status_of(self.diagnostics[-1], 'depth: camera').values


def _range_kind(range_type: str) -> type:
    return {'scan': LaserScan, 'cloud': PointCloud2}[range_type]


@pytest.mark.parametrize(
    ('transport', 'range_type'), few_or_many([('raw', 'cloud')], [('raw', 'cloud'), ('compressed', 'scan')])
)
def test_good_images_beside_hostile_messages_all_get_their_depth(
    graph: Graph, tiny_checkpoint: Path, transport: str, range_type: str
) -> None:
    rig = Rig(graph, tiny_checkpoint, transport, range_type)
    graph.spin_until(
        lambda: all(publisher.get_subscription_count() for publisher in rig.publishers.values()), 'a subscribed node'
    )
    graph.spin(0.5)
    for _ in range(5):
        rig.good()
    before_mib = resident_mib(rig.process.pid)
    images = raw_images() if transport == 'raw' else compressed_images()
    ranges = clouds() if range_type == 'cloud' else scans()

    @settings(
        max_examples=CASES, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.tuples(images, camera_infos(), odometries(), ranges))
    def send_all(messages: tuple[Any, ...]) -> None:
        for message in messages:
            rig.hostile(message)

    send_all()
    values = rig.values()
    assert resident_mib(rig.process.pid) < before_mib + GROWTH_MIB
    # Each image that came is in one count, and so is what was refused of the others.
    dropped = {reason: int(count) for reason, count in values.items() if reason.startswith('dropped: ')}
    assert sum(dropped.values()) + int(values['depth images published']) == int(values['images received'])
    assert dropped.get('dropped: image that cannot be decoded', 0) > 0
    assert 'dropped: failure in processing' not in dropped
    # Ours are delivered as best effort.
    assert int(values['odometry messages received']) > CASES / 2
    assert int(values['range messages received']) > CASES / 2
    assert 'Traceback' not in graph.said()
