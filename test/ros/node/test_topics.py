"""The table of topics and services against the graph of a real node."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from ros_graph import Graph

from sidepth_ros.node.topics import INPUTS, NODE_OUTPUTS, OUTPUTS, SCALE_INPUTS, SERVICES, Interface

pytestmark = pytest.mark.ros

ROS_OWN = ('parameter', 'log', 'transition', 'rosout', 'get_state', 'change_state', 'get_available', 'type_description')
"""What rclpy gives every lifecycle node."""


def named(interfaces: tuple[Interface, ...]) -> dict[str, list[str]]:
    return {f'/{each.name.replace("~", "depth").lstrip("/")}': [each.type] for each in interfaces}


def own(found: list[tuple[str, list[str]]]) -> dict[str, list[str]]:
    return {name: kinds for name, kinds in found if not any(part in name for part in ROS_OWN)}


def test_the_table_is_what_the_node_has(shared_graph: Graph, tiny_checkpoint: Path) -> None:
    shared_graph.start(tiny_checkpoint, scale_source='auto')
    shared_graph.spin_until(lambda: shared_graph.state('depth') == 'active', 'an active node')
    node = shared_graph.node

    def published() -> dict[str, list[str]]:
        return own(node.get_publisher_names_and_types_by_node('depth', '/'))

    expected = named((*OUTPUTS, *NODE_OUTPUTS))
    shared_graph.spin_until(lambda: len(published()) >= len(expected), f'{expected}')
    assert published() == expected
    heard = own(node.get_subscriber_names_and_types_by_node('depth', '/'))
    assert {name: kinds for name, kinds in heard.items() if name not in {'/tf', '/tf_static', '/clock'}} == named(
        (*INPUTS, *SCALE_INPUTS)
    )
    assert own(node.get_service_names_and_types_by_node('depth', '/')) == named(SERVICES)
