"""Stamps of serialized messages, against rclpy's own serialization."""

from __future__ import annotations

import struct

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from builtin_interfaces.msg import Time
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage
from std_msgs.msg import Header

from sidepth_core.errors import BagError
from sidepth_ros.messages.serialized import restamped, serialized_stamp_ns

STAMP_NS = 1_700_000_000_123_456_789


def message() -> CompressedImage:
    """Return a message with everything filled in."""
    stamp = Time(sec=STAMP_NS // 10**9, nanosec=STAMP_NS % 10**9)
    return CompressedImage(header=Header(stamp=stamp, frame_id='optical'), format='jpeg', data=b'\xff\xd8picture')


def test_stamp_is_that_of_the_header() -> None:
    assert serialized_stamp_ns(bytes(serialize_message(message()))) == STAMP_NS


def test_restamping_changes_the_stamp_and_nothing_else() -> None:
    data = restamped(bytes(serialize_message(message())), 5_000_000_007)
    expected = message()
    expected.header.stamp = Time(sec=5, nanosec=7)
    assert deserialize_message(data, CompressedImage) == expected


def test_big_endian_messages_are_understood() -> None:
    data = b'\0\0\0\0' + struct.pack('>iI', 12, 34) + b'rest'
    assert serialized_stamp_ns(data) == 12_000_000_034
    assert restamped(data, 56_000_000_078) == b'\0\0\0\0' + struct.pack('>iI', 56, 78) + b'rest'


def test_message_without_room_for_a_header_is_refused() -> None:
    with pytest.raises(BagError, match='message of 4 bytes has no header'):
        serialized_stamp_ns(bytes(serialize_message(CameraInfo()))[:4])
