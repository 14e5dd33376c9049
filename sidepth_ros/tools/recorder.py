"""What passes on some topics, into a bag: serialized as it came, with the time at which it came."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from sidepth_ros.messages import serialized_stamp_ns


class Receipt(NamedTuple):
    """When a message came.

    Attributes:
        stamp_ns: The stamp in its header, nanoseconds.
        received_ns: When this process had it, nanoseconds of the same clock.
    """

    stamp_ns: int
    received_ns: int


class Writer(Protocol):
    """Where messages go: sidepth_core.data.bags.writer.BagWriter."""

    def write_raw(self, topic: str, kind: str, log_ns: int, data: bytes) -> None:
        """Write one serialized message."""
        ...


class Recorder:
    """Subscribes to topics and writes every message, undecoded, to a bag.

    Args:
        node: Who subscribes; somebody spins it.
        topics: Message class of each topic; each starts with a header.
        writer: Where messages go.
    """

    def __init__(self, node: Node, topics: Mapping[str, type[Any]], writer: Writer) -> None:
        self._writer = writer
        self.receipts: dict[str, list[Receipt]] = {topic: [] for topic in topics}
        # Best effort takes from every publisher; with shared memory nothing is lost for it.
        qos = QoSProfile(depth=20, reliability=ReliabilityPolicy.BEST_EFFORT)
        for topic, kind in topics.items():
            node.create_subscription(kind, topic, self._callback(topic, kind), qos, raw=True)

    def _callback(self, topic: str, kind: type[Any]) -> Any:  # noqa: ANN401 - a callback of rclpy
        name = message_type_name(kind)

        def write(data: bytes) -> None:
            received_ns = time.time_ns()
            self._writer.write_raw(topic, name, received_ns, data)
            self.receipts[topic].append(Receipt(serialized_stamp_ns(data), received_ns))

        return write


def message_type_name(kind: type[Any]) -> str:
    """Return the ROS name of a message class: 'sensor_msgs/msg/Image'."""
    package, _, _ = kind.__module__.partition('.')
    return f'{package}/msg/{kind.__name__}'
