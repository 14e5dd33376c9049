"""The executor's loop over real callbacks that fail."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Timer

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from sidepth_ros.node.spin import spin

pytestmark = pytest.mark.ros


@pytest.fixture
def node(ros_environment: dict[str, str]) -> Iterator[Node]:
    """Return a node of a context of its own."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=int(ros_environment['ROS_DOMAIN_ID']))
    node = rclpy.create_node('spun', context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


def spun(node: Node) -> SingleThreadedExecutor:
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    return executor


def test_callback_that_fails_once_does_not_end_the_node(node: Node) -> None:
    calls = 0

    def callback() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError('graph of another moment')
        if calls == 3:
            node.context.shutdown()

    node.create_timer(0.01, callback)
    spin(spun(node), node.get_logger())
    assert calls == 3


def test_callback_that_always_fails_ends_the_node(node: Node) -> None:
    def failing() -> None:
        guard.trigger()
        raise RuntimeError('always')

    guard = node.create_guard_condition(failing)
    guard.trigger()
    with pytest.raises(RuntimeError, match='always'):
        spin(spun(node), node.get_logger())


def test_failure_that_the_end_of_the_context_causes_is_handed_on(node: Node) -> None:
    def callback() -> None:
        node.context.shutdown()
        raise RuntimeError('publisher without a context')

    node.create_timer(0.01, callback)
    with pytest.raises(RuntimeError, match='without a context'):
        spin(spun(node), node.get_logger())


def test_failure_a_moment_before_the_context_ends_is_handed_on_too(node: Node) -> None:
    def callback() -> None:
        Timer(0.005, node.context.shutdown).start()
        raise RuntimeError('taken away')

    node.create_timer(0.01, callback)
    with pytest.raises(RuntimeError, match='taken away'):
        spin(spun(node), node.get_logger())
