"""What a listener hears, over real ROS 2, while nobody spins the node that has subscribed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_graph import PATIENCE_S, Graph
from std_msgs.msg import String

from sidepth_ros.messages import watch
from sidepth_ros.node.listening import Aside, Listener

pytestmark = pytest.mark.ros


class Heard:
    """What came, and from which thread."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.threads: set[str] = set()
        self.faults: list[Exception] = []
        self._came = threading.Condition()

    def hear(self, message: String) -> None:
        with self._came:
            self.words.append(message.data)
            self.threads.add(threading.current_thread().name)
            self._came.notify_all()
        if message.data == 'bad':
            raise ValueError('a bad word')

    def fail(self, error: Exception) -> None:
        self.faults.append(error)

    def wait(self, done: Callable[[], object]) -> None:
        with self._came:
            assert self._came.wait_for(done, PATIENCE_S)


@pytest.fixture
def node(graph: Graph) -> Iterator[Node]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=graph.domain_id)
    node = rclpy.create_node('hearing', context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


def subscribe(node: Node, heard: Heard, topic: str = 'words', qos: object = 10, **more: Any) -> Any:
    return node.create_subscription(String, topic, heard.hear, qos, callback_group=Aside(), **more)


def test_messages_of_all_subscriptions_come_in_a_thread_of_their_own(graph: Graph, node: Node) -> None:
    heard = Heard()
    subscriptions = [subscribe(node, heard, topic) for topic in ('words', 'names')]
    listener = Listener(node, subscriptions, heard.fail)
    publishers = [graph.node.create_publisher(String, topic, 10) for topic in ('words', 'names')]
    graph.spin_until(lambda: all(each.get_subscription_count() for each in publishers), 'subscriptions')
    for word, publisher in zip(('one', 'two', 'three'), publishers * 2, strict=False):
        publisher.publish(String(data=word))
    heard.wait(lambda: len(heard.words) == 3)
    assert sorted(heard.words) == ['one', 'three', 'two']
    assert heard.threads == {'sidepth listener'}
    listener.stop()
    assert heard.faults == []


def test_executor_leaves_to_the_listener_what_is_aside(graph: Graph, node: Node) -> None:
    heard, also = Heard(), Heard()
    subscribe(node, heard)
    node.create_subscription(String, 'words', also.hear, 10)
    publisher = graph.node.create_publisher(String, 'words', 10)
    graph.spin_until(lambda: publisher.get_subscription_count() == 2, 'both subscriptions')
    publisher.publish(String(data='one'))
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    while not also.words:
        executor.spin_once(timeout_sec=PATIENCE_S)
    executor.spin_once(timeout_sec=0.2)
    executor.shutdown()
    assert heard.words == []


def test_callback_that_fails_is_told_of_and_the_next_message_is_heard(graph: Graph, node: Node) -> None:
    heard = Heard()
    listener = Listener(node, [subscribe(node, heard)], heard.fail)
    publisher = graph.node.create_publisher(String, 'words', 10)
    graph.spin_until(publisher.get_subscription_count, 'a subscription')
    for word in ('bad', 'good'):
        publisher.publish(String(data=word))
    heard.wait(lambda: heard.words == ['bad', 'good'])
    listener.stop()
    assert [str(fault) for fault in heard.faults] == ['a bad word']


def test_nothing_is_heard_after_the_stop_and_the_subscription_can_go(graph: Graph, node: Node) -> None:
    heard = Heard()
    subscription = subscribe(node, heard)
    listener = Listener(node, [subscription], heard.fail)
    publisher = graph.node.create_publisher(String, 'words', 10)
    graph.spin_until(publisher.get_subscription_count, 'a subscription')
    listener.stop()
    publisher.publish(String(data='late'))
    graph.spin(0.2)
    assert heard.words == []
    assert node.destroy_subscription(subscription)
    graph.spin_until(lambda: not publisher.get_subscription_count(), 'no subscription')


def test_stop_ends_a_listener_whose_context_has_ended(node: Node) -> None:
    heard = Heard()
    listener = Listener(node, [subscribe(node, heard)], heard.fail)
    node.context.shutdown()
    listener.stop()
    assert heard.faults == []


def test_events_of_a_subscription_are_heard_too(graph: Graph, node: Node) -> None:
    told = threading.Event()
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    subscription = subscribe(node, Heard(), qos=latched, event_callbacks=watch(lambda _: told.set(), None))
    listener = Listener(node, [subscription], print)
    publisher = graph.node.create_publisher(String, 'words', 10)
    assert told.wait(PATIENCE_S)
    listener.stop()
    graph.node.destroy_publisher(publisher)
