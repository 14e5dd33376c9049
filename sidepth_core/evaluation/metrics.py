"""The metrics of one drive: each is given one frame after the other, and returns its result at the end."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from sidepth_core.camera import Camera
from sidepth_core.data.frames import DepthMap, Frame, Image
from sidepth_core.evaluation.depth_metrics import (
    DepthProtocol,
    DepthScores,
    ImageScore,
    mean_scores,
    score_constant,
    score_image,
)
from sidepth_core.evaluation.flicker import FlickerPair, FlickerScores, flicker_pair, mean_flicker
from sidepth_core.evaluation.pose_metrics import PoseScores, chain, score_trajectory
from sidepth_core.evaluation.row_prior import RowPrior
from sidepth_core.geometry import warp
from sidepth_core.losses import minimum_reprojection


class FrameEstimate(NamedTuple):
    """One rectified frame, and what the network says about it.

    Attributes:
        place: Its number in the drive, from 0.
        frame: The frame; its camera is rectified.
        depth_m: Predicted depth, (H, W) float32.
        T_now_before: Predicted motion since the estimate before, (4, 4); None at the start, after a gap, or without
            a pose network.
    """

    place: int
    frame: Frame
    depth_m: DepthMap
    T_now_before: npt.NDArray[np.float64] | None


class DepthRow(NamedTuple):
    """One scored image: its place, its time, its score, and that of the best constant depth."""

    place: int
    stamp_ns: int
    score: ImageScore
    constant: ImageScore


class DepthSummary(NamedTuple):
    """Depth over a drive.

    Attributes:
        scaled: Mean scores, every image scaled by its median ratio.
        unscaled: Mean scores as predicted, in metres.
        constant: Mean scaled scores of the best constant depth: what a network has to beat.
        row_prior: The same of the best depth of each row of the image; None for fewer than two images.
        ratio: Median of the images' ratios of true over predicted medians; 1 for metric depth.
        ratio_spread: Standard deviation of those ratios over their median: how steady the scale is.
        rows: Each image.
    """

    scaled: DepthScores
    unscaled: DepthScores
    constant: DepthScores
    row_prior: DepthScores | None
    ratio: float
    ratio_spread: float
    rows: tuple[DepthRow, ...]

    @property
    def ratio_drift(self) -> float:
        """How far the ratio went along the drive: its median in the last third over that in the first, less 1.

        NaN for fewer than three images.
        """
        third = len(self.rows) // 3
        if not third:
            return float('nan')
        ratios = [row.score.ratio for row in self.rows]
        return float(np.median(ratios[-third:]) / np.median(ratios[:third])) - 1


class DepthMetric:
    """Scores depth wherever the truth is known."""

    def __init__(self, protocol: DepthProtocol) -> None:
        self._protocol = protocol
        self._rows: list[DepthRow] = []
        self._row_prior = RowPrior(protocol)

    def add(self, estimate: FrameEstimate) -> DepthRow | None:
        """Score one frame; None where its depth is not known."""
        truth = estimate.frame.depth_m
        if truth is None:
            return None
        score = score_image(estimate.depth_m, truth, self._protocol)
        constant = score_constant(truth, self._protocol)
        if score is None or constant is None:
            return None
        row = DepthRow(estimate.place, estimate.frame.stamp_ns, score, constant)
        self._rows.append(row)
        self._row_prior.add(truth)
        return row

    def result(self) -> DepthSummary | None:
        """Return the figures of the drive; None without truth."""
        if not self._rows:
            return None
        ratios = np.array([row.score.ratio for row in self._rows])
        middle = float(np.median(ratios))
        return DepthSummary(
            mean_scores([row.score.scaled for row in self._rows]),
            mean_scores([row.score.unscaled for row in self._rows]),
            mean_scores([row.constant.scaled for row in self._rows]),
            self._row_prior.result(),
            middle,
            float((ratios / middle).std()),
            tuple(self._rows),
        )


class PoseMetric:
    """Compares the pose network's trajectory with the true one, over the longest stretch without a gap.

    A frame whose true pose is not known ends the stretch: the step out of it starts where nothing was compared.
    """

    def __init__(self, alignment: str, *, scaled: bool) -> None:
        self._alignment = alignment
        self._scaled = scaled
        self._stretches: list[tuple[list[npt.NDArray[np.float64]], list[npt.NDArray[np.float64]]]] = []
        self._follows_known = False

    def add(self, estimate: FrameEstimate) -> None:
        """Take one frame."""
        truth = estimate.frame.T_world_camera
        follows_known, self._follows_known = self._follows_known, truth is not None
        if truth is None:
            return
        if estimate.T_now_before is None or not follows_known:
            self._stretches.append(([], [truth]))
            return
        steps, poses = self._stretches[-1]
        steps.append(estimate.T_now_before)
        poses.append(truth)

    def result(self) -> PoseScores | None:
        """Return the errors; None without two neighbouring true poses."""
        steps, poses = max(self._stretches, key=lambda stretch: len(stretch[0]), default=([], []))
        if not steps:
            return None
        return score_trajectory(chain(steps), np.stack(poses), self._alignment, scaled=self._scaled)


class FlickerMetric:
    """Compares each depth map with the one before, moved by the true motion.

    Motion is in metres, so depth has to be: one factor, the median ratio of the first frame with true depth, is kept
    for the whole drive. Without true depth a metric checkpoint is believed.
    """

    def __init__(self, *, metric: bool) -> None:
        self._factor: float | None = 1.0 if metric else None
        self._fixed = False
        self._before: FrameEstimate | None = None
        self._pairs: list[FlickerPair] = []

    def add(self, estimate: FrameEstimate, ratio: float | None, *, follows: bool) -> None:
        """Take one frame.

        Args:
            estimate: The frame.
            ratio: True over predicted median depth of this frame; None where the truth is not known.
            follows: Whether it follows the frame before without a gap.
        """
        if ratio is not None and not self._fixed:
            self._factor, self._fixed = ratio, True
        before, self._before = self._before, estimate
        if not follows or before is None or self._factor is None:
            return
        first, second = before.frame.T_world_camera, estimate.frame.T_world_camera
        if first is None or second is None or estimate.frame.camera is None:
            return
        pair = flicker_pair(
            before.depth_m * np.float32(self._factor),
            estimate.depth_m * np.float32(self._factor),
            estimate.frame.camera,
            np.linalg.inv(second) @ first,
            _dense(before.frame.depth_m),
            _dense(estimate.frame.depth_m),
        )
        if pair is not None:
            self._pairs.append(pair)

    def result(self) -> FlickerScores | None:
        """Return the figures of the drive; None where no pair could be compared."""
        return mean_flicker(self._pairs) if self._pairs else None


def _dense(truth: DepthMap | None) -> DepthMap | None:
    """Return true depth that can be looked up between pixels, which a LiDAR's single dots cannot."""
    return truth if truth is not None and (~np.isnan(truth)).mean() > 0.5 else None


