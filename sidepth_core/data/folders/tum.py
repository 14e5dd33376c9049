"""Sequences of the TUM RGB-D benchmark (Sturm et al., IROS 2012; CC BY 4.0), as its archives unpack.

Beside the folders rgb/ and depth/ lie rgb.txt and depth.txt (a time in seconds and a file a line) and groundtruth.txt
(time, position and quaternion x y z w of the colour camera's optical frame). The lists are recorded apart: an image
takes the depth map and the pose nearest in time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sidepth_core.camera import Camera
from sidepth_core.data.deferred import DeferredSource, Pending, content_of
from sidepth_core.data.folders.image_folders import Facts, read_frame
from sidepth_core.errors import DatasetError

DEPTH_SCALE = 5000.0
"""Values a metre in the depth PNGs."""
NEAREST_S = 0.02
"""Depth maps and poses farther in time from an image do not belong to it, seconds."""

CAMERAS = {
    'freiburg1': Camera(
        640, 480, 517.3, 516.5, 318.6, 255.3, 'plumb_bob', (0.2624, -0.9531, -0.0054, 0.0026, 1.1633)
    ),
    'freiburg2': Camera(
        640, 480, 520.9, 521.0, 325.1, 249.7, 'plumb_bob', (0.2312, -0.7849, -0.0033, -0.0001, 0.9172)
    ),
    'freiburg3': Camera(640, 480, 535.4, 539.2, 320.1, 247.6),
}
"""The colour cameras, as the benchmark's page lists them; a sequence is named after its camera."""


class _Listed(NamedTuple):
    """The lines of a list: times in seconds, rising, and what stands behind them."""

    times_s: npt.NDArray[np.float64]
    values: list[list[str]]


def is_tum_sequence(path: Path) -> bool:
    """Whether a folder is an unpacked sequence."""
    return (path / 'rgb.txt').is_file() and (path / 'depth.txt').is_file()


class TumSource(DeferredSource):
    """A sequence of the TUM RGB-D benchmark with depth, and with poses where groundtruth.txt is there.

    Args:
        path: The unpacked folder, its name as the benchmark gives it, or any name where `camera` is given.
        camera: Another camera than that of the sequence's name.
    """

    def __init__(self, path: Path, camera: Camera | None = None) -> None:
        super().__init__(str(path))
        self.path = path
        name = re.search('freiburg[123]', path.resolve().name)
        if camera is None and name is None:
            raise DatasetError(
                f'{str(path)!r} does not say which camera of the TUM benchmark it is: keep freiburg1, 2 or 3 in the '
                'name of the folder, or give camera=FILE'
            )
        self.camera = camera or CAMERAS[name[0] if name else '']

    @property
    def identity(self) -> str:
        """The path and the camera."""
        return f'{content_of(self.path)}, {self.camera}'

    def expected(self) -> int:
        """Return how many images are listed."""
        return len(_listed(self.path / 'rgb.txt').values)

    def pending(self) -> Iterator[Pending]:
        """Yield what decodes each image.

        Raises:
            DatasetError: If a list is damaged.
        """
        images, depths = _listed(self.path / 'rgb.txt'), _listed(self.path / 'depth.txt')
        truth = self.path / 'groundtruth.txt'
        poses = _listed(truth) if truth.is_file() else None
        self.report.claimed = len(images.values)
        without = 0
        for time_s, (name, *_) in zip(images.times_s, images.values, strict=True):
            self.report.read += 1
            depth = _nearest(depths, time_s)
            pose = None if poses is None else _nearest(poses, time_s)
            without += depth is None
            facts = Facts(
                round(time_s * 1e9),
                self.camera,
                None,
                None if pose is None else _matrix(pose, truth),
                None if depth is None else self.path / depth[0],
                DEPTH_SCALE,
            )
            yield partial(read_frame, self.path / name, facts)
        if without:
            self.report.notes.append(f'{without} images have no depth map within {NEAREST_S * 1000:.0f} ms')


def _listed(path: Path) -> _Listed:
    """Read a list of the benchmark; lines that begin with # are comments.

    Raises:
        DatasetError: If a line holds no time, or times do not rise.
    """
    content = path.read_text(encoding='utf-8').splitlines()
    lines = [line.split() for line in content if line and not line.startswith('#')]
    try:
        times_s = np.array([float(line[0]) for line in lines])
    except (ValueError, IndexError):
        raise DatasetError(f'{str(path)!r} is no list of the TUM benchmark: no time begins each line') from None
    if any(len(line) < 2 for line in lines) or not np.isfinite(times_s).all() or (np.diff(times_s) < 0).any():
        raise DatasetError(f'{str(path)!r} is damaged: expected rising times, and a value behind each')
    return _Listed(times_s, [line[1:] for line in lines])


def _nearest(listed: _Listed, time_s: float) -> list[str] | None:
    """Return what is listed nearest in time, None where nothing is within NEAREST_S."""
    if not len(listed.times_s):
        return None
    index = int(np.abs(listed.times_s - time_s).argmin())
    return listed.values[index] if abs(listed.times_s[index] - time_s) <= NEAREST_S else None


def _matrix(values: list[str], path: Path) -> npt.NDArray[np.float64]:
    """Return T_world_camera (4, 4) of a position and a quaternion x y z w."""
    try:
        tx, ty, tz, x, y, z, w = (float(value) for value in values[:7])
    except ValueError:
        raise DatasetError(f'{str(path)!r} is damaged: {" ".join(values)!r} is no position and quaternion') from None
    norm = x * x + y * y + z * z + w * w
    if not norm > 0:
        raise DatasetError(f'{str(path)!r} is damaged: the quaternion of {" ".join(values)!r} has no length')
    s = 2 / norm
    return np.array(
        [
            [1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w), tx],
            [s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w), ty],
            [s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y), tz],
            [0, 0, 0, 1],
        ]
    )
