"""A drive played as if it were a camera: the synthetic world or a bag, on <name>/image_raw and <name>/camera_info.

    ros2 run sidepth_ros camera_player                       # a synthetic drive; its exact depth on <name>/depth
    ros2 run sidepth_ros camera_player --bag DIR --loop      # a recording, its messages untouched but for the stamps
    ros2 run sidepth_ros camera_player --camera 0            # a webcam; a video file plays as one

Unlike `ros2 bag play` it stamps every message with the present, so that nothing needs a simulated clock: what listens
sees a camera.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image

from sidepth_core.camera import Camera
from sidepth_core.data.bags import Choice
from sidepth_core.data.calibration import read_calibration
from sidepth_core.data.live import LiveCamera
from sidepth_core.errors import ConfigError
from sidepth_ros.messages import restamped
from sidepth_ros.tools.executable import run_node, without_ros_arguments
from sidepth_ros.tools.sequences import (
    CAMERA_INFO,
    IMAGE,
    MessageSequence,
    bag_sequence,
    frame_messages,
    synthetic_sequence,
)

SYNTHETIC_SIZE = 320, 200

DISCOVERY_SECONDS = 1.0
"""How long a connection needs, once both ends know of each other, until messages arrive."""


class CameraPlayer:
    """Publishes a sequence. Reliable like most camera drivers, so that any subscriber can listen."""

    def __init__(self, node: Node, sequence: MessageSequence, name: str) -> None:
        self._node = node
        self._sequence = sequence
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.VOLATILE)
        self._outputs: dict[str, Publisher[Any]] = {
            topic: node.create_publisher(kind, f'{name}/{topic}', qos) for topic, kind in sequence.topics.items()
        }
        self.sent = 0

    def wait_for_subscribers(self, count: int, seconds: float) -> None:
        """Wait until the image has this many subscribers.

        Raises:
            ConfigError: If they do not come in time.
        """
        images = self._outputs[self._sequence.image_topic]
        deadline = time.monotonic() + seconds
        while images.get_subscription_count() < count:
            if time.monotonic() > deadline:
                raise ConfigError(
                    f'{images.topic_name!r} has {images.get_subscription_count()} subscribers after {seconds:g} s, '
                    f'expected {count}: is the node active, in this ROS_DOMAIN_ID, and subscribed to this topic?'
                )
            rclpy.spin_once(self._node, timeout_sec=0.05)
        time.sleep(DISCOVERY_SECONDS)

    def play(self, rate: float) -> None:
        """Publish every message when its time has come, stamped with that time."""
        start_ns = time.time_ns()
        for message in self._sequence.messages:
            due_ns = start_ns + round(message.offset_ns / rate)
            wait_ns = due_ns - time.time_ns()
            if wait_ns > 0:
                time.sleep(wait_ns / 1e9)
            self._outputs[message.topic].publish(restamped(message.data, due_ns))
            self.sent += message.topic == self._sequence.image_topic


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    commands = argparse.ArgumentParser(
        prog='camera_player',
        description='Play a drive as if it were a camera: a bag, or the synthetic world with its exact depth.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = commands.add_argument
    add('--bag', type=Path, help='rosbag2 to play; without one, a synthetic drive')
    add('--camera', metavar='SOURCE', help='webcam (its number or device) or video file to publish')
    add('--calibration', type=Path, metavar='FILE', help='of that camera, YAML or JSON')
    add('--fov', type=float, metavar='DEG', help='its horizontal field of view, where it is not calibrated')
    add('--image-topic', help='image topic of the bag, where it holds several cameras')
    add('--odometry-topic', help='odometry topic of the bag, where it holds several')
    add('--scene', default='street', help='synthetic drive: street, highway, corridor or mixed')
    add('--seed', type=int, default=7, help='which synthetic drive')
    add('--size', metavar='WxH', help='image size, pixels: synthetic (320x200), or asked of a webcam (its own)')
    add('--fps', type=float, default=10.0, help='synthetic images a second')
    add('--frames', type=int, default=0, help='images to play; 0: the whole bag, or 100 synthetic ones')
    add('--rate', type=float, default=1.0, help='0.5 plays half as fast')
    add('--loop', action='store_true', help='start again at the end')
    add('--name', default='camera', help='namespace of the topics')
    add('--wait-for', type=int, default=0, metavar='N', help='start when N subscribe to the image')
    add('--wait-seconds', type=float, default=120.0, help='how long to wait for them')
    add('--summary', type=Path, help='file for a line of JSON at the end: {"sent": number of images}')
    return commands


def load(arguments: argparse.Namespace) -> MessageSequence:
    """Return what is to be played."""
    if arguments.bag is not None:
        choice = Choice(image=arguments.image_topic, odometry=arguments.odometry_topic)
        return bag_sequence(arguments.bag, choice, frames=arguments.frames)
    width, height = size_of(arguments.size) or SYNTHETIC_SIZE
    return synthetic_sequence(arguments.scene, arguments.seed, arguments.frames or 100, width, height, arguments.fps)


def size_of(text: str | None) -> tuple[int, int] | None:
    """Return width and height of a text like 320x200; None for None.

    Raises:
        ConfigError: If it is not of that form.
    """
    if text is None:
        return None
    width, _, height = text.partition('x')
    if not (width.isdigit() and height.isdigit()):
        raise ConfigError(f'--size is {text!r}, expected WIDTHxHEIGHT, such as 320x200')
    return int(width), int(height)


def publish_live(node: Node, arguments: argparse.Namespace) -> None:
    """Publish a webcam or a video file as it comes, each image with the camera_info of the same stamp before it.

    Raises:
        ConfigError: If nothing says what its camera_info is.
    """
    if arguments.calibration is None and arguments.fov is None:
        raise ConfigError(
            f'camera {arguments.camera!r} is not calibrated, and metres depend on that: give --calibration FILE (YAML '
            'of camera_calibration, or JSON), or --fov DEG, its horizontal field of view'
        )
    calibration = read_calibration(arguments.calibration) if arguments.calibration else None
    qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.VOLATILE)
    outputs = {
        topic: node.create_publisher(kind, f'{arguments.name}/{topic}', qos)
        for topic, kind in ((CAMERA_INFO, CameraInfo), (IMAGE, Image))
    }
    topics = ' and '.join(each.topic_name for each in outputs.values())
    node.get_logger().info(f'publishing {arguments.camera} on {topics}; Ctrl-C ends it')
    sent = 0
    try:
        with LiveCamera(arguments.camera, calibration, size_of(arguments.size), loop=arguments.loop) as live:
            while (frame := live.next_frame()) is not None:
                height, width = frame.image.shape[:2]
                camera = frame.camera or Camera.pinhole(width, height, arguments.fov or 0.0)
                for topic, message in frame_messages(replace(frame, camera=camera)):
                    outputs[topic].publish(restamped(bytes(serialize_message(message)), frame.stamp_ns))
                sent += 1
                if sent == arguments.frames:
                    break
    finally:
        if arguments.summary:
            arguments.summary.write_text(json.dumps({'sent': sent}) + '\n', encoding='utf-8')


def play(node: Node, arguments: argparse.Namespace) -> None:
    """Play what the command line says."""
    if not arguments.rate > 0:
        raise ConfigError(f'--rate is {arguments.rate:g}, expected more than 0')
    player = CameraPlayer(node, load(arguments), arguments.name)
    try:
        player.wait_for_subscribers(arguments.wait_for, arguments.wait_seconds)
        player.play(arguments.rate)
        while arguments.loop:
            player.play(arguments.rate)
    finally:
        if arguments.summary:
            arguments.summary.write_text(json.dumps({'sent': player.sent}) + '\n', encoding='utf-8')


def main(argv: Sequence[str] | None = None) -> int:
    """Run the player; arguments after --ros-args are ROS's own."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = parser().parse_args(without_ros_arguments(arguments))
    work = publish_live if options.camera is not None else play
    return run_node('camera_player', arguments, lambda node: work(node, options))


if __name__ == '__main__':
    sys.exit(main())
