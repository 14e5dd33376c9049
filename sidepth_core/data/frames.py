"""Frame and FrameSource: what every drive looks like, wherever it was recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from sidepth_core.camera import Camera

Image = npt.NDArray[np.uint8]
"""An RGB image, (H, W, 3) uint8."""

DepthMap = npt.NDArray[np.float32]
"""Depth along Z in metres, (H, W) float32; NaN where not known, +inf in the sky."""


@dataclass(frozen=True)
class Frame:
    """One image of a drive, with what was known when it was taken.

    Attributes:
        stamp_ns: Time of exposure, nanoseconds; comparable within one source only.
        image: RGB image, (H, W, 3) uint8.
        camera: Its camera, of the image's size; None where nobody knows.
        speed_mps: Speed of the camera, metres a second, never negative; None where not measured.
        T_world_camera: Pose, (4, 4) float64: maps points of the optical frame (x right, y down, z forward, metres)
            into a fixed world frame; None where not measured.
        depth_m: Depth of each pixel (see DepthMap); None where not measured.
    """

    stamp_ns: int
    image: Image
    camera: Camera | None = None
    speed_mps: float | None = None
    T_world_camera: npt.NDArray[np.float64] | None = None
    depth_m: DepthMap | None = None


@dataclass
class SourceReport:
    """What became of the messages, files or frames of a source: nothing is lost in silence.

    Attributes:
        name: The source, as a user names it.
        claimed: How many images the source says it holds; None where it says nothing.
        read: How many images were read so far.
        used: How many of them became frames.
        skipped: How many were not used, by reason.
        notes: Sentences that a user should read: a topic chosen, a calibration in doubt, a missing file.
        whole: Whether everything was there that the source says it holds, as far as it was read.
    """

    name: str
    claimed: int | None = None
    read: int = 0
    used: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    whole: bool = True


class FrameSource(Protocol):
    """A drive that can be read from the start any number of times, in order of time.

    Iterating resets and fills `report`. A frame's neighbours in the iteration are its neighbours in time, but gaps
    are possible: see the stamps.
    """

    report: SourceReport

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in order of their stamps.

        Raises:
            DatasetError: If the source cannot be read at all. Single bad items are counted in `report` instead.
        """
        ...


class WeightedSource(NamedTuple):
    """A source and how often its clips are drawn.

    Attributes:
        source: The drive.
        weight: Relative to the other sources: 2 means twice as often, however many clips there are.
        group: Sources of one group, as the drives of one folder, share the weight by their clips; '' for none.
    """

    source: FrameSource
    weight: float = 1.0
    group: str = ''
