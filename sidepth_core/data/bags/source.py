"""Rosbag2 recordings as drives: images, camera, motion and depth, whatever recorded them and however they ended."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from sidepth_core.camera import Camera
from sidepth_core.data.bags.depth import CLOCK_JUMP_NS, DepthImageTopic, DepthOf, LidarTopic, depth_topic
from sidepth_core.data.bags.files import BagFiles, Topic
from sidepth_core.data.bags.motion import Motion, camera_track, read_motion
from sidepth_core.data.bags.recording import Content, Recording, Stamped
from sidepth_core.data.bags.topics import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    Choice,
    Chosen,
    choose,
    depth_candidates,
    listing,
)
from sidepth_core.data.calibration import fitted
from sidepth_core.data.deferred import DeferredSource, Pending, content_of
from sidepth_core.data.frames import Frame, Image
from sidepth_core.data.tracks import Track
from sidepth_core.errors import BagError
from sidepth_core.images import decode, decode_compressed


class _Context(NamedTuple):
    """What is known of a recording before its images are read."""

    chosen: Chosen
    camera: Camera | None
    transforms: dict[tuple[str, str], npt.NDArray[np.float64]]
    motion: Motion | None
    depth: LidarTopic | DepthImageTopic | None


class _Facts(NamedTuple):
    """What is known of one image before it is decoded."""

    stamp_ns: int
    camera: Camera | None
    speed_mps: float | None
    T_world_camera: npt.NDArray[np.float64] | None
    depth: DepthOf | None


class BagSource(DeferredSource):
    """The frames of one camera of a rosbag2 recording.

    Args:
        path: Directory or storage file.
        topics: Topics to read, where they are not to be chosen.
        camera: Takes the place of what the bag says of its camera; 'learned' says that nobody knows.
    """

    def __init__(
        self, path: Path, topics: Choice | None = None, camera: Camera | Literal['learned'] | None = None
    ) -> None:
        super().__init__(str(path))
        self.path = path
        self.topics = topics or Choice()
        self.camera = camera

    @property
    def identity(self) -> str:
        """The path, the topics and the camera that were asked for."""
        return f'{content_of(self.path)}, {self.topics} {self.camera}'

    def expected(self) -> int | None:
        """Return how many images the storage files hold."""
        with BagFiles(self.path) as files:
            return self._chosen(files).image.messages

    def pending(self) -> Iterator[Pending]:
        """Yield what decodes each image.

        Raises:
            BagError: If the bag cannot be read, or it is not clear which topics to read.
        """
        with BagFiles(self.path) as files:
            self.report.notes.extend(files.notes)
            recording = Recording(files, self.report.notes)
            context = self._context(recording)
            image = context.chosen.image
            self.report.claimed = files.claimed.get(image.name, image.messages)
            for stamped, facts in self._facts(context, recording.messages(image.name)):
                yield partial(_frame, stamped.content, image.type == COMPRESSED_IMAGE, facts)
            self.report.notes.extend(context.depth.notes() if context.depth else ())
            self._close_report(recording, image.name)

    def _chosen(self, files: BagFiles) -> Chosen:
        """Choose the topics; what is wrong with the files may be why none can be chosen."""
        try:
            return choose(files.topics, self.topics, str(self.path))
        except BagError as error:
            raise BagError('; '.join([str(error), *files.notes])) from None

    def _context(self, recording: Recording) -> _Context:
        files = recording.files
        chosen = self._chosen(files)
        self.report.notes.append(f'read: {listing([topic for topic in chosen if isinstance(topic, Topic)])}')
        camera = self.camera
        if camera is None and chosen.camera_info:
            camera = recording.camera(chosen.camera_info, chosen.image.name)
        if camera is None:
            self.report.notes.append(f'nothing in the bag calibrates the camera of {chosen.image.name}')
            infos = [topic for topic in files.topics.values() if topic.type == CAMERA_INFO and topic.messages]
            if infos and not chosen.camera_info:
                self.report.notes.append(f'none of these is beside it, name one as camera_info_topic: {listing(infos)}')
        known = None if camera == 'learned' else camera
        image = next(Recording(files, []).messages(chosen.image.name), None)
        transforms = recording.static_transforms(_frame_id(image) if image else '')
        unread = [] if chosen.lidar or chosen.depth else depth_candidates(files.topics)
        if unread:
            self.report.notes.append(f'depth images are not read unless depth=image asks for them: {listing(unread)}')
        return _Context(
            chosen,
            known,
            transforms,
            read_motion(recording, chosen.odometry, chosen.speed_field, image) if chosen.odometry else None,
            depth_topic(recording, chosen, known, transforms, image),
        )

    def _facts(self, context: _Context, images: Iterator[Stamped]) -> Iterator[tuple[Stamped, _Facts]]:
        """Yield each image message with what the other topics say of its moment."""
        track: Track | None = None
        for image in self._in_order(images):
            frame_id = _frame_id(image)
            if context.motion and track is None:
                track = camera_track(context.motion, context.transforms, frame_id, self.report.notes)
            moment = image.stamp_ns if context.motion is None or context.motion.has_header else image.log_ns
            yield (
                image,
                _Facts(
                    image.stamp_ns,
                    context.camera,
                    track.speed_at(moment) if track else None,
                    track.pose_at(moment) if track else None,
                    context.depth.at(image.stamp_ns, frame_id) if context.depth else None,
                ),
            )

    def _in_order(self, images: Iterator[Stamped]) -> Iterator[Stamped]:
        """Yield images whose stamps rise; a clock that is set back begins a new stretch."""
        last_ns: int | None = None
        for image in images:
            self.report.read += 1
            back_ns = -1 if last_ns is None else last_ns - image.stamp_ns
            if 0 <= back_ns < CLOCK_JUMP_NS:
                self._skip('stamp is not after the one before')
                continue
            if back_ns > 0:
                self.report.notes.append(f'the clock jumps back by {back_ns / 1e9:.1f} s at image {self.report.read}')
            last_ns = image.stamp_ns
            yield image

    def _close_report(self, recording: Recording, image_topic: str) -> None:
        """Say what was lost."""
        report = self.report
        report.notes.extend(note for note in recording.files.notes if note not in report.notes)
        report.whole = recording.files.whole
        if unstamped := recording.unstamped[image_topic]:
            report.notes.append(f'{unstamped} images carry no time: that at which they were recorded is taken')
        for topic, count in recording.damaged.items():
            if topic == image_topic:
                report.read += count
                report.skipped['damaged message'] += count
            else:
                report.notes.append(f'{count} damaged messages of {topic}')
        if report.claimed is not None and report.read != report.claimed:
            report.notes.append(f'the bag claims {report.claimed} images, {report.read} were read')
            report.whole &= report.read > report.claimed


def _frame_id(image: Stamped) -> str:
    return str(image.content.header.frame_id).lstrip('/')


def _frame(message: Content, is_compressed: bool, facts: _Facts) -> Frame:
    """Decode an image message into a frame; called from many threads."""
    image = _image(message, is_compressed=is_compressed)
    height, width = image.shape[:2]
    camera = fitted(facts.camera, width, height) if facts.camera else None
    depth_m = facts.depth(camera, width, height) if facts.depth else None
    return Frame(facts.stamp_ns, image, camera, facts.speed_mps, facts.T_world_camera, depth_m)


def _image(message: Content, *, is_compressed: bool) -> Image:
    if is_compressed:
        return decode_compressed(message.data)
    size = message.width, message.height
    return decode(message.data, message.encoding, *size, message.step, is_bigendian=bool(message.is_bigendian))
