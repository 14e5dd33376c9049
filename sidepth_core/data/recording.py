"""The messages of a recording that say where its camera was and what it is: CameraInfo, /tf_static, motion, depth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from sidepth_core.camera import Camera
from sidepth_core.data.bag_files import BagFiles, Topic
from sidepth_core.data.bag_topics import COMPRESSED_IMAGE, ODOMETRY, SPEEDS, TF_STATIC, is_rectified_topic
from sidepth_core.data.calibration import camera_from_info
from sidepth_core.data.depth_images import DEPTH_ENCODINGS, decode_compressed_depth, decode_depth
from sidepth_core.data.frames import DepthMap
from sidepth_core.data.lidar import Points, points_of_cloud
from sidepth_core.data.tracks import Track, chain, make_track, rigid, rotation_of_quaternion, with_speed_of_poses
from sidepth_core.errors import BagError, ConfigError, DatasetError, ImageFormatError

FloatArray = npt.NDArray[np.float64]
Content = Any
"""A deserialized message: its fields are those of the ROS message."""

EMPTY_TWIST_MPS = 1e-3
"""A driver that leaves the twist of its odometry empty sends zeros."""


class Stamped(NamedTuple):
    """A message with its times.

    Attributes:
        stamp_ns: Time in its header; the recorder's where there is none.
        log_ns: When the recorder wrote it.
        content: The message.
    """

    stamp_ns: int
    log_ns: int
    content: Content


class Sweep(NamedTuple):
    """One LiDAR sweep.

    Attributes:
        stamp_ns: Its time.
        frame: The sensor's frame.
        points: (N, 3) metres.
    """

    stamp_ns: int
    frame: str
    points: Points


class DepthImage(NamedTuple):
    """One image of a depth camera.

    Attributes:
        stamp_ns: Its time.
        frame: The optical frame that it was taken in.
        depth_m: (H, W) float32, metres along Z; NaN where not measured.
    """

    stamp_ns: int
    frame: str
    depth_m: DepthMap


class Motion(NamedTuple):
    """All messages of a motion topic, before it is known where the camera sits.

    Attributes:
        stamps_ns: N times.
        velocity_mps: (N, 3), axes of the body.
        angular_rps: (N, 3), axes of the body; None for a bare speed.
        T_world_body: (N, 4, 4); None without poses.
        body_frame: Frame of velocity and pose.
        has_header: Whether the stamps are the sensor's; otherwise they are the recorder's.
    """

    stamps_ns: list[int]
    velocity_mps: FloatArray
    angular_rps: FloatArray | None
    T_world_body: FloatArray | None
    body_frame: str
    has_header: bool


@lru_cache(maxsize=1)
def _types() -> Typestore:
    """Return the standard messages: their layout has not changed since ROS 2 began, and old bags carry none."""
    return get_typestore(Stores.LATEST)


class Recording:
    """Deserialized messages of opened bag files.

    Attributes:
        files: The opened files.
        notes: Where sentences that a user should read are added.
        damaged: Messages that could not be deserialized, by topic.
    """

    def __init__(self, files: BagFiles, notes: list[str]) -> None:
        self.files = files
        self.notes = notes
        self.damaged: Counter[str] = Counter()
        self._types = _types()

    def messages(self, *topics: str) -> Iterator[Stamped]:
        """Yield messages as the recorder wrote them; damaged ones are counted."""
        for message in self.files.messages(topics):
            try:
                content: Content = self._types.deserialize_cdr(message.data, message.type)
            except Exception:  # noqa: BLE001 - rosbags fails on too few bytes with whatever their lack causes
                self.damaged[message.topic] += 1
                continue
            header = getattr(content, 'header', None)
            stamp = header.stamp.sec * 1_000_000_000 + header.stamp.nanosec if header else 0
            yield Stamped(stamp or message.log_ns, message.log_ns, content)

    def camera(self, topic: Topic, image_topic: str) -> Camera | None:
        """Return the camera that a CameraInfo topic tells; None, and a note, where it tells none."""
        first: Camera | None = None
        faults: Counter[str] = Counter()
        for message in self.messages(topic.name):
            try:
                camera = _camera_of(message.content, rectified=is_rectified_topic(image_topic))
            except ConfigError as error:
                faults[str(error)] += 1
                continue
            if first is not None and camera != first:
                self.notes.append(f'{topic.name} changes during the recording: its first calibration is used')
                break
            first = first or camera
        for fault, count in faults.items():
            self.notes.append(f'{count} messages of {topic.name} are no calibration: {fault}')
        return first

    def static_transforms(self) -> dict[tuple[str, str], FloatArray]:
        """Return T_parent_child of /tf_static, keyed (parent, child)."""
        names = [t.name for t in self.files.topics.values() if t.type == TF_STATIC and t.name.endswith('tf_static')]
        transforms = {}
        for message in self.messages(*names):
            for item in message.content.transforms:
                key = item.header.frame_id.lstrip('/'), item.child_frame_id.lstrip('/')
                transforms[key] = _rigid(item.transform.rotation, item.transform.translation)
        return transforms

    def motion(self, topic: Topic) -> Motion:
        """Return all of a motion topic.

        Raises:
            BagError: If its type is none that tells motion, or no message of it can be read.
        """
        messages = list(self.messages(topic.name))
        if not messages:
            raise BagError(f'no message of {topic.name} ({topic.type}) can be read')
        stamps = [message.stamp_ns for message in messages]
        contents = [message.content for message in messages]
        if topic.type in SPEEDS:
            velocity = np.array([[content.data, 0.0, 0.0] for content in contents])
            return Motion([message.log_ns for message in messages], velocity, None, None, '', has_header=False)
        if not hasattr(contents[0], 'twist'):
            raise BagError(f'{topic.name} is {topic.type}, expected Odometry, TwistStamped, Float32 or Float64')
        twists = [getattr(content.twist, 'twist', content.twist) for content in contents]
        linear, angular = (np.array([_xyz(getattr(t, part)) for t in twists]) for part in ('linear', 'angular'))
        if topic.type != ODOMETRY:
            return Motion(stamps, linear, angular, None, str(contents[0].header.frame_id), has_header=True)
        poses = np.stack([_rigid(c.pose.pose.orientation, c.pose.pose.position) for c in contents])
        return Motion(stamps, linear, angular, poses, str(contents[0].child_frame_id), has_header=True)

    def sweeps(self, topic: Topic) -> Iterator[Sweep]:
        """Yield the sweeps of a PointCloud2 topic; damaged ones are counted."""
        for stamp_ns, _, cloud in self.messages(topic.name):
            fields = [(field.name, field.offset, field.datatype) for field in cloud.fields]
            try:
                points = points_of_cloud(
                    fields, cloud.width, cloud.height, cloud.point_step, cloud.row_step, cloud.data,
                    is_bigendian=cloud.is_bigendian,
                )  # fmt: skip
            except DatasetError:
                self.damaged[topic.name] += 1
                continue
            yield Sweep(stamp_ns, str(cloud.header.frame_id), points)

    def depth_images(self, topic: Topic) -> Iterator[DepthImage]:
        """Yield the images of a depth topic; damaged ones are counted.

        Raises:
            BagError: If it holds something else than depth.
        """
        for stamp_ns, _, image in self.messages(topic.name):
            form = str(image.format if topic.type == COMPRESSED_IMAGE else image.encoding)
            if form.partition(';')[0] not in DEPTH_ENCODINGS or 'rvl' in form:
                known = ' or '.join(DEPTH_ENCODINGS)
                raise BagError(f'{topic.name} holds {form!r}, expected depth: {known}, raw or as compressedDepth png')
            try:
                depth_m = _depth_of(image, is_compressed=topic.type == COMPRESSED_IMAGE)
            except ImageFormatError as error:
                if not self.damaged[topic.name]:
                    self.notes.append(f'first damaged message of {topic.name}: {error}')
                self.damaged[topic.name] += 1
                continue
            yield DepthImage(stamp_ns, str(image.header.frame_id), depth_m)


def camera_track(
    motion: Motion, transforms: dict[tuple[str, str], FloatArray], camera_frame: str, notes: list[str]
) -> Track:
    """Return the motion of the camera: the body's, moved along the lever arm that /tf_static tells."""
    T_body_camera = chain(transforms, motion.body_frame, camera_frame) if motion.body_frame else None
    if T_body_camera is None and motion.T_world_body is not None:
        notes.append(
            f'/tf_static does not lead from {motion.body_frame!r} to {camera_frame!r}: the speed of the body is taken '
            'for that of the camera, and its poses are not used'
        )
    track = make_track(
        motion.stamps_ns,
        motion.velocity_mps,
        angular_rps=motion.angular_rps,
        T_world_body=motion.T_world_body,
        T_body_camera=T_body_camera,
    )
    if track.speed_mps.max() < EMPTY_TWIST_MPS and motion.T_world_body is not None:
        track = with_speed_of_poses(track)
        notes.append('the twist of the odometry is zero throughout: speed is taken from its poses')
    return track if T_body_camera is not None else track._replace(T_world_body=None)


def _depth_of(image: Content, *, is_compressed: bool) -> DepthMap:
    if is_compressed:
        return decode_compressed_depth(image.data, image.format)
    size = image.width, image.height
    return decode_depth(image.data, image.encoding, *size, image.step, is_bigendian=bool(image.is_bigendian))


def _camera_of(info: Content, *, rectified: bool) -> Camera:
    roi = info.roi
    return camera_from_info(
        info.width,
        info.height,
        info.distortion_model,
        info.d.tolist(),
        info.k.tolist(),
        info.p.tolist(),
        rectified=rectified,
        binning=(info.binning_x, info.binning_y),
        roi=(roi.x_offset, roi.y_offset, roi.width, roi.height),
    )


def _xyz(vector: Content) -> tuple[float, float, float]:
    return vector.x, vector.y, vector.z


def _rigid(rotation: Content, translation: Content) -> FloatArray:
    return rigid(rotation_of_quaternion(rotation.x, rotation.y, rotation.z, rotation.w), _xyz(translation))
