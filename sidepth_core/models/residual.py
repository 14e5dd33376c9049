"""Residual blocks and the trunk of ResNet-18 (He et al., arXiv 1512.03385).

Layers and their names are torchvision's, so that its weights load; torchvision itself is asked for those weights only:
importing it takes longer than everything else that a node needs.
"""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, and the input added to what they make of it."""

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut(inputs, width, stride) if stride != 1 or inputs != width else None

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, width, H / stride, W / stride)."""
        change = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(features)), inplace=True)))
        kept = features if self.downsample is None else self.downsample(features)
        return F.relu(change + kept, inplace=True)


class Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1 ones that narrow and widen, and the input added to what they make of it."""

    expansion = 4

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        wide = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, wide, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(wide)
        self.downsample = shortcut(inputs, wide, 1) if inputs != wide else None

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, 4 width, H, W)."""
        narrow = F.relu(self.bn1(self.conv1(features)), inplace=True)
        change = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(narrow)), inplace=True)))
        kept = features if self.downsample is None else self.downsample(features)
        return F.relu(change + kept, inplace=True)


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Return what brings a block's input to the shape of its output."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ResNet18(nn.Module):
    """ResNet-18 without its pooling and classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        self.layer1 = nn.Sequential(BasicBlock(64, 64), BasicBlock(64, 64))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, 2), BasicBlock(256, 256))
        self.layer4 = nn.Sequential(BasicBlock(256, 512, 2), BasicBlock(512, 512))
        initialize(self)

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (B, 3, H, W) to (B, 512, H/32, W/32)."""
        features = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        return cast('Tensor', self.layer4(self.layer3(self.layer2(self.layer1(features)))))


def initialize(network: nn.Module) -> None:
    """Give every convolution the initial weights that suit ReLU (He et al., arXiv 1502.01852)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
            if module.bias is not None:
                nn.init.zeros_(module.bias)
