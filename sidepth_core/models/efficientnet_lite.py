"""EfficientNet-Lite 0 to 2 as encoders: EfficientNet without squeeze-and-excitation, with ReLU6 for SiLU.

Source: Tan & Le, arXiv 1905.11946; the Lite variants are from the TensorFlow authors' release. Tensors carry the names
that timm gives them in `tf_efficientnet_lite0` (1, 2) with `features_only=True`, and the maps are equal to timm's. This
is a file of ours because the shipped checkpoints run on it: importing timm costs more than all else a node needs.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sidepth_core.models.recompute import run_block

STEM_WIDTH = 32
"""Channels of the first convolution, in every variant."""

STAGES = (
    # blocks, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""The stages of EfficientNet-B0, which the variants widen and deepen."""

TAPPED = (0, 1, 2, 4, 6)
"""Stages whose outputs are the maps at strides 2, 4, 8, 16 and 32."""

SCALING = {
    'tf_efficientnet_lite0': (1.0, 1.0),
    'tf_efficientnet_lite1': (1.0, 1.1),
    'tf_efficientnet_lite2': (1.1, 1.2),
}
"""Factors on channels and on blocks of each variant, by timm's names."""

BATCH_NORM_EPS = 1e-3


class SameConv2d(nn.Conv2d):
    """A convolution of stride 2 with TensorFlow's padding SAME: of an even size, one pixel more after than before.

    Convention: kernel 3 pads (0, 1), kernel 5 pads (1, 2): output pixel i is centred on input pixel 2 i + 1.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W), H and W even, to (B, C', H / 2, W / 2)."""
        after = self.kernel_size[0] // 2
        if torch.is_grad_enabled():  # gradients of even kernels are several times slower than those of odd ones
            before = after - 1
            features = F.pad(features, (before, after, before, after))
            return F.conv2d(features, self.weight, self.bias, self.stride, 0, 1, self.groups)
        # A row and a column of zeros before the kernel make the padding even on both sides: the image, thousands of
        # times larger, need not be copied into a padded one.
        kernel = F.pad(self.weight, (1, 0, 1, 0))
        return F.conv2d(features, kernel, self.bias, self.stride, after, 1, self.groups)


def convolution(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Return a convolution without bias, padded so that its output has the input's size divided by the stride."""
    if stride == 2:
        return SameConv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)


def depthwise(convolve: nn.Conv2d, features: Tensor) -> Tensor:
    """Return features convolved channel by channel: in float32 where a CPU has no fast gradients in bfloat16."""
    fast = convolve.kernel_size == (3, 3) and convolve.stride == (1, 1)
    if fast or not (features.is_cpu and torch.is_grad_enabled() and torch.is_autocast_enabled('cpu')):
        return convolve(features)  # type: ignore[no-any-return]  # what torch says of every module
    with torch.autocast('cpu', enabled=False):
        return convolve(features.float())  # type: ignore[no-any-return]


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Return a batch norm with the constant that the published weights were trained with."""
    return nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS)


class DepthwiseSeparable(nn.Module):
    """The first block: each channel convolved on its own, then mixed."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv_dw = convolution(inputs, inputs, kernel, groups=inputs)
        self.bn1 = batch_norm(inputs)
        self.conv_pw = convolution(inputs, outputs)
        self.bn2 = batch_norm(outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W)."""
        inner = F.relu6(self.bn1(depthwise(self.conv_dw, features)), inplace=True)
        result: Tensor = self.bn2(self.conv_pw(inner))
        return result


class InvertedResidual(nn.Module):
    """Widen, convolve each channel on its own, narrow; and the input added where shapes agree."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.adds = stride == 1 and inputs == outputs
        self.conv_pw = convolution(inputs, inner)
        self.bn1 = batch_norm(inner)
        self.conv_dw = convolution(inner, inner, kernel, stride, groups=inner)
        self.bn2 = batch_norm(inner)
        self.conv_pwl = convolution(inner, outputs)
        self.bn3 = batch_norm(outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        inner = F.relu6(self.bn1(self.conv_pw(features)), inplace=True)
        inner = F.relu6(self.bn2(depthwise(self.conv_dw, inner)), inplace=True)
        change: Tensor = self.bn3(self.conv_pwl(inner))
        return change + features if self.adds else change


class EfficientNetLite(nn.Module):
    """The stages of an EfficientNet-Lite, without the last 1x1 convolution and the classifier.

    Attributes:
        channels: Channels of the five maps it returns.
        recompute: Whether training computes blocks again instead of keeping them (see run_block).
    """

    def __init__(self, variant: str = 'tf_efficientnet_lite0') -> None:
        """Make the network with random weights.

        Args:
            variant: One of SCALING.
        """
        super().__init__()
        widen, deepen = SCALING[variant]
        self.recompute = False
        self.conv_stem = convolution(3, STEM_WIDTH, 3, 2)
        self.bn1 = batch_norm(STEM_WIDTH)
        stages: list[nn.Module] = []
        outputs, inputs = [], STEM_WIDTH
        for index, (blocks, kernel, stride, expansion, base) in enumerate(STAGES):
            channels = divisible_by_8(base * widen)
            if 0 < index < len(STAGES) - 1:  # the first and the last stage keep their depth
                blocks = math.ceil(blocks * deepen)  # noqa: PLW2901
            stages.append(stage(blocks, inputs, channels, kernel, stride, expansion))
            outputs.append(channels)
            inputs = channels
        self.blocks = nn.ModuleList(stages)
        self.channels = tuple(outputs[index] for index in TAPPED)
        initialize(self)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return five maps of an image.

        Args:
            image: (B, 3, H, W) in 0..1, H and W divisible by 32.

        Returns:
            Maps (B, C, H/s, W/s) with the channels C of `channels` at strides s = 2, 4, 8, 16, 32.
        """
        features = F.relu6(self.bn1(self.conv_stem(2 * image - 1)), inplace=True)
        maps = []
        for index, blocks in enumerate(self.blocks):
            features = run_block(blocks, features, recompute=self.recompute)
            if index in TAPPED:
                maps.append(features)
        return tuple(maps)


def stage(blocks: int, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> nn.Sequential:
    """Return the blocks of a stage, of which the first changes size and channels."""
    if expansion == 1:
        return nn.Sequential(DepthwiseSeparable(inputs, outputs, kernel))
    first = InvertedResidual(inputs, outputs, kernel, stride, expansion)
    return nn.Sequential(first, *(InvertedResidual(outputs, outputs, kernel, 1, expansion) for _ in range(blocks - 1)))


def divisible_by_8(channels: float) -> int:
    """Return the nearest multiple of 8 that is not smaller by more than a tenth."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


def initialize(network: nn.Module) -> None:
    """Give every convolution the initial weights of EfficientNet: variance 2 / fan-out, groups counted."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
            with torch.no_grad():
                module.weight.normal_(0.0, math.sqrt(2.0 / fan_out))
