"""Whether an engine computes what the plain network computes, and how fast: a wrong build must not be found by eye."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor

from sidepth_core.engines.engine import Engine, Target

TOLERANCES = {'float32': 0.01, 'fp16': 0.05, 'bf16': 0.1}
"""By how much 95 % of the depths may differ, relative, for each precision."""

NEAR_TO_FAR = 1e-3
"""Disparity 0 is not infinitely far: sigma + this is proportional to 1 / depth for 0.1..100 m."""

ROUNDS = 5
"""How many times an engine is measured at the start: five images are a second on a small processor."""

Name = TypeVar('Name')


def disagreement(engine: Engine, plain: Engine, target: Target) -> str:
    """Compare an engine with the plain network on a fixed image.

    Returns:
        What is wrong with its numbers, empty where nothing is.
    """
    image = probe(*target.size).to(target.device)
    found, expected = engine(image), plain(image)
    if found.shape != expected.shape or found.dtype != torch.float32:
        return f'it returns {tuple(found.shape)} {found.dtype}, expected {tuple(expected.shape)} torch.float32'
    if not torch.isfinite(found).all():
        return 'it returns numbers that are not finite'
    difference = depth_difference(found, expected)
    tolerance = TOLERANCES[target.precision]
    if difference > tolerance:
        return f'5 % of its depths differ by more than {difference:.1%} from eager, allowed are {tolerance:.0%}'
    return ''


def depth_difference(found: Tensor, expected: Tensor) -> float:
    """Return how far the depths of two disparities (B, 1, h, w) are apart, relative: 95 % of them are nearer."""
    ratio = (found + NEAR_TO_FAR).log() - (expected + NEAR_TO_FAR).log()
    return float(ratio.abs().flatten().sort().values[int(0.95 * (ratio.numel() - 1))])


def median_ms(engines: Mapping[Name, Engine], image: Tensor, rounds: int = ROUNDS) -> dict[Name, float]:
    """Return the median time of an image for each engine, milliseconds.

    They take turns, so that what else the machine does meanwhile falls on all of them.

    Args:
        engines: What to measure, by any name.
        image: (B, 3, h, w) on their device.
        rounds: How many times each is measured, after one run that is not.
    """
    times: dict[Name, list[float]] = {name: [] for name in engines}
    for turn in range(rounds + 1):
        for name, engine in engines.items():
            _finish(image.device)
            start = time.perf_counter()
            engine(image)
            _finish(image.device)
            if turn:
                times[name].append((time.perf_counter() - start) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def _finish(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def probe(height: int, width: int) -> Tensor:
    """Return a fixed image of smooth shades, edges and fine texture, (1, 3, height, width) in 0..1."""
    rows = torch.linspace(0, 1, height)[:, None]
    columns = torch.linspace(0, 1, width)[None, :]
    smooth = 0.5 + 0.5 * torch.sin(7 * columns + 5 * rows)
    checks = ((columns * 8).floor() + (rows * 6).floor()) % 2
    texture = 0.5 + 0.5 * torch.sin(width * columns * rows)
    shades = torch.stack([smooth, checks.expand(height, width), texture])
    mixing = torch.tensor([[0.6, 0.3, 0.1], [0.3, 0.4, 0.3], [0.2, 0.2, 0.6]])
    return torch.einsum('ij,jhw->ihw', mixing, shades)[None]
