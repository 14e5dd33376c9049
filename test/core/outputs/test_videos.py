from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sidepth_core.errors import ConfigError
from sidepth_core.outputs import VideoFile


@pytest.mark.parametrize('name', ['video.mp4', 'video.webm'])
def test_a_video_has_its_frames_rate_and_an_even_size(tmp_path: Path, name: str) -> None:
    path = tmp_path / 'new' / name
    with VideoFile(path, 12.5) as video:
        for red in (0, 80, 160, 240):
            video.add(np.full((65, 97, 3), (red, 20, 20), np.uint8))
            assert not path.exists()
    read = cv2.VideoCapture(str(path))
    assert read.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)
    frames = [read.read()[1] for _ in range(4)]
    assert not read.read()[0]
    assert [frame.shape for frame in frames] == [(64, 96, 3)] * 4
    assert [round(float(frame[..., 2].mean()) / 80) for frame in frames] == [0, 1, 2, 3]
    assert [file.name for file in path.parent.iterdir()] == [name]


def test_a_wide_video_is_shrunk_to_the_width_that_is_asked_for(tmp_path: Path) -> None:
    with VideoFile(tmp_path / 'video.webm', 10, widest=64) as video:
        video.add(np.zeros((96, 128, 3), np.uint8))
    assert cv2.VideoCapture(str(tmp_path / 'video.webm')).read()[1].shape == (48, 64, 3)


def test_a_video_that_was_cut_short_is_kept(tmp_path: Path) -> None:
    def film() -> None:
        with VideoFile(tmp_path / 'video.mp4', 10) as video:
            video.add(np.zeros((64, 64, 3), np.uint8))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        film()
    assert cv2.VideoCapture(str(tmp_path / 'video.mp4')).read()[0]


def test_a_video_without_frames_is_none_and_another_suffix_is_refused(tmp_path: Path) -> None:
    with VideoFile(tmp_path / 'video.mp4', 10):
        pass
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=r"'depth.avi' is no name of a video: use .mp4 or .webm"):
        VideoFile(Path('depth.avi'), 10)
