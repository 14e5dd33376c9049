"""Less flicker: smooth a stream's depth over time where the image says that nothing changed.

Two steps, both on the device and without poses. First the scale: the median log ratio between a map and the one before
is what the camera's motion changed plus what the network made up; a filter that follows level and speed (Holt's double
exponential smoothing) keeps the first, so that a steady drive sees no lag, and takes out the second. Then depth itself:
a running mean in log depth, pixel by pixel, as far as brightness and depth agree with the frame before.

Convention: speed is that of linear depth, as a share of the present depth a second (one over the time to contact), so
that what comes nearer at a constant speed is predicted exactly, however near it is. What neither filter predicts, such
as braking or a single obstacle that comes nearer, may part the smoothed depth from the network's by no more than
LEAST_ROOM and JITTER_ROOM times the network's own jitter: noise is smoothed, motion is followed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

MAX_GAP_S = 1.0
"""After a gap this long the past says nothing about the present."""

LEAST_ROOM = 0.01
"""How far smoothed log depth may lie from that of a network without jitter."""

JITTER_ROOM = 1.5
"""How many standard deviations of the network's jitter more."""

LEAST_SHARE = 0.5
"""To which share of itself depth may be predicted to fall from one map to the next."""


@dataclass
class _Past:
    """What is remembered of a stream: maps are (1, 1, h, w), of the network's size.

    A surprise is the change of log depth beside the predicted one. The network's jitter shows in how much surprises
    differ from one map to the next: motion that is not predicted yet surprises, too, but again and again alike.

    Attributes:
        stamp_ns: Of the last map.
        grey: Its image's brightness.
        raw_log: Its log depth, as the network had it.
        log_depth: Its log depth, stabilised.
        surprises: Those of its pixels, beside the scale.
        jitters: Variance of its pixels' log depth, beside the scale.
        correction: What was added to its log scale: the smoothed course of the scale minus the network's.
        speed: Of the smoothed scale, shares of the present scale a second; negative while it comes nearer.
        surprise: That of the log scale.
        jitter: Variance of the network's log scale.
    """

    stamp_ns: int
    grey: Tensor
    raw_log: Tensor
    log_depth: Tensor
    surprises: Tensor
    jitters: Tensor
    correction: float = 0.0
    speed: float = 0.0
    surprise: float = 0.0
    jitter: float = 0.0

    def predicted(self, gap_s: float) -> float:
        """Return the change of log scale that the speed promises after so long."""
        return math.log(max(1 + self.speed * gap_s, LEAST_SHARE))

    def follow(self, change: float, keep: float, gap_s: float) -> tuple[float, float]:
        """Take a change of the network's log scale; return the new correction and the change of the smoothed course."""
        predicted = self.predicted(gap_s)
        network = change - self.correction  # the change that would end where the network is
        surprise = network - predicted
        self.jitter += (1 - keep) * ((surprise - self.surprise) ** 2 / 2 - self.jitter)
        self.surprise = surprise
        room = LEAST_ROOM + JITTER_ROOM * math.sqrt(self.jitter)
        shift = min(max(predicted + (1 - keep) * surprise, network - room), network + room)
        # Speeds as shares of the depth that is reached, where the next prediction begins.
        expected, found = -math.expm1(-predicted) / gap_s, -math.expm1(-shift) / gap_s
        self.speed = expected + (1 - keep) * (found - expected)
        self.correction += shift - change
        return self.correction, shift

    def follow_pixels(self, surprises: Tensor, keep: float) -> Tensor:
        """Take the surprises of the pixels; return how much farther than the network's their log depth may be."""
        self.jitters = torch.lerp((surprises - self.surprises).square() / 2, self.jitters, keep)
        self.surprises = surprises
        return LEAST_ROOM + JITTER_ROOM * self.jitters.sqrt()


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
            image: Its image at any size, (1, 3, H, W), float 0..1 or uint8.
            stamp_ns: Time of exposure, nanoseconds.
            time_constant_s: Time over which changes are smoothed, seconds.

        Returns:
            (1, 1, h, w) float32. The first map, and one after a jump, a gap or a change of size, comes back as it is.
        """
        log_depth = depth.log()
        grey = _grey(image, depth.shape[-2:])
        past = self._past
        if past is None or past.raw_log.shape != log_depth.shape or not 0 < stamp_ns - past.stamp_ns < MAX_GAP_S * 1e9:
            nothing = torch.zeros_like(log_depth)
            self._past = _Past(stamp_ns, grey, log_depth, log_depth, nothing, nothing)
            return depth
        gap_s = (stamp_ns - past.stamp_ns) * 1e-9
        keep = math.exp(-gap_s / time_constant_s)
        still = 1 / (1 + ((grey - past.grey) / self.brightness_step) ** 2)
        change = _scale_change(past, log_depth, still, gap_s)
        correction, shift = past.follow(change, keep, gap_s)
        steadied = log_depth + correction
        # The past is carried along with the smoothed scale, or it would lag behind a camera that approaches.
        carried = past.log_depth + shift
        surprises = steadied - carried
        agrees = 1 / (1 + (surprises / self.depth_step) ** 2)
        room = past.follow_pixels(surprises, keep)
        smoothed = torch.minimum(torch.lerp(steadied, carried, keep * still * agrees), steadied + room)
        past.stamp_ns, past.grey, past.raw_log, past.log_depth = stamp_ns, grey, log_depth, smoothed
        return smoothed.exp()


def _scale_change(past: _Past, log_depth: Tensor, still: Tensor, gap_s: float) -> float:
    """Return the change of log scale since the last map, judged by the pixels whose image stayed."""
    change = (log_depth - past.raw_log)[still > 0.5]
    if change.numel() < 0.05 * log_depth.numel():
        # Everything moved: the median would follow what is in view, not the scale. Let the correction fade.
        return past.predicted(gap_s)
    return change.median().item()


def _grey(image: Tensor, size: torch.Size) -> Tensor:
    """Return brightness 0..1 at the map's size, (1, 1, h, w), blurred: noise and sub-pixel motion must not count."""
    if image.dtype == torch.uint8:  # shrunk first, and on a CPU in uint8, which is many times faster there
        if image.shape[-2:] != size:
            image = image if image.device.type == 'cpu' else image.float()
            image = F.interpolate(image, size=size, mode='bilinear', antialias=True)
        image = image.float() / 255
    grey = F.interpolate(image.float().mean(1, keepdim=True), size=size, mode='area')
    return F.avg_pool2d(F.pad(grey, (2, 2, 2, 2), mode='replicate'), 5, stride=1)
