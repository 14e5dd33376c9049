"""From images to gated depth maps: one network pass for all cameras, everything on the device, no ROS.

Order: upload bytes, rectify, network, confidence, stabiliser, scale, gates, resize. Masks that look at neighbours
(edge, sky) work at the network's resolution, where a depth edge is a few pixels wide.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sidepth_core.camera import Camera
from sidepth_core.data.frames import Image
from sidepth_core.depth_maps import rays, resize_depth
from sidepth_core.gates import border_mask, consistency, edge_mask, gate_range, sky_mask
from sidepth_core.gates import replace as replace_where
from sidepth_core.rectify import fold_radius, rectification_grid, rectification_maps
from sidepth_core.scale import MeterSettings, Moment, Scale, ScaleMeter, Surroundings
from sidepth_core.stabiliser import Stabiliser
from sidepth_ros.messages import Calibration
from sidepth_ros.node.model import Model, Sight
from sidepth_ros.node.parameters import Settings

ZOOM_BORDER = 1 / 8
"""What the zoom check cuts off each side: the network sees the middle three quarters enlarged."""


FAR_END = 0.9
"""From this share of the largest depth that the weights can say, it means no more than far."""


class View(NamedTuple):
    """One camera's image, ready for the network.

    Attributes:
        name: Of the camera.
        image: RGB, (H, W, 3) uint8.
        calibration: Its camera, and the rectified one.
        stamp_ns: Time of exposure.
        wants_confidence: Whether somebody wants the confidence.
        stride: Every how many pixels of the depth map somebody wants, across and down.
        surroundings: What else is known of its scale; None where that is not measured.
        room: Gives the main memory, (h, w) float32, that the map of this height and width is to lie in where it is made
            on a CPU; what was there is no longer needed.
    """

    name: str
    image: Image
    calibration: Calibration
    stamp_ns: int
    wants_confidence: bool = False
    stride: int = 1
    surroundings: Surroundings | None = None
    room: Callable[[int, int], Tensor] = torch.empty


class Estimate(NamedTuple):
    """What became of a view; tensors are on the device.

    Attributes:
        depth: Gated depth along Z, (H, W) float32, or every stride-th pixel of it; metres where scale.metric.
        camera: Rectified camera of the whole map.
        image: The rectified image at the input's size, (3, H', W') uint8.
        seen: The same at the network's size, (3, h, w), as Sight has it.
        confidence: As depth, float32 in 0..1, NaN where not known; None where nobody asked.
        scale: Where the unit comes from.
        stride: Every how many pixels of the map, across and down, depth and confidence have.
    """

    depth: Tensor
    camera: Camera
    image: Tensor
    seen: Tensor
    confidence: Tensor | None
    scale: Scale
    stride: int = 1


class _Maps(NamedTuple):
    """What rectification needs on the device."""

    grid: Tensor
    outside: Tensor


class Processor:
    """The state between frames: rectification maps per calibration, a stabiliser per camera.

    Attributes:
        network_s: How long the network worked on the last batch, seconds.
    """

    def __init__(self) -> None:
        self.network_s = 0.0
        self._maps: dict[tuple[str, str], tuple[Calibration, _Maps]] = {}
        self._stabilisers: dict[str, Stabiliser] = {}
        self._meters: dict[str, ScaleMeter] = {}

    def twin(self) -> Processor:
        """Return another one that knows the scales that this one has measured, and nothing else of its past."""
        other = Processor()
        for name, meter in self._meters.items():
            other.meter_of(name, meter.settings).restore(meter.states())
        return other

    def meter(self, name: str) -> ScaleMeter | None:
        """Return what measures a camera's scale; None where that is not measured."""
        return self._meters.get(name)

    def meter_of(self, name: str, settings: MeterSettings) -> ScaleMeter:
        """Return what measures a camera's scale in that way; what was learned before in another way goes along."""
        known = self._meters.get(name)
        if known is None or known.settings != settings:
            self._meters[name] = ScaleMeter(settings)
            if known is not None:
                self._meters[name].restore(known.states(), known.refused())
        return self._meters[name]

    def forget_scales(self) -> None:
        """Forget all that was measured of scales: what they were measured by has changed."""
        self._meters.clear()

    def reset(self, name: str) -> None:
        """Forget what was learned from a camera's past: time jumped, or its lens changed."""
        self._stabilisers.pop(name, None)
        if name in self._meters:
            self._meters[name].reset()

    @torch.inference_mode()
    def __call__(self, views: Sequence[View], model: Model, settings: Settings) -> list[Estimate]:
        """Return an estimate for each view; all go through the network together."""
        images = [self._rectified(view, model.device) for view in views]
        focal_px = [_focal_px(view.calibration.target) for view in views]
        size = model.network_size(images)
        # Shrunk once: network, stabiliser and cloud look at the same small image.
        sight = model.sight(images, focal_px, size)
        depth, self.network_s = _timed(model, sight)
        confidence: dict[int, Tensor] = {}
        if settings.confidence != 'none':
            asked = [i for i, view in enumerate(views) if settings.confidence_gate or view.wants_confidence]
            if asked:
                if settings.confidence == 'flip':
                    second = sight.some(asked).mirrored()
                else:
                    second = model.sight([_middle(images[i]) for i in asked], [focal_px[i] for i in asked], size)
                again, seconds = _timed(model, second)
                self.network_s += seconds
                found = _confidence(settings.confidence, depth[asked], again)
                confidence = {i: found[place : place + 1] for place, i in enumerate(asked)}
        return [
            self._finish(view, images[i], sight.some([i]), depth[i : i + 1], confidence.get(i), model, settings)
            for i, view in enumerate(views)
        ]

    def _rectified(self, view: View, device: torch.device) -> Tensor:
        """Return the rectified image, (1, 3, H, W) uint8 on the device: bytes travel, not floats."""
        source, target, rotation = view.calibration
        image = view.image
        if device.type == 'cpu' and not view.calibration.is_identity:
            maps = rectification_maps(source, target, rotation)
            image = np.asarray(cv2.remap(image, maps.x, maps.y, cv2.INTER_LINEAR), np.uint8)
        pixels = torch.from_numpy(image).to(device).permute(2, 0, 1)[None]
        if device.type != 'cpu' and not view.calibration.is_identity:
            pixels = rectified(pixels, self._rectification(view, device).grid)
        return pixels

    def _rectification(self, view: View, device: torch.device) -> _Maps:
        key = (view.name, str(device))
        known = self._maps.get(key)
        if known is None or known[0] != view.calibration:
            source, target, rotation = view.calibration
            grid = torch.from_numpy(rectification_grid(source, target, rotation))
            outside = (grid.abs() > 1).any(-1)
            # Beyond the fold of its polynomial a lens model puts pixels where no light went.
            directions = rays(target) @ torch.tensor(rotation).view(3, 3)  # of the lens' frame: R^T times the ray
            outside |= directions[..., :2].norm(dim=-1) > fold_radius(source) * directions[..., 2]
            known = (view.calibration, _Maps(grid.to(device), outside.to(device)))
            self._maps[key] = known
        return known[1]

    def _finish(
        self,
        view: View,
        image: Tensor,
        sight: Sight,
        depth: Tensor,
        confidence: Tensor | None,
        model: Model,
        settings: Settings,
    ) -> Estimate:
        """Turn the network's map of one view, (1, 1, h, w), into what is published."""
        if settings.stabilise:
            stabiliser = self._stabilisers.setdefault(view.name, Stabiliser())
            depth = stabiliser(depth, sight.images, view.stamp_ns, settings.stabilise_time)
        else:
            self._stabilisers.pop(view.name, None)
        target = view.calibration.target
        scale = self._scale(view, image, depth[0], model)
        if not scale.metric and scale.source:
            # Not measured yet: gates that count in metres would compare them with depth that has none.
            settings = replace(settings, range_gate=False, sky_gate=False)
        depth = scale.apply(depth)
        sky = None
        if settings.sky_gate:
            # What the weights put farthest is sky too, for a camera whose metres end before sky_depth does.
            farthest = FAR_END * scale.factor * model.farthest(sight)
            sky = sky_mask(depth, farthest.clamp(max=settings.sky_depth))
        width, height = _output_size(target, depth, settings)
        if confidence is not None:
            confidence = F.interpolate(confidence, size=(height, width), mode='bilinear', align_corners=False)
            confidence = confidence[0, 0, :: view.stride, :: view.stride]
        return Estimate(
            self._gated(view, depth, (height, width), sky, confidence, settings),
            target.resized(width, height),
            image[0],
            sight.images[0],
            confidence,
            scale,
            view.stride,
        )

    def _scale(self, view: View, image: Tensor, depth: Tensor, model: Model) -> Scale:
        """Return the scale of a view's map, (1, h, w), measuring it where that was asked for."""
        target, source = view.calibration.target, model.scale_source
        if not isinstance(source, MeterSettings):
            self._meters.pop(view.name, None)
            return source(depth, target, view.stamp_ns)
        meter = self.meter_of(view.name, source)
        if view.surroundings is None:
            return meter.scale(view.stamp_ns)
        camera = target.resized(int(depth.shape[-1]), int(depth.shape[-2]))

        def look() -> tuple[Image, Camera]:
            return image[0].permute(1, 2, 0).cpu().numpy(), target

        return meter(Moment(depth, camera, view.stamp_ns, look), view.surroundings)

    def _gated(
        self,
        view: View,
        coarse: Tensor,
        size: tuple[int, int],
        sky: Tensor | None,
        confidence: Tensor | None,
        settings: Settings,
    ) -> Tensor:
        """Return every stride-th pixel of a map (1, 1, h, w) at a size, with the gates applied that are on.

        Later ones win, so that +inf never hides a pixel that was not measured.
        """
        thinned = (slice(None, None, view.stride),) * 2
        # Gates write into the map: it must not be the stabiliser's, nor a meter's.
        full = resize_depth(coarse, *size, out=view.room(*size) if coarse.device.type == 'cpu' else None)
        gated = (full.clone() if full is coarse else full)[0, 0][thinned].contiguous()
        if settings.range_gate:
            gate_range(gated, settings.min_depth, settings.max_depth)
        if sky is not None:
            replace_where(gated, stretched(sky, *size)[0, 0][thinned], float(settings.sky_value))
        if settings.edge_gate:
            edges = edge_mask(coarse, settings.edge_step)
            replace_where(gated, stretched(edges, *size)[0, 0][thinned], math.nan)
        if settings.border_gate:
            border = border_mask(*size, settings.border_width, device=gated.device)
            replace_where(gated, border[thinned], math.nan)
        if settings.confidence_gate and confidence is not None:
            replace_where(gated, confidence < settings.min_confidence, math.nan)
        if not view.calibration.is_identity:
            outside = self._rectification(view, gated.device).outside
            replace_where(gated, stretched(outside[None, None], *size)[0, 0][thinned], math.nan)
        return gated


