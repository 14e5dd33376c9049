"""A drive whose camera nobody knows, seen as by a pinhole of a given field of view."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sidepth_core.camera import Camera
from sidepth_core.data.frames import Frame, FrameSource, SourceReport


class AssumedCamera:
    """The frames of a source; those without a camera get a pinhole of one horizontal field of view.

    Args:
        source: The drive.
        fov_deg: Horizontal field of view, degrees.
    """

    def __init__(self, source: FrameSource, fov_deg: float) -> None:
        self._source = source
        self._fov_deg = fov_deg

    @property
    def report(self) -> SourceReport:
        """The source's own."""
        return self._source.report

    @report.setter
    def report(self, report: SourceReport) -> None:
        self._source.report = report

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames.

        Raises:
            ConfigError: If the field of view is none of a pinhole.
        """
        for frame in self._source:
            yield frame if frame.camera else replace(frame, camera=self._pinhole(frame))

    def _pinhole(self, frame: Frame) -> Camera:
        height, width = frame.image.shape[:2]
        return Camera.pinhole(width, height, self._fov_deg)
