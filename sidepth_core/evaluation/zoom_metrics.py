"""What depth does when the camera zooms, scored so that a drifting scale cannot hide.

Scaling every zoomed image by its own median, as is usual, removes the very error that zoom causes. So each zoomed
prediction is also scored with the scale of the un-zoomed one, and the drift between the two is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from sidepth_core.camera import Camera
from sidepth_core.data.frames import DepthMap, Image
from sidepth_core.evaluation.depth_metrics import DepthProtocol, DepthScores, depth_scores, mean_scores
from sidepth_core.zoom import View, centred_view, sample_view, view_intrinsics

SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Shown share of width and height; the focal length grows by its inverse."""

Predict = Callable[[Image, Camera], DepthMap]
"""An image (H, W, 3) uint8 and its camera -> depth (H, W) float32."""


class ZoomScore(NamedTuple):
    """One image at one zoom.

    Attributes:
        share: Shown share of width and height.
        own: Scores with the zoomed view's own median ratio.
        full: Scores with the un-zoomed view's median ratio.
        drift: ln(median of zoomed prediction / median of the un-zoomed prediction over the same part of the scene).
    """

    share: float
    own: DepthScores
    full: DepthScores
    drift: float


class ZoomRow(NamedTuple):
    """All images at one zoom.

    Attributes:
        share: Shown share of width and height.
        own: Mean scores, every image with its own median.
        full: Mean scores, every image with the scale of its full view.
        drift_mean: Mean of ZoomScore.drift: a bias, 0 for a scale-invariant network.
        drift_std: Its standard deviation over images: what nobody can calibrate away.
        images: How many.
    """

    share: float
    own: DepthScores
    full: DepthScores
    drift_mean: float
    drift_std: float
    images: int


def zoomed_image(image: Image, camera: Camera, share: float) -> tuple[Image, Camera]:
    """Return the middle of an image resized back to its size, and the camera of that view."""
    view, size = centred_view(share, 1), (camera.height, camera.width)
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
    zoomed = sample_view(pixels, view, size)[0].permute(1, 2, 0).round().byte().numpy()
    K = view_intrinsics(torch.from_numpy(camera.matrix)[None], view, size, size)[0].numpy()
    return zoomed, Camera(camera.width, camera.height, K[0, 0], K[1, 1], K[0, 2], K[1, 2])


def zoomed_depth(depth_m: DepthMap, share: float) -> DepthMap:
    """Return a depth map as the zoomed view sees it; values are neither mixed nor scaled."""
    view: View = centred_view(share, 1)
    sampled = sample_view(torch.from_numpy(depth_m)[None, None], view, depth_m.shape[:2], mode='nearest')
    return np.asarray(sampled[0, 0].numpy())


def score_zooms(
    predict: Predict,
    image: Image,
    camera: Camera,
    truth_m: DepthMap,
    protocol: DepthProtocol,
    shares: Sequence[float] = SHARES,
) -> list[ZoomScore]:
    """Return the scores of one image at every zoom; the crop of the protocol applies to each view. Empty without truth.

    Args:
        predict: The network; it is told the camera of each view.
        image: (H, W, 3) uint8, rectified.
        camera: Its camera.
        truth_m: (H, W) float32, metres.
        protocol: Which pixels are scored.
        shares: The zooms.
    """
    unzoomed = predict(image, camera)
    scored = protocol.scored(truth_m)
    if not scored.any():
        return []
    full_ratio = _ratio(truth_m[scored], unzoomed[scored])
    found = []
    for share in shares:
        truth = zoomed_depth(truth_m, share)
        mask = protocol.scored(truth)
        if not mask.any():
            continue
        predicted = unzoomed if share == 1 else predict(*zoomed_image(image, camera, share))
        truth, predicted, before = truth[mask], predicted[mask], zoomed_depth(unzoomed, share)[mask]
        low, high = protocol.min_depth_m, protocol.max_depth_m
        own, full = (
            depth_scores((predicted * ratio).clip(low, high), truth) for ratio in (_ratio(truth, predicted), full_ratio)
        )
        found.append(ZoomScore(share, own, full, float(np.log(np.median(predicted) / np.median(before)))))
    return found


def _ratio(truth: DepthMap, predicted: DepthMap) -> float:
    return float(np.median(truth) / np.median(predicted))


def mean_zooms(scores: Sequence[ZoomScore]) -> list[ZoomRow]:
    """Return one row per zoom over all images, widest view first."""
    rows = []
    for share in sorted({score.share for score in scores}, reverse=True):
        group = [score for score in scores if score.share == share]
        drifts = np.array([score.drift for score in group])
        own, full = mean_scores([score.own for score in group]), mean_scores([score.full for score in group])
        rows.append(ZoomRow(share, own, full, float(drifts.mean()), float(drifts.std()), len(group)))
    return rows
