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
    """What is remembered of a stream: sizes are those of the network's map.

    Attributes:
        stamp_ns: Of the last map.
        grey: Its picture's brightness.
        raw_log: Its log depth, as the network had it.
        log_depth: Its log depth, stabilised.
        correction: What was added to its log scale: the smoothed course of the scale minus the network's.
        trend: Change of the smoothed course a map.
    """

    stamp_ns: int
    grey: Tensor
    raw_log: Tensor
    log_depth: Tensor
    correction: float = 0.0
    trend: float = 0.0

    def follow(self, change: float, keep: float) -> tuple[float, float]:
        """Take a change of the network's log scale; return the new correction and the change of the smoothed course."""
        shift = self.trend + (1 - keep) * (change - self.correction - self.trend)
        self.trend += (1 - keep) * (shift - self.trend)
        self.correction += shift - change
        return self.correction, shift


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

    def __call__(self, depth: Tensor, image: Tensor, stamp_ns: int, time_constant_s: float) -> Tensor:
        """Return the stabilised depth map.

        Args:
            depth: Depth along Z, (1, 1, h, w) float32, positive and finite.
            image: Its picture at any size, (1, 3, H, W), float 0..1 or uint8.
            stamp_ns: Time of exposure, nanoseconds.
            time_constant_s: Time over which changes are smoothed, seconds.

        Returns:
            (1, 1, h, w) float32. The first map, and one after a jump, a gap or a change of size, comes back as it is.
        """
        log_depth = depth.log()
        grey = _grey(image, depth.shape[-2:])
        past = self._past
        if past is None or past.raw_log.shape != log_depth.shape or not 0 < stamp_ns - past.stamp_ns < MAX_GAP_S * 1e9:
            self._past = _Past(stamp_ns, grey, log_depth, log_depth)
            return depth
        keep = math.exp(-(stamp_ns - past.stamp_ns) * 1e-9 / time_constant_s)
        still = 1 / (1 + ((grey - past.grey) / self.brightness_step) ** 2)
        change = _scale_change(past, log_depth, still)
        correction, shift = past.follow(change, keep)
        steadied = log_depth + correction
        # The past is carried along with the smoothed scale, or it would lag behind a camera that approaches.
        carried = past.log_depth + shift
        agrees = 1 / (1 + ((steadied - carried) / self.depth_step) ** 2)
        smoothed = torch.lerp(steadied, carried, keep * still * agrees)
        past.stamp_ns, past.grey, past.raw_log, past.log_depth = stamp_ns, grey, log_depth, smoothed
        return smoothed.exp()


def _scale_change(past: _Past, log_depth: Tensor, still: Tensor) -> float:
    """Return the change of log scale since the last map, judged by the pixels whose picture stayed."""
    change = (log_depth - past.raw_log)[still > 0.5]
    if change.numel() < 0.05 * log_depth.numel():
        # Everything moved: the median would follow what is in view, not the scale. Let the correction fade.
        return past.trend
    return change.median().item()


def _grey(image: Tensor, size: torch.Size) -> Tensor:
    """Return brightness 0..1 at the map's size, (1, 1, h, w), blurred: noise and sub-pixel motion must not count."""
    if image.dtype == torch.uint8:  # shrunk first, and on a CPU in uint8, which is many times faster there
        image = image if image.device.type == 'cpu' else image.float()
        image = F.interpolate(image, size=size, mode='bilinear', antialias=True).float() / 255
    grey = F.interpolate(image.float().mean(1, keepdim=True), size=size, mode='area')
    return F.avg_pool2d(F.pad(grey, (2, 2, 2, 2), mode='replicate'), 5, stride=1)
