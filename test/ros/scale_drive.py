"""A rendered drive as the topics of a robot: images, and all that can tell their scale, true or not."""

from __future__ import annotations

import array
import math
import time
from typing import Any

import numpy as np
import numpy.typing as npt
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from ros_graph import FakeCamera, Graph
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2, PointField, Range

from sidepth_core.camera import Camera
from sidepth_core.data.frames import Frame
from sidepth_core.data.synthetic import SyntheticSource

Floats = npt.NDArray[np.float64]

CAMERA = Camera.pinhole(320, 192, 70)
FRAMES = 16
FPS = 4
FRAME_NS = 1_000_000_000 // FPS
WORLD = 2.0
"""The robot's metres are half of the renderer's: no image can show it, so only what measures the scale finds it."""
SCAN_AXES = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]], np.float64)
"""The optical frame's axes in those of a sensor that looks ahead (REP 103), as a rotation sensor to optical."""


class RobotDrive:
    """A corridor as a robot with a camera, wheels and scanners sees it.

    Attributes:
        frames: What the camera sees, with the true depth in the renderer's metres.
    """

    def __init__(self) -> None:
        source = SyntheticSource('corridor', seed=33, frames=FRAMES, camera=CAMERA, fps=FPS)
        self.drive = source.drive()
        self.frames: list[Frame] = list(source)
        self.start_ns = time.time_ns()

    def stamp_ns(self, index: float) -> int:
        """Return the time of a frame, or between two."""
        return self.start_ns + round(index * FRAME_NS)

    def truth_m(self, index: int) -> npt.NDArray[np.float32]:
        """Return the true depth of a frame in the robot's metres, NaN where there is none, (H, W)."""
        depth_m = self.frames[index].depth_m
        assert depth_m is not None
        return np.where(np.isfinite(depth_m), depth_m * np.float32(WORLD), np.float32(np.nan))

    def mount(self, parent: str, child: str, *, height: float = WORLD, turned: float = 0.0) -> str:
        """Return where the camera sits, as a line of `transforms`: at so many times its height, turned about z."""
        T = self.drive.T_base_camera
        R = np.array([[math.cos(turned), -math.sin(turned), 0], [math.sin(turned), math.cos(turned), 0], [0, 0, 1]])
        R = R @ T[:3, :3]
        roll, yaw = math.atan2(R[2, 1], R[2, 2]), math.atan2(R[1, 0], R[0, 0])
        pitch = math.asin(-float(np.clip(R[2, 0], -1, 1)))
        x, y, z = T[:3, 3] * (1, 1, height)
        return f'{parent} {child} {x} {y} {z} {roll} {pitch} {yaw}'

    def odometry(self, index: float, *, frame: str = 'base', **changes: Any) -> Odometry:
        """Return what the wheels say at a time; changes replace speed, place, covariance or index of the stamp."""
        time_s = index / FPS
        velocity, turn = self.drive.twist(time_s)
        body = self.drive.pose(time_s) @ np.linalg.inv(self.drive.T_base_camera)
        message = Odometry(child_frame_id=frame)
        stamp(message, self.stamp_ns(changes.get('at', index)), 'odom')
        place, speed = message.pose.pose, message.twist.twist
        place.position.x, place.position.y, place.position.z = changes.get('place', body[:3, 3] * WORLD)
        speed.linear.x, speed.linear.y, speed.linear.z = changes.get('speed', velocity * WORLD)
        speed.angular.x, speed.angular.y, speed.angular.z = changes.get('turn', turn)
        heading = changes.get('heading', math.atan2(body[1, 0], body[0, 0])) / 2
        place.orientation.z, place.orientation.w = math.sin(heading), math.cos(heading)
        message.twist.covariance[0] = message.pose.covariance[0] = changes.get('variance', 0.0)
        return message

    def twist(self, index: float) -> TwistStamped:
        """Return the speed alone."""
        message = TwistStamped(twist=self.odometry(index).twist.twist)
        stamp(message, self.stamp_ns(index), 'base')
        return message

    def points(self, index: int, step: int = 16) -> Floats:
        """Return every so many pixels' points in the optical frame, (N, 3), in the robot's metres."""
        v, u = np.mgrid[step // 2 : CAMERA.height : step, step // 2 : CAMERA.width : step].reshape(2, -1)
        z = self.truth_m(index)[v, u].astype(np.float64)
        points = np.stack([(u - CAMERA.cx) / CAMERA.fx * z, (v - CAMERA.cy) / CAMERA.fy * z, z], axis=-1)
        return np.asarray(points[np.isfinite(z)])

    def scan(self, index: int, frame: str = 'laser') -> LaserScan:
        """Return what a scanner in the camera's place measures along the image's middle row, with beams that fail."""
        angles = np.linspace(-0.55, 0.55, 61)
        u = np.round(CAMERA.cx - np.tan(angles) * CAMERA.fx).astype(int)
        ranges = self.truth_m(index)[round(CAMERA.cy), u] / np.cos(angles)
        ranges[::9], ranges[4::9], ranges[7::9] = np.nan, np.inf, -1.0
        return self.scan_of(index, ranges, frame)

    def scan_of(self, index: int, ranges: Floats, frame: str = 'laser') -> LaserScan:
        """Return a scan with these ranges."""
        step = 1.1 / (len(ranges) - 1)
        message = LaserScan(angle_min=-0.55, angle_increment=step, range_min=0.1, range_max=100.0)
        message.ranges = np.asarray(ranges, np.float32).tolist()
        stamp(message, self.stamp_ns(index), frame)
        return message

    def cloud(self, index: int) -> PointCloud2:
        """Return what a LiDAR in the camera's place measures, in axes that look ahead."""
        data = (self.points(index) @ SCAN_AXES).astype(np.float32).tobytes()
        fields = [PointField(name=n, offset=4 * i, datatype=PointField.FLOAT32, count=1) for i, n in enumerate('xyz')]
        size = len(data) // 12
        message = PointCloud2(height=1, width=size, fields=fields, point_step=12, row_step=12 * size)
        message.data = array.array('B', data)
        stamp(message, self.stamp_ns(index), 'laser')
        return message

    def sonar(self, index: int) -> Range:
        """Return the nearest distance in a cone ahead."""
        reach = round(math.tan(0.1) * CAMERA.fx)
        rows, columns = (slice(round(c) - reach, round(c) + reach + 1) for c in (CAMERA.cy, CAMERA.cx))
        nearest = float(np.nanmin(self.truth_m(index)[rows, columns]))
        message = Range(field_of_view=0.2, min_range=0.2, max_range=100.0, range=nearest)
        stamp(message, self.stamp_ns(index), 'laser')
        return message

    def sparse(self, index: int) -> Image:
        """Return a depth image, registered to the camera's, of which few pixels are known."""
        depth = np.full((CAMERA.height, CAMERA.width), np.nan, np.float32)
        depth[8::16, 8::16] = self.truth_m(index)[8::16, 8::16]
        message = Image(height=CAMERA.height, width=CAMERA.width, encoding='32FC1', step=4 * CAMERA.width)
        message.data = array.array('B', depth.tobytes())
        stamp(message, self.stamp_ns(index), 'camera_optical')
        return message


def stamp(message: Any, stamp_ns: int, frame: str) -> None:
    """Put time and frame into a message's header."""
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    message.header.frame_id = frame


class DriveCamera(FakeCamera):
    """The camera of a drive."""

    def __init__(self, graph: Graph, drive: RobotDrive) -> None:
        super().__init__(graph, width=CAMERA.width, height=CAMERA.height)
        self.drive = drive

    def info(self, **changes: Any) -> CameraInfo:
        """Return the camera_info of the renderer's pinhole camera."""
        k = [CAMERA.fx, 0.0, CAMERA.cx, 0.0, CAMERA.fy, CAMERA.cy, 0.0, 0.0, 1.0]
        return super().info(**{'k': k, **changes})

    def show(self, index: int) -> int:
        """Publish a frame; return its stamp."""
        self.stamp_ns = self.drive.stamp_ns(index)
        self.infos.publish(self.info())
        self.images.publish(self.image(self.drive.frames[index].image))
        return self.stamp_ns
