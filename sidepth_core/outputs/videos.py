"""Videos that browsers and players open."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
import numpy.typing as npt

from sidepth_core.errors import ConfigError

CODECS = {'.mp4': ('vp09', 'mp4v'), '.webm': ('VP80',)}
"""The first one that this build of OpenCV can write: browsers play VP9 and VP8, every build has MPEG-4.

VP9 takes about three times as long as VP8 for half the size.
"""
VIDEO_SUFFIXES = tuple(CODECS)
WIDEST = 1280
"""Pixels of a video, where nothing else is said."""


class VideoFile:
    """A video that is written frame by frame; whole under its own name only once it is closed.

    Args:
        path: The file, .mp4 or .webm; its folder is made.
        fps: Frames a second.
        widest: Pixels; wider images are shrunk.

    Raises:
        ConfigError: If the name is none of these.
    """

    def __init__(self, path: Path, fps: float, widest: int = WIDEST) -> None:
        if path.suffix.lower() not in CODECS:
            raise ConfigError(f'{str(path)!r} is no name of a video: use {" or ".join(CODECS)}')
        self.path = path
        self._staged = path.with_name(f'.{path.stem}.partial{path.suffix.lower()}')
        self._fps = fps
        self._widest = widest
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def __enter__(self) -> VideoFile:  # noqa: PYI034 - Self needs Python 3.11
        """Return the file, to be written to."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it; what was written is kept whatever ends the work, for it can be looked at."""
        self.close()

    def add(self, image: npt.NDArray[np.uint8]) -> None:
        """Append an image, (H, W, 3) uint8 RGB; all get the size of the first.

        Raises:
            ConfigError: If OpenCV can write no video here.
        """
        if self._writer is None:
            self._writer = self._opened(image)
        fitting = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
        self._writer.write(cv2.cvtColor(fitting, cv2.COLOR_RGB2BGR))

    def _opened(self, image: npt.NDArray[np.uint8]) -> cv2.VideoWriter:
        scale = min(1.0, self._widest / image.shape[1])
        # Codecs halve the colours' resolution: sides must be even.
        self._size = round(image.shape[1] * scale) // 2 * 2, round(image.shape[0] * scale) // 2 * 2
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for codec in CODECS[self.path.suffix.lower()]:
            writer = cv2.VideoWriter(str(self._staged), cv2.VideoWriter.fourcc(*codec), self._fps, self._size)
            if writer.isOpened():
                return writer
        suffix = self.path.suffix
        raise ConfigError(f'{str(self.path)!r} cannot be written: OpenCV {cv2.__version__} encodes no {suffix} here')

    def close(self) -> None:
        """Finish the file; there is none where nothing was added."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None
            self._staged.replace(self.path)
