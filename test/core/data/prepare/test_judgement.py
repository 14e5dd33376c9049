"""What is said of drives that are good, and of each thing that spoils one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest

from sidepth_core.camera import Camera
from sidepth_core.data.frames import Frame, SourceReport
from sidepth_core.data.prepare import Finding, Judge, Judgement

CAMERA = Camera.pinhole(320, 96, 70)


def drive(count: int = 24, step_px: float = 3.0, **changes: object) -> list[Frame]:
    """A textured wall that passes by at some pixels an image, 10 Hz; 10 px of 1242 are 2.6 of 320."""
    noise = np.random.default_rng(0).integers(0, 255, (24, 180, 3), dtype=np.uint8)
    wall = cv2.GaussianBlur(cv2.resize(noise, (1440, 96), interpolation=cv2.INTER_CUBIC), (0, 0), 1)
    frames = []
    for index in range(count):
        shift = np.float32([[1, 0, -index * step_px], [0, 1, 0]])
        image = np.asarray(cv2.warpAffine(wall, shift, (320, 96), flags=cv2.INTER_LINEAR), np.uint8)
        frames.append(replace(Frame(index * 100_000_000, image, CAMERA, speed_mps=5.0), **changes))
    return frames


def judged(frames: list[Frame], claimed: int | None = None) -> Judgement:
    judge = Judge()
    for _ in judge.look(frames):
        pass
    return judge.result(SourceReport('drive', claimed=claimed, read=len(frames)))


def finding(judgement: Judgement, topic: str) -> Finding:
    return next(found for found in judgement.findings if found.topic == topic)


def test_a_long_drive_at_kittis_motion_with_odometry_is_good() -> None:
    judgement = judged(drive(), claimed=400)
    assert (judgement.level, judgement.verdict) == ('good', 'good to train on')
    assert judgement.motion_px[1:] == pytest.approx(3, abs=0.2)
    assert finding(judgement, 'length').found == 'about 400 of 400 images are fit to learn from'


def soft(frames: list[Frame]) -> Iterator[Frame]:
    for index, frame in enumerate(frames):
        hazy = index % 4 == 3
        yield replace(frame, image=cv2.GaussianBlur(frame.image, (0, 0), 4)) if hazy else frame


@pytest.mark.parametrize(
    ('frames', 'topic', 'level', 'says'),
    [
        (drive(), 'length', 'bad', 'drive longer: 200 images'),
        (drive(step_px=0), 'motion', 'bad', 'record while driving only'),
        (drive(step_px=20), 'motion', 'doubtful', 'drive slower or record at a higher rate'),
        (drive(image=np.full((96, 320, 3), 90, np.uint8)), 'motion', 'bad', 'neighbouring images must look alike'),
        (list(soft(drive())), 'images', 'doubtful', 'shorten the exposure'),
        (drive(image=np.full((96, 320, 3), 255, np.uint8)), 'images', 'bad', 'shorten the exposure'),
        (drive(camera=None), 'calibration', 'bad', 'camera_calibration'),
        (drive(camera=replace(CAMERA, cx=10.0)), 'calibration', 'doubtful', 'at the size that it records'),
        (drive(speed_mps=None), 'odometry', 'doubtful', 'are held, not measured'),
        (drive()[::8] + drive(60)[24:], 'time', 'good', ''),
        ([replace(frame, stamp_ns=7) for frame in drive()], 'time', 'doubtful', 'messages were lost'),
    ],
)
def test_what_spoils_a_drive_is_named_with_what_to_do(
    frames: list[Frame], topic: str, level: str, says: str
) -> None:
    judgement = judged(frames)
    found = finding(judgement, topic)
    assert (found.level, says in found.advice) == (level, True), found
    assert level == 'good' or judgement.level in {level, 'bad'}


def test_images_that_were_lost_are_a_doubt() -> None:
    judge = Judge()
    for _ in judge.look(drive()):
        pass
    report = SourceReport('drive', read=40)
    report.skipped['damaged message'] = 16
    found = finding(judge.result(report), 'time')
    assert (found.level, found.found) == ('doubtful', '10.0 Hz, 0 gaps, 16 images not readable')


def test_a_drive_without_images_is_bad_and_no_error() -> None:
    assert judged([]).level == 'bad'
