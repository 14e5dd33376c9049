"""How recordings are prepared for training: one frozen table of settings."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sidepth_core.data.prepare.motion import FrameSelection
from sidepth_core.errors import ConfigError

LARGEST_SIDE = 8192
"""Pixels of the widest images that are prepared."""


@dataclass(frozen=True)
class PrepareSettings:
    """How recordings are prepared.

    Attributes:
        width: Training width, pixels; images are cached larger, for crops without loss of sharpness.
        height: Training height, pixels.
        margin: Cached size over training size.
        clip_frames: Frames in a clip, odd; the target is the middle one.
        stride: Frames from one image of a clip to the next; 0 chooses it so that motion is like KITTI's.
        codec: 'raw' (uint8, memory speed), 'jpeg' (a tenth of the space), or 'auto': raw up to 8 GiB.
        unknown_camera: What to do without a calibration: 'refuse', or 'learned' where training is to find it.
        depth: Whether to keep depth where a source has it.
        frame_selection: Which images are not fit to learn from.
        workers: Threads; 0 takes one per core.
    """

    width: int = 640
    height: int = 192
    margin: float = 1.3
    clip_frames: int = 3
    stride: int = 0
    codec: Literal['auto', 'raw', 'jpeg'] = 'auto'
    unknown_camera: Literal['refuse', 'learned'] = 'refuse'
    depth: bool = True
    frame_selection: FrameSelection = field(default_factory=FrameSelection)
    workers: int = 0

    def __post_init__(self) -> None:
        """Refuse values that cannot work, naming every one."""
        faults = []
        if self.width < 32 or self.height < 32:
            faults.append(f'size {self.width}x{self.height} is below 32x32')
        if max(self.width, self.height) > LARGEST_SIDE:
            faults.append(f'size {self.width}x{self.height} is beyond {LARGEST_SIDE}')
        if not 1 <= self.margin <= 4:
            faults.append(f'margin {self.margin!r} is not in 1..4')
        if self.clip_frames < 3 or self.clip_frames % 2 == 0:
            faults.append(f'clip_frames {self.clip_frames!r} is not an odd number of at least 3')
        if self.stride < 0 or self.workers < 0:
            faults.append(f'stride {self.stride!r} or workers {self.workers!r} is negative')
        if self.codec not in {'auto', 'raw', 'jpeg'} or self.unknown_camera not in {'refuse', 'learned'}:
            faults.append(f'codec {self.codec!r} or unknown_camera {self.unknown_camera!r} is none of its choices')
        if faults:
            raise ConfigError(f'images cannot be prepared so: {"; ".join(faults)}')

    @property
    def cached_size(self) -> tuple[int, int]:
        """Height and width of the cached images."""
        return round(self.height * self.margin), round(self.width * self.margin)

    @property
    def threads(self) -> int:
        """How many threads to run."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
        return self.workers or cores or 1

    def describe(self) -> dict[str, Any]:
        """Return what decides how a cache looks: two caches with equal descriptions are the same."""
        fields = asdict(self)
        del fields['workers']
        return fields
