"""One camera's subscriptions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from sidepth_ros.messages import (
    Frame,
    Outcome,
    Pairing,
    UnsupportedEventTypeError,
    input_qos,
    overridable,
    policy_name,
    stamp_ns,
    watch,
)
from sidepth_ros.node.statistics import Statistics

IMAGE_TYPES: dict[str, type] = {'raw': Image, 'compressed': CompressedImage}


class CameraInput:
    """Subscribes to a camera's image and camera_info and hands on the images that have their camera_info.

    Args:
        node: Who subscribes.
        prefix: '' or 'NAME/', before the topic names.
        transport: 'raw' or 'compressed'.
        statistics: Where everything is counted.
        deliver: Called with each frame, in the executor's thread: it must be short.
        jumped: Called when stamps went back in time.
        warn: Called with a sentence for the log.
    """

    def __init__(
        self,
        node: Node,
        prefix: str,
        transport: str,
        statistics: Statistics,
        deliver: Callable[[Frame], None],
        jumped: Callable[[], None],
        warn: Callable[[str], None],
    ) -> None:
        self._node = node
        self._statistics = statistics
        self._deliver = deliver
        self._jumped = jumped
        self._warn = warn
        self._pairing = Pairing()
        self._last_stamp_ns = 0
        self.image_type = IMAGE_TYPES[transport]
        self.info_type = CameraInfo
        self.image_topic = node.resolve_topic_name(f'{prefix}image')
        self.info_topic = node.resolve_topic_name(f'{prefix}camera_info')
        self.incompatible: dict[str, str] = {}
        self._subscriptions: list[Subscription] = []

    def subscribe(self) -> None:
        """Start to listen."""
        # camera_info first: an image that comes in between would have to wait for the next one.
        self._subscriptions.append(self._subscribe(CameraInfo, self.info_topic, self._on_info))
        self._subscriptions.append(self._subscribe(self.image_type, self.image_topic, self._on_image))

    def unsubscribe(self) -> None:
        """Stop to listen; the newest camera_info stays known."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        self.incompatible.clear()

    def _subscribe(self, kind: type, topic: str, callback: Callable[[Any], None]) -> Subscription:
        def incompatible(event: Any) -> None:  # noqa: ANN401 - its type moved between distributions
            self.incompatible[topic] = policy_name(event.last_policy_kind)

        def lost(event: Any) -> None:  # noqa: ANN401 - as above
            self._statistics.lost(int(event.total_count))

        def create(on_lost: Callable[[Any], None] | None) -> Subscription:
            return self._node.create_subscription(
                kind,
                topic,
                callback,
                input_qos(),
                event_callbacks=watch(incompatible, on_lost),
                qos_overriding_options=overridable(),
            )

        try:
            return create(lost if kind is self.image_type else None)
        except UnsupportedEventTypeError:  # Cyclone DDS, for one, cannot tell what it lost
            return create(None)

    def _on_image(self, message: Image | CompressedImage) -> None:
        stamp = stamp_ns(message.header)
        if stamp < self._last_stamp_ns:
            self._pairing.reset()
            self._statistics.time_jumped()
            self._jumped()
        self._last_stamp_ns = stamp
        self._statistics.image_received(stamp)
        self._pass_on(self._pairing.image(message, time.monotonic()))

    def _on_info(self, message: CameraInfo) -> None:
        self._statistics.info_received(stamp_ns(message.header))
        self._pass_on(self._pairing.info(message))

    def _pass_on(self, outcome: Outcome) -> None:
        if outcome.lost and self._statistics.dropped(outcome.lost, outcome.detail):
            self._warn(f'{self.image_topic}: {outcome.lost}: {outcome.detail}')
        if outcome.frame is not None:
            self._deliver(outcome.frame)
