"""Geometry against numbers worked out by hand: fx != fy, cx != cy, H != W everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sidepth_core.errors import ConfigError
from sidepth_core.geometry import (
    backproject,
    depth_to_disparity,
    disparity_to_depth,
    invert_pose,
    pose_matrix,
    project,
    reproject,
    sampling_grid,
    warp,
)

GOLDEN = Path(__file__).parent / 'golden' / 'dabnet_golden_losses.npz'
K = torch.tensor([[[100.0, 0, 3], [0, 50, 2], [0, 0, 1]]])


def translated(x: float, y: float, z: float) -> Tensor:
    return pose_matrix(torch.zeros(1, 3), torch.tensor([[x, y, z]]))


def test_disparity_to_depth_matches_the_published_numbers() -> None:
    sigma = torch.tensor([0, 0.001, 0.01, 0.1, 0.5, 1])
    assert np.allclose(disparity_to_depth(sigma), np.load(GOLDEN)['depth_of_disp_0_.001_.01_.1_.5_1'], rtol=1e-5)


def test_depth_to_disparity_undoes_disparity_to_depth() -> None:
    sigma = torch.rand(2, 1, 3, 5, dtype=torch.float64)
    assert torch.allclose(depth_to_disparity(disparity_to_depth(sigma, 0.5, 80), 0.5, 80), sigma)


@pytest.mark.parametrize(
    ('key', 'invert'), [('T_axisangle_0.02_-0.05_0.01_t_0.1_-0.02_0.8', False), ('T_inverted', True)]
)
def test_pose_matrix_matches_the_published_numbers(key: str, invert: bool) -> None:
    matrix = pose_matrix(torch.tensor([[0.02, -0.05, 0.01]]), torch.tensor([[0.1, -0.02, 0.8]]), invert=invert)
    assert np.allclose(matrix[0], np.load(GOLDEN)[key], atol=1e-6)


def test_convention_positive_yaw_turns_forward_to_the_right() -> None:
    quarter = pose_matrix(torch.tensor([[0.0, torch.pi / 2, 0]]), torch.zeros(1, 3))[0]
    assert torch.allclose(quarter @ torch.tensor([0.0, 0, 1, 1]), torch.tensor([1.0, 0, 0, 1]), atol=1e-6)


def test_pose_matrix_has_the_right_gradient_down_to_no_rotation() -> None:
    translation = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    angles = torch.tensor([[0.0, 0, 0], [1e-5, -2e-5, 3e-5], [0.7, -1.1, 0.4]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(pose_matrix, (angles, translation))


def test_pose_matrix_inverted_is_the_inverse() -> None:
    axis_angle, translation = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    forward = pose_matrix(axis_angle, translation)
    backward = pose_matrix(axis_angle, translation, invert=True)
    assert torch.allclose(forward @ backward, torch.eye(4, dtype=torch.float64))
    assert torch.allclose(invert_pose(forward), torch.linalg.inv(forward))


def test_convention_backprojection_of_a_pixel_by_hand() -> None:
    points = backproject(torch.full((1, 1, 5, 7), 2.0), K)
    # Column 5, row 4: x = (5-3)/100*2, y = (4-2)/50*2, and z is the depth itself, not the ray's length.
    assert torch.allclose(points[0, :, 4, 5], torch.tensor([0.04, 0.08, 2.0]))
    assert torch.allclose(points[0, :, 2, 3], torch.tensor([0.0, 0.0, 2.0]))


def test_convention_projection_of_a_point_by_hand() -> None:
    pixels, z_m = project(torch.tensor([0.06, -0.04, 4.0]).reshape(1, 3, 1, 1), K)
    assert torch.allclose(pixels.flatten(), torch.tensor([100 * 0.015 + 3, 50 * -0.01 + 2]))
    assert z_m.item() == 4.0


def test_projection_of_a_point_behind_the_camera_stays_finite() -> None:
    pixels, z_m = project(torch.tensor([1.0, 1.0, -2.0]).reshape(1, 3, 1, 1), K)
    assert pixels.isfinite().all()
    assert z_m.item() == -2.0


def test_reproject_equals_projecting_the_moved_points() -> None:
    skewed = torch.tensor([[[90.0, 0.5, 2.5], [0, 60, 1.5], [0, 0, 1]]])
    depth = torch.rand(1, 1, 5, 7) * 5 + 2
    T = pose_matrix(torch.tensor([[0.1, -0.2, 0.05]]), torch.tensor([[0.3, -0.1, 0.4]]))
    moved = (T[:, :3, :3] @ backproject(depth, skewed).flatten(2) + T[:, :3, 3:]).reshape(1, 3, 5, 7)
    expected, actual = project(moved, K), reproject(depth, skewed, T, K)
    assert torch.allclose(actual.pixels, expected.pixels, atol=1e-3)
    assert torch.allclose(actual.z_m, expected.z_m, atol=1e-5)


def test_convention_sampling_grid_has_pixel_centres_at_integers() -> None:
    corners = torch.tensor([[0.0, 6.0], [0.0, 4.0]]).reshape(1, 2, 1, 2)
    expected = torch.tensor([[1 / 7 - 1, 1 / 5 - 1], [13 / 7 - 1, 9 / 5 - 1]])
    assert torch.allclose(sampling_grid(corners, 5, 7)[0, 0], expected)


def test_convention_identity_pose_is_an_identity_warp() -> None:
    source = torch.rand(1, 3, 5, 7)
    warped = warp(source, torch.rand(1, 1, 5, 7) * 50 + 1, K, translated(0, 0, 0), K)
    assert torch.allclose(warped.image, source, atol=1e-5)
    assert warped.valid.all()


def test_convention_warp_moves_by_focal_length_times_baseline_over_depth() -> None:
    source = torch.arange(35.0).reshape(1, 1, 5, 7)
    # The source camera stands 0.04 m to the right: points move left by fx * 0.04 / 2 m = 2 px.
    right = warp(source, torch.full((1, 1, 5, 7), 2.0), K, translated(-0.04, 0, 0), K)
    assert torch.allclose(right.image[..., 2:], source[..., :-2], atol=1e-4)
    assert right.valid[0, 0, 0].tolist() == [False, False, True, True, True, True, True]
    # And 0.04 m below: points move up by fy * 0.04 / 2 m = 1 px.
    below = warp(source, torch.full((1, 1, 5, 7), 2.0), K, translated(0, -0.04, 0), K)
    assert torch.allclose(below.image[..., 1:, :], source[..., :-1, :], atol=1e-4)
    assert below.valid[0, 0, :, 0].tolist() == [False, True, True, True, True]


def test_convention_warp_between_cameras_follows_each_ones_intrinsics() -> None:
    source = torch.arange(10 * 14.0).reshape(1, 1, 10, 14)
    twice = torch.tensor([[[200.0, 0, 6.5], [0, 100, 4.5], [0, 0, 1]]])  # c' = (c + 0.5) 2 - 0.5
    warped = warp(source, torch.full((1, 1, 5, 7), 3.0), K, translated(0, 0, 0), twice)
    means = torch.nn.functional.avg_pool2d(source, 2)
    assert torch.allclose(warped.image, means, atol=1e-3)
    assert warped.valid.all()


def test_warp_marks_points_behind_the_source_camera_invalid() -> None:
    warped = warp(torch.rand(1, 3, 5, 7), torch.full((1, 1, 5, 7), 2.0), K, translated(0, 0, -3), K)
    assert not warped.valid.any()
    assert warped.image.isfinite().all()


def test_warp_takes_sky_and_unknown_depth() -> None:
    source = torch.rand(1, 3, 5, 7)
    depth = torch.full((1, 1, 5, 7), torch.inf)
    depth[..., 0, 0] = torch.nan
    warped = warp(source, depth, K, translated(5, -3, 1), K)
    assert torch.allclose(warped.image[..., 1:, :], source[..., 1:, :], atol=1e-2)  # no translation moves the sky
    assert not warped.valid[0, 0, 0, 0]
    assert warped.valid[0, 0, 1:].all()
    assert warped.image.isfinite().all()


def test_warp_has_the_right_gradient_for_depth_pose_and_intrinsics() -> None:
    torch.manual_seed(0)
    source = torch.rand(1, 2, 5, 7, dtype=torch.float64)
    depth = (torch.rand(1, 1, 5, 7, dtype=torch.float64) + 2).requires_grad_()
    T = pose_matrix(torch.full((1, 3), 0.002, dtype=torch.float64), torch.full((1, 3), 0.01, dtype=torch.float64))
    intrinsics = [K.double().requires_grad_() for _ in range(2)]
    inputs = (source.requires_grad_(), depth, intrinsics[0], T.requires_grad_(), intrinsics[1])
    assert torch.autograd.gradcheck(lambda *values: warp(*values).image, inputs, atol=1e-4)


def test_warp_stays_in_float32_under_autocast() -> None:
    with torch.autocast('cpu', torch.bfloat16):
        depth = disparity_to_depth(torch.full((1, 1, 5, 7), 0.05, dtype=torch.bfloat16))
        warped = warp(torch.rand(1, 3, 5, 7), depth, K, translated(0.01, 0, 0), K)
        points = backproject(depth, K)
    assert {depth.dtype, warped.image.dtype, points.dtype} == {torch.float32}


@pytest.mark.parametrize(
    ('shapes', 'named'),
    [
        (((1, 3, 5, 7), (1, 5, 7), (1, 3, 3), (1, 4, 4), (1, 3, 3)), 'depth_m'),
        (((2, 3, 5, 7), (1, 1, 5, 7), (1, 3, 3), (1, 4, 4), (1, 3, 3)), 'source'),
        (((1, 3, 5, 7), (1, 1, 5, 7), (3, 3), (1, 4, 4), (1, 3, 3)), 'K_target'),
        (((1, 3, 5, 7), (1, 1, 5, 7), (1, 3, 3), (1, 3, 4), (1, 3, 3)), 'T_source_target'),
        (((1, 3, 5, 7), (1, 1, 5, 7), (1, 3, 3), (1, 4, 4), (2, 3, 3)), 'K_source'),
    ],
)
def test_warp_names_the_argument_with_a_wrong_shape(shapes: tuple[tuple[int, ...], ...], named: str) -> None:
    with pytest.raises(ConfigError, match=f'{named} has shape .* expected'):
        warp(*(torch.ones(shape) for shape in shapes))
