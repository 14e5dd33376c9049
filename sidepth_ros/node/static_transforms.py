"""Static transforms as lines of a parameter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sidepth_core.data.tracks import rigid
from sidepth_core.errors import ConfigError

Floats = npt.NDArray[np.float64]

FORM = "'PARENT CHILD X Y Z ROLL PITCH YAW', metres and radians, as static_transform_publisher takes them"


def parse_transforms(lines: Sequence[str]) -> dict[tuple[str, str], Floats]:
    """Return T_parent_child, keyed (parent, child), of lines of that form; empty lines say nothing.

    Raises:
        ConfigError: If a line has another form.
    """
    found = {}
    for line in filter(None, lines):
        words = line.split()
        try:
            x, y, z, roll, pitch, yaw = map(float, words[2:])
        except ValueError:
            raise ConfigError(f'transforms has {line!r}, expected {FORM}') from None
        if not all(map(math.isfinite, (x, y, z, roll, pitch, yaw))) or words[0] == words[1]:
            raise ConfigError(f'transforms has {line!r}, expected two frames and finite numbers: {FORM}')
        found[words[0].lstrip('/'), words[1].lstrip('/')] = rigid(rotation_of_angles(roll, pitch, yaw), (x, y, z))
    return found


def rotation_of_angles(roll: float, pitch: float, yaw: float) -> Floats:
    """Return the rotation of angles about the fixed axes x, y, z in this order, (3, 3), radians (REP 103)."""
    (sr, sp, sy), (cr, cp, cy) = np.sin([roll, pitch, yaw]), np.cos([roll, pitch, yaw])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)
