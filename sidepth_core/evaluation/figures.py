"""Which frames of a drive become figures, and what those show."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from sidepth_core.camera import Camera
from sidepth_core.colour_maps import colour_table
from sidepth_core.data.frames import DepthMap, Image
from sidepth_core.evaluation.metrics import DepthRow, FrameEstimate
from sidepth_core.visualisation import (
    Panel,
    bird_view,
    depth_span,
    draw_depth,
    draw_sparse_depth,
    grown_dots,
    side_by_side,
    with_colour_bar,
)

LARGEST_ERROR = 0.5
"""Relative error of the error figure's hottest colour."""


class Sample(NamedTuple):
    """A frame kept for a figure.

    Attributes:
        place: Its number in the drive, from 0.
        image: (H, W, 3) uint8.
        camera: Its camera; None where nobody knows.
        depth_m: Predicted depth, (H, W) float32, scaled by the median ratio where the truth is known.
        truth_m: True depth; None where not known.
        caption: What was measured on it.
        unit: 'm' where depth is in metres, '' where it is only right up to an unknown factor.
        is_worst: Whether it is the drive's worst frame.
    """

    place: int
    image: Image
    camera: Camera | None
    depth_m: DepthMap
    truth_m: DepthMap | None
    caption: str
    unit: str = 'm'
    is_worst: bool = False


class FigureFrames:
    """Keeps about `count` frames, evenly spread over a drive of unknown length, and the worst one."""

    def __init__(self, count: int, *, metric: bool) -> None:
        self._count = count
        self._unit = 'm' if metric else ''
        self._stride = 1
        self._seen = 0
        self._kept: list[tuple[int, Sample]] = []
        self._worst: tuple[float, Sample] | None = None

    def add(self, estimate: FrameEstimate, row: DepthRow | None) -> None:
        """Offer one frame."""
        if self._count == 0:
            return
        sample = _sample(estimate, row, self._unit)
        if self._seen % self._stride == 0:
            self._kept.append((self._seen, sample))
        self._seen += 1
        if len(self._kept) > 2 * self._count:
            self._stride *= 2
            self._kept = [(number, kept) for number, kept in self._kept if number % self._stride == 0]
        if row is not None and (self._worst is None or row.score.scaled.abs_rel > self._worst[0]):
            self._worst = row.score.scaled.abs_rel, sample._replace(is_worst=True)

    def samples(self) -> list[Sample]:
        """Return the frames, in order of time, the worst one last."""
        spread = np.unique(np.linspace(0, len(self._kept) - 1, min(self._count, len(self._kept))).round().astype(int))
        chosen = [self._kept[place][1] for place in spread]
        return chosen + ([self._worst[1]] if self._worst is not None else [])


def _sample(estimate: FrameEstimate, row: DepthRow | None, unit: str) -> Sample:
    frame, depth, caption = estimate.frame, estimate.depth_m, ''
    if row is not None:
        depth, unit = depth * np.float32(row.score.ratio), 'm'
        scores = row.score.scaled
        caption = f'AbsRel {scores.abs_rel:.3f}  d1 {scores.d1:.3f}  scale x{row.score.ratio:.2f}'
    return Sample(estimate.place, frame.image, frame.camera, depth, frame.depth_m, caption, unit)


def draw_sample(sample: Sample) -> Image:
    """Return the figure of a sample: image and depth, and the truth with the error where it is known."""
    truth = sample.truth_m
    span = depth_span(sample.depth_m) if truth is None or not np.isfinite(truth).any() else depth_span(truth)
    depth = with_colour_bar(draw_depth(sample.depth_m, span), span, unit=sample.unit)
    predicted = Panel(depth, f'depth  {sample.caption}')
    views = [Panel(sample.image, f'frame {sample.place}'), predicted]
    above = []
    if sample.camera is not None:
        above = [Panel(bird_view(sample.depth_m, sample.camera, sample.image, unit=sample.unit), 'from above')]
    if truth is None:
        return side_by_side([[*views, *above]])
    compared = [
        Panel(draw_sparse_depth(truth, sample.image, span), 'true depth'),
        Panel(draw_error(sample.depth_m, truth), f'relative error, yellow is {LARGEST_ERROR:.0%}'),
    ]
    return side_by_side([views, [*compared, *above]])


def draw_error(depth_m: DepthMap, truth_m: DepthMap) -> Image:
    """Return |d - d*| / d* as colours, dark is right, and dots where the truth is sparse."""
    known = np.isfinite(truth_m) & (truth_m > 0)
    error = np.abs(depth_m - truth_m, where=known, out=np.zeros_like(depth_m))
    share = np.where(known, error / np.where(known, truth_m, 1) / LARGEST_ERROR, -1).clip(-1, 1)
    if known.mean() < 0.5:
        share = np.asarray(grown_dots(share.astype(np.float32)), np.float64)
    return _coloured(share)


def _coloured(share: npt.NDArray[np.floating]) -> Image:
    table = colour_table('inferno', torch.device('cpu')).numpy()
    index = np.where(share < 0, 256, (20 + share * 215).round()).astype(int)
    return np.asarray(table[index])
