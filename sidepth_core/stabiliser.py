"""Less flicker: smooth a stream's depth over time where the picture says that nothing changed.

Two steps, both on the device and without poses. First the scale: the median log ratio between a map and the one before
is what the camera's motion changed plus what the network made up; a filter that follows level and trend (Holt's double
exponential smoothing) keeps the first, so that a steady drive sees no lag, and takes out the second. Then depth itself:
a running mean in log depth, pixel by pixel, as far as brightness and depth agree with the frame before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

MAX_GAP_S = 1.0
"""After a gap this long the past says nothing about the present."""


@dataclass
class _Past:
    """What is remembered of a stream: sizes are those of the network's map."""

    stamp_ns: int
    grey: Tensor
    raw_log: Tensor
    log_depth: Tensor
    level: float = 0.0
    smooth: float = 0.0
    trend: float = 0.0


class Stabiliser:
    """The state of one camera's stream.

    Attributes:
        brightness_step: Change of brightness (0 to 1) that halves the weight of the past at a pixel.
        depth_step: Change of log depth that halves it.
    """

    def __init__(self, *, brightness_step: float = 0.03, depth_step: float = 0.15) -> None:
        self.brightness_step = brightness_step
        self.depth_step = depth_step
        self._past: _Past | None = None

    def reset(self) -> None:
        """Forget the past: time jumped, or the network changed."""
        self._past = None

    def __call__(self, depth: Tensor, image: Tensor, stamp_ns: int, time_constant_s: float) -> Tensor:
        """Return the stabilised depth map.

        Args:
            depth: Depth along Z, (1, 1, h, w) float32, positive and finite.
            image: Its picture at any size, (1, 3, H, W), float 0..1 or uint8.
            stamp_ns: Time of exposure, nanoseconds.
            time_constant_s: Time over which changes are smoothed, seconds.

        Returns:
            (1, 1, h, w) float32. The first map after a start, a reset, a gap or a change of size comes back as it is.
        """
        log_depth = depth.log()
        grey = _grey(image, depth.shape[-2:])
        past = self._past
        if past is None or past.raw_log.shape != log_depth.shape or not 0 < stamp_ns - past.stamp_ns < MAX_GAP_S * 1e9:
            self._past = _Past(stamp_ns, grey, log_depth, log_depth)
            return depth
        keep = math.exp(-(stamp_ns - past.stamp_ns) * 1e-9 / time_constant_s)
        still = 1 / (1 + ((grey - past.grey) / self.brightness_step) ** 2)
        steadied = log_depth + self._scale_correction(past, log_depth, still, keep)
        agrees = 1 / (1 + ((steadied - past.log_depth) / self.depth_step) ** 2)
        weight = keep * still * agrees
        smoothed = torch.lerp(steadied, past.log_depth, weight)
        past.stamp_ns, past.grey, past.raw_log, past.log_depth = stamp_ns, grey, log_depth, smoothed
        return smoothed.exp()

    @staticmethod
    def _scale_correction(past: _Past, log_depth: Tensor, still: Tensor, keep: float) -> float:
        """Return what to add to log depth so that the stream's scale follows its smoothed course."""
        change = (log_depth - past.raw_log)[still > 0.5]
        if change.numel() < 0.05 * log_depth.numel():
            # Everything moved: the median would follow what is in view, not the scale. Let the correction fade.
            return _follow(past, past.level + past.trend, keep)
        return _follow(past, past.level + change.median().item(), keep)


def _follow(past: _Past, level: float, keep: float) -> float:
    """Move the smoothed scale towards a new level and return their difference."""
    predicted = past.smooth + past.trend
    smooth = predicted + (1 - keep) * (level - predicted)
    past.trend += (1 - keep) * (smooth - past.smooth - past.trend)
    # Levels are sums of changes: counting from the present keeps them small for ever.
    past.level, past.smooth = 0.0, smooth - level
    return past.smooth


def _grey(image: Tensor, size: torch.Size) -> Tensor:
    """Return brightness 0..1 at the map's size, (1, 1, h, w), blurred: noise and sub-pixel motion must not count."""
    picture = image.float() / 255 if image.dtype == torch.uint8 else image.float()
    grey = F.interpolate(picture.mean(1, keepdim=True), size=size, mode='area')
    return F.avg_pool2d(F.pad(grey, (2, 2, 2, 2), mode='replicate'), 5, stride=1)
