"""Rectification: from the image of a real lens to the pinhole image that everything else here assumes.

The distortion models are those of sensor_msgs/CameraInfo, computed by OpenCV: plumb_bob (Brown-Conrady with two or
three radial terms), rational_polynomial, and equidistant (Kannala-Brandt fisheye).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from sidepth_core.camera import Camera
from sidepth_core.errors import ConfigError

FloatArray = npt.NDArray[np.float64]
Rotation = tuple[float, ...]
"""A rotation matrix, nine numbers row by row."""

UNROTATED: Rotation = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
"""The identity."""

MAX_HALF_ANGLE_DEG = 65.0
"""A pinhole image stretches its rim without bound towards 90 degrees; wider lenses are cut here."""


class Maps(NamedTuple):
    """Where each pixel of the rectified image lies in the distorted one, as cv2.remap takes it.

    Attributes:
        x: (H, W) float32, column, pixel centres at integers.
        y: (H, W) float32, row.
    """

    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.float32]


@lru_cache(maxsize=64)
def rectified_camera(camera: Camera) -> Camera:
    """Return the pinhole camera of the same size whose whole image the distorted one can fill.

    The widest such view is chosen (OpenCV calls it alpha = 0 or balance = 0), but none beyond MAX_HALF_ANGLE_DEG to
    any side. A camera without distortion is returned without its distortion model, otherwise unchanged.

    Raises:
        ConfigError: If the lens coefficients leave no image at all: they belong to another camera.
    """
    if camera.is_rectified:
        return Camera(camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy)
    left, right, top, bottom = _inner_rectangle(camera)
    fx, fy = (camera.width - 1) / (right - left), (camera.height - 1) / (bottom - top)
    return Camera(camera.width, camera.height, fx, fy, cx=-left * fx, cy=-top * fy)


@lru_cache(maxsize=8)
def rectification_maps(camera: Camera, target: Camera, rotation: Rotation = UNROTATED) -> Maps:
    """Return, for each pixel of `target`'s image, its place in `camera`'s distorted image (cached per arguments).

    Args:
        camera: The lens.
        target: The rectified camera.
        rotation: R_target_camera, which turns directions of the lens' optical frame into those of the target's.
    """
    size, coefficients, R = (target.width, target.height), _coefficients(camera), np.reshape(rotation, (3, 3))
    if camera.distortion_model == 'equidistant':
        x, y = cv2.fisheye.initUndistortRectifyMap(camera.matrix, coefficients, R, target.matrix, size, cv2.CV_32FC1)
    else:
        x, y = cv2.initUndistortRectifyMap(camera.matrix, coefficients, R, target.matrix, size, cv2.CV_32FC1)
    return Maps(np.asarray(x, dtype=np.float32), np.asarray(y, dtype=np.float32))


@lru_cache(maxsize=8)
def rectification_grid(
    camera: Camera, target: Camera, rotation: Rotation = UNROTATED
) -> npt.NDArray[np.float32]:
    """Return `rectification_maps` as torch's grid_sample takes them: (H, W, 2) float32 of `target`'s size, (x, y).

    Convention: align_corners=False, x_n = (2u + 1) / W - 1 with W the width of the distorted image. The array is
    cached per arguments: do not write into it.
    """
    maps = rectification_maps(camera, target, rotation)
    x = (2 * maps.x + 1) / camera.width - 1
    y = (2 * maps.y + 1) / camera.height - 1
    return np.stack([x, y], axis=-1)


def rectify_image(image: npt.NDArray[np.uint8], camera: Camera) -> npt.NDArray[np.uint8]:
    """Return the (H, W, 3) image as `rectified_camera(camera)` sees it; the very same one if nothing is to do."""
    if camera.is_rectified:
        return image
    maps = rectification_maps(camera, rectified_camera(camera))
    return np.asarray(cv2.remap(image, maps.x, maps.y, cv2.INTER_LINEAR), dtype=np.uint8)


def distort(points: FloatArray, camera: Camera) -> FloatArray:
    """Project points (N, 3) of the optical frame, metres, through the lens: (N, 2) pixels of the distorted image.

    Points must lie in front of the camera, and within `fold_radius`: beyond it a lens polynomial folds back.
    """
    points = np.ascontiguousarray(points, dtype=np.float64).reshape(-1, 1, 3)
    zero = np.zeros(3)
    if camera.distortion_model == 'equidistant':
        pixels, _ = cv2.fisheye.projectPoints(points, zero, zero, camera.matrix, _coefficients(camera))
    else:
        pixels, _ = cv2.projectPoints(points, zero, zero, camera.matrix, _coefficients(camera))
    return np.asarray(pixels, dtype=np.float64).reshape(-1, 2)


@lru_cache(maxsize=64)
def fold_radius(camera: Camera) -> float:
    """Return the tangent of the angle from the optical axis at which the lens polynomial folds back (or 80 degrees).

    Beyond it two directions share a pixel, and no point may be projected.
    """
    limit = math.tan(math.radians(80.0))
    if camera.is_rectified:
        return limit
    radius = np.linspace(0, limit, 2001)
    centre = Camera(camera.width, camera.height, 1, 1, 0, 0, camera.distortion_model, camera.distortion)
    reach = np.inf
    for angle in np.linspace(0, 2 * math.pi, 8, endpoint=False):
        direction = np.array([math.cos(angle), math.sin(angle)])
        points = np.column_stack([radius[:, None] * direction, np.ones_like(radius)])
        growing = np.diff(distort(points, centre) @ direction) > 0
        reach = min(reach, limit if growing.all() else float(radius[np.argmin(growing)]))
    return reach


def _coefficients(camera: Camera) -> FloatArray:
    return np.array(camera.distortion or (0.0,) * 4, dtype=np.float64)


def _inner_rectangle(camera: Camera) -> tuple[float, float, float, float]:
    """Return left, right, top, bottom (tangents of angles) of the widest view whose pixels all exist."""
    fold = 0.99 * fold_radius(camera)
    sides = np.full(4, min(math.tan(math.radians(MAX_HALF_ANGLE_DEG)), fold))
    last = np.array([camera.width - 1, camera.height - 1])
    for _ in range(3000):
        border = _border(*sides)
        if np.linalg.norm(border[:, :2], axis=1).max() > fold:
            sides *= 0.995
            continue
        pixels = distort(border, camera)
        # How far the border sticks out of the image, as a share of its size: left, top, right, bottom.
        over = np.concatenate([-pixels.min(0) / last, pixels.max(0) / last - 1])[[0, 2, 1, 3]]
        if (over <= 0).all():
            left, right, top, bottom = sides.tolist()
            return -left, right, -top, bottom
        # Steps in proportion to what sticks out converge fast; the floor makes them end.
        sides *= np.where(over > 0, 1 - np.clip(0.3 * over, 2e-4, 0.1), 1.0)
        if not sides.min() > 1e-3:
            break
    raise ConfigError(
        f'distortion {camera.distortion!r} of model {camera.distortion_model!r} leaves no image of '
        f"{camera.width}x{camera.height}: expected the coefficients of this very camera, in OpenCV's order"
    )


def _border(left: float, right: float, top: float, bottom: float) -> FloatArray:
    """Return points (N, 3) at Z = 1 along the border of the view that reaches so far to each side."""
    across, down = np.linspace(-left, right, 129), np.linspace(-top, bottom, 129)
    x = np.concatenate([across, across, np.full_like(down, -left), np.full_like(down, right)])
    y = np.concatenate([np.full_like(across, -top), np.full_like(across, bottom), down, down])
    return np.column_stack([x, y, np.ones_like(x)])
