"""Trajectories in the format of the TUM RGB-D benchmark, which evo, rpg_trajectory_evaluation and others read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

HEADING = '# time [s], position [m] and quaternion of the camera (optical frame) in the world: t x y z qx qy qz qw\n'


def write_trajectory(path: Path, poses: Iterable[tuple[int, npt.NDArray[np.float64]]]) -> int:
    """Write poses, and return how many there are.

    Args:
        path: The file; its folder is made.
        poses: Stamp in nanoseconds and T_world_camera (4, 4) of each.

    Raises:
        OSError: If the file cannot be written.
    """
    lines = [_line(stamp_ns, pose) for stamp_ns, pose in poses]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADING + ''.join(lines), encoding='utf-8')
    return len(lines)


def _line(stamp_ns: int, T_world_camera: npt.NDArray[np.float64]) -> str:
    # Nanoseconds do not fit into a float: of today's dates it keeps a quarter of a microsecond.
    time = f'{stamp_ns // 1_000_000_000}.{stamp_ns % 1_000_000_000:09d}'
    numbers = [*T_world_camera[:3, 3], *quaternion(T_world_camera[:3, :3])]
    return f'{time} {" ".join(f"{number:.9g}" for number in numbers)}\n'


def quaternion(rotation: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return a rotation matrix (3, 3) as a unit quaternion x, y, z, w with w >= 0."""
    vector = cv2.Rodrigues(np.ascontiguousarray(rotation, np.float64))[0].ravel()
    angle = float(np.linalg.norm(vector))
    axis = vector / angle if angle else np.zeros(3)
    return np.array([*(np.sin(angle / 2) * axis), np.cos(angle / 2)])
