"""What a camera's subscriptions report, without a middleware to lose messages."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from sidepth_ros.messages.quality_of_service import UnsupportedEventTypeError
from sidepth_ros.node.camera_input import CameraInput
from sidepth_ros.node.statistics import Statistics


class NodeDouble:
    """Remembers the subscriptions that are asked of it; some middlewares cannot tell what they lose."""

    def __init__(self, *, can_tell: bool = True) -> None:
        self.can_tell = can_tell
        self.events: dict[str, Any] = {}

    def resolve_topic_name(self, name: str) -> str:
        return f'/{name}'

    def create_subscription(self, _: type, topic: str, *__: object, event_callbacks: Any, **___: object) -> str:
        if event_callbacks.message_lost is not None and not self.can_tell:
            raise UnsupportedEventTypeError
        self.events[topic] = event_callbacks
        return topic

    def destroy_subscription(self, subscription: str) -> None:
        del self.events[subscription]


def listen(node: NodeDouble, statistics: Statistics) -> CameraInput:
    source = CameraInput(node, 'front/', 'raw', statistics, deliver=print, jumped=print, warn=print)
    source.subscribe()
    return source


def test_images_that_the_transport_lost_are_counted() -> None:
    node, statistics = NodeDouble(), Statistics()
    listen(node, statistics)
    node.events['/front/image'].message_lost(SimpleNamespace(total_count=7))
    assert statistics.report().lost == 7
    # A camera_info more or less is no loss.
    assert node.events['/front/camera_info'].message_lost is None


def test_middleware_that_cannot_tell_what_it_lost_is_listened_to_all_the_same() -> None:
    node = NodeDouble(can_tell=False)
    source = listen(node, Statistics())
    assert set(node.events) == {'/front/image', '/front/camera_info'}
    source.unsubscribe()
    assert not node.events


def test_policy_that_cannot_match_is_kept_by_topic_until_the_next_subscription() -> None:
    node = NodeDouble()
    source = listen(node, Statistics())
    node.events['/front/image'].incompatible_qos(SimpleNamespace(last_policy_kind=2))
    assert source.incompatible == {'/front/image': 'durability'}
    source.unsubscribe()
    assert source.incompatible == {}
