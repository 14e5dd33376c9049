"""Engines of runtimes that build for one shape of input."""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch
from torch import Tensor

Shape = tuple[int, int, int]
"""Number of images, height and width."""


class ShapedEngine:
    """An engine with a build for each shape of images that has come; threads take turns."""

    def __init__(self, build: Callable[[Shape], Callable[[Tensor], Tensor]]) -> None:
        """Make an engine.

        Args:
            build: Makes what runs images of one shape; what that returns is the caller's own.
        """
        self._build = build
        self._builds: dict[Shape, Callable[[Tensor], Tensor]] = {}
        self._lock = threading.Lock()

    def __call__(self, images: Tensor) -> Tensor:
        """Return disparity (see Engine)."""
        batch, _, height, width = images.shape
        shape = (batch, height, width)
        with self._lock, torch.no_grad():
            if shape not in self._builds:
                self._builds[shape] = self._build(shape)
            return self._builds[shape](images.contiguous())
