"""Folders of calibrated sweeps: points land where the calibration says, on written and on real data."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from sidepth_core.data.bags.source import BagSource
from sidepth_core.data.depth_truth.sweeps import SweepFolder, is_sweep_folder
from sidepth_core.data.sources import open_source, open_sources
from sidepth_core.errors import DatasetError

# The LiDAR's x ahead, y left, z up, in the camera's axes; the camera sits 0.5 m above the LiDAR.
LIDAR2CAM = [[0, -1, 0, 0], [0, 0, -1, 0.5], [1, 0, 0, 0], [0, 0, 0, 1]]
CAM2IMG = [[50, 0, 32], [0, 60, 24], [0, 0, 1]]


def write(folder: Path, **camera: object) -> Path:
    cv2.imwrite(str(folder / 'front.png'), np.zeros((48, 64, 3), np.uint8))
    np.array([[10, -2, 0.5, 7, 1], [-5, 0, 0, 7, 1]], np.float32).tofile(folder / 'sweep.bin')
    content = {
        'images': {
            'CAM_FRONT': {'img_path': 'front.png', **camera},
            'CAM_BACK': {'img_path': 'back.png', **camera},
            'R0_rect': [],
        },
        'lidar_points': {'lidar_path': 'sweep.bin', 'num_pts_feats': 5},
    }
    (folder / 'one.calib.json').write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize('as_projection', [False, True])
def test_convention_a_point_lands_on_its_pixel(tmp_path: Path, as_projection: bool) -> None:
    camera: dict[str, object] = {'cam2img': CAM2IMG, 'lidar2cam': LIDAR2CAM}
    if as_projection:
        padded = np.eye(4)
        padded[:3, :3] = CAM2IMG
        camera = {'cam2img': padded.tolist(), 'lidar2img': (padded @ np.array(LIDAR2CAM)).tolist()}
    source = SweepFolder(write(tmp_path, **camera))
    (frame,) = source
    assert frame.depth_m is not None
    # 10 m ahead, 2 m right, level with the camera: u = 50 * 2 / 10 + 32, v = 24.
    assert np.argwhere(np.isfinite(frame.depth_m)).tolist() == [[24, 42]]
    assert frame.depth_m[24, 42] == pytest.approx(10)
    assert source.report.skipped['image missing'] == 1


def test_a_folder_is_recognised_by_its_calibration(tmp_path: Path) -> None:
    assert not is_sweep_folder(tmp_path)
    assert isinstance(open_source(str(write(tmp_path, cam2img=CAM2IMG, lidar2cam=LIDAR2CAM))), SweepFolder)


def test_a_broken_calibration_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"camera 'CAM_FRONT' needs cam2img .* and lidar2cam or lidar2img"):
        list(SweepFolder(write(tmp_path, cam2img=CAM2IMG)))
    (tmp_path / 'one.calib.json').write_text('{"images": []}')
    with pytest.raises(DatasetError, match='is no calibration of a sweep'):
        list(SweepFolder(tmp_path))


def test_real_sweeps_of_two_data_sets_cover_their_images(real_data: Path) -> None:
    kitti = list(SweepFolder(real_data / 'lidar_samples' / 'mmdet3d_kitti_000008'))
    nuscenes = list(SweepFolder(real_data / 'lidar_samples' / 'mmdet3d_nuscenes_sample'))
    assert [len(kitti), len(nuscenes)] == [1, 6]
    for frame, least in [(kitti[0], 15_000), *((frame, 1_000) for frame in nuscenes)]:
        assert frame.depth_m is not None
        known = frame.depth_m[np.isfinite(frame.depth_m)]
        assert known.size > least
        rows = np.nonzero(np.isfinite(frame.depth_m).any(1))[0]
        assert np.nanmedian(frame.depth_m[rows[-20] :]) < np.nanmedian(frame.depth_m[rows[0] : rows[0] + 20])


def test_evaluation_asks_for_lidar_where_a_drive_has_it(real_data: Path) -> None:
    (bag,) = open_sources([str(real_data / 'bags' / 'highway_mcap')], with_depth=True)
    assert isinstance(bag.source, BagSource)
    assert bag.source.topics.lidar is None  # whatever LiDAR there is
    (odometry,) = open_sources([str(real_data / 'kitti_odometry_06')], with_depth=True)
    assert next(iter(odometry.source)).depth_m is None  # it has no sweeps
