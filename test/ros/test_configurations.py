"""Files of config/ name what the node really has: topics, types, services, parameters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from ros_graph import Graph

from sidepth_ros.node.parameters import SPECS

pytestmark = pytest.mark.ros

CONFIG = Path(__file__).parents[2] / 'config'
REMAPS = ('-r', 'image:=camera/image_raw', '-r', 'camera_info:=camera/camera_info')
CAMERA = {'/camera/image_raw': 'sensor_msgs/msg/Image', '/camera/camera_info': 'sensor_msgs/msg/CameraInfo'}


@pytest.fixture(scope='module')
def node(shared_graph: Graph, tiny_checkpoint: Path) -> Graph:
    """Return a graph with an active node that listens to a camera called camera."""
    shared_graph.start(tiny_checkpoint, '--ros-args', *REMAPS)
    shared_graph.spin_until(lambda: shared_graph.node.count_subscribers('/camera/image_raw'), 'an active node')
    shared_graph.spin(1.0)
    return shared_graph


def published(graph: Graph) -> dict[str, str]:
    """Return the node's outputs with their types."""
    return {name: kinds[0] for name, kinds in graph.node.get_publisher_names_and_types_by_node('depth', '/')}


def walk(value: object) -> Iterator[dict[str, object]]:
    """Yield every mapping inside a YAML or JSON value."""
    if isinstance(value, dict):
        yield value
    if isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from walk(item)


def test_rviz_shows_topics_that_are_there(node: Graph) -> None:
    displays = yaml.safe_load((CONFIG / 'sidepth.rviz').read_text())['Visualization Manager']['Displays']
    shown = {item['Topic']['Value']: item['Class'].rpartition('/')[2] for item in displays if 'Topic' in item}
    there = {**published(node), **CAMERA}
    assert {f'/{topic}' for topic in shown} <= there.keys()
    assert all(there[f'/{topic}'] == f'sensor_msgs/msg/{kind}' for topic, kind in shown.items())


def test_foxglove_shows_topics_that_are_there(node: Graph) -> None:
    layout = json.loads((CONFIG / 'foxglove_layout.json').read_text())
    named = {
        value for item in walk(layout) for key, value in item.items()
        if key in {'imageTopic', 'calibrationTopic', 'topicToRender'}
    }
    named |= set(layout['configById']['3D!cloud']['topics'])
    assert named <= {*published(node), *CAMERA}


def test_foxglove_arranges_every_panel_once() -> None:
    layout = json.loads((CONFIG / 'foxglove_layout.json').read_text())
    values = [value for item in walk(layout['layout']) for value in item.values()]
    assert sorted(value for value in values if str(value) in layout['configById']) == sorted(layout['configById'])


def test_nav2_takes_the_cloud(node: Graph) -> None:
    costmap = yaml.safe_load((CONFIG / 'nav2_voxel_layer.yaml').read_text())['local_costmap']['local_costmap']
    layer = costmap['ros__parameters']['voxel_layer']
    source = layer[layer['observation_sources']]
    assert published(node)[source['topic']] == 'sensor_msgs/msg/' + source['data_type']


def test_policy_allows_what_the_node_does_and_nothing_more(node: Graph) -> None:
    profile = ET.parse(CONFIG / 'sros2_policy.xml').find('.//profile')  # noqa: S314 - our own file
    assert profile is not None
    allowed: dict[str, set[str]] = {'publish': set(), 'subscribe': set(), 'reply': set()}
    for group in profile:
        for right in allowed.keys() & group.attrib.keys():
            allowed[right] |= {absolute(str(item.text)) for item in group}
    rclpy_node = node.node
    subscribed = {name for name, _ in rclpy_node.get_subscriber_names_and_types_by_node('depth', '/')}
    services = {name for name, _ in rclpy_node.get_service_names_and_types_by_node('depth', '/')}
    assert allowed['publish'] == set(published(node))
    assert subscribed <= allowed['subscribe']
    measures_scale = {'/odometry', '/range', '/tf', '/tf_static'}  # only where scale_source asks for them
    others = {'/clock', '/camera/image_raw/compressed', '/parameter_events'}
    assert allowed['subscribe'] - subscribed <= others | measures_scale
    assert services <= allowed['reply']
    assert allowed['reply'] - services <= {'/depth/get_type_description'}  # from Jazzy on


def absolute(name: str) -> str:
    """Return a policy's name as the graph knows it."""
    return name.replace('~', '/depth') if name.startswith('~') else f'/{name.lstrip("/")}'


def test_presets_speak_of_parameters_that_exist() -> None:
    text = (CONFIG / 'nav2_voxel_layer.yaml').read_text()
    for name in ('edge_gate', 'output_size', 'output_stride', 'cloud_stride'):
        assert name in text
        assert name in SPECS
