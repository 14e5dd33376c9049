"""What a source of scale says of one frame: a factor with its uncertainty, or why there is none."""

from __future__ import annotations

from typing import NamedTuple


class Measurement(NamedTuple):
    """One measurement of the scale.

    The uncertainty has two parts, because one of them does not shrink however often it is measured: noise differs from
    frame to frame; the shape of the predicted depth is wrong in the same way in all of them, so that near and far, left
    and right ask for different scales.

    Attributes:
        factor: Metres per unit of the network's depth.
        std: Standard deviation of the noise, as a share of the factor.
        bias: How much regions of the image disagree about the factor: standard deviation, as a share of it.
        shift_per_m: What is added to inverse depth once it is scaled, 1/m; 0 where no shift is fitted.
    """

    factor: float
    std: float
    bias: float
    shift_per_m: float = 0.0


class Refusal(NamedTuple):
    """Why a frame says nothing about the scale.

    Attributes:
        reason: A short text by which refusals are counted.
        detail: The values behind it.
    """

    reason: str
    detail: str = ''
