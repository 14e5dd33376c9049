"""A camera that runs: a webcam, or a video file played at its own speed; whoever asks gets the newest image."""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from sidepth_core.camera import Camera
from sidepth_core.data.calibration import fitted
from sidepth_core.data.frames import Frame, Image
from sidepth_core.errors import DatasetError

DEFAULT_RATE_HZ = 25.0


class LiveCamera:
    """The newest frame of a webcam or of a video file, read by a thread of its own; frames nobody asks for are dropped.

    Args:
        source: Number of the webcam ('0'), its device ('/dev/video2'), a stream's address, or a video file.
        camera: Its calibration at any size of the same shape; None where nobody knows.
        size: Width and height to ask a webcam for, pixels; None takes its own.
        loop: Start a video file again at its end.

    Attributes:
        read: Frames read so far.
        dropped: How many of them nobody asked for in time.
    """

    def __init__(
        self, source: str, camera: Camera | None = None, size: tuple[int, int] | None = None, *, loop: bool = False
    ) -> None:
        self._source, self._camera, self._size, self._loop = source, camera, size, loop
        self._is_file = Path(source).is_file()
        self._video: cv2.VideoCapture | None = None
        self._news = threading.Condition()
        self._newest: tuple[int, Image] | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self.read = 0
        self.dropped = 0

    def __enter__(self) -> LiveCamera:  # noqa: PYI034 - Self needs Python 3.11
        """Open it.

        Raises:
            DatasetError: If there is no such camera or file.
        """
        number = int(self._source) if self._source.isdecimal() else None
        video = cv2.VideoCapture(self._source) if number is None else cv2.VideoCapture(number)
        if not video.isOpened():
            video.release()
            raise DatasetError(
                f'camera {self._source!r} cannot be opened: expected the number of a webcam (0 is the first one), its '
                'device such as /dev/video2, or a video file. Is it plugged in, not used by another program, and may '
                'this user read it (group video)?'
            )
        if self._size is not None:
            video.set(cv2.CAP_PROP_FRAME_WIDTH, self._size[0])
            video.set(cv2.CAP_PROP_FRAME_HEIGHT, self._size[1])
        self._video = video
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self._ended = True
        self._thread.join()
        if self._video is not None:
            self._video.release()

    def next_frame(self, timeout_s: float = 5.0) -> Frame | None:
        """Return the newest frame that was not returned yet, waiting for one; None at the end of a file.

        Raises:
            DatasetError: If a camera sends nothing for that long.
            ViewError: If the calibration is of images of another shape.
        """
        with self._news:
            if not self._news.wait_for(lambda: self._newest is not None or self._ended, timeout_s):
                raise DatasetError(f'camera {self._source!r} sends no images for {timeout_s:g} s: is it still there?')
            newest, self._newest = self._newest, None
        if newest is None:
            return None
        stamp_ns, bgr = newest
        camera = fitted(self._camera, bgr.shape[1], bgr.shape[0]) if self._camera else None
        return Frame(stamp_ns, np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8), camera)

    def _read(self) -> None:
        """Read until the end, each image at its time."""
        assert self._video is not None  # noqa: S101 - __enter__ opens it before it starts this thread
        rate = self._video.get(cv2.CAP_PROP_FPS)
        step_s = 1 / (rate if 0 < rate < math.inf else DEFAULT_RATE_HZ)
        due = time.monotonic()
        while not self._ended:
            found, image = self._video.read()
            if not found:
                if self._loop and self._is_file and self.read and self._video.set(cv2.CAP_PROP_POS_FRAMES, 0):
                    continue
                break
            if self._is_file:
                due = max(due + step_s, time.monotonic() - step_s)  # where reading is slower, time is not caught up
                time.sleep(max(0.0, due - time.monotonic()))
            self._publish(np.asarray(image, np.uint8))
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _publish(self, bgr: Image) -> None:
        with self._news:
            self.dropped += self._newest is not None
            self.read += 1
            self._newest = time.time_ns(), bgr
            self._news.notify_all()
