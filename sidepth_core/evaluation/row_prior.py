"""Depth that only knows how high in the image it is: what a network that sees things has to beat."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sidepth_core.data.frames import DepthMap
from sidepth_core.evaluation.depth_metrics import DepthProtocol, DepthScores, depth_scores, mean_scores

ROWS = 128
"""Heights that are told apart, whatever the images' sizes."""
PIXELS = 4000
"""Pixels kept of an image, evenly spread over those that are scored."""
PARTS = 10
"""The drive is cut into so many stretches, and the depth of one comes from the others: neighbours look alike."""


class _Truth(NamedTuple):
    """True depth of one image, by height.

    Attributes:
        rows: (N,) uint8, the height of each pixel, 0 at the top.
        depth_m: (N,) float32.
        profile: (ROWS,) float32, median of ln depth less the image's own; NaN where nothing is known.
    """

    rows: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float32]
    profile: npt.NDArray[np.float32]


class RowPrior:
    """Collects the true depth of a drive and scores its median by height, every stretch by that of the others."""

    def __init__(self, protocol: DepthProtocol) -> None:
        self._protocol = protocol
        self._images: list[_Truth] = []

    def add(self, truth_m: DepthMap) -> None:
        """Take the true depth of one image, (H, W) float32, metres."""
        v, u = np.nonzero(self._protocol.scored(truth_m))
        if not len(v):
            return
        every = -(-len(v) // PIXELS)
        v, u = v[::every], u[::every]
        rows, depth_m = (v * ROWS // truth_m.shape[0]).astype(np.uint8), truth_m[v, u].astype(np.float32)
        logs = np.log(depth_m) - np.log(np.median(depth_m))
        profile = np.full(ROWS, np.nan, np.float32)
        for row in np.unique(rows):
            profile[row] = np.median(logs[rows == row])
        self._images.append(_Truth(rows, depth_m, profile))

    def result(self) -> DepthScores | None:
        """Return the mean scores, each image scaled by its median; None for fewer than two images."""
        if len(self._images) < 2:
            return None
        scores: list[DepthScores] = []
        for part in np.array_split(np.arange(len(self._images)), min(PARTS, len(self._images))):
            others = np.stack([image.profile for place, image in enumerate(self._images) if place not in part])
            known = np.flatnonzero(np.isfinite(others).any(axis=0))
            prior = np.interp(np.arange(ROWS), known, np.nanmedian(others[:, known], axis=0))
            scores += [self._score(self._images[place], prior) for place in part]
        return mean_scores(scores)

    def _score(self, truth: _Truth, prior: npt.NDArray[np.floating]) -> DepthScores:
        predicted = np.exp(prior[truth.rows])
        predicted *= np.median(truth.depth_m) / np.median(predicted)
        return depth_scores(predicted.clip(self._protocol.min_depth_m, self._protocol.max_depth_m), truth.depth_m)
