"""Videos that browsers and players open."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
import numpy.typing as npt

from sidepth_core.errors import ConfigError

CODECS = ('vp09', 'mp4v')
"""The first one that this build of OpenCV can write: browsers play VP9, every build has MPEG-4."""
WIDEST = 1280
"""Pixels; wider images are shrunk."""


class VideoFile:
    """An MP4 that is written frame by frame; whole under its own name only once it is closed.

    Args:
        path: The file, .mp4; its folder is made.
        fps: Frames a second.

    Raises:
        ConfigError: If the name is none of an MP4.
    """

    def __init__(self, path: Path, fps: float) -> None:
        if path.suffix.lower() != '.mp4':
            raise ConfigError(f'{str(path)!r} is no name of a video: use .mp4')
        self.path = path
        self._staged = path.with_name(f'.{path.stem}.partial.mp4')
        self._fps = fps
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
        scale = min(1.0, WIDEST / image.shape[1])
        # Codecs halve the colours' resolution: sides must be even.
        self._size = round(image.shape[1] * scale) // 2 * 2, round(image.shape[0] * scale) // 2 * 2
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for codec in CODECS:
            writer = cv2.VideoWriter(str(self._staged), cv2.VideoWriter.fourcc(*codec), self._fps, self._size)
            if writer.isOpened():
                return writer
        raise ConfigError(f'{str(self.path)!r} cannot be written: OpenCV {cv2.__version__} encodes no MP4 here')

    def close(self) -> None:
        """Finish the file; there is none where nothing was added."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None
            self._staged.replace(self.path)
