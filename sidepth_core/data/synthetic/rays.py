"""The viewing ray of every pixel of any camera, lens distortion included."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sidepth_core.camera import Camera

MAX_TANGENT = 12.0
"""Rays flatter than this against the image plane (85 degrees off axis) are not traced: depth along Z loses its meaning."""


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
    columns: npt.NDArray[np.float64]
    rows: npt.NDArray[np.float64]
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


def undistort(
    camera: Camera, u: npt.NDArray[np.float64], v: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the normalised image coordinates (x, y) that the lens maps to pixels (u, v); NaN where there are none."""
    if camera.is_rectified:
        return (u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy
    points = np.stack([u.ravel(), v.ravel()], axis=-1).reshape(-1, 1, 2)
    lens = np.asarray(camera.distortion, dtype=np.float64)
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-12)
    if camera.distortion_model == 'equidistant':
        flat = cv2.fisheye.undistortPoints(points, camera.matrix, lens, criteria=criteria).reshape(-1, 2)
        back = cv2.fisheye.distortPoints(flat.reshape(-1, 1, 2), camera.matrix, lens).reshape(-1, 2)
    else:
        flat = cv2.undistortPointsIter(points, camera.matrix, lens, np.eye(3), np.eye(3), criteria).reshape(-1, 2)
        solid = np.concatenate([flat, np.ones((len(flat), 1))], axis=1)
        back = cv2.projectPoints(solid, np.zeros(3), np.zeros(3), camera.matrix, lens)[0].reshape(-1, 2)
    # Beyond the range where the lens model can be inverted the iteration lands elsewhere: such pixels see nothing.
    seen = (np.abs(back - points.reshape(-1, 2)).max(axis=1) < 0.01) & (np.abs(flat).max(axis=1) < MAX_TANGENT)
    flat = np.where(seen[:, None], flat, np.nan).reshape(*u.shape, 2)
    return flat[..., 0], flat[..., 1]


def _monotone(low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.stack([np.minimum.accumulate(low[::-1])[::-1], np.maximum.accumulate(high)])
