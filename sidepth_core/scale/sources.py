"""Scales that need only the checkpoint or a number, and the refusal where nothing makes metres.

Sources that watch the world (camera height, odometry, a range sensor) are measured by a ScaleMeter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from sidepth_core.camera import Camera
from sidepth_core.errors import ScaleError

MEASURED_SOURCES = ('camera_height', 'odometry', 'range', 'auto')
"""The sources that a ScaleMeter measures; 'auto' is all of them."""
CONSTANT_SOURCES = ('checkpoint', 'fixed', 'relative')
"""The names that `make_scale_source` knows."""
SCALE_SOURCES = (*CONSTANT_SOURCES[:2], *MEASURED_SOURCES, CONSTANT_SOURCES[2])


class Scale(NamedTuple):
    """One answer of a scale source.

    Attributes:
        factor: Metres per unit of the network's depth.
        metric: Whether depth times factor is in metres.
        uncertainty: Standard deviation of the factor as a share of it; NaN where nobody measured it.
        source: Where it comes from, as the parameter `scale_source` names it.
        age_s: Time since it was last measured, seconds; NaN for a constant.
        shift_per_m: What is added to scaled inverse depth, 1/m.
        fault: Why it should not be relied upon, though it is the best there is; empty where it can.
    """

    factor: float
    metric: bool
    uncertainty: float
    source: str = ''
    age_s: float = math.nan
    shift_per_m: float = 0.0
    fault: str = ''

    def apply(self, depth: Tensor) -> Tensor:
        """Return depth of any shape in metres, or as it is where the scale is not known."""
        if not self.shift_per_m:
            return depth * self.factor
        inverse = (depth * self.factor).reciprocal() + self.shift_per_m
        return torch.where(inverse > 0, inverse.reciprocal(), math.inf)


class ScaleSource(Protocol):
    """What a scale source can do."""

    @property
    def name(self) -> str:
        """Which source this is, as the parameter `scale_source` names it."""
        ...

    def __call__(self, depth: Tensor, camera: Camera, stamp_ns: int) -> Scale:
        """Return the scale of one depth map.

        Args:
            depth: The network's depth along Z, (1, h, w) float32, in the network's own unit.
            camera: The rectified camera of that map.
            stamp_ns: Time of exposure, nanoseconds.
        """
        ...


@dataclass(frozen=True)
class ConstantScale:
    """A scale that never changes: that of metric weights, of a user's number, or of no unit at all."""

    name: str
    scale: Scale

    def __call__(self, depth: Tensor, camera: Camera, stamp_ns: int) -> Scale:  # noqa: ARG002 - the interface's
        """Return the constant."""
        return self.scale


def make_scale_source(name: str, *, metric_weights: bool, factor: float, metric_error: float = math.nan) -> ScaleSource:
    """Return the scale source of that name, or refuse.

    Args:
        name: 'checkpoint': the weights are metric; 'fixed': `factor` metres per unit; 'relative': no metres.
        metric_weights: Whether the checkpoint says that its depth is in metres.
        factor: Metres per unit of depth, for 'fixed'.
        metric_error: What the checkpoint knows of its own scale error, as a share; NaN when nothing.

    Raises:
        ScaleError: If metres are asked of weights that have none, the factor is not positive, or the name unknown.
    """
    if name == 'checkpoint':
        if not metric_weights:
            raise ScaleError(
                "scale_source is 'checkpoint' but these weights have no metric scale: "
                'use a checkpoint trained with speeds or odometry (its model.json says "scale": "metric"), '
                "or set scale_source to 'camera_height', 'odometry', 'range' or 'auto' to measure it, "
                "or to 'fixed' with scale_factor in metres per unit of depth, "
                "or set scale_source to 'relative' to publish depth without a unit"
            )
        return ConstantScale(name, Scale(1.0, metric=True, uncertainty=metric_error))
    if name == 'fixed':
        if not (math.isfinite(factor) and factor > 0):
            raise ScaleError(f"scale_source 'fixed' needs a positive scale_factor, metres per unit, got {factor!r}")
        return ConstantScale(name, Scale(factor, metric=True, uncertainty=math.nan))
    if name == 'relative':
        return ConstantScale(name, Scale(1.0, metric=False, uncertainty=math.nan))
    raise ScaleError(f'no scale source {name!r}: known are {", ".join(CONSTANT_SOURCES)}')
