"""The bags that were recorded for the purpose, and those of real recorders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sidepth_core.data.bags.source import BagSource
from sidepth_core.errors import BagError


def test_real_bags_are_read_whole(real_data: Path) -> None:
    bags = real_data / 'bags'
    highway = BagSource(bags / 'highway_mcap')
    frames = [frame.stamp_ns for _, frame in zip(range(3), highway, strict=False)]
    assert np.diff(frames).tolist() == [80_000_000] * 2
    kitti = BagSource(bags / 'kitti06_odometry_sqlite3')
    poses = np.array([frame.T_world_camera for frame in kitti])
    assert kitti.report.used == kitti.report.claimed == 51
    path_m = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).sum()
    assert path_m == pytest.approx(59.9, abs=0.1)
    # Interpolated to the image stamps, they agree with the poses that KITTI published.
    published = np.loadtxt(real_data / 'kitti_odometry_06' / 'poses.txt').reshape(-1, 3, 4)
    forward = np.linalg.inv(poses[0]) @ poses[50]
    expected = np.linalg.norm(published[50, :, 3] - published[0, :, 3])
    assert np.linalg.norm(forward[:3, 3]) == pytest.approx(expected, abs=0.05)
    assert forward[2, 3] == pytest.approx(expected, rel=0.01)


def test_genuine_recordings_without_a_camera_are_refused_and_old_images_read(real_data: Path) -> None:
    genuine = real_data / 'bags' / 'genuine'
    for name in ('mcap_talker', 'sqlite3_empty', 'sqlite3_split_wbag', 'sqlite3_no_metadata'):
        with pytest.raises(BagError, match='no camera images'):
            list(BagSource(genuine / name))
    old = list(BagSource(genuine / 'old_sqlite_no_metadata'))
    assert [frame.image.shape for frame in old] == [(480, 640, 3)]
