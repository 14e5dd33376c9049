"""Whose word counts for how a clip's camera moved: two views, odometry, or both where they agree."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
PoseSource = Literal['two_view', 'odometry', 'both']

MAX_TURN_DEG = 1.5
MAX_COURSE_DEG = 15.0
"""Two views and odometry that differ by more in rotation or in direction contradict each other: one is wrong."""


def odometry_poses(T_world_camera: Floats, least_m: Floats) -> Floats:
    """Return T_source_target of odometry from the middle frame to each other one, with translations of length 1.

    Args:
        T_world_camera: Pose of each frame of a clip, (N, 4, 4), metres; NaN where not known.
        least_m: Shorter ways than this, (N-1,) metres, show no direction.

    Returns:
        (N-1, 4, 4), in order of time; NaN where not known, and where the camera stands.
    """
    middle = len(T_world_camera) // 2
    others = np.delete(T_world_camera, middle, axis=0)
    motions: Floats = np.full(others.shape, np.nan)
    for place, T_world_other in enumerate(others):
        if np.isfinite(T_world_other).all() and np.isfinite(T_world_camera[middle]).all():
            T = np.linalg.inv(T_world_other) @ T_world_camera[middle]
            length = float(np.linalg.norm(T[:3, 3]))
            if length >= max(least_m[place], 1e-6):
                T[:3, 3] /= length
                motions[place] = T
    return motions


def choose_poses(two_view: Floats, odometry: Floats, source: PoseSource) -> tuple[Floats, list[str]]:
    """Return the poses that count, and where each has them from.

    With 'both', two views count, which no clock and no mounting can make wrong; odometry where they show nothing; and
    neither where they contradict each other.

    Args:
        two_view: Poses by two views, (N-1, 4, 4), translations of length 1; NaN where not known.
        odometry: The same by odometry.
        source: Whom to ask.

    Returns:
        (N-1, 4, 4), NaN where none counts; and for each 'two views', 'odometry', 'contradicting' or 'none'.
    """
    chosen, origins = np.full_like(two_view, np.nan), []
    for place, (seen, driven) in enumerate(zip(two_view, odometry, strict=True)):
        is_seen = source != 'odometry' and bool(np.isfinite(seen).all())
        is_driven = source != 'two_view' and bool(np.isfinite(driven).all())
        if is_seen and is_driven and _contradict(seen, driven):
            origins.append('contradicting')
        elif is_seen:
            chosen[place] = seen
            origins.append('two views')
        elif is_driven:
            chosen[place] = driven
            origins.append('odometry')
        else:
            origins.append('none')
    return chosen, origins


def describe_origins(origins: Counter[str]) -> str:
    """Return in words where the poses of a cache come from."""
    return ', '.join(f'{count} {name}' for name, count in sorted(origins.items()) if count)


def _contradict(first: Floats, second: Floats) -> bool:
    turn = first[:3, :3].T @ second[:3, :3]
    turn_deg = np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    course_deg = np.degrees(np.arccos(np.clip(first[:3, 3] @ second[:3, 3], -1, 1)))
    return bool(turn_deg > MAX_TURN_DEG or course_deg > MAX_COURSE_DEG)
