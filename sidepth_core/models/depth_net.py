"""DepthNet: an image in, disparity out."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from torch import Tensor, nn

from sidepth_core.errors import ImageFormatError
from sidepth_core.models.backbones import make_encoder
from sidepth_core.models.depth_decoder import CHANNELS, DepthDecoder
from sidepth_core.models.depth_network import DepthNetwork, Prediction

STRIDE = 32
"""Height and width of an image must be divisible by this."""


class DepthNet(DepthNetwork):
    """Depth from one image: an encoder and the decoder of DaB-Net (arXiv 2210.03952).

    Attributes:
        backbone: Name of the encoder.
        decoder_channels: Channels of the decoder's maps at strides 1, 2, 4, 8 and 16.
        attention: Whether the decoder has dynamic cross-attention.
        smooth_attention: Whether what attention gathers is raised to the finest map bilinearly (see
            DynamicCrossAttention); the weights are the same.
    """

    def __init__(
        self,
        backbone: str = 'hrnet18',
        *,
        decoder_channels: Sequence[int] = CHANNELS,
        attention: bool = True,
        smooth_attention: bool = False,
        pretrained: str = 'none',
        recompute: bool = False,
    ) -> None:
        """Make the network.

        Args:
            backbone: As make_encoder takes it. 'hrnet18' is the published network.
            decoder_channels: Channels of the decoder's maps at strides 1, 2, 4, 8 and 16 (see DepthDecoder).
            attention: Whether the decoder has dynamic cross-attention; the published network has.
            smooth_attention: Whether what it gathers is raised bilinearly; not so in the published network.
            pretrained: What the encoder starts from: 'none', 'hub' or a file (see make_encoder).
            recompute: In training, compute blocks again for their gradient instead of keeping what they computed:
                about a third of the memory for a third more time.

        Raises:
            ConfigError: If there is no such backbone, or no such decoder.
            CheckpointError: If the weights cannot be had or are of another network.
        """
        super().__init__()
        self.backbone = backbone
        self.encoder = make_encoder(backbone, pretrained=pretrained)
        self.decoder_channels = tuple(decoder_channels)
        self.attention = attention
        channels: Sequence[int] = self.encoder.channels  # type: ignore[assignment]  # an Encoder has them
        self.decoder = DepthDecoder(channels, self.decoder_channels, attention=attention)
        self.smooth_attention = smooth_attention
        self.recompute = recompute

    @property
    def recompute(self) -> bool:
        """Whether training computes blocks again instead of keeping them."""
        return self.decoder.recompute

    @recompute.setter
    def recompute(self, wanted: bool) -> None:
        for part in (self.encoder, self.decoder):
            part.recompute = wanted  # type: ignore[assignment]  # an Encoder has it too

    @property
    def smooth_attention(self) -> bool:
        """Whether what attention gathers is raised bilinearly; False without attention."""
        return self.decoder.attention is not None and self.decoder.attention.smooth

    @smooth_attention.setter
    def smooth_attention(self, wanted: bool) -> None:
        if self.decoder.attention is not None:
            self.decoder.attention.smooth = wanted

    @property
    def encoder_parameters(self) -> list[nn.Parameter]:
        """The encoder's weights."""
        return list(self.encoder.parameters())

    @property
    def decoder_parameters(self) -> list[nn.Parameter]:
        """The decoder's weights."""
        return list(self.decoder.parameters())

    def keep_float32(self) -> None:
        """Bring attention back to float32 (see cross_attention)."""
        if self.decoder.attention is not None:
            self.decoder.attention.branches.float()

    def forward(self, image: Tensor) -> Prediction:
        """Predict disparity at the size of the image.

        Args:
            image: RGB, (B, 3, H, W) floating point in 0..1; H and W divisible by 32.

        Raises:
            ImageFormatError: If the tensor has another shape.
        """
        if image.ndim != 4 or image.shape[1] != 3:
            raise ImageFormatError(f'images have shape {tuple(image.shape)}: expected (B, 3, H, W)')
        height, width = image.shape[-2:]
        if height < STRIDE or width < STRIDE or height % STRIDE or width % STRIDE:
            raise ImageFormatError(
                f'images of {width}x{height} do not fit the network: width and height must be multiples of {STRIDE}, '
                f'the nearest is {nearest_multiple(width)}x{nearest_multiple(height)}'
            )
        return Prediction(self.decoder(self.encoder(image)))


def nearest_multiple(length: float, stride: int = STRIDE) -> int:
    """Return the multiple of a stride nearest to a length in pixels, at least the stride itself."""
    return max(stride, round(length / stride) * stride)


@functools.lru_cache(maxsize=256)
def size_of_shape(area: float, shape: float, stride: int = STRIDE) -> tuple[int, int]:
    """Return the height and width, multiples of a stride, that come nearest to an area and a width over height.

    Args:
        area: Pixels.
        shape: Width over height, which counts twice as much as the area.
        stride: What both sides are multiples of, pixels.
    """

    def distance(size: tuple[int, int]) -> float:
        height, width = size
        return abs(math.log(width / height / shape)) + abs(math.log(height * width / area)) / 2

    sides = range(stride, 64 * STRIDE, stride)
    return min(((height, width) for height in sides for width in sides), key=distance)
