"""Cameras and listeners around one node under test, in the benchmark's own process."""

from __future__ import annotations

import array
import math
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header

from sidepth_core.errors import SidepthError
from sidepth_ros.messages import stamp_ns

SETTLE_S = 1.0
"""So long images flow before anything counts."""
START_S = 180.0
"""How long a node may take to be ready."""
NETWORK_CLOCK = 'network per batch p50 [ms]'
"""What a node says of its network in diagnostics, the plain one too."""


class Window(NamedTuple):
    """What was seen while images came at a steady rate.

    Attributes:
        sent: Images sent.
        latencies_ms: From the stamp of each image to its depth (else its cloud) at the listener.
        cpu_s: Processor time of the node.
        seconds: How long it was.
    """

    sent: int
    latencies_ms: list[float]
    cpu_s: float
    seconds: float

    @property
    def cpu_ms(self) -> float:
        """Processor time for an image that was answered, milliseconds."""
        return 1e3 * self.cpu_s / max(1, len(self.latencies_ms))


class SpunNode:
    """A ROS node of this process, which a thread spins until it is closed.

    Attributes:
        node: The node.
    """

    def __init__(self, name: str) -> None:
        rclpy.init(args=[])
        self.node = rclpy.create_node(name)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)

    def spin(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Take everything off the graph."""
        self._executor.shutdown()
        rclpy.try_shutdown()
        self._thread.join(5.0)


class Stage(SpunNode):
    """Publishes the images of some cameras and hears what the node makes of them.

    Args:
        names: Of the cameras; '' for one without a prefix.
        transport: 'raw' or 'compressed'.
    """

    def __init__(self, names: Sequence[str] = ('',), transport: str = 'raw') -> None:
        super().__init__('benchmark')
        self._prefixes = [f'{name}/' if name else '' for name in names]
        self._transport = transport
        kind = Image if transport == 'raw' else CompressedImage
        self._images = [self.node.create_publisher(kind, f'{prefix}image', 1) for prefix in self._prefixes]
        self._infos = [self.node.create_publisher(CameraInfo, f'{prefix}camera_info', 1) for prefix in self._prefixes]
        self._heard: list[tuple[int, int]] = []
        self._subscriptions: list[Any] = []
        self.diagnosed: dict[str, str] = {}
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        self.spin()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.diagnosed.update({item.key: item.value for status in message.status for item in status.values})

    def told(self, key: str) -> float:
        """Return a number of the node's diagnostics; NaN where it has not said one."""
        try:
            return float(self.diagnosed[key])
        except (KeyError, ValueError):  # not yet said, or "not known"
            return math.nan

    def listen(self, topics: Sequence[str]) -> None:
        """Subscribe to these outputs of each camera, and to no others; the first one's messages are counted."""
        for subscription in self._subscriptions:
            self.node.destroy_subscription(subscription)
        self._subscriptions = []
        for prefix in self._prefixes:
            for index, topic in enumerate(topics):
                kind = PointCloud2 if topic == 'depth/points' else Image
                hear = self._hear if index == 0 else _ignore
                self._subscriptions.append(self.node.create_subscription(kind, f'{prefix}{topic}', hear, 1))

    def _hear(self, message: Image | PointCloud2) -> None:
        self._heard.append((stamp_ns(message.header), time.time_ns()))

    def wait_until_heard(self, log: Path) -> None:
        """Wait until the node subscribes to all images.

        Raises:
            SidepthError: If it does not in time.
        """
        deadline = time.monotonic() + START_S
        while not all(publisher.get_subscription_count() for publisher in self._images):
            if time.monotonic() > deadline:
                raise SidepthError(f'the node did not subscribe within {START_S:g} s, see {log}')
            time.sleep(0.05)

    def run(self, pid: int, size: tuple[int, int], rate_hz: float, seconds: float) -> Window:
        """Send images of a size (width, height) at a rate, and return what became of those after SETTLE_S."""
        image, info = picture(size, self._transport), camera_info(size)
        start = time.monotonic()
        cpu_s, counted_from_ns, sent = processor_s(pid), time.time_ns(), 0
        settled = False
        for count in range(round((SETTLE_S + seconds) * rate_hz)):
            time.sleep(max(0.0, start + count / rate_hz - time.monotonic()))
            if not settled and time.monotonic() - start >= SETTLE_S:
                settled, cpu_s, counted_from_ns, sent = True, processor_s(pid), time.time_ns(), 0
            header = Header(stamp=_time(time.time_ns()), frame_id='camera')
            image.header = info.header = header
            for infos, images in zip(self._infos, self._images, strict=True):
                infos.publish(info)
                images.publish(image)
                sent += 1
        time.sleep(0.3)
        used_s = processor_s(pid) - cpu_s
        latencies = [(heard - stamp) * 1e-6 for stamp, heard in list(self._heard) if stamp >= counted_from_ns]
        self._heard.clear()
        return Window(sent, latencies, used_s, seconds)


def _ignore(_: object) -> None:
    """Hear a message and do nothing."""


def _time(now_ns: int) -> Time:
    return Time(sec=now_ns // 1_000_000_000, nanosec=now_ns % 1_000_000_000)


def picture(size: tuple[int, int], transport: str) -> Image | CompressedImage:
    """Return a message with shapes and some texture: a JPEG of noise alone would be three times as long."""
    width, height = size
    random = np.random.default_rng(0)
    rough = random.integers(0, 256, (18, 32, 3), dtype=np.uint8)
    fine = random.integers(-8, 9, (height, width, 3), dtype=np.int16)
    smooth = cv2.resize(rough, size, interpolation=cv2.INTER_CUBIC)
    pixels = np.clip(smooth.astype(np.int16) + fine, 0, 255).astype(np.uint8)
    if transport == 'compressed':
        _, data = cv2.imencode('.jpg', pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
        return CompressedImage(format='rgb8; jpeg compressed bgr8', data=array.array('B', data.tobytes()))
    message = Image(encoding='rgb8', height=height, width=width, step=3 * width)
    message.data = array.array('B', pixels.tobytes())
    return message


def camera_info(size: tuple[int, int]) -> CameraInfo:
    """Return the camera_info of a pinhole camera of 71 degrees."""
    width, height = size
    focal = width * 0.7
    k = [focal, 0.0, width / 2, 0.0, focal, height / 2, 0.0, 0.0, 1.0]
    return CameraInfo(width=width, height=height, distortion_model='plumb_bob', d=[0.0] * 5, k=k)


def memory_mib(pid: int) -> float:
    """Return the memory that is a process' own, MiB (Linux); what it shares with others counts by its share."""
    lines = Path(f'/proc/{pid}/smaps_rollup').read_text(encoding='ascii').splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith('Pss:'))


def processor_s(pid: int) -> float:
    """Return the processor time that a process has used, seconds (Linux)."""
    fields = Path(f'/proc/{pid}/stat').read_text(encoding='ascii').rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
