"""Whether an engine computes what the plain network computes: a wrong build must not be found by eye."""

from __future__ import annotations

import torch
from torch import Tensor

from sidepth_core.engines.engine import Engine, Target

TOLERANCES = {'float32': 0.01, 'fp16': 0.05, 'bf16': 0.1}
"""By how much 95 % of the depths may differ, relative, for each precision."""

NEAR_TO_FAR = 1e-3
"""Disparity 0 is not infinitely far: sigma + this is proportional to 1 / depth for 0.1..100 m."""


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
    ratio = (found + NEAR_TO_FAR).log() - (expected + NEAR_TO_FAR).log()
    difference = float(ratio.abs().flatten().sort().values[int(0.95 * (ratio.numel() - 1))])
    tolerance = TOLERANCES[target.precision]
    if difference > tolerance:
        return f'5 % of its depths differ by more than {difference:.1%} from eager, allowed are {tolerance:.0%}'
    return ''


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
