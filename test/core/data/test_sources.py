"""A drive from one line of text."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from sidepth_core.camera import Camera
from sidepth_core.data.bags.source import BagSource
from sidepth_core.data.bags.writer import BagWriter
from sidepth_core.data.folders.image_folders import FolderSource
from sidepth_core.data.folders.videos import VideoSource
from sidepth_core.data.kitti.source import KittiOdometry
from sidepth_core.data.sources import open_source, open_sources
from sidepth_core.data.synthetic import SyntheticSource
from sidepth_core.errors import ConfigError, DatasetError


def folder(path: Path) -> Path:
    path.mkdir()
    cv2.imwrite(str(path / 'a.png'), np.zeros((48, 64, 3), np.uint8))
    return path


def test_each_kind_is_found_out(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag') as bag:
        bag.add_topic('/image', 'sensor_msgs/msg/Image')
    (tmp_path / 'drive.MP4').write_bytes(b'')
    assert isinstance(open_source(str(tmp_path / 'bag')), BagSource)
    assert isinstance(open_source(str(tmp_path / 'bag' / 'bag.mcap')), BagSource)
    assert isinstance(open_source(str(tmp_path / 'drive.MP4')), VideoSource)
    assert isinstance(open_source(str(folder(tmp_path / 'images'))), FolderSource)
    assert isinstance(open_source('synthetic:street?seed=3&frames=5'), SyntheticSource)
    sequence = folder(tmp_path / '06')
    folder(sequence / 'image_2')
    (sequence / 'calib.txt').write_text('P2: 50 0 32 0 0 50 24 0 0 0 1 0\n')
    assert isinstance(open_source(str(sequence)), KittiOdometry)
    assert isinstance(open_source(f'folder:{sequence}'), FolderSource)


def test_options_reach_the_source(tmp_path: Path) -> None:
    path = folder(tmp_path / 'images')
    camera = Camera(64, 48, 50, 50, 31.5, 23.5)
    (tmp_path / 'front.json').write_text(json.dumps(camera.to_dict()))
    source = open_source(f'{path}?fps=25&camera={tmp_path}/front.json')
    assert isinstance(source, FolderSource)
    assert (source.fps, source.camera) == (25, camera)
    with BagWriter(tmp_path / 'bag') as bag:
        bag.add_topic('/image', 'sensor_msgs/msg/Image')
    opened = open_source(f'{tmp_path}/bag?image_topic=/a&odometry_topic=none&depth=lidar&camera=learned')
    assert isinstance(opened, BagSource)
    assert (opened.topics.image, opened.topics.odometry, opened.topics.lidar) == ('/a', 'none', None)
    assert opened.camera == 'learned'


def test_paths_may_hold_question_marks_blanks_and_pluses(tmp_path: Path) -> None:
    path = folder(tmp_path / 'what? a+b')
    calibration = tmp_path / 'my cam+lens.json'
    calibration.write_text(json.dumps(Camera(64, 48, 50, 50, 31.5, 23.5).to_dict()))
    for text in (f'{path}', f'{path}?camera={calibration}', f'{path}?camera={tmp_path}/my%20cam+lens.json'):
        source = open_source(text)
        assert isinstance(source, FolderSource)
        assert source.path == path
        assert (source.camera is None) == (text == f'{path}')


def test_sources_are_weighted(tmp_path: Path) -> None:
    path = folder(tmp_path / 'images')
    sources = open_sources([f'{path}?weight=2.5', 'synthetic:corridor?seed=4&weight=3', str(path)])
    assert [source.weight for source in sources] == [2.5, 3.0, 1.0]
    synthetic = sources[1].source
    assert isinstance(synthetic, SyntheticSource)
    assert (synthetic.scene, synthetic.seed) == ('corridor', 4)


@pytest.mark.parametrize(
    ('query', 'fault'),
    [
        ('?fsp=3', "no option 'fsp': did you mean 'fps'"),
        ('?split=eigen', "no option 'split': expected one of camera, fps, depth_scale, weight"),
        ('?fps=fast', "fps='fast' is not a positive number"),
        ('?weight=-1', "weight='-1' is not a positive number"),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, query: str, fault: str) -> None:
    path = folder(tmp_path / 'images')
    with pytest.raises(ConfigError, match=fault):
        open_source(f'{path}{query}')


def test_what_cannot_be_a_drive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match='does not exist'):
        open_source(str(tmp_path / 'nowhere'))
    (tmp_path / 'notes.txt').write_text('x')
    with pytest.raises(DatasetError, match='nothing that can be read: expected a rosbag2'):
        open_source(str(tmp_path / 'notes.txt'))
    (tmp_path / 'old.bag').write_bytes(b'#ROSBAG V2.0')
    with pytest.raises(DatasetError, match='a bag of ROS 1: convert it'):
        open_source(str(tmp_path / 'old.bag'))
    path = folder(tmp_path / 'images')
    with pytest.raises(DatasetError, match=r"calibration 'no.yaml' does not exist"):
        open_source(f'{path}?camera=no.yaml')


def test_drives_of_one_folder_share_its_weight_and_one_must_be_named(tmp_path: Path) -> None:
    date = tmp_path / '2011_09_26'
    for number in (1, 2):
        (date / f'2011_09_26_drive_{number:04d}_sync' / 'image_02').mkdir(parents=True)
    (date / 'calib_cam_to_cam.txt').write_text('P_rect_02: 1\n')
    sources = open_sources([f'{tmp_path}?weight=2'])
    assert [(source.weight, source.group) for source in sources] == [(2.0, f'{tmp_path}?weight=2')] * 2
    assert len(open_sources([f'{tmp_path}?split=eigen_test'])) == 1
    with pytest.raises(DatasetError, match='holds 2 drives, name one'):
        open_source(str(tmp_path))
