"""Two-view poses between the frames of every clip of a prepared cache, estimated once and stored in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sidepth_core.data.clips import Clip
from sidepth_core.data.prepare.dataset import STANDING_MPS, TWO_VIEW_POINTS, TWO_VIEW_POSES_FILE, PreparedDataset
from sidepth_core.data.two_view import TwoViewGeometry, two_view_geometry
from sidepth_core.old_names import cache_file

Floats = npt.NDArray[np.float64]
Progress = Callable[[int, int], object]
"""Told how many clips are done, of how many."""

MAX_BEND_DEG = 30.0
"""A camera does not change its course by more from one frame of a clip to the next: one of the two is wrong."""
RULES = 2
"""Of what is believed; what other rules measured is measured again."""


class TwoViewPoses(NamedTuple):
    """Poses of a clip's frames from corners; NaN where too few are tracked, or neighbouring poses disagree.

    Attributes:
        motions: As Clip.two_view_pose has them, (N-1, 4, 4).
        points: As Clip.two_view_points has them, (N-1, TWO_VIEW_POINTS, 3).
    """

    motions: Floats
    points: Floats


def estimate_two_view_poses(folder: Path, progress: Progress = lambda _done, _of: None) -> None:
    """Write what `two_view_poses_of` says of every clip into the cache, unless it is there already by today's rules.

    Raises:
        DatasetError: If the folder is no complete cache.
    """
    path = folder / TWO_VIEW_POSES_FILE
    stored = cache_file(path)
    if stored.is_file() and _rules(stored) == RULES:
        return
    cache = PreparedDataset(folder)
    found: list[TwoViewPoses] = []
    for index in range(len(cache)):
        found.append(two_view_poses_of(cache[index]))
        progress(index + 1, len(cache))
    motions, points = (np.stack(column).astype(np.float32) for column in zip(*found, strict=True))
    staged = path.with_suffix('.partial')
    with staged.open('wb') as file:
        np.savez(file, motions=motions, points=points, rules=RULES)
    staged.replace(path)


def _rules(path: Path) -> int:
    with np.load(path) as columns:
        return int(columns['rules']) if 'rules' in columns else 1


def two_view_poses_of(clip: Clip) -> TwoViewPoses:
    """Return what corners tell of the motion from the middle frame of a clip to each other one, in order of time.

    Where odometry says that the camera stands, what moves in its images is not the camera.
    """
    images = [np.ascontiguousarray(image.permute(1, 2, 0).numpy()) for image in clip.images]
    K = clip.intrinsics.numpy().astype(np.float64)
    middle = len(images) // 2
    size = np.array(images[0].shape[1::-1])
    count = len(images) - 1
    seen = TwoViewPoses(np.full((count, 4, 4), np.nan), np.full((count, TWO_VIEW_POINTS, 3), np.nan))
    for place, other in enumerate(index for index in range(len(images)) if index != middle):
        first, second = sorted((other, middle))
        driven_m, seconds = clip.distance_m[first:second].sum(), clip.dt_s[first:second].sum()
        if driven_m < STANDING_MPS * seconds:  # false where nobody measured
            continue
        found = two_view_geometry(images[first], images[second], K)
        if found is not None:
            is_past = other < middle
            seen.motions[place] = np.linalg.inv(found.T_now_before) if is_past else found.T_now_before
            points = _points(found, size, in_later=is_past)
            seen.points[place, : len(points)] = points
    if not _is_smooth(seen.motions[middle - 1], seen.motions[middle]):
        seen.motions[:], seen.points[:] = np.nan, np.nan
    return seen


def _points(found: TwoViewGeometry, size: npt.NDArray[np.int64], *, in_later: bool) -> Floats:
    """Return up to TWO_VIEW_POINTS corners, evenly chosen: relative column and row in one image, and depth there."""
    pixels = found.now_px if in_later else found.before_px
    T = found.T_now_before if in_later else np.eye(4)
    depth = (found.points @ T[:3, :3].T + T[:3, 3])[:, 2]
    points = np.column_stack([(pixels + 0.5) / size, depth])
    chosen: Floats = points[:: max(-(-len(points) // TWO_VIEW_POINTS), 1)]
    return chosen


def _is_smooth(T_before_middle: Floats, T_after_middle: Floats) -> bool:
    """Whether the course before the middle frame goes on after it; true where one of them is not known."""
    # Both in the axes of the middle frame: towards it from where it was, and from it to where it will be.
    arrived, left = -np.linalg.inv(T_before_middle)[:3, 3], np.linalg.inv(T_after_middle)[:3, 3]
    bend = np.degrees(np.arccos(np.clip(arrived @ left, -1, 1)))
    return not bend > MAX_BEND_DEG
