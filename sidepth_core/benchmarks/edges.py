"""How many of the pixels that fly between two surfaces the edge gate removes, and how many good ones it costs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch

from sidepth_core.benchmarks.row import Request, Row
from sidepth_core.data.frames import DepthMap, Frame
from sidepth_core.data.synthetic import SCENES, SyntheticSource
from sidepth_core.evaluation.flying_pixels import flying_pixels
from sidepth_core.gates import EDGE_STEP, edge_steps
from sidepth_core.inference import DepthEstimator

LOST = (0.01, 0.02, 0.05, 0.1)
"""Shares of good pixels at which the curve is read."""

PROMISED = (0.05, 0.7)
"""At this share of lost good pixels, this share of flying ones is to be removed."""

BLUR_PX = 2.5
"""What makes edges of true depth as wide as a network's, standard deviation."""

FARTHEST_M = 100.0
"""Where the sky of blurred true depth lies."""

Steps = npt.NDArray[np.float32]


def rows(request: Request) -> Iterator[Row]:
    """Yield the curve of removed flying against lost good pixels, of the network's depth and of blurred true depth."""
    estimator = DepthEstimator.load(request.checkpoint, device=request.device)
    frames = held_out(estimator.size, drives=1 if request.quick else 5)
    yield from _curve('network', frames, [_predicted(estimator, frame) for frame in frames])
    yield from _curve('blurred truth', frames, [blurred(frame) for frame in frames])


def held_out(size: tuple[int, int], drives: int) -> list[Frame]:
    """Return three frames, 0.8 s apart, of so many drives through each scene, with true depth, at a size (h, w)."""
    height, width = size
    drives_of = [(scene, seed) for scene in SCENES for seed in range(9100, 9100 + drives)]
    return [
        frame
        for scene, seed in drives_of
        for frame in SyntheticSource(scene, seed=seed, frames=3, fps=1.25, width=width, height=height)
    ]


def steps_of(frames: Sequence[Frame], maps: Sequence[DepthMap]) -> tuple[Steps, Steps]:
    """Return what `edge_steps` says of all flying and of all good pixels, sorted."""
    flying, good = [], []
    for frame, depth in zip(frames, maps, strict=True):
        if frame.depth_m is None:
            continue
        steps = edge_steps(torch.from_numpy(depth)[None, None])[0, 0].numpy()
        pixels = flying_pixels(depth, frame.depth_m)
        flying.append(steps[pixels.flying])
        good.append(steps[pixels.good])
    return np.sort(np.concatenate(flying)), np.sort(np.concatenate(good))


def above(steps: Steps, step: float) -> float:
    """Return the share of sorted steps that exceed one."""
    return 1 - float(np.searchsorted(steps, step, side='right')) / len(steps)


def _curve(name: str, frames: Sequence[Frame], maps: Sequence[DepthMap]) -> Iterator[Row]:
    flying, good = steps_of(frames, maps)
    for lost in LOST:
        step = float(good[math.ceil((1 - lost) * len(good)) - 1])
        removed = above(flying, step)
        what = f'{name}: flying pixels removed for {lost:.0%} of the good ones'
        if lost == PROMISED[0]:
            wanted, met = f'at least {PROMISED[1]:.0%}', removed >= PROMISED[1]
            yield Row(what, 100 * removed, '%', wanted=wanted, met=met, note=f'edge_step {step:.2f}')
        else:
            yield Row(what, 100 * removed, '%', note=f'edge_step {step:.2f}')
    note = f'costs {above(good, EDGE_STEP):.1%} of the good ones; {len(flying)} flying and {len(good)} good pixels'
    yield Row(f'{name}: removed by edge_step {EDGE_STEP:g}', 100 * above(flying, EDGE_STEP), '%', note=note)


def _predicted(estimator: DepthEstimator, frame: Frame) -> DepthMap:
    image = torch.from_numpy(frame.image.copy()).permute(2, 0, 1)[None]
    focal_px = None if frame.camera is None else torch.tensor([math.sqrt(frame.camera.fx * frame.camera.fy)])
    return np.asarray(estimator.depth(image, focal_px)[0, 0].cpu().numpy())


def blurred(frame: Frame, blur_px: float = BLUR_PX) -> DepthMap:
    """Return true depth with edges as a network draws them: inverse depth blurred, sky at FARTHEST_M."""
    truth = np.ones(frame.image.shape[:2], np.float32) if frame.depth_m is None else frame.depth_m
    inverse = cv2.GaussianBlur(np.maximum(1 / truth, 1 / FARTHEST_M), (0, 0), blur_px)
    return np.asarray(1 / inverse, np.float32)