def _timed(model: Model, sight: Sight) -> tuple[Tensor, float]:
    """Return the depth of images, and how long the network took for it, seconds."""
    start = time.perf_counter()
    depth = model.depth(sight)
    if model.device.type == 'cuda':
        torch.cuda.synchronize(model.device)
    return depth, time.perf_counter() - start


def _focal_px(camera: Camera) -> float:
    return math.sqrt(camera.fx * camera.fy)


def rectified(pixels: Tensor, grid: Tensor) -> Tensor:
    """Return an image (1, 3, H, W) uint8 sampled on a grid, on its device; black where the lens saw nothing."""
    straight = F.grid_sample(pixels.float(), grid[None], mode='bilinear', padding_mode='zeros', align_corners=False)
    return straight.round().to(torch.uint8)


def _confidence(kind: str, depth: Tensor, again: Tensor) -> Tensor:
    """Return how well a second look agrees with depth, both (B, 1, h, w): of the mirrored image, or of its middle.

    It judges depth and never changes it: what is published must not depend on who subscribes to what else.
    """
    if kind == 'flip':
        return consistency(depth, again.flip(-1))
    height, width = depth.shape[-2:]
    top, left = round(height * ZOOM_BORDER), round(width * ZOOM_BORDER)
    inner = resize_depth(again, height - 2 * top, width - 2 * left)
    confidence = torch.full_like(depth, math.nan)
    confidence[..., top : height - top, left : width - left] = consistency(
        depth[..., top : height - top, left : width - left], inner
    )
    return confidence


def _middle(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    top, left = round(height * ZOOM_BORDER), round(width * ZOOM_BORDER)
    return image[..., top : height - top, left : width - left]


def _output_size(target: Camera, depth: Tensor, settings: Settings) -> tuple[int, int]:
    if settings.output_size == 'network':
        return int(depth.shape[-1]), int(depth.shape[-2])
    divisor = settings.output_stride if settings.output_size == 'stride' else 1
    return max(1, target.width // divisor), max(1, target.height // divisor)


def stretched(mask: Tensor, height: int, width: int) -> Tensor:
    """Return a mask (1, 1, h, w) at another size: a pixel of it covers all that lie in it."""
    if mask.shape[-2:] == (height, width):
        return mask
    for dim, size in ((-1, width), (-2, height)):
        middles = 2 * torch.arange(size, device=mask.device) + 1
        mask = mask.index_select(dim, middles * mask.shape[dim] // (2 * size))
    return mask
