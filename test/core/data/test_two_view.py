"""What corners tell of the motion between two images, and that they say nothing where they cannot know."""

from __future__ import annotations

from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from sidepth_core.data.bags.source import BagSource
from sidepth_core.data.frames import Frame, Image
from sidepth_core.data.synthetic import SyntheticSource
from sidepth_core.data.two_view import two_view_pose

WIDTH, HEIGHT = 320, 208
K = np.array([[260.0, 0, 150], [0, 280, 110], [0, 0, 1]])


def texture(seed: int = 0) -> Image:
    noise = np.random.default_rng(seed).integers(0, 255, (HEIGHT // 4, WIDTH // 4, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), np.uint8)


def errors_deg(found: npt.NDArray[np.float64], true: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the errors of rotation and of direction."""
    turn = np.linalg.norm(cv2.Rodrigues(found[:3, :3] @ true[:3, :3].T)[0])
    direction = np.arccos(np.clip(found[:3, 3] @ true[:3, 3] / np.linalg.norm(true[:3, 3]), -1, 1))
    return float(np.degrees(turn)), float(np.degrees(direction))


def true_motion(before: Frame, now: Frame) -> npt.NDArray[np.float64]:
    assert before.T_world_camera is not None
    assert now.T_world_camera is not None
    motion: npt.NDArray[np.float64] = np.linalg.inv(now.T_world_camera) @ before.T_world_camera
    return motion


@pytest.mark.parametrize('scene', ['street', 'corridor'])
def test_corners_show_the_true_rotation_and_direction(scene: str) -> None:
    frames = list(SyntheticSource(scene, seed=5, frames=4, width=WIDTH, height=HEIGHT, fov_deg=60.0))
    for before, now in pairwise(frames):
        assert now.camera is not None
        found = two_view_pose(before.image, now.image, now.camera.matrix)
        assert found is not None
        assert np.linalg.norm(found[:3, 3]) == pytest.approx(1)
        turn, direction = errors_deg(found, true_motion(before, now))
        assert turn < 0.25
        assert direction < 5


def test_convention_points_come_towards_a_camera_that_drives_forward() -> None:
    before, now = SyntheticSource('street', seed=5, frames=2, width=WIDTH, height=HEIGHT, fov_deg=60.0)
    assert now.camera is not None
    found = two_view_pose(before.image, now.image, now.camera.matrix)
    assert found is not None
    assert found[2, 3] < -0.9


def test_the_same_images_give_the_same_pose() -> None:
    before, now = SyntheticSource('street', seed=5, frames=2, width=WIDTH, height=HEIGHT, fov_deg=60.0)
    assert now.camera is not None
    first, second = (two_view_pose(before.image, now.image, now.camera.matrix) for _ in range(2))
    assert first is not None
    assert second is not None
    assert np.array_equal(first, second)


def test_a_camera_that_only_turns_or_stands_shows_no_direction() -> None:
    image = texture()
    angle = np.radians(1.5)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    turned = cv2.warpPerspective(image, K @ turn @ np.linalg.inv(K), (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
    assert two_view_pose(image, np.asarray(turned, np.uint8), K) is None
    assert two_view_pose(image, image, K) is None


def plane(normal: list[float], motion: npt.NDArray[np.float64], seed: int) -> Image:
    """Return a textured plane, 5 m ahead, as a camera sees it that has moved so from where it is seen straight."""
    change = K @ (motion[:3, :3] + np.outer(motion[:3, 3], normal) / 5) @ np.linalg.inv(K)
    moved = cv2.warpPerspective(texture(seed), change, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
    return noisy(moved, seed)


def noisy(image: npt.NDArray[Any], seed: int) -> Image:
    noise = np.random.default_rng(seed).normal(0, 2, image.shape)
    return np.asarray(np.clip(image + noise, 0, 255), np.uint8)


@pytest.mark.parametrize('tilt_deg', [0.0, 30.0, 45.0])
def test_one_plane_alone_shows_no_direction_for_two_motions_explain_it(tilt_deg: float) -> None:
    normal = [float(np.sin(np.radians(tilt_deg))), 0.0, float(np.cos(np.radians(tilt_deg)))]
    for seed in range(5):
        motion = np.eye(4)
        motion[:3, :3] = cv2.Rodrigues(np.array([0.002, 0.003, 0.001]) * seed)[0]
        motion[:3, 3] = 0.1 + 0.05 * seed, 0.01, 0.02 * seed
        images = plane(normal, np.eye(4), 2 * seed), plane(normal, motion, 2 * seed)
        assert two_view_pose(*images, K) is None


RIGHT, LOWER = np.s_[:, WIDTH // 2 :], np.s_[HEIGHT // 2 :]


@pytest.mark.parametrize('half', [RIGHT, LOWER], ids=['right', 'lower'])
@pytest.mark.parametrize('shift', [(3, 0), (5, 0), (5, 1), (8, 2), (12, 0)])
def test_a_camera_that_stands_while_half_its_view_slides_past_shows_no_direction(
    shift: tuple[int, int], half: tuple[slice, ...]
) -> None:
    before, passing = texture(0), texture(1)
    now = before.copy()
    before[half] = passing[half]
    now[half] = np.roll(passing, shift, (1, 0))[half]
    assert two_view_pose(noisy(before, 2), noisy(now, 3), K) is None


def test_nothing_is_seen_without_texture_in_another_scene_or_through_an_unknown_lens() -> None:
    grey = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    assert two_view_pose(grey, grey, K) is None
    assert two_view_pose(texture(0), texture(1), K) is None
    before, now = SyntheticSource('street', seed=5, frames=2, width=WIDTH, height=HEIGHT)
    assert two_view_pose(before.image, now.image, np.full((3, 3), np.nan)) is None


def test_motion_of_a_real_drive_is_seen_as_its_odometry_has_it(real_data: Path) -> None:
    source = BagSource(real_data / 'bags' / 'kitti06_odometry_sqlite3')
    frames = list(islice(source, 12))
    found = []
    for before, now in pairwise(frames):
        assert now.camera is not None
        motion = two_view_pose(before.image, now.image, now.camera.matrix)
        assert motion is not None
        found.append(errors_deg(motion, true_motion(before, now)))
    turn, direction = np.median(found, axis=0)
    assert turn < 0.2  # the odometry itself is not better
    assert direction < 1
