"""Depth scores of Eigen et al. (NIPS 2014) as the KITTI literature computes them, one image at a time.

torchmetrics has neither AbsRel nor the accuracies d1 to d3, nor median scaling and crops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sidepth_core.data.frames import DepthMap
from sidepth_core.errors import ConfigError

CROPS = {
    'none': (0.0, 1.0, 0.0, 1.0),
    'eigen': (0.3324324, 0.91351351, 0.0359477, 0.96405229),
    'garg': (0.40810811, 0.99189189, 0.03594771, 0.96405229),
}
"""Top, bottom, left, right of each crop as shares of the image: what of it is scored."""


@dataclass(frozen=True)
class DepthProtocol:
    """Which pixels are scored.

    Attributes:
        crop: A name of CROPS.
        min_depth_m: True depth at or below it is left out, and predictions are raised to it, metres.
        max_depth_m: True depth at or above it is left out (sky too), and predictions are lowered to it, metres.

    Raises:
        ConfigError: If the crop is unknown or the range empty.
    """

    crop: str = 'none'
    min_depth_m: float = 1e-3
    max_depth_m: float = 80.0

    def __post_init__(self) -> None:
        """Refuse what scores nothing."""
        if self.crop not in CROPS:
            raise ConfigError(f'crop {self.crop!r} is not one of {", ".join(CROPS)}')
        if not 0 < self.min_depth_m < self.max_depth_m:
            raise ConfigError(f'depth range {self.min_depth_m!r}..{self.max_depth_m!r} m is empty: give 0 < min < max')

    def scored(self, truth_m: DepthMap) -> npt.NDArray[np.bool_]:
        """Return the pixels that are scored, (H, W): known, within range and inside the crop."""
        height, width = truth_m.shape
        top, bottom, left, right = CROPS[self.crop]
        inside = np.zeros(truth_m.shape, bool)
        inside[int(top * height) : int(bottom * height), int(left * width) : int(right * width)] = True
        with np.errstate(invalid='ignore'):
            return np.asarray(inside & (truth_m > self.min_depth_m) & (truth_m < self.max_depth_m))


class DepthScores(NamedTuple):
    """Errors of one image, or their mean over images.

    Attributes:
        abs_rel: Mean |d - d*| / d*.
        sq_rel: Mean (d - d*)^2 / d*, metres.
        rmse: Root mean square of d - d*, metres.
        rmse_log: The same of ln d - ln d*.
        silog: 100 x standard deviation of ln d - ln d*, which no factor on d changes (KITTI's benchmark).
        d1: Share of pixels with max(d/d*, d*/d) < 1.25.
        d2: The same below 1.25 squared.
        d3: The same below 1.25 cubed.
    """

    abs_rel: float
    sq_rel: float
    rmse: float
    rmse_log: float
    silog: float
    d1: float
    d2: float
    d3: float


class ImageScore(NamedTuple):
    """How one predicted map compares with the truth.

    Attributes:
        scaled: Scores after multiplying the prediction by `ratio`.
        unscaled: Scores of the prediction as it is, in metres.
        ratio: Median of the truth over median of the prediction, over the scored pixels.
        pixels: How many pixels were scored.
    """

    scaled: DepthScores
    unscaled: DepthScores
    ratio: float
    pixels: int


def depth_scores(predicted_m: npt.NDArray[np.floating], truth_m: npt.NDArray[np.floating]) -> DepthScores:
    """Return the scores of predicted depths against true ones, both (N,), metres, positive, N > 0."""
    predicted, truth = predicted_m.astype(np.float64), truth_m.astype(np.float64)
    difference, logs = predicted - truth, np.log(predicted) - np.log(truth)
    factor = np.maximum(predicted / truth, truth / predicted)
    return DepthScores(
        abs_rel=float((np.abs(difference) / truth).mean()),
        sq_rel=float((difference**2 / truth).mean()),
        rmse=float(np.sqrt((difference**2).mean())),
        rmse_log=float(np.sqrt((logs**2).mean())),
        silog=float(100 * logs.std()),
        d1=float((factor < 1.25).mean()),
        d2=float((factor < 1.25**2).mean()),
        d3=float((factor < 1.25**3).mean()),
    )


def score_image(predicted_m: DepthMap, truth_m: DepthMap, protocol: DepthProtocol) -> ImageScore | None:
    """Return how a predicted map compares with the truth; None where no pixel can be scored.

    A prediction that is not finite (beyond range, unknown) is scored as the farthest depth: it cannot hide an error.

    Args:
        predicted_m: (H, W) float32, metres.
        truth_m: The same shape; NaN or not positive where unknown, +inf in the sky.
        protocol: Which pixels are scored.

    Raises:
        ConfigError: If the shapes differ.
    """
    if predicted_m.shape != truth_m.shape:
        raise ConfigError(f"prediction has shape {predicted_m.shape!r}, expected the truth's {truth_m.shape!r}")
    scored = protocol.scored(truth_m)
    if not scored.any():
        return None
    predicted, truth = predicted_m[scored].astype(np.float64), truth_m[scored].astype(np.float64)
    predicted[~np.isfinite(predicted)] = protocol.max_depth_m
    ratio = float(np.median(truth) / max(float(np.median(predicted)), 1e-9))
    low, high = protocol.min_depth_m, protocol.max_depth_m
    return ImageScore(
        scaled=depth_scores((predicted * ratio).clip(low, high), truth),
        unscaled=depth_scores(predicted.clip(low, high), truth),
        ratio=ratio,
        pixels=int(scored.sum()),
    )


def score_constant(truth_m: DepthMap, protocol: DepthProtocol, constant_m: float | None = None) -> ImageScore | None:
    """Return the score of one depth everywhere: what a network has to beat.

    Median-scaled, every constant becomes the image's median depth, so `scaled` is that of the best constant.

    Args:
        truth_m: (H, W) float32, metres.
        protocol: Which pixels are scored.
        constant_m: The depth for the unscaled scores, metres; None for the image's own median.
    """
    scored = protocol.scored(truth_m)
    if not scored.any():
        return None
    constant = float(np.median(truth_m[scored])) if constant_m is None else constant_m
    return score_image(np.full(truth_m.shape, constant, np.float32), truth_m, protocol)


def mean_scores(scores: Sequence[DepthScores]) -> DepthScores:
    """Return the mean over images; every image counts the same, as in the literature. NaN for none."""
    if not scores:
        return DepthScores(*[float('nan')] * len(DepthScores._fields))
    return DepthScores(*np.mean(np.array(scores), axis=0).tolist())
