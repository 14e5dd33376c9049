"""Depth triangulated from the neighbours of every clip's middle frame, once, and stored beside a prepared cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from sidepth_core.data.clips import Clip
from sidepth_core.data.prepare.dataset import TWO_VIEW_DEPTH_FOLDER, PreparedDataset
from sidepth_core.data.prepare.maps import Maps, missing_maps, write_maps
from sidepth_core.data.two_view_depth import triangulated_depth

Progress = Callable[[int, int], object]
"""Told how many clips are done, of how many."""


def estimate_two_view_depth(folder: Path, progress: Progress = lambda _done, _of: None) -> None:
    """Write triangulated depth of every clip that has two-view poses into the cache, or what is missing of it.

    Raises:
        DatasetError: If the folder is no complete cache.
    """
    cache, maps = PreparedDataset(folder), folder / TWO_VIEW_DEPTH_FOLDER
    maps.mkdir(exist_ok=True)
    for clips in missing_maps(maps, len(cache)):
        write_maps(maps, clips, np.stack([two_view_depth_of(cache[index]) for index in clips]))
        progress(clips.stop, len(cache))


def two_view_depth_of(clip: Clip) -> Maps:
    """Return depth of a clip's middle frame by its neighbours, (h, w), in a unit of its own; NaN where not told."""
    images = [np.ascontiguousarray(image.permute(1, 2, 0).numpy()) for image in clip.images]
    target = images.pop(len(images) // 2)
    K, motions = clip.intrinsics.numpy().astype(np.float64), clip.two_view_pose.numpy().astype(np.float64)
    depth = triangulated_depth(target, images, K, list(motions))
    return np.full(target.shape[:2], np.nan, np.float16) if depth is None else depth.astype(np.float16)
