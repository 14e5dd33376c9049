"""The messages of a recording deserialized: CameraInfo, /tf_static, LiDAR, depth images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from sidepth_core.camera import Camera
from sidepth_core.data.bags.files import BagFiles, Topic
from sidepth_core.data.bags.topics import COMPRESSED_IMAGE, TF_MESSAGE, is_rectified_topic
from sidepth_core.data.calibration import camera_from_info
from sidepth_core.data.depth_truth import (
    DEPTH_ENCODINGS,
    Points,
    decode_compressed_depth,
    decode_depth,
    points_of_cloud,
)
from sidepth_core.data.frames import DepthMap
from sidepth_core.data.tracks import rigid, rotation_of_quaternion
from sidepth_core.errors import BagError, ConfigError, DatasetError, ImageFormatError

FloatArray = npt.NDArray[np.float64]
Content = Any
"""A deserialized message: its fields are those of the ROS message."""

OTHER_CLOCK_NS = 5_000_000_000
"""Headers further apart than this, and than the times of recording, are stamped by two clocks; TAI is 37 s from UTC."""


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
        unstamped: Messages whose header carries no time, by topic.
    """

    def __init__(self, files: BagFiles, notes: list[str]) -> None:
        self.files = files
        self.notes = notes
        self.damaged: Counter[str] = Counter()
        self.unstamped: Counter[str] = Counter()
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
            self.unstamped[message.topic] += header is not None and not stamp
            yield Stamped(stamp or message.log_ns, message.log_ns, content)

    def beside(self, image: Stamped | None, topic: str) -> Iterator[Stamped]:
        """Yield the messages of a topic with times on the clock of the images, whatever clock stamped them.

        Args:
            image: The first image; None where there is none.
            topic: The topic.
        """
        is_other: bool | None = None
        for message in self.messages(topic):
            if image is None:
                yield message
                continue
            if is_other is None:
                is_other = self._has_other_clock(image, topic, message)
            on_clock_ns = image.stamp_ns + message.log_ns - image.log_ns
            yield message._replace(stamp_ns=on_clock_ns) if is_other else message

    def _has_other_clock(self, image: Stamped, topic: str, message: Stamped) -> bool:
        """Return whether the first message of a topic is stamped by another clock than the first image, and say so."""
        apart_ns = abs(message.stamp_ns - image.stamp_ns)
        if apart_ns <= abs(message.log_ns - image.log_ns) + OTHER_CLOCK_NS:
            return False
        self.notes.append(
            f'{topic} is stamped by another clock than the images, {apart_ns / 1e9:.0f} s apart: the times at which '
            'both were recorded are compared'
        )
        return True

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

    def static_transforms(self, camera_frame: str) -> dict[tuple[str, str], FloatArray]:
        """Return T_parent_child of /tf_static, keyed (parent, child).

        Where it does not know the camera's frame, what never moves in /tf is added.
        """
        static = dict(self._transforms('tf_static'))
        if any(camera_frame in pair for pair in static):
            return static
        unmoved: dict[tuple[str, str], FloatArray] = {}
        moved = set()
        for pair, transform in self._transforms('tf'):
            if not np.allclose(unmoved.setdefault(pair, transform), transform, atol=1e-6):
                moved.add(pair)
        found = {pair: transform for pair, transform in unmoved.items() if pair not in moved}
        if any(camera_frame in pair for pair in found):
            self.notes.append(f'/tf_static does not know {camera_frame!r}: what never moves in /tf is taken')
        return {**found, **static}

    def _transforms(self, name: str) -> Iterator[tuple[tuple[str, str], FloatArray]]:
        """Yield the transforms of the topics of a name, in whatever namespace, with parent and child."""
        topics = [topic for topic in self.files.topics.values() if topic.type == TF_MESSAGE]
        for message in self.messages(*(t.name for t in topics if t.name.rpartition('/')[2] == name)):
            for item in message.content.transforms:
                pair = item.header.frame_id.lstrip('/'), item.child_frame_id.lstrip('/')
                yield pair, transform_of(item.transform.rotation, item.transform.translation)

    def learn(self, topic: Topic) -> None:
        """Learn a message type that is none of ROS' own from the definition in the bag.

        Raises:
            BagError: If the bag does not hold it.
        """
        if topic.type in self._types.fielddefs:
            return
        text = self.files.definition(topic.name)
        if not text:
            raise BagError(f'{topic.name} is {topic.type}, whose definition the recorder did not store')
        found = get_types_from_msg(text, topic.type)
        self._types = get_typestore(Stores.LATEST)  # one of its own: two bags may mean two things by one name
        self._types.register({name: fields for name, fields in found.items() if name not in self._types.fielddefs})

    def sweeps(self, topic: Topic, image: Stamped | None = None) -> Iterator[Sweep]:
        """Yield the sweeps of a PointCloud2 topic, on the clock of an image; damaged ones are counted."""
        for stamp_ns, _, cloud in self.beside(image, topic.name):
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

    def depth_images(self, topic: Topic, image: Stamped | None = None) -> Iterator[DepthImage]:
        """Yield the images of a depth topic, on the clock of an image; damaged ones are counted.

        Raises:
            BagError: If it holds something else than depth.
        """
        for stamp_ns, _, message in self.beside(image, topic.name):
            form = str(message.format if topic.type == COMPRESSED_IMAGE else message.encoding)
            if form.partition(';')[0] not in DEPTH_ENCODINGS or 'rvl' in form:
                known = ' or '.join(DEPTH_ENCODINGS)
                raise BagError(f'{topic.name} holds {form!r}, expected depth: {known}, raw or as compressedDepth png')
            try:
                depth_m = _depth_of(message, is_compressed=topic.type == COMPRESSED_IMAGE)
            except ImageFormatError as error:
                if not self.damaged[topic.name]:
                    self.notes.append(f'first damaged message of {topic.name}: {error}')
                self.damaged[topic.name] += 1
                continue
            yield DepthImage(stamp_ns, str(message.header.frame_id), depth_m)


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


def xyz(vector: Content) -> tuple[float, float, float]:
    """Return a geometry_msgs/Vector3 or Point as numbers."""
    return vector.x, vector.y, vector.z


def transform_of(rotation: Content, translation: Content) -> FloatArray:
    """Return the (4, 4) transform of a geometry_msgs/Quaternion and a Vector3 or Point."""
    return rigid(rotation_of_quaternion(rotation.x, rotation.y, rotation.z, rotation.w), xyz(translation))
