"""Write a rosbag2 recording, mcap or sqlite3, without ROS: images, camera_info, odometry, transforms, anything else.

Metadata follow version 8 of the format, which every rosbag2 from Humble on reads and plays. Storage and serialization
are those of rosbags; what is ours are the messages.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from sidepth_core.camera import Camera
from sidepth_core.errors import BagError, ConfigError, ImageFormatError
from sidepth_core.rectify import rectified_camera

STORAGES = {'mcap': StoragePlugin.MCAP, 'sqlite3': StoragePlugin.SQLITE3}
METADATA_VERSION = 8
FOREVER = QosTime(0, 0)
VOLATILE = Qos(
    QosHistory.KEEP_LAST, 10, QosReliability.RELIABLE, QosDurability.VOLATILE,
    FOREVER, FOREVER, QosLiveliness.AUTOMATIC, FOREVER, avoid_ros_namespace_conventions=False,
)  # fmt: skip
"""What publishers offer of most topics."""
LATCHED = VOLATILE._replace(depth=1, durability=QosDurability.TRANSIENT_LOCAL)
"""What publishers of /tf_static offer; played with anything else, its late listeners would get nothing."""
ENCODINGS = {('uint8', 3): 'rgb8', ('uint8', 1): 'mono8', ('uint16', 1): '16UC1', ('float32', 1): '32FC1'}
"""Encoding of an array's dtype and number of channels."""
Matrix = npt.NDArray[np.float64]


