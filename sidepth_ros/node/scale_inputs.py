"""What measures the scale beside the images: odometry, ranges and transforms, subscribed to only where asked for."""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from geometry_msgs.msg import TwistStamped, TwistWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image, LaserScan, PointCloud2, Range

from sidepth_core.camera import Camera
from sidepth_core.data.depth_truth import decode_depth, points_of_cloud
from sidepth_core.data.tracks import rigid, rotation_of_quaternion
from sidepth_core.errors import ScaleError, SidepthError
from sidepth_core.scale import Mount, Ranges, Refusal, Report, Surroundings, TravelLog, mount_of
from sidepth_core.scale.ranges import depth_image_points, scan_points
from sidepth_ros.messages import input_qos, overridable, stamp_ns
from sidepth_ros.node.parameters import Settings
from sidepth_ros.node.static_transforms import parse_transforms
from sidepth_ros.node.transforms import Transforms

Floats = npt.NDArray[np.float64]

ODOMETRY_TYPES = {
    'odometry': Odometry, 'twist': TwistStamped, 'twist_with_covariance': TwistWithCovarianceStamped,
}  # fmt: skip
RANGE_TYPES = {'scan': LaserScan, 'cloud': PointCloud2, 'range': Range, 'depth': Image}
ODOMETRY, RANGE = 'odometry', 'range'
"""The topics, before remapping."""
KEPT = 10
"""So many messages of the range sensor are kept to find the one nearest to an image."""
QUEUE = 20
NEAR_NS = 150_000_000
"""A range further from the image than this shows another place."""

NO_TRANSFORM = 'no transform'
NO_RANGES = 'range: none near the time of the image'
UNREADABLE = 'message that cannot be read'


class ScaleInputs:
    """Odometry, ranges and transforms of one node; written by the executor, read by the worker.

    Args:
        node: Who subscribes.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.travel = TravelLog()
        self._ranges: deque[Any] = deque(maxlen=KEPT)
        self._body_frame = ''
        self._lock = threading.Lock()
        self._transforms: Transforms | None = None
        self._subscriptions: list[Subscription] = []
        self._refused: Counter[str] = Counter()
        self._received: Counter[str] = Counter()
        self._source = ''

    def subscribe(self, settings: Settings) -> None:
        """Listen to what the scale source of these settings needs, and to nothing else."""
        self.unsubscribe()
        self._source = settings.scale_source
        if self._source not in {'camera_height', 'odometry', 'range', 'auto'}:
            return
        self._transforms = Transforms(self._node, parse_transforms(settings.transforms))
        if self._source in {'odometry', 'auto'}:
            self._add(ODOMETRY_TYPES[settings.odometry_type], ODOMETRY, self._on_odometry)
        if self._source in {'range', 'auto'}:
            self._add(RANGE_TYPES[settings.range_type], RANGE, self._on_range)

    def unsubscribe(self) -> None:
        """Stop to listen."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        if self._transforms is not None:
            self._transforms.close()
        self._transforms = None

    def forget(self) -> None:
        """Forget what was heard: time went back."""
        self.travel.clear()
        with self._lock:
            self._ranges.clear()

    def counts(self) -> dict[str, int]:
        """Return what came, and what of it was refused, by reason."""
        with self._lock:
            received = {f'{name} messages received': self._received[name] for name in self._topics()}
            return {**received, **{f'{reason}': count for reason, count in self._refused.items()}}

    def silent(self) -> list[str]:
        """Return the topics that were subscribed to and brought nothing, by their full names."""
        return [self._node.resolve_topic_name(name) for name in self._topics() if not self._received[name]]

    def _topics(self) -> tuple[str, ...]:
        return {'odometry': (ODOMETRY,), 'range': (RANGE,), 'auto': (ODOMETRY, RANGE)}.get(self._source, ())

    def _add(self, kind: type, topic: str, take: Callable[[Any], Refusal | None]) -> None:
        def callback(message: Any) -> None:  # noqa: ANN401 - of that kind
            try:
                refusal = take(message)
            except SidepthError as error:
                refusal = Refusal(f'{topic}: {UNREADABLE}', str(error))
            with self._lock:
                self._received[topic] += 1
                if refusal is not None:
                    self._refused[refusal.reason] += 1

        self._subscriptions.append(
            self._node.create_subscription(
                kind, topic, callback, input_qos(QUEUE), qos_overriding_options=overridable()
            )
        )

    def _on_odometry(self, message: Odometry | TwistStamped | TwistWithCovarianceStamped) -> Refusal | None:
        twist, variance, pose = message.twist, 0.0, None
        if not isinstance(message, TwistStamped):
            variance = float(message.twist.covariance[0])
            twist = message.twist.twist
        self._body_frame = message.header.frame_id
        if isinstance(message, Odometry):
            self._body_frame = message.child_frame_id
            place, turn = message.pose.pose.position, message.pose.pose.orientation
            pose = rigid(rotation_of_quaternion(turn.x, turn.y, turn.z, turn.w), (place.x, place.y, place.z))
        linear, angular = (np.array([part.x, part.y, part.z]) for part in (twist.linear, twist.angular))
        return self.travel.add(Report(stamp_ns(message.header), linear, angular, pose, variance))

    def _on_range(self, message: LaserScan | PointCloud2 | Range | Image) -> Refusal | None:
        with self._lock:
            if self._ranges and stamp_ns(message.header) < stamp_ns(self._ranges[-1].header):
                self._ranges.clear()  # its clock was reset
            self._ranges.append(message)
        return None

    def around(self, frame: str, camera: Camera, time_ns: int, settings: Settings) -> Surroundings | None:
        """Return what is known beside an image; None where the scale is not measured.

        Args:
            frame: The camera's optical frame.
            camera: The rectified camera of the image.
            time_ns: Time of the image.
            settings: What the user said.
        """
        transforms, source = self._transforms, settings.scale_source
        if transforms is None:
            return None
        mount: Mount | Refusal | None = None
        if source in {'camera_height', 'auto'}:
            mount = mount_from(settings, frame, transforms)
        if source == 'auto' and isinstance(mount, Refusal) and not settings.camera_height:
            mount = None  # nobody said a height: that is no fault of a source that was not asked for by name
        travel = self.travel if source in {'odometry', 'auto'} else None
        if source == 'auto' and self.travel.newest_ns is None:
            travel = None
        T_body_camera = transforms(self._body_frame, frame) if travel is not None and self._body_frame else None
        ranges = self._nearest(time_ns, frame, camera, transforms) if source in {'range', 'auto'} else None
        if source == 'auto' and isinstance(ranges, Refusal) and not self._received[RANGE]:
            ranges = None
        return Surroundings(mount, travel, T_body_camera, ranges)

    def _nearest(self, time_ns: int, frame: str, camera: Camera, transforms: Transforms) -> Ranges | Refusal:
        with self._lock:
            messages = list(self._ranges)
        near = [one for one in messages if abs(stamp_ns(one.header) - time_ns) <= NEAR_NS]
        if not near:
            newest = f'the newest is {(time_ns - stamp_ns(messages[-1].header)) / 1e9:.2f} s older' if messages else ''
            return Refusal(NO_RANGES, newest)
        message = min(near, key=lambda one: abs(stamp_ns(one.header) - time_ns))
        if isinstance(message, Image):
            return _of_depth_image(message, camera)
        T_camera_sensor = transforms(frame, message.header.frame_id)
        if T_camera_sensor is None:
            return Refusal(f'range: {NO_TRANSFORM}', transforms.missing(frame, message.header.frame_id))
        return _of_message(message, T_camera_sensor)


