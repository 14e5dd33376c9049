"""Depth as colours on the device: one table look-up per pixel."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor

COLOR_MAPS = ('turbo', 'magma', 'inferno', 'plasma', 'viridis', 'gray')
"""Names of the colour maps; the near end is the bright or warm one."""

SAMPLES = 10_000
"""How many pixels are enough for the percentiles of an image."""


@lru_cache(maxsize=16)
def colour_table(name: str, device: torch.device) -> Tensor:
    """Return a colour map's 257 colours from far to near, (257, 3) uint8 RGB; the last one, black, is for no depth."""
    steps = np.arange(256, dtype=np.uint8)[:, None]
    colours = np.repeat(steps, 3, 1) if name == 'gray' else _from_opencv(name, steps)
    return torch.from_numpy(np.concatenate([colours, np.zeros((1, 3), np.uint8)])).to(device)


def _from_opencv(
    name: str, steps: np.ndarray[tuple[int, int], np.dtype[np.uint8]]
) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    mapped = cv2.applyColorMap(steps, getattr(cv2, f'COLORMAP_{name.upper()}'))
    return np.ascontiguousarray(np.asarray(mapped, np.uint8)[:, 0, ::-1])


def colour_depth(depth: Tensor, name: str, span: tuple[float, float] | None = None) -> Tensor:
    """Return a depth map as colours, even in inverse depth, which is what the eye judges distance by.

    Args:
        depth: (H, W) float32; NaN and -inf become black, +inf the farthest colour.
        name: One of COLOR_MAPS.
        span: Depths of the nearest and the farthest colour; None for the 2nd and 98th percentile of the map itself.

    Returns:
        (H, W, 3) uint8 RGB on the same device.
    """
    low, high = _percentiles(depth) if span is None else (1 / span[1], 1 / span[0])
    position = ((depth.reciprocal() - low) * (255 / max(high - low, 1e-9))).round_().clamp_(0, 255)
    index = torch.where(depth > 0, position, 256).to(torch.int32)
    return colour_table(name, depth.device).index_select(0, index.flatten()).view(*depth.shape, 3)


def _percentiles(depth: Tensor) -> tuple[float, float]:
    """Return those of inverse depth where it is known."""
    sample = depth.flatten()[:: max(1, depth.numel() // SAMPLES)]
    sample = sample[sample > 0].reciprocal()
    if not sample.numel():
        return 0.0, 1.0
    low, high = torch.quantile(sample, torch.tensor([0.02, 0.98], device=sample.device)).tolist()
    return low, high
