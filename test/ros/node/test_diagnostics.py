"""What the graph is asked for the watchdog."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from sensor_msgs.msg import Image

from sidepth_ros.node.diagnostics import topic_facts

IMAGE = 'sensor_msgs/msg/Image'


class NodeDouble:
    """A node in a graph of these topics: type, and who publishes it."""

    def __init__(self, topics: dict[str, tuple[str, list[str]]]) -> None:
        self.topics = topics

    def get_name(self) -> str:
        return 'depth'

    def get_namespace(self) -> str:
        return '/'

    def get_topic_names_and_types(self) -> list[tuple[str, list[str]]]:
        return [(topic, [kind]) for topic, (kind, _) in self.topics.items()]

    def get_publishers_info_by_topic(self, topic: str) -> list[SimpleNamespace]:
        kind, nodes = self.topics.get(topic, ('', []))
        return [SimpleNamespace(topic_type=kind, node_name=name, node_namespace='/') for name in nodes]


def test_candidates_are_topics_of_that_type_that_others_publish() -> None:
    node = NodeDouble({
        '/depth/image': (IMAGE, ['depth']),
        '/cam/image_raw': (IMAGE, ['driver']),
        '/cam/old': (IMAGE, []),
        '/cam/camera_info': ('sensor_msgs/msg/CameraInfo', ['driver']),
    })  # fmt: skip
    facts = topic_facts(node, '/image', Image, '')
    assert (facts.publishers, facts.candidates) == (0, ('/cam/image_raw',))


@pytest.mark.parametrize(
    ('listened_to', 'published'),
    [('/cam/image', '/cam/image/compressed'), ('/cam/image/compressed', '/cam/image')],
)
def test_same_images_in_the_other_transport_are_found(listened_to: str, published: str) -> None:
    node = NodeDouble({published: ('any', ['driver'])})
    assert topic_facts(node, listened_to, Image, '').twin == published
    assert topic_facts(NodeDouble({published: ('any', [])}), listened_to, Image, '').twin == ''


def test_topic_that_is_published_needs_no_candidates() -> None:
    node = NodeDouble({'/image': (IMAGE, ['driver', 'driver']), '/cam/image_raw': (IMAGE, ['driver'])})
    facts = topic_facts(node, '/image', Image, 'reliability')
    assert (facts.publishers, facts.candidates, facts.incompatible) == (2, (), 'reliability')
