"""The files of KITTI: calibrations, time stamps and OXTS packets.

Facts from the raw data's readme and development kit (Geiger et al., IJRR 2013). A point of the Velodyne becomes one of
rectified camera i by P_rect_i * R_rect_00 * T_velo_to_cam; P_rect_i[:, 3] is where camera i sits beside camera 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sidepth_core.camera import Camera
from sidepth_core.data.tracks import rigid
from sidepth_core.errors import DatasetError

FloatArray = npt.NDArray[np.float64]

EARTH_RADIUS_M = 6378137.0


def read_calibration_table(path: Path) -> dict[str, FloatArray]:
    """Return the named rows of numbers of a KITTI calib file; rows that are no numbers are left out.

    Rows without a name, as some copies of the odometry data have them, are named P0, P1, ... in order.

    Raises:
        DatasetError: If the file is missing or holds no row of numbers.
    """
    if not path.is_file():
        raise DatasetError(f'KITTI calibration {str(path)!r} is missing')
    rows: dict[str, FloatArray] = {}
    for number, line in enumerate(path.read_text(encoding='utf-8').splitlines()):
        name, colon, values = line.rpartition(':')
        try:
            numbers = np.array([float(value) for value in values.split()])
        except ValueError:
            continue
        if len(numbers):
            rows[name.strip() if colon else f'P{number}'] = numbers
    if not rows:
        raise DatasetError(f'KITTI calibration {str(path)!r} holds no numbers')
    return rows


def named(rows: dict[str, FloatArray], name: str, shape: tuple[int, int], path: Path) -> FloatArray:
    """Return one row of a calib file as a matrix.

    Raises:
        DatasetError: If it is missing or has another number of values.
    """
    values = rows.get(name)
    if values is None or values.size != shape[0] * shape[1]:
        raise DatasetError(f'KITTI calibration {str(path)!r} has no {name} of {shape[0]}x{shape[1]} numbers')
    return values.reshape(shape)


def camera_of_projection(P: FloatArray, width: int, height: int) -> Camera:
    """Return the rectified camera of a 3x4 projection matrix."""
    return Camera(width, height, float(P[0, 0]), float(P[1, 1]), float(P[0, 2]), float(P[1, 2]))


def offset_of_projection(P: FloatArray) -> FloatArray:
    """Return T_camera_reference, (4, 4): where the reference camera's points lie in this projection's camera."""
    return rigid(np.eye(3), np.linalg.solve(P[:, :3], P[:, 3]))


def padded(rotation: FloatArray, translation: npt.ArrayLike = (0, 0, 0)) -> FloatArray:
    """Return the (4, 4) transform of the nine and three numbers of a calib file."""
    return rigid(rotation.reshape(3, 3), translation)


def read_timestamps(path: Path) -> npt.NDArray[np.int64] | None:
    """Return the times of a timestamps.txt (2011-09-26 13:02:25.964389445), nanoseconds; None where there is none.

    Raises:
        DatasetError: If a line is no time.
    """
    if not path.is_file():
        return None
    stamps = []
    for line in path.read_text(encoding='utf-8').split('\n'):
        if not line.strip():
            continue
        seconds, _, fraction = line.strip().partition('.')
        try:
            moment = datetime.strptime(seconds, '%Y-%m-%d %H:%M:%S').replace(tzinfo=timezone.utc)
            stamps.append(int(moment.timestamp()) * 1_000_000_000 + int(fraction.ljust(9, '0')[:9] or 0))
        except ValueError as error:
            raise DatasetError(f'{str(path)!r}: {line!r} is no time: {error}') from error
    return np.array(stamps, dtype=np.int64)


def read_oxts(path: Path) -> FloatArray:
    """Return the numbers of one OXTS packet: lat, lon, alt, roll, pitch, yaw, vn, ve, vf, vl, vu, ...

    Raises:
        DatasetError: If there are fewer than these eleven, or one is no number.
    """
    try:
        numbers = np.array([float(value) for value in path.read_text(encoding='utf-8').split()])
    except ValueError as error:
        raise DatasetError(f'OXTS packet {str(path)!r} cannot be read: {error}') from error
    if len(numbers) < 11:
        raise DatasetError(f'OXTS packet {str(path)!r} has {len(numbers)} numbers, expected at least 11')
    return numbers


def pose_of_oxts(packet: FloatArray, first: FloatArray) -> FloatArray:
    """Return T_world_imu, (4, 4): metres by Mercator's projection, the origin where the first packet was taken."""
    scale = math.cos(math.radians(first[0]))

    def place(p: FloatArray) -> FloatArray:
        east = scale * EARTH_RADIUS_M * math.radians(p[1])
        north = scale * EARTH_RADIUS_M * math.log(math.tan(math.radians(90 + p[0]) / 2))
        return np.array([east, north, p[2]])

    roll, pitch, yaw = packet[3:6]
    return rigid(_about(2, yaw) @ _about(1, pitch) @ _about(0, roll), place(packet) - place(first))


def _about(axis: int, angle: float) -> FloatArray:
    """Return the rotation by an angle, radians, about the x, y or z axis."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    rotation = np.eye(3)
    rotation[first, first] = rotation[second, second] = math.cos(angle)
    rotation[second, first] = math.sin(angle)
    rotation[first, second] = -math.sin(angle)
    return rotation


def improved_truth(drive: Path, side: int) -> Path | None:
    """Return the folder of a drive's improved ground truth; None where there is none.

    It lies in the drive itself, or, as it is published (data_depth_annotated), in train/ or val/: in the folder of the
    dates, beside it, or in data_depth_annotated there.
    """
    root = drive.resolve().parent.parent
    trees = (top / tree for top in (root, root.parent) for tree in ('', 'data_depth_annotated'))
    drives = [drive, *(tree / part / drive.name for tree in trees for part in ('train', 'val'))]
    folders = (each / 'proj_depth' / 'groundtruth' / f'image_{side:02d}' for each in drives)
    return next((folder for folder in folders if folder.is_dir()), None)


def rows_of(images: Sequence[Path], count: int, table: Path) -> list[int]:
    """Return which row of a table belongs to each image: all in order, or, of a part of a sequence, the numbered ones.

    Raises:
        DatasetError: If the table is neither as long as the images nor has their numbers.
    """
    if count == len(images):
        return list(range(count))
    numbers = [int(image.stem) for image in images if image.stem.isdecimal()]
    if len(numbers) != len(images) or max(numbers) >= count:
        raise DatasetError(f'{str(table)!r} holds {count} rows for {len(images)} images')
    return numbers
