"""Motion, sharpness and exposure of images, and the stride chosen from them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from sidepth_core.data.prepare.motion import (
    FrameSelection,
    blurred,
    choose_stride,
    exposure_fault,
    image_statistics,
    measure_motion,
    motion_fault,
)


def texture(width: int = 1280, height: int = 400, seed: int = 0) -> npt.NDArray[np.uint8]:
    noise = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.mark.parametrize('shift', [0, 1, 6, 40])
def test_motion_is_measured_in_pixels_of_the_source(shift: int) -> None:
    image = texture()
    motion = measure_motion(image_statistics(image[:, :1200]), image_statistics(image[:, shift : 1200 + shift]))
    assert motion.pixels == pytest.approx(shift, abs=0.1)
    assert motion.tracked_share > 0.6


def test_another_scene_is_not_tracked() -> None:
    motion = measure_motion(image_statistics(texture()), image_statistics(texture(seed=1)))
    assert motion.tracked_share < FrameSelection().min_tracked_share


def test_an_image_without_texture_has_no_motion() -> None:
    grey = image_statistics(np.full((400, 1280, 3), 99, np.uint8))
    motion = measure_motion(grey, grey)
    assert np.isnan(motion.pixels)
    assert motion.tracked_share == 0


def test_copies_still_and_moving_images_are_told_apart() -> None:
    limits, image = FrameSelection(), texture()
    noise = np.random.default_rng(2).normal(0, 2, image.shape)
    noisy = np.clip(image + noise, 0, 255).astype(np.uint8)
    first = image_statistics(image)
    assert motion_fault(measure_motion(first, image_statistics(image)), 1280, limits) == 'duplicate'
    assert motion_fault(measure_motion(first, image_statistics(noisy)), 1280, limits) == 'still'
    moved = np.roll(image, 2, axis=1)
    assert motion_fault(measure_motion(first, image_statistics(moved)), 1280, limits) is None
    # A scene that changes is no standing still, however little its few matches moved.
    assert motion_fault(measure_motion(first, image_statistics(texture(seed=1))), 1280, limits) is None


def test_exposure_faults_are_named() -> None:
    limits, image = FrameSelection(), texture()
    assert exposure_fault(image_statistics(image), limits) is None
    assert exposure_fault(image_statistics(np.full_like(image, 80)), limits) == 'empty'
    bright = image.copy()
    bright[:, :800] = 255
    assert exposure_fault(image_statistics(bright), limits) == 'over-exposed'
    dark = image.copy()
    dark[:, :1200] = 0
    assert exposure_fault(image_statistics(dark), limits) == 'under-exposed'


def test_blurred_images_stand_out_from_those_around() -> None:
    image = texture()
    soft = np.asarray(cv2.GaussianBlur(image, (0, 0), 6), np.uint8)
    sharpness = np.array([image_statistics(soft if index in {7, 20} else image).sharpness for index in range(40)])
    assert np.flatnonzero(blurred(sharpness, FrameSelection())).tolist() == [7, 20]
    # A drive that is soft throughout is as its lens is.
    assert not blurred(np.full(40, sharpness[7]), FrameSelection()).any()
    assert blurred(np.array([1.0]), FrameSelection()).tolist() == [False]


@pytest.mark.parametrize(
    ('motion_px', 'width', 'step_s', 'stride'),
    [
        (10.7, 1242, 0.1, 1),  # KITTI at 10 Hz
        (3.4, 1280, 0.04, 3),  # a highway at 25 Hz
        (0.7, 1280, 1 / 30, 15),  # a slow robot
        (0.1, 1280, 0.1, 10),  # slower still: a second is the limit
        (30.0, 640, 0.1, 1),
    ],
)
def test_stride_brings_motion_to_that_of_kitti(motion_px: float, width: int, step_s: float, stride: int) -> None:
    motion = np.array([np.nan, motion_px, motion_px * 0.9, motion_px * 1.1, np.nan])
    assert choose_stride(motion, width, step_s) == stride


def test_stride_of_unknown_motion_is_one() -> None:
    assert choose_stride(np.array([np.nan, np.nan]), 640, 0.1) == 1
    assert choose_stride(np.array([]), 640, 0.0) == 1


def test_motion_of_real_drives_is_what_it_is_known_to_be(real_data: Path) -> None:
    def median(images: list[npt.NDArray[np.uint8]]) -> float:
        looks = [image_statistics(image) for image in images]
        return float(np.median([measure_motion(*pair).pixels for pair in pairwise(looks)]))

    paths = sorted((real_data / 'kitti_drive_268' / 'image_02').glob('*.jpg'))[100:115]
    assert 6 < median([cv2.imread(str(path))[:, :, ::-1] for path in paths]) < 16
    video = cv2.VideoCapture(str(real_data / 'highway' / 'project_video_1280x720_25fps.mp4'))
    assert 2.5 < median([video.read()[1] for _ in range(15)]) < 5
