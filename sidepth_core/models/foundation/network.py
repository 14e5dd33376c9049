"""FoundationNet: a depth network of `transformers` that says disparity as ours does."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sidepth_core.errors import ImageFormatError
from sidepth_core.models.depth_network import DepthNetwork, Prediction
from sidepth_core.models.foundation.description import FoundationInfo
from sidepth_core.models.foundation.image_scale import ImageScale

ENCODERS = ('backbone', 'dpt', 'glpn', 'depth_pro')
"""What `transformers` calls the encoder of each kind of network."""
NEAREST_SAID_M = 1e-3
START_DISTANCE = 5.0
"""Depth that a relative model's nearest tenth starts at, in metres that it does not know yet."""
PROBE_SEED = 0
ALIASES = 1.5
"""Images shrunk by more than this are averaged, lest they lose what lies between the pixels that are looked at."""


class FoundationNet(DepthNetwork):
    """Depth from one image, by a network of `transformers`.

    Convention: whatever it says becomes inverse depth, 1 / depth = exp(log_scale) * said + shift, with said the output
    of a relative or field-of-view model, or 1 / output of a metric one. Scale and shift are learned in fine-tuning; a
    metric model starts with 1 and 0. An ImageScale, where there is one, changes them from image to image.

    Attributes:
        model: The network of `transformers`.
        foundation: What is known of it.
        log_scale: Logarithm of the scale, (1,).
        shift: Of inverse depth, (1,), 1/m.
        image_scale: What changes the two for each image; None where they are the same for all.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, model: nn.Module, foundation: FoundationInfo, depth_range: tuple[float, float]
    ) -> None:
        """Wrap a network.

        Args:
            model: With `predicted_depth` in its output, (B, H, W).
            foundation: What is known of it.
            depth_range: Depth of disparity 1 and of disparity 0.
        """
        super().__init__()
        self.model = model
        self.foundation = foundation
        self.backbone = foundation.family
        self.log_scale = nn.Parameter(torch.zeros(1))
        self.shift = nn.Parameter(torch.zeros(1))
        self.image_scale = ImageScale() if foundation.scale_per_image else None
        nearest, farthest = depth_range
        self._farthest_inverse, self._span = 1 / farthest, 1 / nearest - 1 / farthest
        self._recompute = False
        self.register_buffer('mean', torch.tensor(foundation.mean).view(1, 3, 1, 1))
        self.register_buffer('std', torch.tensor(foundation.std).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Prediction:
        """Predict disparity at the size of the image.

        Args:
            image: RGB, (B, 3, H, W) floating point in 0..1, any size; one that the model does not take is resized.

        Raises:
            ImageFormatError: If the tensor has another shape.
        """
        if image.ndim != 4 or image.shape[1] != 3:
            raise ImageFormatError(f'images have shape {tuple(image.shape)}: expected (B, 3, H, W)')
        inverse = torch.exp(self.log_scale.float()) * self.said(image)
        if self.image_scale is not None:
            factor, shift = self.image_scale(inverse)
            inverse = factor * inverse + shift
        inverse = inverse + self.shift.float()
        return Prediction(((inverse - self._farthest_inverse) / self._span).clamp(0, 1))

    def said(self, image: Tensor) -> Tensor:
        """Return inverse depth as the model itself says it, before scale and shift, (B, 1, H, W) float32."""
        height, width = (int(side) for side in image.shape[-2:])  # of a graph that is recorded they are tensors
        size = self._taken(height, width)
        if size != (height, width):
            shrinks = max(height / size[0], width / size[1]) > ALIASES  # ONNX cannot record the averaging then
            image = F.interpolate(image, size=size, mode='bilinear', align_corners=False, antialias=shrinks)
        output: Tensor = self.model(pixel_values=(image - self.mean) / self.std).predicted_depth
        output = output.float()[:, None]
        if self.foundation.convention == 'metric':
            output = 1 / output.clamp(min=NEAREST_SAID_M)
        if output.shape[-2:] != (height, width):
            output = F.interpolate(output, size=(height, width), mode='bilinear', align_corners=False)
        return output

    def _taken(self, height: int, width: int) -> tuple[int, int]:
        """Return the size nearest to an image's that the model takes."""
        if self.foundation.sizing == 'exact':
            return self.foundation.size
        multiple = self.foundation.multiple
        return max(1, round(height / multiple)) * multiple, max(1, round(width / multiple)) * multiple

    @torch.no_grad()
    def choose_scale(self) -> None:
        """Choose the scale with which a relative model's answer lies within the range of depth.

        The nearest tenth of a fixed image of noise comes to START_DISTANCE: no metres, only numbers to begin with.
        """
        generator = torch.Generator().manual_seed(PROBE_SEED)
        coarse = torch.rand(1, 3, 8, 8, generator=generator)
        image = F.interpolate(coarse, size=self._taken(*self.foundation.size), mode='bilinear', align_corners=False)
        near = float(self.said(image).quantile(0.9))
        self.log_scale.fill_(-math.log(START_DISTANCE * near) if near > 0 else 0.0)

    def scale_each_image(self) -> None:
        """Have scale and shift change from image to image from now on; at first nothing changes."""
        if self.image_scale is None:
            self.image_scale = ImageScale()
            self.foundation = replace(self.foundation, scale_per_image=True)

    @property
    def encoder(self) -> nn.Module:
        """The part that looks at the image."""
        parts = (getattr(self.model, name, None) for name in ENCODERS)
        return next(part for part in parts if isinstance(part, nn.Module))

    @property
    def encoder_parameters(self) -> list[nn.Parameter]:
        """The encoder's weights."""
        return list(self.encoder.parameters())

    @property
    def decoder_parameters(self) -> list[nn.Parameter]:
        """The weights of all else in the model, without scale and shift."""
        encoder = {id(parameter) for parameter in self.encoder.parameters()}
        return [parameter for parameter in self.model.parameters() if id(parameter) not in encoder]

    @property
    def scale_parameters(self) -> list[nn.Parameter]:
        """Scale and shift, and what changes them from image to image."""
        per_image = () if self.image_scale is None else self.image_scale.parameters()
        return [self.log_scale, self.shift, *per_image]

    @property
    def recompute(self) -> bool:
        """Whether training computes blocks again instead of keeping them."""
        return self._recompute

    @recompute.setter
    def recompute(self, wanted: bool) -> None:
        model: Any = self.model
        if wanted and getattr(model, 'supports_gradient_checkpointing', False):
            model.gradient_checkpointing_enable({'use_reentrant': False})
            self._recompute = True
        elif self._recompute:
            model.gradient_checkpointing_disable()
            self._recompute = False

    def stored_tensors(self) -> dict[str, Tensor]:
        """Return the tensors that a checkpoint stores: of a network with adapters these, scale and shift."""
        tensors: dict[str, Tensor] = self.state_dict()
        if not self.foundation.adapter_rank:
            return tensors
        return {name: tensor for name, tensor in tensors.items() if 'lora_' in name or not name.startswith('model.')}

    def keep_float32(self) -> None:
        """Bring scale and shift back to float32."""
        for parameter in self.scale_parameters:
            parameter.data = parameter.data.float()
