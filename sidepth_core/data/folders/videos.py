"""Video files as drives."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from sidepth_core.camera import Camera
from sidepth_core.data.calibration import fitted, read_calibration
from sidepth_core.data.deferred import DeferredSource, Pending, content_of
from sidepth_core.data.frames import Frame, Image
from sidepth_core.errors import ConfigError, DatasetError

VIDEO_SUFFIXES = ('.mp4', '.avi', '.mkv', '.mov', '.m4v', '.webm', '.mpg', '.mpeg', '.ts', '.wmv', '.h264')


class VideoSource(DeferredSource):
    """The frames of a video file.

    Args:
        path: The file.
        camera: Its camera; None: the calibration file beside it with the video's own name (drive.yaml or drive.json
            for drive.mp4), if there is one; 'learned': nobody knows.
        fps: Takes the place of the time stamps in the file, for time lapses and files without.
    """

    def __init__(
        self, path: Path, camera: Camera | Literal['learned'] | None = None, fps: float | None = None
    ) -> None:
        super().__init__(str(path))
        if fps is not None and not fps > 0:
            raise ConfigError(f'fps of video {str(path)!r} is {fps!r}: it must be positive')
        self.path = path
        self.camera = camera
        self.fps = fps

    @property
    def identity(self) -> str:
        """The path, its camera and rate."""
        return f'{content_of(self.path)}, {self.camera} {self.fps}'

    def expected(self) -> int | None:
        """Return the number of frames that the file's header tells, if it does."""
        with _opened(self.path) as video:
            count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        return count if count > 0 else None

    def pending(self) -> Iterator[Pending]:
        """Yield the frames: a video can only be decoded from frame to frame, so they are decoded already.

        Raises:
            DatasetError: If the file is no video, or tells no times and no fps is given.
        """
        camera = self._camera()
        with _opened(self.path) as video:
            self.report.claimed = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) or None
            rate = self.fps or video.get(cv2.CAP_PROP_FPS)
            if not 0 < rate < math.inf:
                raise DatasetError(f'video {str(self.path)!r} does not tell its frame rate: give it as fps')
            last_ns = -1
            while True:
                found, image = video.read()
                if not found:
                    break
                stamp_ns = round(self.report.read / rate * 1e9)
                if self.fps is None:
                    # Phones record at a varying rate: the container knows when each frame was taken.
                    told_ns = round(video.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
                    stamp_ns = told_ns if told_ns > last_ns else max(stamp_ns, last_ns + 1)
                last_ns = stamp_ns
                self.report.read += 1
                yield partial(_frame, np.asarray(image, np.uint8), stamp_ns, camera)
        if self.report.claimed not in {None, self.report.read}:
            self.report.notes.append(f'the video claims {self.report.claimed} frames, {self.report.read} were read')
            self.report.whole = self.report.claimed is not None and self.report.read > self.report.claimed

    def _camera(self) -> Camera | None:
        if self.camera == 'learned':
            return None
        beside = [self.path.with_suffix(suffix) for suffix in ('.yaml', '.yml', '.json')]
        found = next((path for path in beside if path.is_file()), None)
        if self.camera is None and found:
            self.report.notes.append(f'calibration: {found.name}')
            return read_calibration(found)
        return self.camera


@contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    if not path.is_file():
        raise DatasetError(f'video {str(path)!r} does not exist')
    video = cv2.VideoCapture(str(path))
    try:
        if not video.isOpened():
            raise DatasetError(f'{str(path)!r} is no video that OpenCV can decode, or it is damaged')
        yield video
    finally:
        video.release()


def _frame(image: Image, stamp_ns: int, camera: Camera | None) -> Frame:
    height, width = image.shape[:2]
    rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
    return Frame(stamp_ns, rgb, fitted(camera, width, height) if camera else None)
