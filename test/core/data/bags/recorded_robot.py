"""A robot that records: the messages of its camera, odometry, LiDAR and transforms, written into a bag by a test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sidepth_core.data.bags.writer import BagWriter

PERIOD_NS = 100_000_000
START_NS = 1_700_000_000_000_000_000
T = dict[str, Any]


class Robot:
    """Writes the messages that a robot with one camera publishes."""

    def __init__(self, writer: BagWriter) -> None:
        self.writer = writer
        self.types = writer.types.types

    def header(self, stamp_ns: int, frame: str) -> Any:
        stamp = self.types['builtin_interfaces/msg/Time'](stamp_ns // 10**9, stamp_ns % 10**9)
        return self.types['std_msgs/msg/Header'](stamp, frame)

    def image(
        self, stamp_ns: int, *, topic: str = '/cam/image_raw', size: tuple[int, int] = (64, 48), log_ns: int = 0
    ) -> None:
        width, height = size
        pixels = np.full((height, width, 3), (10, 20, 30), np.uint8)
        header = self.header(stamp_ns, 'optical')
        message = self.types['sensor_msgs/msg/Image'](header, height, width, 'bgr8', 0, 3 * width, pixels.ravel())
        self.writer.write(topic, message, log_ns or stamp_ns)

    def jpeg(self, stamp_ns: int, *, topic: str = '/cam/image_raw/compressed', data: bytes | None = None) -> None:
        pixels = np.full((48, 64, 3), (10, 20, 30), np.uint8)
        blob = np.frombuffer(data, np.uint8) if data else cv2.imencode('.jpg', pixels)[1].ravel()
        kind = self.types['sensor_msgs/msg/CompressedImage']
        message = kind(self.header(stamp_ns, 'optical'), 'bgr8; jpeg compressed bgr8', blob)
        self.writer.write(topic, message, stamp_ns)

    def camera_info(
        self, stamp_ns: int, *, topic: str = '/cam/camera_info', k: tuple[float, ...] = (50, 0, 32, 0, 51, 24, 0, 0, 1),
        size: tuple[int, int] = (64, 48),
    ) -> None:  # fmt: skip
        roi = self.types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, do_rectify=False)
        d, p = np.array([-0.1, 0.01, 0, 0, 0]), np.array([45.0, 0, 31, 0, 0, 46, 23, 0, 0, 0, 1, 0])
        message = self.types['sensor_msgs/msg/CameraInfo'](
            self.header(stamp_ns, 'optical'), size[1], size[0], 'plumb_bob', d, np.array(k, dtype=float),
            np.eye(3).ravel(), p, 0, 0, roi,
        )  # fmt: skip
        self.writer.write(topic, message, stamp_ns)

    def odometry(
        self, stamp_ns: int, x_m: float, speed_mps: float, *, topic: str = '/odom', yaw_rate: float = 0, log_ns: int = 0
    ) -> None:
        t = self.types
        vector, quaternion, covariance = t['geometry_msgs/msg/Vector3'], t['geometry_msgs/msg/Quaternion'], np.zeros(36)
        pose = t['geometry_msgs/msg/Pose'](t['geometry_msgs/msg/Point'](x_m, 0, 0), quaternion(0, 0, 0, 1))
        twist = t['geometry_msgs/msg/Twist'](vector(speed_mps, 0, 0), vector(0, 0, yaw_rate))
        message = t['nav_msgs/msg/Odometry'](
            self.header(stamp_ns, 'odom'), 'base_link',
            t['geometry_msgs/msg/PoseWithCovariance'](pose, covariance),
            t['geometry_msgs/msg/TwistWithCovariance'](twist, covariance),
        )  # fmt: skip
        self.writer.write(topic, message, log_ns or stamp_ns)

    def tf_static(
        self, parent: str, child: str, xyz: tuple[float, ...], xyzw: tuple[float, ...], *,
        topic: str = '/tf_static', log_ns: int = START_NS,
    ) -> None:  # fmt: skip
        t = self.types
        transform = t['geometry_msgs/msg/Transform'](
            t['geometry_msgs/msg/Vector3'](*xyz), t['geometry_msgs/msg/Quaternion'](*xyzw)
        )
        stamped = t['geometry_msgs/msg/TransformStamped'](self.header(START_NS, parent), child, transform)
        self.writer.write(topic, t['tf2_msgs/msg/TFMessage']([stamped]), log_ns)

    def cloud(
        self, stamp_ns: int, points: list[tuple[float, float, float]], frame: str = 'lidar', *, log_ns: int = 0
    ) -> None:
        t = self.types
        fields = [t['sensor_msgs/msg/PointField'](axis, 4 * i, 7, 1) for i, axis in enumerate('xyz')]
        data = np.array(points, dtype='<f4').view(np.uint8).ravel()
        message = t['sensor_msgs/msg/PointCloud2'](
            self.header(stamp_ns, frame), 1, len(points), fields, False, 12, 12 * len(points), data, True
        )
        self.writer.write('/lidar', message, log_ns or stamp_ns)

    def speed(self, log_ns: int, speed_mps: float) -> None:
        self.writer.write('/vehicle/speed', self.types['std_msgs/msg/Float32'](speed_mps), log_ns)


Drive = Callable[[Robot], None]
OPTICAL = (-0.5, 0.5, -0.5, 0.5)
"""From the axes of a body (x forward, y left) to those of a camera that looks forward."""


def write(path: Path, drive: Drive, storage: str = 'mcap') -> Path:
    with BagWriter(path, storage) as writer:
        drive(Robot(writer))
    return path


def stamps(count: int, start: int = START_NS) -> list[int]:
    return [start + index * PERIOD_NS for index in range(count)]


def plain(robot: Robot) -> None:
    for stamp in stamps(3):
        robot.camera_info(stamp)
        robot.image(stamp)
