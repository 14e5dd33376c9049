"""Robust statistics that the sources of scale share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sidepth_core.camera import Camera

Floats = npt.NDArray[np.float64]

INDEPENDENT = 20
"""Neighbouring pixels of a network err together: of hundreds of them so many count as independent."""

PARTS = (8, 5)
"""Parts of the image, across and down, that count the same in the scale, however many beams lie in each."""


def middle_of(values: Floats) -> float:
    """Return the upper median of values (N,), N > 0: a tenth of the time that np.median takes for a few hundred."""
    return float(np.partition(values, len(values) // 2)[len(values) // 2])


def weighted_middle(values: Floats, weights: Floats) -> float:
    """Return the upper weighted median of values (N,), N > 0: half of the weights (N,), positive, lie below it."""
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(below, below[-1] / 2, side='right')])


def least_relative(logs: Floats, weights: Floats) -> float:
    """Return the logarithm of the factor on predicted depth that has the least mean relative error.

    With f the factor that is right for a part and s that for all, |s d - f d| / (f d) = |s / f - 1|: the sum over parts
    is least at the median of f in which each counts 1 / f.

    Args:
        logs: ln f, (N,), N > 0.
        weights: How much each part counts, (N,).
    """
    return weighted_middle(logs, weights * np.exp(logs.min() - logs))


def evenly(pixels: Floats, camera: Camera) -> Floats:
    """Return weights (N,) of pixels (N, 2) of a camera's image that make each part of it count the same.

    Beams crowd where a scanner has more of them.
    """
    columns, rows = PARTS
    u, v = ((pixels + 0.5) * (columns / camera.width, rows / camera.height)).astype(np.int64).T
    _, part, counts = np.unique(u * rows + v, return_inverse=True, return_counts=True)
    return np.asarray(1 / counts[part], np.float64)


def spread_of(values: Floats, middle: float) -> float:
    """Return the standard deviation of values (N,) about their middle as their median distance tells it."""
    return 1.4826 * middle_of(np.abs(values - middle))


def disagreement(values: Floats, parts: npt.NDArray[np.int64], smallest: int) -> tuple[float, int]:
    """Return the standard deviation of the medians of parts, and how many parts there are.

    Args:
        values: (N,).
        parts: Which part each belongs to, (N,), from 0.
        smallest: A part of fewer values is none.
    """
    counts = np.bincount(parts)
    middles = [middle_of(values[parts == part]) for part in np.flatnonzero(counts >= smallest)]
    return (float(np.std(middles)) if middles else 0.0), len(middles)


def ranks(values: Floats, count: int) -> npt.NDArray[np.int64]:
    """Return in which of `count` equally full classes each of values (N,) is, from 0."""
    limits: Sequence[float] = np.quantile(values, np.arange(1, count) / count).tolist()
    return np.searchsorted(np.asarray(limits), values)