class BagWriter:
    """A recording that is being written: a context manager.

    The bag grows beside its place under a temporary name and moves there at the end of the block, so that it is
    there whole or not at all; after an exception nothing is left.

    Args:
        path: Folder of the bag; it must not exist.
        storage: 'mcap' or 'sqlite3'.

    Raises:
        BagError: If the folder exists.
        ConfigError: If there is no such storage.
    """

    def __init__(self, path: Path, storage: str = 'mcap') -> None:
        if storage not in STORAGES:
            raise ConfigError(f'bag storage {storage!r} is not one of {", ".join(STORAGES)}')
        self.path = Path(path)
        self._refuse_existing()
        self.types = get_typestore(Stores.ROS2_JAZZY)
        """Message types by their ROS names: `types.types['sensor_msgs/msg/Image']`."""
        self.counts: dict[str, int] = {}
        """Messages written so far, by topic."""
        self._plugin = STORAGES[storage]
        self._connections: dict[str, Connection] = {}

    def __enter__(self) -> BagWriter:  # noqa: PYI034 - Self needs Python 3.11
        """Create the files under a temporary name."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # A folder of the bag's own name inside: rosbag2 names the files after it.
        self._workshop = Path(tempfile.mkdtemp(prefix=f'.{self.path.name}.', dir=self.path.parent))
        self._writer = Writer(self._workshop / self.path.name, version=METADATA_VERSION, storage_plugin=self._plugin)
        try:
            self._writer.open()
        except BaseException:
            shutil.rmtree(self._workshop, ignore_errors=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write metadata.yaml and move the bag to its place; after an exception remove it."""
        try:
            if kind is not None:
                self._writer.abort()
                return
            self._writer.close()
            self._refuse_existing()
            self._writer.path.rename(self.path)
        finally:
            shutil.rmtree(self._workshop, ignore_errors=True)

    def _refuse_existing(self) -> None:
        if self.path.exists():
            raise BagError(f'bag {str(self.path)!r} exists already: name another folder, or remove that one first')

    def add_topic(self, topic: str, kind: str, *, qos: Sequence[Qos] = (VOLATILE,)) -> None:
        """Announce a topic; needed only for one that may stay without messages, or whose QoS matters.

        Args:
            topic: Its name.
            kind: Message type, 'sensor_msgs/msg/Image'.
            qos: What its publishers offer.

        Raises:
            ConfigError: If there is no such message type, or the topic is there already.
        """
        if topic in self._connections:
            raise ConfigError(f'topic {topic!r} is in the bag already, as {self._connections[topic].msgtype}')
        if kind not in self.types.types:
            raise ConfigError(f'{kind!r} is not a message type that is known here, such as sensor_msgs/msg/Image')
        self._connections[topic] = self._writer.add_connection(
            topic, kind, typestore=self.types, offered_qos_profiles=qos
        )
        self.counts[topic] = 0

    def write_raw(self, topic: str, kind: str, log_ns: int, data: bytes | memoryview) -> None:
        """Write a serialized message.

        Args:
            topic: Its topic.
            kind: Its type, 'sensor_msgs/msg/Image'.
            log_ns: When it came, nanoseconds.
            data: CDR bytes.

        Raises:
            ConfigError: If the topic holds messages of another type, or the type is unknown.
        """
        if topic not in self._connections:
            self.add_topic(topic, kind)
        connection = self._connections[topic]
        if connection.msgtype != kind:
            raise ConfigError(f'topic {topic!r} holds {connection.msgtype}, not {kind}')
        self._writer.write(connection, log_ns, data)
        self.counts[topic] += 1

    def write(self, topic: str, message: Any, log_ns: int) -> None:  # noqa: ANN401 - a message of `types`
        """Write a message made of `types`."""
        kind = message.__msgtype__
        self.write_raw(topic, kind, log_ns, self.types.serialize_cdr(message, kind))

    def message(self, kind: str, **fields: Any) -> Any:  # noqa: ANN401 - messages are made at run time
        """Return a message of a type, 'sensor_msgs/msg/Image', with these fields."""
        return self.types.types[kind](**fields)

    def header(self, stamp_ns: int, frame_id: str) -> Any:  # noqa: ANN401
        """Return a std_msgs/Header."""
        seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
        stamp = self.message('builtin_interfaces/msg/Time', sec=seconds, nanosec=nanoseconds)
        return self.message('std_msgs/msg/Header', stamp=stamp, frame_id=frame_id)

    def add_image(
        self, topic: str, image: npt.NDArray[Any], stamp_ns: int, frame_id: str, *, encoding: str | None = None
    ) -> None:
        """Write a sensor_msgs/Image.

        Args:
            topic: Its topic.
            image: (H, W) or (H, W, C) in the machine's byte order.
            stamp_ns: When it was taken, nanoseconds; also the time in the log.
            frame_id: The camera's optical frame.
            encoding: Its name in sensor_msgs; None: rgb8, mono8, 16UC1 or 32FC1, whatever fits the array.

        Raises:
            ImageFormatError: If no encoding is given and none fits.
        """
        height, width = image.shape[:2]
        channels = image.shape[2] if image.ndim == 3 else 1
        encoding = encoding or ENCODINGS.get((image.dtype.name, channels))
        if encoding is None:
            raise ImageFormatError(f'an image of {image.dtype} {image.shape} has no usual encoding: name one')
        data = np.ascontiguousarray(image).view(np.uint8).reshape(-1)
        self.add_image_bytes(topic, data, (width, height, len(data) // height), encoding, stamp_ns, frame_id)

    def add_image_bytes(
        self,
        topic: str,
        data: npt.NDArray[np.uint8],
        size: tuple[int, int, int],
        encoding: str,
        stamp_ns: int,
        frame_id: str,
        *,
        is_bigendian: bool = False,
    ) -> None:
        """Write a sensor_msgs/Image whose fields say what they are told, be it true or not.

        Args:
            topic: Its topic.
            data: The bytes.
            size: Width, height and step (bytes from row to row).
            encoding: Its name in sensor_msgs.
            stamp_ns: When it was taken, nanoseconds.
            frame_id: The camera's optical frame.
            is_bigendian: Byte order of 16- and 32-bit values.
        """
        width, height, step = size
        message = self.message(
            'sensor_msgs/msg/Image', header=self.header(stamp_ns, frame_id), height=height, width=width,
            encoding=encoding, is_bigendian=int(is_bigendian), step=step, data=data,
        )  # fmt: skip
        self.write(topic, message, stamp_ns)

    def add_compressed_image(
        self,
        topic: str,
        image: npt.NDArray[np.uint8],
        stamp_ns: int,
        frame_id: str,
        *,
        kind: Literal['jpeg', 'png'] = 'jpeg',
        quality: int = 95,
    ) -> None:
        """Write a sensor_msgs/CompressedImage.

        Args:
            topic: Its topic; image_transport expects it to end in /compressed.
            image: (H, W, 3) RGB or (H, W) grey.
            stamp_ns: When it was taken, nanoseconds.
            frame_id: The camera's optical frame.
            kind: 'jpeg' or 'png'.
            quality: Of the jpeg, 0..100.
        """
        colour = image.ndim == 3
        options = [cv2.IMWRITE_JPEG_QUALITY, quality] if kind == 'jpeg' else []
        pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if colour else image
        _, data = cv2.imencode(f'.{kind}', pixels, options)
        encodings = f'rgb8; {kind} compressed bgr8' if colour else f'mono8; {kind} compressed mono8'
        message = self.message(
            'sensor_msgs/msg/CompressedImage', header=self.header(stamp_ns, frame_id), format=encodings,
            data=data.reshape(-1),
        )  # fmt: skip
        self.write(topic, message, stamp_ns)

    def add_camera_info(self, topic: str, camera: Camera, stamp_ns: int, frame_id: str) -> None:
        """Write a sensor_msgs/CameraInfo: K and D of the camera, R = identity, P of its rectified image."""
        flat = rectified_camera(camera).matrix
        roi = self.message(
            'sensor_msgs/msg/RegionOfInterest', x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        )
        message = self.message(
            'sensor_msgs/msg/CameraInfo', header=self.header(stamp_ns, frame_id), height=camera.height,
            width=camera.width, distortion_model=camera.distortion_model or 'plumb_bob',
            d=np.array(camera.distortion or (0.0,) * 5), k=camera.matrix.reshape(-1), r=np.eye(3).reshape(-1),
            p=np.hstack([flat, np.zeros((3, 1))]).reshape(-1), binning_x=0, binning_y=0, roi=roi,
        )  # fmt: skip
        self.write(topic, message, stamp_ns)

    def add_odometry(
        self,
        topic: str,
        T_odom_base: Matrix,
        stamp_ns: int,
        *,
        linear_mps: Sequence[float] | Matrix = (0.0, 0.0, 0.0),
        angular_radps: Sequence[float] | Matrix = (0.0, 0.0, 0.0),
        frame_id: str = 'odom',
        child_frame_id: str = 'base_link',
    ) -> None:
        """Write a nav_msgs/Odometry.

        Args:
            topic: Its topic.
            T_odom_base: (4, 4), maps points of the base frame (REP 103: x forward, y left, z up) into the fixed one.
            stamp_ns: When it held, nanoseconds.
            linear_mps: Velocity of the base in its own frame, metres a second.
            angular_radps: Turn rate in the base frame, radians a second.
            frame_id: The fixed frame.
            child_frame_id: The base frame.
        """
        place = self._transform(T_odom_base)
        pose = self.message(
            'geometry_msgs/msg/Pose', position=self._vector('Point', T_odom_base[:3, 3]), orientation=place.rotation
        )
        twist = self.message(
            'geometry_msgs/msg/Twist', linear=self._vector('Vector3', linear_mps),
            angular=self._vector('Vector3', angular_radps),
        )  # fmt: skip
        unknown = np.zeros(36)
        message = self.message(
            'nav_msgs/msg/Odometry', header=self.header(stamp_ns, frame_id), child_frame_id=child_frame_id,
            pose=self.message('geometry_msgs/msg/PoseWithCovariance', pose=pose, covariance=unknown),
            twist=self.message('geometry_msgs/msg/TwistWithCovariance', twist=twist, covariance=unknown),
        )  # fmt: skip
        self.write(topic, message, stamp_ns)

    def add_static_transforms(self, transforms: Mapping[tuple[str, str], Matrix], stamp_ns: int) -> None:
        """Write /tf_static.

        Args:
            transforms: T_parent_child (4, 4) by (parent, child): maps points of the child frame into the parent's.
            stamp_ns: Its stamp, nanoseconds.
        """
        if '/tf_static' not in self._connections:
            self.add_topic('/tf_static', 'tf2_msgs/msg/TFMessage', qos=(LATCHED,))
        stamped = [
            self.message(
                'geometry_msgs/msg/TransformStamped', header=self.header(stamp_ns, parent), child_frame_id=child,
                transform=self._transform(T_parent_child),
            )
            for (parent, child), T_parent_child in transforms.items()
        ]  # fmt: skip
        self.write('/tf_static', self.message('tf2_msgs/msg/TFMessage', transforms=stamped), stamp_ns)

    def _transform(self, T: Matrix) -> Any:  # noqa: ANN401
        x, y, z, w = quaternion_of_rotation(T[:3, :3])
        rotation = self.message('geometry_msgs/msg/Quaternion', x=x, y=y, z=z, w=w)
        translation = self._vector('Vector3', T[:3, 3])
        return self.message('geometry_msgs/msg/Transform', translation=translation, rotation=rotation)

    def _vector(self, kind: str, values: Sequence[float] | Matrix) -> Any:  # noqa: ANN401
        x, y, z = (float(value) for value in values)
        return self.message(f'geometry_msgs/msg/{kind}', x=x, y=y, z=z)


def quaternion_of_rotation(rotation: Matrix) -> tuple[float, float, float, float]:
    """Return the unit quaternion (x, y, z, w) of a (3, 3) rotation, w not negative.

    It is the eigenvector of the largest eigenvalue of Bar-Itzhack's matrix, which has no bad cases.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation
    form = np.array(
        [
            [xx - yy - zz, yx + xy, zx + xz, zy - yz],
            [yx + xy, yy - xx - zz, zy + yz, xz - zx],
            [zx + xz, zy + yz, zz - xx - yy, yx - xy],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    vector = np.linalg.eigh(form)[1][:, -1]
    x, y, z, w = (float(value) for value in (vector if vector[3] >= 0 else -vector))
    return x, y, z, w
