"""The motion that is seen between the frames of every clip of a prepared cache, measured once and kept beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sidepth_core.data.clips import Clip
from sidepth_core.data.prepared import SEEN_MOTIONS_FILE, PreparedDataset
from sidepth_core.data.two_view import seen_motion

Floats = npt.NDArray[np.float64]
Progress = Callable[[int, int], object]
"""Told how many clips are done, of how many."""

MAX_BEND_DEG = 30.0
"""A camera does not change its course by more from one frame of a clip to the next: one of the two is wrong."""


def measure_seen_motions(folder: Path, progress: Progress = lambda _done, _of: None) -> None:
    """Write what `clip_motions` says of every clip into the cache, unless it is there already.

    Raises:
        DatasetError: If the folder is no complete cache.
    """
    path = folder / SEEN_MOTIONS_FILE
    if path.is_file():
        return
    cache = PreparedDataset(folder)
    motions = np.empty((len(cache), cache.clips.frames.shape[1] - 1, 4, 4), np.float32)
    for index in range(len(cache)):
        motions[index] = clip_motions(cache[index])
        progress(index + 1, len(cache))
    staged = path.with_suffix('.partial')
    with staged.open('wb') as file:
        np.save(file, motions)
    staged.replace(path)


def clip_motions(clip: Clip) -> Floats:
    """Return T_source_target from the middle frame to each other one, in order of time, (N-1, 4, 4), length 1.

    NaN where too little is seen, and where neighbouring motions contradict each other.
    """
    images = [np.ascontiguousarray(image.permute(1, 2, 0).numpy()) for image in clip.images]
    K = clip.intrinsics.numpy().astype(np.float64)
    middle = len(images) // 2
    unknown = np.full((4, 4), np.nan)
    found: list[Floats] = []
    for other, image in enumerate(images):
        if other < middle:
            motion = seen_motion(image, images[middle], K)
            found.append(unknown if motion is None else np.asarray(np.linalg.inv(motion)))
        elif other > middle:
            motion = seen_motion(images[middle], image, K)
            found.append(unknown if motion is None else motion)
    return np.stack(found if _is_smooth(found[middle - 1], found[middle]) else [unknown] * len(found))


def _is_smooth(T_before_middle: Floats, T_after_middle: Floats) -> bool:
    """Whether the course before the middle frame goes on after it; true where one of them is not known."""
    # Both in the axes of the middle frame: towards it from where it was, and from it to where it will be.
    arrived, left = -np.linalg.inv(T_before_middle)[:3, 3], np.linalg.inv(T_after_middle)[:3, 3]
    bend = np.degrees(np.arccos(np.clip(arrived @ left, -1, 1)))
    return not bend > MAX_BEND_DEG