class SynthesisScores(NamedTuple):
    """How well depth and motion together explain each frame by the one before: needs no labels.

    Attributes:
        error: Mean photometric error (0.85 SSIM-term + 0.15 Charbonnier) of the warped frame, where it is seen.
        still: The same of the frame before as it is: what standing still would score.
        explained: Share of those pixels that the warp explains better.
        pairs: How many pairs of frames.
    """

    error: float
    still: float
    explained: float
    pairs: int


class SynthesisMetric:
    """Warps each frame's predecessor into it by predicted depth and motion."""

    def __init__(self) -> None:
        self._before: Image | None = None
        self._rows: list[tuple[float, float, float]] = []

    def add(self, estimate: FrameEstimate) -> None:
        """Take one frame."""
        frame = estimate.frame
        before, self._before = self._before, frame.image
        if before is None or estimate.T_now_before is None or frame.camera is None:
            return
        row = synthesis_error(before, frame.image, estimate.depth_m, frame.camera, estimate.T_now_before)
        if row is not None:
            self._rows.append(row)

    def result(self) -> SynthesisScores | None:
        """Return the figures of the drive; None without a pose network or neighbouring frames."""
        if not self._rows:
            return None
        error, still, explained = np.mean(self._rows, axis=0).tolist()
        return SynthesisScores(error, still, explained, len(self._rows))


def synthesis_error(
    before: Image, now: Image, depth_now_m: DepthMap, camera: Camera, T_now_before: npt.NDArray[np.float64]
) -> tuple[float, float, float] | None:
    """Return the photometric error of the warped and of the unmoved earlier frame, and the share explained.

    None where the earlier frame sees nothing of the present one.
    """
    source, target = (torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255 for image in (before, now))
    K = torch.from_numpy(camera.matrix)[None].float()
    T_before_now = torch.from_numpy(np.linalg.inv(T_now_before))[None].float()
    warped = warp(source, torch.from_numpy(depth_now_m)[None, None], K, T_before_now, K)
    moved = minimum_reprojection(target, [warped])
    if not moved.counted.any():
        return None
    still = minimum_reprojection(target, [warped._replace(image=source)])
    better = (moved.error < still.error)[moved.counted].float().mean()
    return float(moved.loss), float(still.loss), float(better)
