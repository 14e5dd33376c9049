"""PoseNet: how the camera moved between two images.

Source: the pose network of Monodepth2, arXiv 1806.01260, as DaB-Net uses it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sidepth_core.errors import ConfigError, ImageFormatError
from sidepth_core.models.backbones import make_encoder
from sidepth_core.models.efficientnet_lite import SCALING, SameConv2d
from sidepth_core.models.timm_encoder import create_timm

OUTPUT_SCALE = 0.01
"""Keeps the first poses of an untrained network small."""

CHANNELS = 256

POSE_BACKBONE = 'resnet18.tv_in1k'
"""Encoder of the published pose network, with the weights that it starts from by name: torchvision's."""

MEAN, STD = 0.45, 0.225
"""Of all channels, as Monodepth2 has it."""


class PoseEstimate(NamedTuple):
    """How the camera moved; `geometry.pose_matrix` makes the transform of it.

    Attributes:
        axis_angle: Rotation, (B, 3) float32, radians.
        translation: (B, 3) float32, in the unit of the depth that was trained along with it.
    """

    axis_angle: Tensor
    translation: Tensor


class PoseNet(nn.Module):
    """An encoder on two stacked images, ResNet-18 as published, and a small head.

    Attributes:
        backbone: Name of the encoder.
        size: Height and width at which it looks at images, pixels.
    """

    def __init__(
        self, backbone: str = POSE_BACKBONE, *, pretrained: str = 'none', size: tuple[int, int] = (192, 640)
    ) -> None:
        """Make the network.

        Args:
            backbone: As make_encoder takes it, but for 'hrnet18'.
            pretrained: As make_encoder takes it; the first convolution sees each image with half of the weights.
            size: Height and width to which images are resized, pixels.

        Raises:
            ConfigError: If the size is smaller than 32 pixels, or there is no such backbone.
            CheckpointError: If the weights cannot be had or are of another network.
        """
        super().__init__()
        if min(size) < 32:
            raise ConfigError(f'pose network size {size!r} is too small: height and width must be 32 pixels or more')
        self.size = (int(size[0]), int(size[1]))
        self.backbone = backbone
        self.encoder, channels = _pair_encoder(backbone, pretrained)
        self.reduce = nn.Conv2d(channels, CHANNELS, 1)
        self.conv1 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.conv3 = nn.Conv2d(CHANNELS, 6, 1)

    def forward(self, first: Tensor, second: Tensor) -> PoseEstimate:
        """Estimate the motion between two images.

        Args:
            first: The earlier images, RGB, (B, 3, H, W) in 0..1, any size.
            second: The later ones, of the same shape.

        Returns:
            The pose whose matrix maps points of the first camera's frame into the second's.

        Raises:
            ImageFormatError: If the shapes are not those.
        """
        if first.ndim != 4 or first.shape[1] != 3 or first.shape != second.shape:
            raise ImageFormatError(
                f'pose images have shapes {tuple(first.shape)} and {tuple(second.shape)}: expected (B, 3, H, W) twice'
            )
        pair = torch.cat([first, second], dim=1)
        if pair.shape[-2:] != self.size:
            pair = F.interpolate(pair, size=self.size, mode='bilinear', align_corners=False)
        if self.backbone not in SCALING:  # which bring the image to their own range
            pair = (pair - MEAN) / STD
        features = F.relu(self.reduce(self.encoder(pair)[-1]))
        features = F.relu(self.conv2(F.relu(self.conv1(features))))
        # Six small numbers: bfloat16's three digits would make the speed jump.
        with torch.autocast(features.device.type, enabled=False):
            bias = self.conv3.bias
            assert bias is not None  # noqa: S101  # for the type checker
            output = F.conv2d(features.float(), self.conv3.weight.float(), bias.float())
            pose = OUTPUT_SCALE * output.mean(dim=(2, 3))
        return PoseEstimate(pose[:, :3], pose[:, 3:])


def _pair_encoder(backbone: str, pretrained: str) -> tuple[nn.Module, int]:
    """Return an encoder of six channels and how many its last map has.

    Its first convolution sees each of the two images with half of the weights.
    """
    if backbone not in SCALING:
        network = create_timm(backbone, pretrained=pretrained, in_chans=6)
        return network, network.feature_info.channels()[-1]  # type: ignore[union-attr, operator]  # timm's have it
    encoder = make_encoder(backbone, pretrained=pretrained)
    single: Tensor = encoder.conv_stem.weight  # type: ignore[assignment, union-attr]  # it is a convolution
    encoder.conv_stem = SameConv2d(6, single.shape[0], 3, 2, bias=False)
    with torch.no_grad():
        encoder.conv_stem.weight.copy_(torch.cat([single, single], dim=1) / 2)
    return encoder, encoder.channels[-1]  # type: ignore[index, return-value]  # an Encoder has them
