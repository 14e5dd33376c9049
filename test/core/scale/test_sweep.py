"""Two images from a known distance apart tell what factor the predicted depth needs, in each part of the image."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from sidepth_core.camera import Camera
from sidepth_core.data.tracks import rigid
from sidepth_core.scale.sweep import Factors, swept_factors

CAMERA = Camera(320, 192, 230, 240, 157.0, 90.0)
HEIGHT_M = 1.0
WALL_M = 12.0
NEAR, FAR = 1.5, 2.5
"""Metres a unit of the predicted depth: of the ground, and of all that is above it."""
FOOT = 120
"""Row of the image below which the one is right."""

Map = npt.NDArray[np.float64]


def moved() -> Map:
    """Return a motion ahead, somewhat to the side and round a bend: T_before_now."""
    turn = 0.02
    R = np.array([[math.cos(turn), 0, math.sin(turn)], [0, 1, 0], [-math.sin(turn), 0, math.cos(turn)]])
    return rigid(R, [0.03, 0.01, 0.7])


def true_depth() -> Map:
    """Return the depth of flat ground and a wall, (H, W), metres."""
    v = np.arange(CAMERA.height)[:, None] * np.ones(CAMERA.width)
    return np.minimum(HEIGHT_M * CAMERA.fy / np.maximum(v - CAMERA.cy, 1e-3), WALL_M)


def predicted() -> npt.NDArray[np.float32]:
    """Return a depth in units that are not the same everywhere."""
    rows = np.arange(CAMERA.height)[:, None]
    return np.asarray(true_depth() / np.where(rows >= FOOT, NEAR, FAR), np.float32)


def seen_from(T: Map) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return where each pixel of the later image was in the earlier one, by projection."""
    v, u = np.mgrid[: CAMERA.height, : CAMERA.width].astype(np.float64)
    z = true_depth()
    points = np.stack([(u - CAMERA.cx) / CAMERA.fx * z, (v - CAMERA.cy) / CAMERA.fy * z, z], axis=-1)
    x, y, z = np.moveaxis(points @ T[:3, :3].T + T[:3, 3], -1, 0)
    return (x / z * CAMERA.fx + CAMERA.cx).astype(np.float32), (y / z * CAMERA.fy + CAMERA.cy).astype(np.float32)


def pictures(contrast: Map | float = 50.0) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return the earlier image, of random structure, and the later one that follows from it, with noise of a sensor."""
    rng = np.random.default_rng(5)
    structure = cv2.GaussianBlur(rng.normal(size=(CAMERA.height, CAMERA.width)), (0, 0), 2.0) * 7
    before = 120 + contrast * structure
    now = cv2.remap(before, *seen_from(moved()), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    first, second = (image + rng.normal(0, 1.0, image.shape) for image in (before, now))
    rgb = [np.repeat(image.clip(0, 255).astype(np.uint8)[..., None], 3, axis=-1) for image in (first, second)]
    return rgb[0], rgb[1]


def factors(middle: float = 2.0, contrast: Map | float = 50.0) -> Factors:
    """Return what is found."""
    return swept_factors(*pictures(contrast), CAMERA, predicted(), moved(), middle)


def parts_of(found: Factors) -> tuple[Map, Map]:
    """Return the factors of the cells that lie wholly above and below the foot, each in one row."""
    above = FOOT * len(found.logs) // CAMERA.height
    return np.exp(found.logs[: above - 1]).ravel(), np.exp(found.logs[above + 1 :]).ravel()


@pytest.mark.parametrize('middle', [1.2, 2.0, 4.0])
def test_each_part_of_the_image_gets_its_own_factor(middle: float) -> None:
    far, near = parts_of(factors(middle))
    assert np.median(far) == pytest.approx(FAR, rel=0.02)
    assert np.median(near) == pytest.approx(NEAR, rel=0.02)
    assert np.mean(np.abs(np.log(far / FAR)) < 0.1) > 0.9
    assert np.mean(np.abs(np.log(near / NEAR)) < 0.1) > 0.9


def test_road_that_hardly_shows_takes_the_plane_that_all_of_it_speaks_for() -> None:
    faint = np.full((CAMERA.height, CAMERA.width), 50.0)
    faint[FOOT:] = 1.5
    faint[FOOT:, ::40] = 10.0
    found = factors(contrast=faint)
    _, near = parts_of(found)
    assert np.mean(np.abs(np.log(near / NEAR)) < 0.15) > 0.8


def test_images_that_show_nothing_tell_nothing() -> None:
    grey = np.full((CAMERA.height, CAMERA.width, 3), 90, np.uint8)
    assert not swept_factors(grey, grey, CAMERA, predicted(), moved(), 2.0).clear.any()


def test_pixels_of_unknown_depth_count_for_nothing() -> None:
    depth = predicted()
    depth[:, :160] = math.nan
    found = swept_factors(*pictures(), CAMERA, depth, moved(), 2.0)
    half = found.logs.shape[1] // 2
    assert (found.shares[:, : half - 1] == 0).all()
    assert np.isinf(found.depths[:, : half - 1]).all()
    assert (found.shares[:, half + 1 :] == 1).all()
    assert np.median(np.exp(found.logs[-4:, half + 1 :])) == pytest.approx(NEAR, rel=0.03)


def test_depth_map_of_half_the_size_gives_the_same_factors() -> None:
    half = np.ascontiguousarray(predicted()[::2, ::2])
    found = swept_factors(*pictures(), CAMERA, half, moved(), 2.0)
    far, near = parts_of(found)
    assert np.median(far) == pytest.approx(FAR, rel=0.03)
    assert np.median(near) == pytest.approx(NEAR, rel=0.03)
