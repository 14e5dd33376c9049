"""What an engine is, and what it is made for."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from sidepth_core.models import DepthNetwork

PRECISIONS = ('float32', 'bf16', 'fp16')
"""Number formats inside the network; input and output are float32 always."""

DTYPES = {'float32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}


class Engine(Protocol):
    """A depth network ready to run."""

    def __call__(self, images: Tensor) -> Tensor:
        """Return disparity.

        Args:
            images: RGB, (B, 3, h, w) float32 in 0..1 on the engine's device, at the size that it was made for.

        Returns:
            sigma, (B, 1, h, w) float32 in (0, 1), the caller's own.
        """
        ...


class Target(NamedTuple):
    """What an engine is made for.

    Attributes:
        device: Where it runs.
        precision: One of PRECISIONS.
        size: Height and width of the images, pixels, multiples of 32.
    """

    device: torch.device
    precision: str
    size: tuple[int, int]


Factory = Callable[[DepthNetwork, Target], Engine]
"""Makes an engine of a network in evaluation mode, which it may change and keep."""
