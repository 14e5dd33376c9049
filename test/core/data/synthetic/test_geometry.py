"""The end-to-end test of every geometric convention: frames warp into their neighbours by exact depth and pose."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from sidepth_core.camera import Camera
from sidepth_core.data.synthetic import SCENES, Drive
from sidepth_core.geometry import backproject, project, warp

WIDE = Camera(208, 96, 110.0, 125.0, 97.3, 50.6)
ZOOMED = Camera(208, 96, 275.0, 250.0, 120.0, 40.0)
FPS = 10


class View(NamedTuple):
    image: Tensor
    depth_m: Tensor
    K: Tensor
    T_world_camera: Tensor


@cache
def drive_of(scene: str, seed: int) -> Drive:
    return Drive(scene, seed, fps=FPS)


@cache
def view(scene: str, seed: int, index: int, camera: Camera) -> View:
    drive = drive_of(scene, seed)
    rendering = drive.render(index, camera)
    pose = torch.from_numpy(drive.pose(index / FPS))
    return View(rendering.image[None], rendering.depth_m[None, None], torch.tensor(camera.matrix)[None].float(), pose)


def psnr_of_warp(target: View, source: View, *, K_source: Tensor | None = None) -> tuple[float, float]:
    """Return the PSNR of source warped into target on what both see, and what share of the target, sky apart, it is."""
    T_source_target = (torch.linalg.inv(source.T_world_camera) @ target.T_world_camera)[None].float()
    K = source.K if K_source is None else K_source
    joined = torch.cat([source.image, 1 / source.depth_m], dim=1)
    warped = warp(joined, target.depth_m, target.K, T_source_target, K)
    points = backproject(target.depth_m, target.K)
    moved = T_source_target[:, :3, :3] @ points.flatten(2) + T_source_target[:, :3, 3:]
    expected = project(moved.reshape(points.shape), K).z_m
    visible = warped.valid & ((warped.image[:, 3:] * expected - 1).abs() < 0.03) & torch.isfinite(target.depth_m)
    error = (warped.image[:, :3] - target.image).square().mean(dim=1, keepdim=True)[visible].mean()
    return float(-10 * torch.log10(error)), float(visible.sum() / torch.isfinite(target.depth_m).sum())


@pytest.mark.parametrize(('seed', 'camera'), [(1, WIDE), (2, WIDE), (3, WIDE), (1, ZOOMED)])
@pytest.mark.parametrize('scene', SCENES)
def test_a_frame_warped_into_its_neighbour_matches_it(scene: str, seed: int, camera: Camera) -> None:
    psnr, share = psnr_of_warp(view(scene, seed, 20, camera), view(scene, seed, 21, camera))
    assert psnr >= 30
    assert share >= 0.4


@pytest.mark.parametrize('scene', SCENES)
def test_the_zoomed_view_of_a_moment_matches_the_wide_one(scene: str) -> None:
    zoomed, wide = view(scene, 1, 20, ZOOMED), view(scene, 1, 20, WIDE)
    psnr, share = psnr_of_warp(zoomed, wide)
    # The wide view has less detail to give, but not another place for it.
    assert psnr >= 25
    assert share >= 0.5


def test_half_a_pixel_of_error_in_the_principal_point_is_noticed() -> None:
    target, source = view('street', 1, 20, WIDE), view('street', 1, 21, WIDE)
    shifted = source.K.clone()
    shifted[:, 0, 2] += 0.5
    right, _ = psnr_of_warp(target, source)
    wrong, _ = psnr_of_warp(target, source, K_source=shifted)
    assert right - wrong > 2


def test_a_swap_of_source_and_target_pose_is_noticed() -> None:
    target, source = view('street', 1, 20, WIDE), view('street', 1, 21, WIDE)
    exchanged = (
        target._replace(T_world_camera=source.T_world_camera),
        source._replace(T_world_camera=target.T_world_camera),
    )
    right, share = psnr_of_warp(target, source)
    wrong, wrong_share = psnr_of_warp(*exchanged)
    assert wrong < right - 3 or wrong_share < 0.7 * share


@pytest.mark.parametrize('scene', SCENES)
def test_depth_is_z_and_agrees_between_frames(scene: str) -> None:
    target, source = view(scene, 2, 20, WIDE), view(scene, 2, 21, WIDE)
    T_source_target = (torch.linalg.inv(source.T_world_camera) @ target.T_world_camera)[None].float()
    points = backproject(target.depth_m, target.K)
    moved = (T_source_target[:, :3, :3] @ points.flatten(2) + T_source_target[:, :3, 3:]).reshape(points.shape)
    warped = warp(1 / source.depth_m, target.depth_m, target.K, T_source_target, source.K)
    ratio = (warped.image * project(moved, source.K).z_m)[warped.valid & torch.isfinite(target.depth_m)]
    assert np.isclose(float(ratio.median()), 1.0, atol=1e-3)
    assert float(((ratio - 1).abs() < 0.02).float().mean()) > 0.75
