"""Videos as drives."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from sidepth_core.camera import Camera
from sidepth_core.data.folders.videos import VideoSource
from sidepth_core.errors import ConfigError, DatasetError

CAMERA = Camera(64, 48, 50, 50, 31.5, 23.5)


def write(path: Path, count: int = 6, fps: float = 20.0) -> Path:
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), fps, (64, 48))
    for index in range(count):
        video.write(np.full((48, 64, 3), (200, 100, 10 * index), np.uint8))
    video.release()
    return path


def test_frames_come_in_rgb_with_their_times(tmp_path: Path) -> None:
    source = VideoSource(write(tmp_path / 'drive.avi'), CAMERA)
    frames = list(source)
    assert [frame.stamp_ns for frame in frames] == [index * 50_000_000 for index in range(6)]
    assert np.abs(frames[3].image.astype(int) - [30, 100, 200]).max() < 8
    assert frames[0].camera == CAMERA
    assert (source.report.claimed, source.report.read, source.report.used, source.expected()) == (6, 6, 6, 6)


def test_fps_takes_the_place_of_the_files_times(tmp_path: Path) -> None:
    frames = list(VideoSource(write(tmp_path / 'drive.avi'), fps=4))
    assert [frame.stamp_ns for frame in frames][:3] == [0, 250_000_000, 500_000_000]
    with pytest.raises(ConfigError, match='it must be positive'):
        VideoSource(tmp_path / 'drive.avi', fps=0)


def test_a_calibration_of_the_same_name_is_taken(tmp_path: Path) -> None:
    path = write(tmp_path / 'drive.avi')
    assert next(iter(VideoSource(path))).camera is None
    (tmp_path / 'drive.json').write_text(json.dumps(CAMERA.to_dict()))
    assert next(iter(VideoSource(path))).camera == CAMERA
    assert next(iter(VideoSource(path, 'learned'))).camera is None


def test_a_video_cut_off_gives_what_is_there(tmp_path: Path) -> None:
    path = write(tmp_path / 'drive.avi', count=40)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    source = VideoSource(path)
    frames = list(source)
    assert 0 < len(frames) < 40
    assert source.report.read == len(frames)


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match='does not exist'):
        list(VideoSource(tmp_path / 'no.mp4'))
    (tmp_path / 'text.mp4').write_text('no video')
    with pytest.raises(DatasetError, match='no video that OpenCV can decode'):
        list(VideoSource(tmp_path / 'text.mp4'))


def test_the_highway_video_is_read(real_data: Path) -> None:
    source = VideoSource(real_data / 'highway' / 'solidWhiteRight_960x540_25fps.mp4')
    stamps = [frame.stamp_ns for frame in source]
    assert source.report.claimed == source.report.used == 221
    assert np.diff(stamps).tolist() == [40_000_000] * 220
