"""Single images with one LiDAR sweep and a `*.calib.json` beside them, as MMDetection3D's data infos describe them.

The JSON has `images`: for each camera `img_path`, `cam2img` (3x3 or 4x4) and `lidar2cam` or `lidar2img` (4x4), and
`lidar_points`: `lidar_path` and `num_pts_feats`. Paths are names of files in the same folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sidepth_core.camera import Camera
from sidepth_core.data.deferred import DeferredSource, Pending
from sidepth_core.data.depth_truth.lidar import project_depth, read_velodyne
from sidepth_core.data.frames import Frame
from sidepth_core.errors import ConfigError, DatasetError
from sidepth_core.images import decode_compressed

FloatArray = npt.NDArray[np.float64]

PATTERN = '*.calib.json'
MINUTE_NS = 60_000_000_000
"""Images are put so far apart: none is another's neighbour in time."""


def is_sweep_folder(path: Path) -> bool:
    """Return whether a folder holds calibrated sweeps."""
    return path.is_dir() and next(path.glob(PATTERN), None) is not None


class SweepFolder(DeferredSource):
    """The images of a folder of calibrated sweeps, with the depth of their sweeps: for evaluation only.

    Args:
        path: The folder.
    """

    one_size = False  # each may be another camera's

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path

    def pending(self) -> Iterator[Pending]:
        """Yield what decodes each image, camera by camera.

        Raises:
            DatasetError: If a calibration cannot be read.
        """
        number = 0
        for file in sorted(self.path.glob(PATTERN)):
            content = _content(file)
            sweep = self.path / str(content['lidar_points']['lidar_path'])
            values = int(content['lidar_points'].get('num_pts_feats', 4))
            for name, fields in content['images'].items():
                if not isinstance(fields, dict) or 'img_path' not in fields:
                    continue  # KITTI's lists its other cameras and R0_rect there
                image = self.path / str(fields['img_path'])
                self.report.read += 1
                if not image.is_file():
                    self._skip('image missing', f'{file.name}: {image.name} of camera {name} is not there')
                    continue
                K, T_camera_lidar = _calibration(file, name, fields)
                yield partial(_frame, image, number * MINUTE_NS, K, T_camera_lidar, sweep, values)
                number += 1
        self.report.claimed = self.report.read


def _content(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding='utf-8'))
        content['lidar_points']['lidar_path'], content['images'].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f'{str(file)!r} is no calibration of a sweep: expected images and lidar_points') from error
    return dict(content)


def _calibration(file: Path, name: str, fields: dict[str, Any]) -> tuple[FloatArray, FloatArray]:
    """Return K (3, 3) and T_camera_lidar (4, 4) of one camera.

    A 4x4 cam2img, KITTI's projection, may carry the offset of the camera from its reference: lidar2img knows it.
    """
    try:
        cam2img = np.array(fields['cam2img'], np.float64)
        padded = np.eye(4)
        padded[: cam2img.shape[0], : cam2img.shape[1]] = cam2img
        lidar2img = fields.get('lidar2img')
        projection = padded @ np.array(fields['lidar2cam']) if lidar2img is None else np.array(lidar2img, np.float64)
        intrinsics = np.eye(4)
        intrinsics[:3, :3] = padded[:3, :3]
        return padded[:3, :3], np.asarray(np.linalg.inv(intrinsics) @ projection)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise DatasetError(
            f'{str(file)!r}: camera {name!r} needs cam2img (3x3 or 4x4) and lidar2cam or lidar2img (4x4)'
        ) from error


def _frame(image: Path, stamp_ns: int, K: FloatArray, T_camera_lidar: FloatArray, sweep: Path, values: int) -> Frame:
    pixels = decode_compressed(image.read_bytes())
    height, width = pixels.shape[:2]
    try:
        camera = Camera(width, height, float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2]))
    except ConfigError as error:
        raise DatasetError(f'{str(image)!r}: {error}') from error
    depth_m = project_depth(read_velodyne(sweep, values), T_camera_lidar, camera) if sweep.is_file() else None
    return Frame(stamp_ns, pixels, camera, depth_m=depth_m)
