"""Depth, pose and projection between the frames of a clip: pure functions on batches of tensors.

Convention: pixel centres lie at integers, so pixel (u, v) has its centre at (u, v); an image is sampled with
align_corners=False at x_n = (2u + 1) / W - 1. Depth is Z, not the length of the ray. Optical frames are
x right, y down, z forward. T_target_source maps points of the source frame into the target frame.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sidepth_core.precision import check_shape, full_precision

MIN_DEPTH_M = 0.1
MAX_DEPTH_M = 100.0
NEAREST_Z_M = 1e-3
"""Points closer to the image plane than this, or behind it, are not projected."""
FARTHEST_M = 1e6
"""What +inf (sky) becomes in geometry: so far that only rotation moves it."""


class Projected(NamedTuple):
    """Where points land in an image.

    Attributes:
        pixels: Column and row, (B, 2, H, W), pixels; finite even where the point is behind the camera.
        z_m: Depth of the points in the camera's frame, (B, 1, H, W), metres, unclamped.
    """

    pixels: Tensor
    z_m: Tensor


class Warped(NamedTuple):
    """A source image as the target camera would have seen it.

    Attributes:
        image: (B, C, H, W); at invalid pixels the nearest border value, which is finite but means nothing.
        valid: (B, 1, H, W) bool: the point lies in front of the source camera and inside its image.
    """

    image: Tensor
    valid: Tensor


@full_precision
def disparity_to_depth(sigma: Tensor, min_depth_m: float = MIN_DEPTH_M, max_depth_m: float = MAX_DEPTH_M) -> Tensor:
    """Return depth in metres for network output sigma in (0, 1), any shape: 1/depth is linear in sigma.

    sigma 0 is max_depth_m, sigma 1 is min_depth_m (Monodepth2's mapping).
    """
    nearest, farthest = 1 / min_depth_m, 1 / max_depth_m
    return 1 / (farthest + (nearest - farthest) * sigma)


@full_precision
def depth_to_disparity(depth_m: Tensor, min_depth_m: float = MIN_DEPTH_M, max_depth_m: float = MAX_DEPTH_M) -> Tensor:
    """Return the network output sigma that means this depth; the inverse of disparity_to_depth, not clamped."""
    nearest, farthest = 1 / min_depth_m, 1 / max_depth_m
    return (1 / depth_m - farthest) / (nearest - farthest)


@full_precision
def pose_matrix(axis_angle: Tensor, translation: Tensor, *, invert: bool = False) -> Tensor:
    """Return the rigid transform [R | t] of a rotation vector and a translation.

    Args:
        axis_angle: Rotation axis times angle, (B, 3), radians. Zero is fine, and so is its gradient.
        translation: (B, 3), metres.
        invert: Return [R^T | -R^T t] instead.

    Returns:
        (B, 4, 4).

    Raises:
        ConfigError: If a shape differs.
    """
    check_shape('axis_angle', axis_angle, None, 3)
    check_shape('translation', translation, len(axis_angle), 3)
    rotation = _rotation_matrix(axis_angle)
    offset = translation.unsqueeze(-1)
    if invert:
        rotation = rotation.mT
        offset = -rotation @ offset
    bottom = offset.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(len(offset), 1, 4)
    return torch.cat([torch.cat([rotation, offset], dim=2), bottom], dim=1)


def _rotation_matrix(axis_angle: Tensor) -> Tensor:
    """Return Rodrigues' rotation (B, 3, 3); sinc keeps value and gradient exact down to angle zero."""
    angle = torch.linalg.vector_norm(axis_angle, dim=1)[:, None, None]
    x, y, z = axis_angle.unbind(1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).reshape(-1, 3, 3)
    first = torch.sinc(angle / torch.pi)
    second = 0.5 * torch.sinc(angle / (2 * torch.pi)).square()
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return identity + first * cross + second * (cross @ cross)


@full_precision
def invert_pose(T_a_b: Tensor) -> Tensor:
    """Return T_b_a, the inverse of rigid transforms (B, 4, 4)."""
    check_shape('T_a_b', T_a_b, None, 4, 4)
    rotation = T_a_b[:, :3, :3].mT
    offset = -rotation @ T_a_b[:, :3, 3:]
    return torch.cat([torch.cat([rotation, offset], dim=2), T_a_b[:, 3:]], dim=1)


def pixel_grid(height: int, width: int, like: Tensor) -> Tensor:
    """Return homogeneous pixel centres (u, v, 1), (3, H, W), with the device and dtype of `like`."""
    rows = torch.arange(height, device=like.device, dtype=like.dtype)
    columns = torch.arange(width, device=like.device, dtype=like.dtype)
    v, u = torch.meshgrid(rows, columns, indexing='ij')
    return torch.stack([u, v, torch.ones_like(u)])


@full_precision
def backproject(depth_m: Tensor, K: Tensor) -> Tensor:
    """Return the points that pixels show.

    Args:
        depth_m: Depth along Z, (B, 1, H, W), metres.
        K: Intrinsics of that image, (B, 3, 3), pixels.

    Returns:
        Points in the camera's optical frame, (B, 3, H, W), metres; point z equals the depth.

    Raises:
        ConfigError: If a shape differs.
    """
    check_shape('depth_m', depth_m, None, 1, None, None)
    batch, _, height, width = depth_m.shape
    check_shape('K', K, batch, 3, 3)
    rays = _inverse_intrinsics(K) @ pixel_grid(height, width, depth_m).flatten(1)
    return rays.reshape(batch, 3, height, width) * depth_m


def _inverse_intrinsics(K: Tensor) -> Tensor:
    """Return K^-1 (B, 3, 3) of upper triangular K in closed form: exact, and no LAPACK call per step."""
    fx, fy, skew = K[:, 0, 0], K[:, 1, 1], K[:, 0, 1]
    cx, cy = K[:, 0, 2], K[:, 1, 2]
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    rows = [1 / fx, -skew / (fx * fy), (skew * cy - cx * fy) / (fx * fy), zero, 1 / fy, -cy / fy, zero, zero, one]
    return torch.stack(rows, dim=1).reshape(-1, 3, 3)


@full_precision
def project(points_m: Tensor, K: Tensor) -> Projected:
    """Return where points of the camera's optical frame land in its image.

    Args:
        points_m: (B, 3, H, W), metres.
        K: Intrinsics, (B, 3, 3), pixels.

    Raises:
        ConfigError: If a shape differs.
    """
    check_shape('points_m', points_m, None, 3, None, None)
    batch, _, height, width = points_m.shape
    check_shape('K', K, batch, 3, 3)
    return _divided((K @ points_m.flatten(2)).reshape(batch, 3, height, width))


def _divided(homogeneous: Tensor) -> Projected:
    z_m = homogeneous[:, 2:]
    return Projected(homogeneous[:, :2] / z_m.clamp(min=NEAREST_Z_M), z_m)


def sampling_grid(pixels: Tensor, height: int, width: int) -> Tensor:
    """Return grid_sample's grid (B, H, W, 2) for pixel coordinates (B, 2, H, W) in an image of height x width.

    Convention: x_n = (2u + 1) / W - 1, for align_corners=False.
    """
    size = pixels.new_tensor([width, height])
    return (2 * pixels.permute(0, 2, 3, 1) + 1) / size - 1


@full_precision
def reproject(depth_m: Tensor, K_target: Tensor, T_source_target: Tensor, K_source: Tensor) -> Projected:
    """Return where each target pixel's point lands in the source image: project(T backproject(depth)) in one step.

    Args:
        depth_m: Depth of the target image, (B, 1, H, W), metres; +inf moves with rotation only.
        K_target: Intrinsics of the target image, (B, 3, 3), pixels.
        T_source_target: Maps points of the target frame into the source frame, (B, 4, 4), metres.
        K_source: Intrinsics of the source image, (B, 3, 3), pixels; may differ from K_target.

    Raises:
        ConfigError: If a shape differs.
    """
    check_shape('depth_m', depth_m, None, 1, None, None)
    batch, _, height, width = depth_m.shape
    check_shape('K_target', K_target, batch, 3, 3)
    check_shape('T_source_target', T_source_target, batch, 4, 4)
    check_shape('K_source', K_source, batch, 3, 3)
    # K_s (R K_t^-1 p d + t): two small matrices a sample, so that each pixel costs one product and one sum.
    rotation = K_source @ T_source_target[:, :3, :3] @ _inverse_intrinsics(K_target)
    offset = K_source @ T_source_target[:, :3, 3:]
    rays = (rotation @ pixel_grid(height, width, depth_m).flatten(1)).reshape(batch, 3, height, width)
    return _divided(rays * depth_m.clamp(max=FARTHEST_M) + offset.unsqueeze(-1))


@full_precision
def warp(source: Tensor, depth_target_m: Tensor, K_target: Tensor, T_source_target: Tensor, K_source: Tensor) -> Warped:
    """Return the source image as the target camera would have seen it, by inverse warping.

    Args:
        source: Source image, (B, C, Hs, Ws); its size may differ from the target's.
        depth_target_m: Depth of the target image, (B, 1, H, W), metres. NaN is invalid, +inf moves with rotation only.
        K_target: Intrinsics of the target image, (B, 3, 3), pixels.
        T_source_target: Maps points of the target frame into the source frame, (B, 4, 4), metres.
        K_source: Intrinsics of the source image, (B, 3, 3), pixels.

    Raises:
        ConfigError: If a shape differs.
    """
    check_shape('source', source, len(depth_target_m), None, None, None)
    height, width = source.shape[-2:]
    known = ~depth_target_m.isnan()
    depth_m = depth_target_m.nan_to_num(nan=MAX_DEPTH_M, posinf=FARTHEST_M)
    pixels, z_m = reproject(depth_m, K_target, T_source_target, K_source)
    u, v = pixels[:, :1], pixels[:, 1:]
    inside = (u >= -0.5) & (u <= width - 0.5) & (v >= -0.5) & (v <= height - 0.5)
    grid = sampling_grid(pixels, height, width).clamp(-2, 2)  # huge coordinates overflow in some grid_sample kernels
    image = F.grid_sample(source, grid, mode='bilinear', padding_mode='border', align_corners=False)
    return Warped(image, known & inside & (z_m > NEAREST_Z_M))
