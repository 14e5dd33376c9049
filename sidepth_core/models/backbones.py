"""The encoders to choose from: each turns an image into five maps at strides 2, 4, 8, 16 and 32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sidepth_core.errors import ConfigError
from sidepth_core.models.efficientnet_lite import SCALING, EfficientNetLite
from sidepth_core.models.hrnet import HRNet
from sidepth_core.models.mobilenet import mobilenet_v3_large
from sidepth_core.models.pretrained import load_weights
from sidepth_core.models.recompute import run_block
from sidepth_core.models.residual import ResNet18
from sidepth_core.models.state_dicts import check_tensors, shapes_of

BACKBONES = ('hrnet18', 'resnet18', *SCALING, 'mobilenet_v3_large')
"""Names that DepthNet takes, from the most accurate to the fastest."""

HRNET_IMAGENET = ('timm/hrnet_w18.ms_aug_in1k', 'model.safetensors')
"""Where ImageNet weights of HRNet-W18 lie on the Hugging Face Hub: repository, file."""

HUB_FILE = 'model.safetensors'
"""What a repository of timm's on the Hub calls its weights."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


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


def make_encoder(backbone: str, *, pretrained: bool = False) -> nn.Module:
    """Return the encoder of that name, which is an `Encoder`.

    Args:
        backbone: One of BACKBONES.
        pretrained: Start from ImageNet weights, downloaded once and cached by torchvision or the Hub.

    Raises:
        ConfigError: If there is no such backbone.
        CheckpointError: If the downloaded weights are of another network.
    """
    if backbone == 'hrnet18':
        return _pretrained_hrnet() if pretrained else HRNet()
    if backbone in SCALING:
        encoder = EfficientNetLite(backbone)
        if pretrained:
            load_weights(encoder, _downloaded(f'timm/{backbone}.in1k', HUB_FILE))
        return encoder
    if backbone == 'resnet18':
        return ResNetEncoder(pretrained=pretrained)
    if backbone == 'mobilenet_v3_large':
        return MobileNetEncoder(pretrained=pretrained)
    raise ConfigError(f'backbone {backbone!r} is not known: choose one of {", ".join(BACKBONES)}')


class ImageNetNormalization(nn.Module):
    """Bring an image in 0..1 to the mean and spread that torchvision's encoders were trained with."""

    def forward(self, image: Tensor) -> Tensor:
        """Return (B, 3, H, W) with zero mean and unit spread over ImageNet."""
        return (image - _by_channel(IMAGENET_MEAN, image)) / _by_channel(IMAGENET_STD, image)


def _by_channel(values: Sequence[float], image: Tensor) -> Tensor:
    # Filled on the device: a CUDA graph cannot record a copy from main memory.
    return torch.stack([image.new_full((1, 1), value) for value in values])


class ResNetEncoder(nn.Module):
    """ResNet-18 without its pooling and classifier (He et al., arXiv 1512.03385)."""

    channels = (64, 64, 128, 256, 512)
    recompute = False

    def __init__(self, *, pretrained: bool = False) -> None:
        super().__init__()
        network = resnet18(pretrained=pretrained)
        self.normalize = ImageNetNormalization()
        self.stem = nn.Sequential(network.conv1, network.bn1, network.relu)
        self.stages = nn.ModuleList(
            [nn.Sequential(network.maxpool, network.layer1), network.layer2, network.layer3, network.layer4]
        )

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Map an image (B, 3, H, W) in 0..1 to five maps (see Encoder)."""
        maps = [self.stem(self.normalize(image))]
        for stage in self.stages:
            maps.append(run_block(stage, maps[-1], recompute=self.recompute))
        return tuple(maps)


class MobileNetEncoder(nn.Module):
    """MobileNetV3-Large without its last 1x1 convolution and classifier (Howard et al., arXiv 1905.02244)."""

    channels = (16, 24, 40, 112, 160)
    recompute = False
    _ENDS = (2, 4, 7, 13, 16)  # the last block at each stride, and the end of what is kept

    def __init__(self, *, pretrained: bool = False) -> None:
        super().__init__()
        blocks = mobilenet_v3_large()
        if pretrained:
            weights = _from_torchvision('MobileNet_V3_Large_Weights.IMAGENET1K_V2')
            found = {name.removeprefix('features.'): tensor for name, tensor in weights.items()}
            blocks.load_state_dict({name: found[name] for name in blocks.state_dict()})
        self.normalize = ImageNetNormalization()
        starts = (0, *self._ENDS[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(*blocks[start:end]) for start, end in zip(starts, self._ENDS, strict=True)
        )

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Map an image (B, 3, H, W) in 0..1 to five maps (see Encoder)."""
        features: Tensor = self.normalize(image)
        maps = []
        for stage in self.stages:
            features = run_block(stage, features, recompute=self.recompute)
            maps.append(features)
        return tuple(maps)


def resnet18(*, pretrained: bool = False) -> ResNet18:
    """Return the trunk of ResNet-18, from ImageNet weights if asked for; the classifier's own layers are left out."""
    network = ResNet18()
    if pretrained:
        weights = _from_torchvision('ResNet18_Weights.IMAGENET1K_V1')
        network.load_state_dict({name: weights[name] for name in network.state_dict()})
    return network


def _from_torchvision(name: str) -> Mapping[str, Tensor]:
    """Return published weights, downloaded once."""
    from torchvision.models import get_weight  # noqa: PLC0415 - seconds to import, and few need it

    weights: Mapping[str, Tensor] = get_weight(name).get_state_dict(check_hash=True)
    return weights


def _pretrained_hrnet() -> HRNet:
    """Return HRNet-W18 with ImageNet weights; the classifier's own layers in the file are left out."""
    encoder = HRNet()
    path = _downloaded(*HRNET_IMAGENET)
    expected = shapes_of(encoder)
    found = {name: tensor for name, tensor in load_file(path).items() if name in expected}
    check_tensors(f'ImageNet weights in {path!r}', found, expected)
    encoder.load_state_dict(found)
    return encoder


def _downloaded(repository: str, file: str) -> str:
    """Return the path of a file of the Hugging Face Hub, downloaded once."""
    from huggingface_hub import hf_hub_download  # noqa: PLC0415 - as above

    path: str = hf_hub_download(repository, file)
    return path
