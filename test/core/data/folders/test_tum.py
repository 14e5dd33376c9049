"""Sequences of the TUM RGB-D benchmark, written by the tests as its archives unpack."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sidepth_core.data.folders.tum import CAMERAS, TumSource, is_tum_sequence
from sidepth_core.data.sources import open_source
from sidepth_core.errors import ConfigError, DatasetError


@pytest.fixture
def sequence(tmp_path: Path) -> Path:
    """Three images at 10 Hz, depth 5 ms later, 1, 2 and 3 m; the last image has none. The camera moves along its x."""
    folder = tmp_path / 'rgbd_dataset_freiburg3_test'
    for name in ('rgb', 'depth'):
        (folder / name).mkdir(parents=True)
    for index in range(3):
        cv2.imwrite(str(folder / 'rgb' / f'{index}.png'), np.full((480, 640, 3), 50 * index, np.uint8))
        cv2.imwrite(str(folder / 'depth' / f'{index}.png'), np.full((480, 640), 5000 * (index + 1), np.uint16))
    (folder / 'rgb.txt').write_text('# color images\n' + ''.join(f'{i / 10:.6f} rgb/{i}.png\n' for i in range(3)))
    (folder / 'depth.txt').write_text('# depth maps\n0.005 depth/0.png\n0.105 depth/1.png\n0.305 depth/2.png\n')
    half = 0.5**0.5
    (folder / 'groundtruth.txt').write_text(
        '# ground truth\n' + ''.join(f'{i / 10:.4f} {i} 2 3 0 0 {half} {half}\n' for i in range(2))
    )
    return folder


def test_images_take_depth_and_pose_of_their_time(sequence: Path) -> None:
    source = open_source(str(sequence))
    assert isinstance(source, TumSource)
    frames = list(source)
    assert [frame.stamp_ns for frame in frames] == [0, 100_000_000, 200_000_000]
    assert all(frame.camera == CAMERAS['freiburg3'] for frame in frames)
    assert [None if frame.depth_m is None else float(frame.depth_m[0, 0]) for frame in frames] == [1.0, 2.0, None]
    assert frames[2].T_world_camera is None
    # A quarter turn about z maps the camera's x to the world's y.
    np.testing.assert_allclose(
        frames[1].T_world_camera, [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]], atol=1e-9
    )
    assert source.report.notes == ['1 images have no depth map within 20 ms']


def test_the_name_says_the_camera(sequence: Path, tmp_path: Path) -> None:
    renamed = sequence.rename(tmp_path / 'desk')
    assert is_tum_sequence(renamed)
    with pytest.raises(DatasetError, match=r'does not say which camera .*: keep freiburg1, 2 or 3 in the name'):
        TumSource(renamed)
    assert TumSource(renamed, CAMERAS['freiburg1']).camera.fx == 517.3
    with pytest.raises(ConfigError, match='nothing to learn'):
        open_source(f'{renamed}?camera=learned')


@pytest.mark.parametrize(
    ('file', 'content', 'match'),
    [
        ('rgb.txt', 'now rgb/0.png\n', 'is no list of the TUM benchmark'),
        ('rgb.txt', '0.2 rgb/0.png\n0.1 rgb/1.png\n', 'expected rising times'),
        ('rgb.txt', 'nan rgb/0.png\n', 'expected rising times'),
        ('rgb.txt', '0.1\n', 'a value behind each'),
        ('groundtruth.txt', '0.0 1 2 3\n', 'is no position and quaternion'),
        ('groundtruth.txt', '0.0 1 2 3 0 0 0 0\n', 'has no length'),
    ],
)
def test_damaged_lists_are_refused(sequence: Path, file: str, content: str, match: str) -> None:
    (sequence / file).write_text(content)
    with pytest.raises(DatasetError, match=match):
        list(TumSource(sequence))
