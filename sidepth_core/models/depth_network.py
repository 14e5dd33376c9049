"""What every depth network is: an image in, disparity out, whoever designed it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn


class Prediction(NamedTuple):
    """What a depth network says about a batch of images.

    Attributes:
        disparity: sigma, (B, 1, H, W) float32 in (0, 1); `geometry.disparity_to_depth` turns it into depth.
    """

    disparity: Tensor


class DepthNetwork(nn.Module, ABC):
    """Depth from one image.

    Attributes:
        backbone: Name of the encoder, or of the family of networks.
    """

    backbone: str

    @abstractmethod
    def forward(self, image: Tensor) -> Prediction:
        """Predict disparity at the size of the image.

        Args:
            image: RGB, (B, 3, H, W) floating point in 0..1; H and W divisible by 32, or as the network says.
        """

    @property
    @abstractmethod
    def recompute(self) -> bool:
        """Whether training computes blocks again instead of keeping them."""

    @recompute.setter
    @abstractmethod
    def recompute(self, wanted: bool) -> None: ...

    @property
    @abstractmethod
    def encoder_parameters(self) -> list[nn.Parameter]:
        """The weights of what looks at the image."""

    @property
    @abstractmethod
    def decoder_parameters(self) -> list[nn.Parameter]:
        """The weights of what makes disparity of it."""

    @property
    def scale_parameters(self) -> list[nn.Parameter]:
        """What makes metres of a network that knows none; empty for ours, which learn them in all their weights."""
        return []

    @abstractmethod
    def keep_float32(self) -> None:
        """Bring back to float32 what does not work in a shorter format, after the network was converted to one."""

    def stored_tensors(self) -> dict[str, Tensor]:
        """Return the tensors that a checkpoint stores, by name."""
        tensors: dict[str, Tensor] = self.state_dict()
        return tensors
