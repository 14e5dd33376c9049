"""PoseNet: how the camera moved between two images.

Source: the pose network of Monodepth2, arXiv 1806.01260, as DaB-Net uses it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sidepth_core.errors import ConfigError, ImageFormatError
from sidepth_core.models.backbones import resnet18

OUTPUT_SCALE = 0.01
"""Keeps the first poses of an untrained network small."""

CHANNELS = 256


class PoseEstimate(NamedTuple):
    """How the camera moved; `geometry.pose_matrix` makes the transform of it.

    Attributes:
        axis_angle: Rotation, (B, 3) float32, radians.
        translation: (B, 3) float32, in the unit of the depth that was trained along with it.
    """

    axis_angle: Tensor
    translation: Tensor


class PoseNet(nn.Module):
    """ResNet-18 on two stacked images, and a small head.

    Attributes:
        size: Height and width at which it looks at images, pixels.
    """

    def __init__(self, *, pretrained: bool = False, size: tuple[int, int] = (192, 640)) -> None:
        """Make the network.

        Args:
            pretrained: Start from ImageNet weights, downloaded once; the first convolution sees each image with
                half of the weights.
            size: Height and width to which images are resized, pixels.

        Raises:
            ConfigError: If the size is smaller than 32 pixels.
        """
        super().__init__()
        if min(size) < 32:
            raise ConfigError(f'pose network size {size!r} is too small: height and width must be 32 pixels or more')
        self.size = (int(size[0]), int(size[1]))
        self.encoder = resnet18(pretrained=pretrained)
        single = self.encoder.conv1.weight
        self.encoder.conv1 = nn.Conv2d(6, 64, 7, 2, padding=3, bias=False)
        with torch.no_grad():
            self.encoder.conv1.weight.copy_(torch.cat([single, single], dim=1) / 2)
        self.reduce = nn.Conv2d(512, CHANNELS, 1)
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
        features = F.relu(self.reduce(self.encoder((pair - 0.45) / 0.225)))
        features = F.relu(self.conv2(F.relu(self.conv1(features))))
        # Six small numbers: bfloat16's three digits would make the speed jump.
        with torch.autocast(features.device.type, enabled=False):
            bias = self.conv3.bias
            assert bias is not None  # noqa: S101  # for the type checker
            output = F.conv2d(features.float(), self.conv3.weight.float(), bias.float())
            pose = OUTPUT_SCALE * output.mean(dim=(2, 3))
        return PoseEstimate(pose[:, :3], pose[:, 3:])
