"""The encoders to choose from: each turns an image into five maps at strides 2, 4, 8, 16 and 32."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from sidepth_core.models.efficientnet_lite import SCALING, EfficientNetLite
from sidepth_core.models.hrnet import HRNet
from sidepth_core.models.pretrained import download, load_weights, published_weights
from sidepth_core.models.timm_encoder import TimmEncoder

HRNET = 'hrnet18'
"""The published network's encoder."""


class Encoder(Protocol):
    """What the decoder needs of an encoder.

    Attributes:
        channels: Channels of the five maps at strides 2, 4, 8, 16, 32.
        recompute: Whether training computes blocks again instead of keeping them (see run_block).
    """

    channels: tuple[int, ...]
    recompute: bool

    def __call__(self, image: Tensor) -> tuple[Tensor, ...]:
        """Map an image (B, 3, H, W) in 0..1 to five maps (B, C, H/s, W/s)."""
        ...


def make_encoder(backbone: str, *, pretrained: str = 'none') -> nn.Module:
    """Return the encoder of that name, which is an `Encoder`.

    Args:
        backbone: 'hrnet18', which is DaB-Net's, or a name of timm's, such as 'tf_efficientnet_lite0' or 'resnet18'.
        pretrained: 'none' for random weights, 'hub' for those that timm names, downloaded once, or a file of weights.

    Raises:
        ConfigError: If there is no such backbone, or it needs timm, which is missing.
        CheckpointError: If the weights cannot be had or are of another network.
    """
    if backbone == HRNET:
        return HRNet(pretrained=pretrained)
    if backbone in SCALING:
        return started(EfficientNetLite(backbone), backbone, pretrained)
    return TimmEncoder(backbone, pretrained=pretrained)


def started(encoder: EfficientNetLite, backbone: str, pretrained: str) -> EfficientNetLite:
    """Give one of our EfficientNet-Lites the weights to start from (see make_encoder), and return it."""
    if pretrained != 'none':
        load_weights(encoder, download(published_weights(backbone)[0]) if pretrained == 'hub' else pretrained)
    return encoder
