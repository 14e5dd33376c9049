"""The table of topics and services against the graph of a real node."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from rclpy.node import NodeNameNonExistentError
from ros_graph import PATIENCE_S, Graph

from sidepth_ros.node.topics import INPUTS, NODE_OUTPUTS, OUTPUTS, SCALE_INPUTS, SERVICES, Interface

pytestmark = pytest.mark.ros

ROS_OWN = (
    *('parameter', 'log', 'transition', 'rosout', 'get_state', 'change_state', 'get_available', 'type_description'),
    *('/tf', '/clock'),
)
"""What rclpy and tf2 give a lifecycle node."""


def named(interfaces: tuple[Interface, ...]) -> dict[str, list[str]]:
    return {f'/{each.name.replace("~", "depth").lstrip("/")}': [each.type] for each in interfaces}


def own(list_names: Callable[[str, str], list[tuple[str, list[str]]]]) -> dict[str, list[str]]:
    try:
        found = dict(list_names('depth', '/'))
    except NodeNameNonExistentError:  # its name comes on its own, too
        found = {}
    return {name: kinds for name, kinds in found.items() if not any(part in name for part in ROS_OWN)}


def test_the_table_is_what_the_node_has(shared_graph: Graph, tiny_checkpoint: Path) -> None:
    shared_graph.start(tiny_checkpoint, scale_source='auto')
    shared_graph.spin_until(lambda: shared_graph.state('depth') == 'active', 'an active node')
    node = shared_graph.node
    # Each is heard of on its own, sooner or later.
    for list_names, interfaces in (
        (node.get_publisher_names_and_types_by_node, (*OUTPUTS, *NODE_OUTPUTS)),
        (node.get_subscriber_names_and_types_by_node, (*INPUTS, *SCALE_INPUTS)),
        (node.get_service_names_and_types_by_node, SERVICES),
    ):
        found, expected = partial(own, list_names), named(interfaces)
        shared_graph.spins_until(lambda found=found, expected=expected: found() == expected, PATIENCE_S)
        assert found() == expected
