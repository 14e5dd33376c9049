"""One run of the demo: which processes, with which arguments, and everything they publish into a bag."""

from __future__ import annotations

import argparse
import contextlib
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from sidepth_core.data.bags import NONE, BagWriter, Choice
from sidepth_core.errors import ConfigError
from sidepth_ros.tools.recorder import Receipt, Recorder
from sidepth_ros.tools.sequences import CAMERA_INFO, COMPRESSED, EXACT_DEPTH, IMAGE, bag_sequence

CAMERA = '/camera'
EXACT = f'{CAMERA}/{EXACT_DEPTH}'
INFO = f'{CAMERA}/{CAMERA_INFO}'
DEPTH, DEPTH_INFO, POINTS, DIAGNOSTICS = '/depth/image', '/depth/camera_info', '/depth/points', '/diagnostics'
MOST_POINTS = 70_000
"""A recorded cloud of more points than these is thinned out: the bag is to be looked at, not to fill the disk."""
QUIET_SECONDS = 1.5
"""So long after the last depth image no other one is on its way."""
SYNTHETIC_SIZE = (320, 200)
"""The shape of the images that the built-in checkpoint has learned from."""


class Plan(NamedTuple):
    """What a run consists of.

    Attributes:
        image_topic: Where the camera's images are.
        topics: Everything that is recorded, with its message class.
        camera_command: Module and arguments of the camera.
        node_command: Module and arguments of the node.
    """

    image_topic: str
    topics: dict[str, type[Any]]
    camera_command: list[str]
    node_command: list[str]


def make_plan(arguments: argparse.Namespace) -> Plan:
    """Return the run that a command line asks for.

    Raises:
        BagError: If the bag cannot be read, or it is not clear which camera of it is meant.
        ConfigError: If the bag does not say how its camera is calibrated.
    """
    camera = ['sidepth_ros.tools.camera_player', '--frames', str(arguments.frames), '--rate', str(arguments.rate)]
    # Node and recorder: before both listen, no image is sent.
    camera += ['--wait-for', '2']
    if arguments.bag is None:
        (width, height), topic = SYNTHETIC_SIZE, IMAGE
        camera += ['--scene', arguments.scene, '--seed', str(arguments.seed), '--size', f'{width}x{height}']
    else:
        (width, height), topic = bag_camera(arguments.bag, arguments.image_topic)
        camera += ['--bag', str(arguments.bag), '--odometry-topic', NONE]
        camera += ['--image-topic', arguments.image_topic] if arguments.image_topic else []
    image = f'{CAMERA}/{topic}'
    topics: dict[str, type[Any]] = {
        image: CompressedImage if topic == COMPRESSED else Image,
        INFO: CameraInfo,
        DEPTH: Image,
        DEPTH_INFO: CameraInfo,
        POINTS: PointCloud2,
        DIAGNOSTICS: DiagnosticArray,
        **({EXACT: Image} if arguments.bag is None else {}),
    }
    return Plan(image, topics, camera, node_command(arguments, image, cloud_stride(width, height)))


def bag_camera(path: Path, image_topic: str | None) -> tuple[tuple[int, int], str]:
    """Return width and height of a bag's camera, and whether it plays as IMAGE or COMPRESSED."""
    sequence = bag_sequence(path, Choice(image=image_topic, odometry=NONE), frames=1)
    info = next((message.data for message in sequence.messages if message.topic == CAMERA_INFO), None)
    if info is None:
        raise ConfigError(
            f'bag {str(path)!r} has no camera_info: the depth node needs a calibrated camera. '
            'Calibrate it (camera_calibration) and record camera_info with the images'
        )
    message = deserialize_message(info, CameraInfo)
    return (int(message.width), int(message.height)), sequence.image_topic


def cloud_stride(width: int, height: int) -> int:
    """Return the smallest stride whose cloud has no more than MOST_POINTS points."""
    return min(16, max(1, math.ceil(math.sqrt(width * height / MOST_POINTS))))


def node_command(arguments: argparse.Namespace, image: str, stride: int) -> list[str]:
    """Return module and arguments of the depth node, listening to the demo's camera; the user's parameters win."""
    parameters = [
        f'image_transport:={"compressed" if image.endswith("/compressed") else "raw"}',
        f'cloud_stride:={stride}',
        *([f'checkpoint:={arguments.checkpoint}'] if arguments.checkpoint else []),
        *arguments.parameter,
    ]
    words = ['sidepth_ros.node.main', '--ros-args', '-r', f'image:={image}', '-r', f'camera_info:={INFO}']
    return words + [word for parameter in parameters for word in ('-p', parameter)]


class Session:
    """What has been recorded so far.

    Attributes:
        bag: Folder of the bag.
        image_topic: Where the camera's images are.
        receipts: When which message came, by topic.
    """

    def __init__(self, bag: Path, image_topic: str, receipts: Mapping[str, Sequence[Receipt]]) -> None:
        self.bag = bag
        self.image_topic = image_topic
        self.receipts = receipts

    @property
    def images(self) -> int:
        """Images so far."""
        return len(self.receipts[self.image_topic])

    @property
    def depths(self) -> int:
        """Depth images so far."""
        return len(self.receipts[DEPTH])

    def wait_until_quiet(self) -> None:
        """Wait until no depth image is on its way any more; the node's diagnostics of then come in the meantime."""
        depths, since = self.depths, time.monotonic()
        while time.monotonic() - since < QUIET_SECONDS:
            time.sleep(0.1)
            if self.depths != depths:
                depths, since = self.depths, time.monotonic()


@contextlib.contextmanager
def recording(plan: Plan, bag: Path) -> Iterator[Session]:
    """Record everything a run publishes, for as long as the block lasts.

    Args:
        plan: The run.
        bag: Folder of the bag; it must not exist.
    """
    rclpy.init(args=[])  # the command line is the demo's own: rcl would take `-p NAME:=VALUE` for a remapping
    node = rclpy.create_node('demo')
    with BagWriter(bag, storage='mcap') as writer:
        recorder = Recorder(node, plan.topics, writer)
        thread = threading.Thread(target=_spin, args=(node,), name='recorder', daemon=True)
        thread.start()
        try:
            yield Session(bag, plan.image_topic, recorder.receipts)
        finally:
            rclpy.try_shutdown()
            thread.join()


def _spin(node: Node) -> None:
    with contextlib.suppress(ExternalShutdownException):
        rclpy.spin(node)
