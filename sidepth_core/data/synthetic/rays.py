"""The viewing ray of every pixel of any camera, lens distortion included."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sidepth_core.camera import Camera
from sidepth_core.rectify import distort, fold_radius

Array = npt.NDArray[np.float64]
NEWTON_STEPS = 12
CONVERGED = 1e-7
"""A step of the search this small, tangent of an angle, is its last: the error left is its square."""
WIDEST_GUESS = 1.3
"""Angle off the axis, radians, from which the search for a fisheye's ray starts at the widest."""


class Rays(NamedTuple):
    """The rays (x, y, 1) through the pixels of one camera, in its optical frame.

    Attributes:
        x: (P,) float32, row by row.
        y: (P,) float32.
        valid: (P,) bool, False where the lens sees nothing.
        step: Distance between neighbouring rays at the centre, (1 / fx, 1 / fy).
        columns: (2, W) least and greatest x in each column, made monotone; bounds a search for a column.
        rows: (2, H) the same for y and rows.
        width: W.
        height: H.
    """

    x: Tensor
    y: Tensor
    valid: Tensor
    step: tuple[float, float]
    columns: Array
    rows: Array
    width: int
    height: int


@lru_cache(maxsize=8)
def camera_rays(camera: Camera, device: torch.device) -> Rays:
    """Return the rays of a camera on a device; the last few cameras are remembered."""
    u, v = np.meshgrid(np.arange(camera.width, dtype=np.float64), np.arange(camera.height, dtype=np.float64))
    x, y = undistort(camera, u, v)
    valid = np.isfinite(x) & np.isfinite(y)
    x, y = np.where(valid, x, 0), np.where(valid, y, 0)
    margin_x, margin_y = 0.75 / camera.fx, 0.75 / camera.fy
    return Rays(
        torch.from_numpy(x.ravel().astype(np.float32)).to(device),
        torch.from_numpy(y.ravel().astype(np.float32)).to(device),
        torch.from_numpy(valid.ravel()).to(device),
        (1 / camera.fx, 1 / camera.fy),
        _monotone(x.min(axis=0) - margin_x, x.max(axis=0) + margin_x),
        _monotone(y.min(axis=1) - margin_y, y.max(axis=1) + margin_y),
        camera.width,
        camera.height,
    )


def undistort(camera: Camera, u: Array, v: Array) -> tuple[Array, Array]:
    """Return the normalised image coordinates (x, y) that the lens maps to pixels (u, v); NaN where there are none."""
    x, y = (u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy
    if camera.is_rectified:
        return x, y
    pixels = np.stack([u.ravel(), v.ravel()], axis=-1)
    flat = np.stack([x.ravel(), y.ravel()], axis=-1)
    radius = np.linalg.norm(flat, axis=1, keepdims=True)
    if camera.distortion_model == 'equidistant':
        flat *= np.tan(np.minimum(radius, WIDEST_GUESS)) / np.maximum(radius, 1e-12)
    active = np.arange(len(flat))
    for _ in range(NEWTON_STEPS):
        step = _newton_step(camera, flat[active], pixels[active])
        flat[active] -= step
        active = active[np.abs(step).max(axis=1) > CONVERGED]
        if not len(active):
            break
    miss = np.abs(_through_lens(camera, flat) - pixels).max(axis=1)
    # Beyond the range where the lens model can be inverted the search ends elsewhere: such pixels see nothing.
    seen = (miss < 1e-3) & (np.linalg.norm(flat, axis=1) < fold_radius(camera))
    flat = np.where(seen[:, None], flat, np.nan).reshape(*u.shape, 2)
    return flat[..., 0], flat[..., 1]


def _newton_step(camera: Camera, flat: Array, pixels: Array) -> Array:
    here, small = _through_lens(camera, flat), 1e-6
    across = (_through_lens(camera, flat + np.array([small, 0])) - here) / small
    down = (_through_lens(camera, flat + np.array([0, small])) - here) / small
    miss = here - pixels
    determinant = across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0]
    determinant = np.where(np.abs(determinant) < 1e-9, 1e-9, determinant)
    step = np.stack(
        [miss[:, 0] * down[:, 1] - miss[:, 1] * down[:, 0], miss[:, 1] * across[:, 0] - miss[:, 0] * across[:, 1]],
        axis=-1,
    )
    limited: Array = np.clip(step / determinant[:, None], -0.5, 0.5)
    return limited


def _through_lens(camera: Camera, flat: Array) -> Array:
    return distort(np.column_stack([flat, np.ones(len(flat))]), camera)


def _monotone(low: Array, high: Array) -> Array:
    return np.stack([np.minimum.accumulate(low[::-1])[::-1], np.maximum.accumulate(high)])