def mount_from(settings: Settings, frame: str, transforms: Transforms) -> Mount | Refusal:
    """Return how a camera sits over the ground: by parameters where they give its height, else by TF."""
    try:
        if settings.camera_height > 0:
            return mount_of(settings.camera_height, settings.camera_pitch, settings.camera_roll)
        T_ground_camera = transforms(settings.ground_frame, frame)
        if T_ground_camera is None:
            missing = transforms.missing(settings.ground_frame, frame)
            return Refusal(f'camera_height: {NO_TRANSFORM}', f'{missing}, or set camera_height')
        height_m = float(T_ground_camera[2, 3])
        if not (math.isfinite(height_m) and height_m > 0):
            return Refusal('camera_height: not above the ground', f'{settings.ground_frame} to {frame}: {height_m:g} m')
        x, y, z = (float(value) for value in -T_ground_camera[2, :3])  # the ground's z is up
        return Mount(height_m, (x, y, z))
    except ScaleError as error:
        return Refusal('camera_height: cannot be', str(error))


def _of_message(message: LaserScan | PointCloud2 | Range, T_camera_sensor: Floats) -> Ranges | Refusal:
    """Return a message's points in the optical frame."""
    cone = 0.0
    if isinstance(message, LaserScan):
        ranges = np.asarray(message.ranges, np.float64)
        points = scan_points(ranges, message.angle_min, message.angle_increment, message.range_min, message.range_max)
    elif isinstance(message, Range):
        points = scan_points(np.array([message.range]), 0.0, 0.0, message.min_range, message.max_range)
        cone = max(message.field_of_view / 2, 1e-3) if math.isfinite(message.field_of_view) else 1e-3
    else:
        try:
            points = points_of_cloud(
                [(field.name, field.offset, field.datatype) for field in message.fields],
                message.width, message.height, message.point_step, message.row_step,
                np.frombuffer(message.data, np.uint8), is_bigendian=message.is_bigendian,
            )  # fmt: skip
        except SidepthError as error:
            return Refusal(f'range: {UNREADABLE}', str(error))
    return Ranges(stamp_ns(message.header), points @ T_camera_sensor[:3, :3].T + T_camera_sensor[:3, 3], cone)


def _of_depth_image(message: Image, camera: Camera) -> Ranges | Refusal:
    """Return the points of a depth image that is registered to the camera's."""
    try:
        depth_m = decode_depth(
            np.frombuffer(message.data, np.uint8), message.encoding, message.width, message.height, message.step,
            is_bigendian=bool(message.is_bigendian),
        )  # fmt: skip
    except SidepthError as error:
        return Refusal(f'range: {UNREADABLE}', str(error))
    points = depth_image_points(depth_m.astype(np.float64), camera.resized(message.width, message.height))
    return Ranges(stamp_ns(message.header), points)
