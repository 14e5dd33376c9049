"""How much depth changes from frame to frame beyond what the camera's motion explains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from sidepth_core.camera import Camera
from sidepth_core.data.frames import DepthMap
from sidepth_core.geometry import FARTHEST_M, NEAREST_Z_M, backproject, warp

OCCLUDED = 0.1
"""Where true depth says that the other frame sees something else by this much (log), a pixel is left out."""


class FlickerPair(NamedTuple):
    """Two neighbouring frames.

    Attributes:
        scale: Median of ln(depth now / depth expected from the frame before): how the whole map breathes.
        shape: Median of |the same minus scale|: how single surfaces do.
        pixels: How many pixels both frames see.
    """

    scale: float
    shape: float
    pixels: int


class FlickerScores(NamedTuple):
    """A drive.

    Attributes:
        scale: Root mean square of FlickerPair.scale; 0.02 means that the scale jumps by 2 % a frame.
        shape: Mean of FlickerPair.shape.
        total: Root of the sum of their squares: one figure to compare.
        pairs: How many pairs of frames.
    """

    scale: float
    shape: float
    total: float
    pairs: int


def flicker_pair(
    before_m: DepthMap,
    now_m: DepthMap,
    camera: Camera,
    T_now_before: npt.NDArray[np.float64],
    truth_before_m: DepthMap | None = None,
    truth_now_m: DepthMap | None = None,
) -> FlickerPair | None:
    """Return how far depth now is from what depth before and the camera's motion say; None where nothing overlaps.

    Every pixel of now is looked up in the frame before by its own depth; that surface's depth, moved into the present
    frame, is what was expected. With true depth of both frames, occluded and independently moving points are left out.

    Args:
        before_m: Depth of the earlier frame, (H, W) float32, metres.
        now_m: Depth of the later frame, the same shape.
        camera: Rectified camera of both.
        T_now_before: Maps points of the earlier frame into the later one, (4, 4), metres.
        truth_before_m: True depth of the earlier frame.
        truth_now_m: True depth of the later frame.
    """
    ratio, valid = _log_ratio(before_m, now_m, camera, T_now_before)
    if truth_before_m is not None and truth_now_m is not None:
        true_ratio, seen = _log_ratio(truth_before_m, truth_now_m, camera, T_now_before)
        valid &= seen & (np.abs(np.nan_to_num(true_ratio, nan=np.inf)) < OCCLUDED)
    values = ratio[valid & np.isfinite(ratio)]
    if not values.size:
        return None
    scale = float(np.median(values))
    return FlickerPair(scale, float(np.median(np.abs(values - scale))), int(values.size))


def _log_ratio(
    before_m: DepthMap, now_m: DepthMap, camera: Camera, T_now_before: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return ln(depth now / expected depth) for each pixel of now, and where both frames see it."""
    K = torch.from_numpy(camera.matrix)[None]
    T = torch.from_numpy(T_now_before)[None]
    before, now = (torch.from_numpy(depth.astype(np.float64))[None, None] for depth in (before_m, now_m))
    # Inverse depth is what may be interpolated on a plane; sky interpolates to zero.
    inverse, valid = warp(1 / before, now, K, torch.linalg.inv(T), K)
    found = inverse.reciprocal()
    # The ray of the pixel in the earlier frame, scaled to the depth found there, moved into the present frame.
    ray = _rays_in(now, K, torch.linalg.inv(T))
    expected = (T[:, 2:3, :3] @ (ray * found).flatten(2)).reshape(now.shape) + T[:, 2:3, 3:, None]
    known = valid & (found > 0) & found.isfinite() & (expected > 0) & now.isfinite()
    ratio = torch.where(known, (now / expected.clamp(min=1e-9)).log(), torch.nan)
    return ratio[0, 0].numpy(), known[0, 0].numpy()


def _rays_in(now: torch.Tensor, K: torch.Tensor, T_before_now: torch.Tensor) -> torch.Tensor:
    """Return each point's direction in the earlier frame with z = 1, (1, 3, H, W)."""
    points = backproject(now.nan_to_num(nan=1.0, posinf=FARTHEST_M), K).flatten(2)
    moved = T_before_now[:, :3, :3] @ points + T_before_now[:, :3, 3:]
    return (moved / moved[:, 2:].clamp(min=NEAREST_Z_M)).reshape(1, 3, *now.shape[-2:])


def mean_flicker(pairs: Sequence[FlickerPair]) -> FlickerScores:
    """Return the figures of a drive; NaN without pairs."""
    if not pairs:
        return FlickerScores(float('nan'), float('nan'), float('nan'), 0)
    scale = float(np.sqrt(np.mean([pair.scale**2 for pair in pairs])))
    shape = float(np.mean([pair.shape for pair in pairs]))
    return FlickerScores(scale, shape, float(np.hypot(scale, shape)), len(pairs))
