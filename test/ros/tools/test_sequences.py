"""Drives as a camera player plays them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from nav_msgs.msg import Odometry
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from sidepth_core.data.bags.topics import NONE, Choice
from sidepth_core.data.bags.writer import BagWriter
from sidepth_core.errors import BagError
from sidepth_ros.messages.conversions import NumpyCodec
from sidepth_ros.tools.sequences import (
    CAMERA_INFO,
    COMPRESSED,
    EXACT_DEPTH,
    IMAGE,
    ODOMETRY,
    MessageSequence,
    bag_sequence,
    synthetic_sequence,
)

PERIOD_NS = 80_000_000


def stamped(kind: type, stamp_ns: int) -> bytes:
    """Return a serialized message of that time."""
    message = kind()
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    return bytes(serialize_message(message))


def write_bag(path: Path, images: int = 4, start_ns: int = 10**18, period_ns: int = PERIOD_NS) -> Path:
    """Write a compressed camera with its camera_info after each image, odometry, and a second camera's depth."""
    with BagWriter(path) as writer:
        for index in range(images):
            time_ns, log_ns = start_ns + index * period_ns, 10**18 + index * PERIOD_NS
            for offset, topic, name, kind in (
                (0, '/front/image_raw/compressed', 'CompressedImage', CompressedImage),
                (1, '/front/camera_info', 'CameraInfo', CameraInfo),
                (2, '/front/depth', 'Image', Image),
            ):
                writer.write_raw(topic, f'sensor_msgs/msg/{name}', log_ns + offset, stamped(kind, time_ns))
            writer.write_raw('/odometry', 'nav_msgs/msg/Odometry', log_ns, stamped(Odometry, time_ns))
    return path


def rhythm(sequence: MessageSequence, topic: str) -> list[int]:
    """Return when a topic's messages are due."""
    return [message.offset_ns for message in sequence.messages if message.topic == topic]


def test_bag_plays_its_camera_at_its_own_pace(tmp_path: Path) -> None:
    sequence = bag_sequence(write_bag(tmp_path / 'bag'), Choice())
    assert sequence.image_topic == COMPRESSED
    assert sequence.topics == {ODOMETRY: Odometry, CAMERA_INFO: CameraInfo, COMPRESSED: CompressedImage}
    assert rhythm(sequence, COMPRESSED) == rhythm(sequence, CAMERA_INFO) == [index * PERIOD_NS for index in range(4)]


def test_camera_info_goes_out_before_its_image(tmp_path: Path) -> None:
    sequence = bag_sequence(write_bag(tmp_path / 'bag'), Choice(odometry=NONE))
    assert [message.topic for message in sequence.messages] == [CAMERA_INFO, COMPRESSED] * 4


def test_first_frames_of_a_bag_can_be_taken_alone(tmp_path: Path) -> None:
    sequence = bag_sequence(write_bag(tmp_path / 'bag'), Choice(), frames=2)
    assert rhythm(sequence, COMPRESSED) == [0, PERIOD_NS]


def test_stamps_that_stand_still_give_way_to_the_recorders_times(tmp_path: Path) -> None:
    sequence = bag_sequence(write_bag(tmp_path / 'bag', start_ns=0, period_ns=0), Choice(odometry=NONE))
    assert rhythm(sequence, COMPRESSED) == [index * PERIOD_NS for index in range(4)]


def test_bag_without_a_camera_is_refused(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag') as writer:
        writer.write_raw('/odometry', 'nav_msgs/msg/Odometry', 1, stamped(Odometry, 1))
    with pytest.raises(BagError, match='holds no camera images'):
        bag_sequence(tmp_path / 'bag', Choice())


def test_synthetic_drive_carries_exact_depth_calibration_and_speed() -> None:
    sequence = synthetic_sequence('street', seed=3, frames=2, width=96, height=64, fps=10.0)
    assert rhythm(sequence, IMAGE) == rhythm(sequence, EXACT_DEPTH) == [0, 100_000_000]
    first = {
        message.topic: deserialize_message(message.data, sequence.topics[message.topic])
        for message in sequence.messages[:4]
    }
    image, depth = (NumpyCodec().imgmsg_to_cv2(first[topic]) for topic in (IMAGE, EXACT_DEPTH))
    assert (image.shape, image.dtype) == ((64, 96, 3), np.uint8)
    assert (depth.shape, depth.dtype) == ((64, 96), np.float32)
    assert (first[CAMERA_INFO].width, first[CAMERA_INFO].height) == (96, 64)
    assert first[ODOMETRY].twist.twist.linear.x > 0
    assert {first[topic].header.frame_id for topic in (CAMERA_INFO, EXACT_DEPTH, IMAGE)} == {'camera_optical_frame'}
