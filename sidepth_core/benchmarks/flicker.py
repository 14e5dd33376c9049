"""How much depth flickers on a synthetic drive, and how much of it the stabiliser takes out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from sidepth_core.benchmarks.row import Request, Row
from sidepth_core.data.frames import DepthMap, Frame
from sidepth_core.data.synthetic import SyntheticSource
from sidepth_core.depth_maps import resize_depth
from sidepth_core.evaluation.flicker import FlickerPair, flicker_pair, mean_flicker
from sidepth_core.inference import DepthEstimator
from sidepth_core.stabiliser import Stabiliser

TIME_CONSTANT_S = 0.5
KINDS = ('unfiltered', 'stabilised')
SETTLED = 5
"""The first pairs are left out: the stabiliser starts without a past."""


def rows(request: Request) -> Iterator[Row]:
    """Yield flicker and error of the depth of a held-out drive, as the network gives it and stabilised."""
    estimator = DepthEstimator.load(request.checkpoint, device=request.device)
    height, width = estimator.size
    frames = list(SyntheticSource('street', seed=9001, frames=20 if request.quick else 60, width=width, height=height))
    maps = {name: depth_maps(estimator, frames, stabilise=name == 'stabilised') for name in KINDS}
    flicker = {name: mean_flicker(flicker_pairs(frames, found)[SETTLED:]).total for name, found in maps.items()}
    errors = {name: median_error(frames, found) for name, found in maps.items()}
    note = f'{len(frames)} frames of a held-out street; root of scale and shape flicker squared, see evaluation.flicker'
    yield Row('flicker, unfiltered', flicker['unfiltered'], '', note=note)
    yield _against('flicker', flicker, 1.0)
    yield Row('relative error, unfiltered', errors['unfiltered'], '', note='median of |depth - truth| / truth')
    yield _against('relative error', errors, 1.05)


def _against(what: str, values: dict[str, float], limit: float) -> Row:
    ratio, name = values['stabilised'] / values['unfiltered'], f'{what}, stabilised'
    return Row(name, values['stabilised'], '', 'unfiltered', ratio, wanted=f'below {limit:g}', met=ratio < limit)


def depth_maps(estimator: DepthEstimator, frames: Sequence[Frame], *, stabilise: bool) -> list[DepthMap]:
    """Return the depth of every frame, metres, (H, W) float32."""
    stabiliser, found = Stabiliser(), []
    for frame in frames:
        image = torch.from_numpy(frame.image.copy()).permute(2, 0, 1)[None].to(estimator.device)
        focal_px = None if frame.camera is None else torch.tensor([math.sqrt(frame.camera.fx * frame.camera.fy)])
        depth = estimator.depth(image, focal_px)
        if stabilise:
            depth = stabiliser(depth, image, frame.stamp_ns, TIME_CONSTANT_S)
        found.append(resize_depth(depth, *frame.image.shape[:2])[0, 0].cpu().numpy())
    return found


def flicker_pairs(frames: Sequence[Frame], maps: Sequence[DepthMap]) -> list[FlickerPair]:
    """Return the flicker between each two neighbouring frames of a drive with poses and true depth."""
    found = []
    for index in range(1, len(frames)):
        before, now = frames[index - 1], frames[index]
        if now.camera is None or before.T_world_camera is None or now.T_world_camera is None:
            continue
        T_now_before = np.linalg.inv(now.T_world_camera) @ before.T_world_camera
        pair = flicker_pair(maps[index - 1], maps[index], now.camera, T_now_before, before.depth_m, now.depth_m)
        if pair is not None:
            found.append(pair)
    return found


def median_error(frames: Sequence[Frame], maps: Sequence[DepthMap]) -> float:
    """Return the median relative error of depth where truth is finite."""
    errors = []
    for frame, depth in zip(frames, maps, strict=True):
        if frame.depth_m is not None:
            known = np.isfinite(frame.depth_m)
            errors.append(np.abs(depth[known] / frame.depth_m[known] - 1))
    return float(np.median(np.concatenate(errors)))
