"""KITTI as drives: raw, odometry, and the single images of the object benchmark."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from sidepth_core.data.deferred import DeferredSource, Pending, content_of
from sidepth_core.data.depth_truth import project_depth, read_velodyne
from sidepth_core.data.folders import images_in, read_depth, read_poses
from sidepth_core.data.frames import Frame
from sidepth_core.data.kitti.files import (
    camera_of_projection,
    improved_truth,
    named,
    offset_of_projection,
    padded,
    pose_of_oxts,
    read_calibration_table,
    read_oxts,
    read_timestamps,
    rows_of,
)
from sidepth_core.errors import ConfigError, DatasetError
from sidepth_core.images import decode_compressed

FloatArray = npt.NDArray[np.float64]
Truth = Literal['none', 'lidar', 'improved']
TRUTHS: dict[str, Truth] = {'none': 'none', 'lidar': 'lidar', 'improved': 'improved'}

PERIOD_NS = 103_600_000
"""Time between two images, where the data does not tell it."""


class Item(NamedTuple):
    """One image of KITTI, and what is known of it before it is decoded.

    Attributes:
        image: The file.
        stamp_ns: Its time.
        P: (3, 4) projection of its camera, of the rectified reference camera's points.
        speed_mps: None where not known.
        T_world_camera: (4, 4); None where not known.
        sweep: Velodyne file; None for no depth.
        T_camera_velo: (4, 4), from the Velodyne to this camera.
        truth: Improved ground truth; None where there is none.
        first_pixel: Number of the first column and row when a sweep is projected. The raw LiDAR truth of all published
            tables counts from one, as the development kit does.
    """

    image: Path
    stamp_ns: int
    P: FloatArray
    speed_mps: float | None = None
    T_world_camera: FloatArray | None = None
    sweep: Path | None = None
    T_camera_velo: FloatArray | None = None
    truth: Path | None = None
    first_pixel: int = 0


class KittiSource(DeferredSource):
    """Any part of KITTI: subclasses list the images, this decodes them.

    Attributes:
        truth: What depth it gives.
    """

    truth: Truth = 'none'

    @abstractmethod
    def items(self) -> list[Item]:
        """Return the images in order of time."""

    def expected(self) -> int:
        """Return how many images there are."""
        return len(self.items())

    def pending(self) -> Iterator[Pending]:
        """Yield what decodes each image.

        Raises:
            DatasetError: If calibration or time stamps are missing or do not fit.
        """
        items = self.items()
        self.report.claimed = len(items)
        if self.truth != 'none' and (without := sum(not (item.sweep or item.truth) for item in items)):
            self.report.notes.append(f'{without} of {len(items)} images have no {self.truth} depth')
        for item in items:
            self.report.read += 1
            yield partial(_frame, item)


class KittiDrive(KittiSource):
    """One drive of KITTI raw, seen by one of its colour cameras (or grey ones).

    Args:
        path: The drive's folder, `<date>_drive_<number>_sync`, in its date's folder with the calibration.
        side: Which camera: 2 left colour, 3 right colour, 0 and 1 grey.
        truth: Depth to give: 'none', 'lidar' (raw Velodyne) or 'improved' (see files.improved_truth).
        frames: Numbers of the images to give; None: all.
        note: What a user should read of the split that this drive was chosen for; '' for nothing.
    """

    def __init__(
        self, path: Path, side: int = 2, truth: Truth = 'none', frames: frozenset[int] | None = None, note: str = ''
    ) -> None:
        super().__init__(f'{path} image_{side:02d}')
        if side not in range(4) or truth not in TRUTHS:
            raise ConfigError(f'KITTI: side {side!r} is not 0..3, or truth {truth!r} not one of {", ".join(TRUTHS)}')
        self.path = path
        self.side = side
        self.truth: Truth = truth
        self.numbers = frames
        self.note = note

    @property
    def identity(self) -> str:
        """The path and every option."""
        chosen = 'all' if self.numbers is None else sorted(self.numbers)
        return f'{content_of(self.path)}, {self.side} {self.truth} {chosen}'

    def items(self) -> list[Item]:
        """Return the images of the drive.

        Raises:
            DatasetError: If its calibration is missing.
        """
        folder = self.path / f'image_{self.side:02d}'
        data = folder / 'data' if (folder / 'data').is_dir() else folder
        path = self.path.parent / 'calib_cam_to_cam.txt'
        rows = read_calibration_table(path)
        P = named(rows, f'P_rect_{self.side:02d}', (3, 4), path)
        T_camera_velo = self._camera_from_velodyne(rows, P) if self.truth == 'lidar' else None
        stamps = read_timestamps(folder / 'timestamps.txt')
        poses, speeds = self._motion(rows, P)
        improved = improved_truth(self.path, self.side) if self.truth == 'improved' else None
        items = []
        images = {int(image.stem): image for image in images_in(data) if image.stem.isdecimal()}
        for number, image in images.items():
            if self.numbers is not None and number not in self.numbers:
                continue
            known = stamps is not None and number < len(stamps)
            sweep = self.path / 'velodyne_points' / 'data' / f'{number:010d}.bin'
            truth = improved / f'{number:010d}.png' if improved else None
            items.append(
                Item(
                    image,
                    int(stamps[number]) if known and stamps is not None else number * PERIOD_NS,
                    P,
                    speeds.get(number),
                    poses.get(number),
                    sweep if T_camera_velo is not None and sweep.is_file() else None,
                    T_camera_velo,
                    truth if truth and truth.is_file() else None,
                    first_pixel=1,
                )
            )
        if self.note:
            self.report.notes.append(self.note)
        if missing := (self.numbers or frozenset()) - images.keys():
            self.report.notes.append(f'{len(missing)} images of the split are not there, as number {min(missing)}')
        return items

    def _camera_from_velodyne(self, rows: dict[str, FloatArray], P: FloatArray) -> FloatArray:
        path = self.path.parent / 'calib_velo_to_cam.txt'
        velo = read_calibration_table(path)
        T_cam0_velo = padded(named(velo, 'R', (3, 3), path), named(velo, 'T', (1, 3), path)[0])
        R_rect = padded(named(rows, 'R_rect_00', (3, 3), self.path.parent / 'calib_cam_to_cam.txt'))
        return np.asarray(offset_of_projection(P) @ R_rect @ T_cam0_velo)

    def _motion(self, rows: dict[str, FloatArray], P: FloatArray) -> tuple[dict[int, FloatArray], dict[int, float]]:
        """Return poses and speeds by image number, from the OXTS packets; nothing where there are none."""
        files = sorted((self.path / 'oxts' / 'data').glob('*.txt'))
        packets = {int(path.stem): read_oxts(path) for path in files if path.stem.isdecimal()}
        # vf, vl, vu: velocity along the vehicle's own axes, metres a second.
        speeds = {number: float(np.linalg.norm(packet[8:11])) for number, packet in packets.items()}
        imu_path = self.path.parent / 'calib_imu_to_velo.txt'
        if not packets or not imu_path.is_file():
            return {}, speeds
        imu = read_calibration_table(imu_path)
        T_velo_imu = padded(named(imu, 'R', (3, 3), imu_path), named(imu, 'T', (1, 3), imu_path)[0])
        T_imu_camera = np.linalg.inv(self._camera_from_velodyne(rows, P) @ T_velo_imu)
        first = packets[min(packets)]
        return {number: pose_of_oxts(packet, first) @ T_imu_camera for number, packet in packets.items()}, speeds


class KittiOdometry(KittiSource):
    """One sequence of KITTI odometry, colour where it is there, grey otherwise.

    Args:
        path: The sequence's folder, with calib.txt, image_2 or image_0, times.txt, and its poses as poses.txt or, as
            published, in ../../poses/<sequence>.txt.
        side: Which camera, 0 to 3; None: the first of 2, 0, 3, 1 that is there.
        truth: 'lidar' for depth from velodyne/, else 'none'.
    """

    def __init__(self, path: Path, side: int | None = None, truth: Truth = 'none') -> None:
        super().__init__(str(path))
        self.path = path
        self.truth: Truth = truth
        there = [number for number in (2, 0, 3, 1) if (path / f'image_{number}').is_dir()]
        if not there or (side is not None and side not in there):
            raise DatasetError(f'KITTI sequence {str(path)!r} has no folder image_{"0..3" if side is None else side}')
        self.side = there[0] if side is None else side

    @property
    def identity(self) -> str:
        """The path and every option."""
        return f'{content_of(self.path)}, {self.side} {self.truth}'

    def items(self) -> list[Item]:
        """Return the images of the sequence.

        Raises:
            DatasetError: If its calibration is missing, or poses or times do not belong to its images.
        """
        path = self.path / 'calib.txt'
        rows = read_calibration_table(path)
        P = named(rows, f'P{self.side}', (3, 4), path)
        T_camera_0 = offset_of_projection(P)
        images = images_in(self.path / f'image_{self.side}')
        published = self.path.resolve().parents[1] / 'poses' / f'{self.path.name}.txt'
        beside = self.path / 'poses.txt'
        source = beside if beside.is_file() else published
        poses = read_poses(source)
        poses = None if poses is None else poses[rows_of(images, len(poses), source)]
        times = self.path / 'times.txt'
        seconds = np.loadtxt(times, ndmin=1) if times.is_file() else np.arange(len(images)) * PERIOD_NS / 1e9
        seconds = seconds[rows_of(images, len(seconds), times)]
        T_camera_velo = None
        if self.truth == 'lidar':
            T_camera_velo = T_camera_0 @ np.vstack([named(rows, 'Tr', (3, 4), path), [0, 0, 0, 1]])
        items = []
        for number, image in enumerate(images):
            pose = None if poses is None else poses[number] @ np.linalg.inv(T_camera_0)
            sweep = self.path / 'velodyne' / f'{image.stem}.bin'
            items.append(
                Item(
                    image,
                    round(float(seconds[number]) * 1e9),
                    P,
                    None,
                    pose,
                    sweep if T_camera_velo is not None and sweep.is_file() else None,
                    T_camera_velo,
                )
            )
        return items


class KittiObject(KittiSource):
    """Single images of KITTI's object benchmark with the depth of their sweeps: for evaluation only.

    Args:
        path: Folder of image_2, calib and velodyne.
    """

    one_size = False  # they come from many drives

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path

    def items(self) -> list[Item]:
        """Return the images, a minute apart: none is another's neighbour.

        Raises:
            DatasetError: If a calibration is missing.
        """
        items = []
        for number, image in enumerate(images_in(self.path / 'image_2')):
            path = self.path / 'calib' / f'{image.stem}.txt'
            rows = read_calibration_table(path)
            P = named(rows, 'P2', (3, 4), path)
            T_cam0_velo = np.vstack([named(rows, 'Tr_velo_to_cam', (3, 4), path), [0, 0, 0, 1]])
            T_camera_velo = offset_of_projection(P) @ padded(named(rows, 'R0_rect', (3, 3), path)) @ T_cam0_velo
            sweep = self.path / 'velodyne' / f'{image.stem}.bin'
            items.append(
                Item(
                    image,
                    number * 60_000_000_000,
                    P,
                    sweep=sweep if sweep.is_file() else None,
                    T_camera_velo=T_camera_velo,
                )
            )
        return items


def _frame(item: Item) -> Frame:
    image = decode_compressed(item.image.read_bytes())
    height, width = image.shape[:2]
    camera = camera_of_projection(item.P, width, height)
    depth_m = None
    if item.truth:
        depth_m = read_depth(item.truth)
    elif item.sweep and item.T_camera_velo is not None:
        counted = camera.cropped(item.first_pixel, item.first_pixel, width, height)
        depth_m = project_depth(read_velodyne(item.sweep), item.T_camera_velo, counted)
    return Frame(item.stamp_ns, image, camera, item.speed_mps, item.T_world_camera, depth_m)
