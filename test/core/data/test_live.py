from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from sidepth_core.camera import Camera
from sidepth_core.data.calibration import ViewError
from sidepth_core.data.live import LiveCamera
from sidepth_core.errors import DatasetError
from sidepth_core.outputs import VideoFile


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Half a second of ever brighter images."""
    with VideoFile(tmp_path / 'drive.mp4', 20) as file:
        for index in range(10):
            file.add(np.full((48, 64, 3), 20 * index, np.uint8))
    return tmp_path / 'drive.mp4'


def test_a_video_plays_at_its_own_speed_with_the_camera_at_its_size(video: Path) -> None:
    since = time.monotonic()
    with LiveCamera(str(video), Camera.pinhole(128, 96, 60)) as live:
        frames = list(iter(live.next_frame, None))
    assert time.monotonic() - since > 0.4
    assert (live.read, len(frames) + live.dropped) == (10, 10)
    assert {frame.camera for frame in frames} == {Camera.pinhole(128, 96, 60).resized(64, 48)}
    assert np.all(np.diff([frame.image.mean() for frame in frames]) > 0)


def test_who_is_slow_gets_the_newest_image_and_the_others_are_counted(video: Path) -> None:
    with LiveCamera(str(video)) as live:
        first = live.next_frame()
        time.sleep(0.3)
        second = live.next_frame()
    assert first is not None
    assert second is not None
    assert second.image.mean() - first.image.mean() > 45  # three images further on, at least
    assert live.dropped >= 2


def test_a_video_starts_again_where_it_is_looped(video: Path) -> None:
    with LiveCamera(str(video), loop=True) as live:
        for _ in range(12):
            assert live.next_frame() is not None


def test_a_calibration_of_another_shape_is_refused_when_the_first_image_comes(video: Path) -> None:
    with (
        LiveCamera(str(video), Camera.pinhole(128, 72, 60)) as live,
        pytest.raises(ViewError, match='images are 64x48, the calibration is for 128x72'),
    ):
        live.next_frame()


def test_a_camera_that_is_not_there_is_one_error_that_says_what_to_do() -> None:
    with pytest.raises(DatasetError, match="camera '77' cannot be opened: expected the number of a webcam"):
        LiveCamera('77').__enter__()
