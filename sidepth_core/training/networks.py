"""The networks of a run: depth, pose, and the camera where it is learned too; and their running average."""

from __future__ import annotations

import copy
import logging
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sidepth_core.camera import Camera
from sidepth_core.checkpoint import (
    HUB,
    Checkpoint,
    CheckpointInfo,
    load_checkpoint,
    locate_checkpoint,
    make_depth_net,
    weights_digest,
)
from sidepth_core.errors import ConfigError
from sidepth_core.geometry import disparity_to_depth
from sidepth_core.inference import size_warning
from sidepth_core.models import DepthNet, DepthNetwork, PoseNet
from sidepth_core.models.foundation.adapters import add_adapters
from sidepth_core.models.foundation.network import FoundationNet
from sidepth_core.models.pretrained import describe_weights
from sidepth_core.training.settings import Recipe
from sidepth_core.zoom import Size, canonical_to_metric, focal_length

PRIOR_FIELD_OF_VIEW_DEG = 75.0
"""Horizontal field of view that a learned camera starts from; webcams and robot cameras have 55 to 95."""

logger = logging.getLogger(__name__)


class LearnedCamera(nn.Module):
    """One pinhole camera, learned along with depth (Gordon et al., Depth from Videos in the Wild, ICCV 2019).

    Attributes:
        offsets: log fx and log fy relative to the prior, and the principal point's shift as a share of the image.
        squeeze: Height over width of a pixel of the recording, once resized to the images that are learned from.
    """

    def __init__(self) -> None:
        super().__init__()
        self.offsets = nn.Parameter(torch.zeros(4))
        self.squeeze = 1.0

    def forward(self, size: Size) -> Tensor:
        """Return K for an image of height x width, (3, 3) float32, pixels.

        It starts with square pixels, as recorded, and the principal point in the middle.
        """
        height, width = size
        prior = 0.5 * width / torch.tan(torch.deg2rad(self.offsets.new_tensor(PRIOR_FIELD_OF_VIEW_DEG / 2)))
        focal = prior * self.offsets.new_tensor([1.0, self.squeeze]) * self.offsets[:2].exp()
        extent = self.offsets.new_tensor([width, height])
        principal = (0.5 + self.offsets[2:]) * extent - 0.5
        top = torch.cat([torch.diag(focal), principal[:, None]], dim=1)
        return torch.cat([top, top.new_tensor([[0.0, 0.0, 1.0]])])

    @torch.no_grad()
    def as_recorded(self, size: Size, recorded: Size) -> Camera:
        """Return the camera of the recording's images, of height x width `recorded`, learned from images of `size`."""
        K = self(size)
        fx, fy, cx, cy = (float(K[row, column]) for row, column in ((0, 0), (1, 1), (0, 2), (1, 2)))
        return Camera(size[1], size[0], fx, fy, cx, cy).resized(recorded[1], recorded[0])

    def fill(self, K: Tensor, size: Size) -> Tensor:
        """Return K (B, 3, 3) with this camera where a clip has none (NaN)."""
        unknown = K.isnan().any(dim=2).any(dim=1)[:, None, None]
        return torch.where(unknown, self(size), K.nan_to_num())


class Networks(nn.Module):
    """What is trained.

    Attributes:
        depth_net: Depth from one image.
        pose_net: Motion between two.
        camera: The learned camera of clips without intrinsics.
        info: What the networks are.
        knows_motion: Whether the pose network learned, or will: one that never does is not saved.
    """

    def __init__(
        self, depth_net: DepthNetwork, pose_net: PoseNet, info: CheckpointInfo, *, knows_motion: bool = True
    ) -> None:
        super().__init__()
        # Channels last: convolutions on tensor cores, on AMX and in oneDNN want it, and none is slower for it.
        self.depth_net = depth_net.to(memory_format=torch.channels_last)
        self.pose_net = pose_net.to(memory_format=torch.channels_last)
        self.camera = LearnedCamera()
        self.info = info
        self.knows_motion = knows_motion

    def disparity(self, image: Tensor) -> Tensor:
        """Return sigma (B, 1, H, W) float32 of images (B, 3, H, W)."""
        image = image.contiguous(memory_format=torch.channels_last)
        sigma: Tensor = self.depth_net(image).disparity
        return sigma.float()

    def depth(self, disparity: Tensor, K: Tensor) -> Tensor:
        """Return depth, metres once trained so, for sigma (B, 1, H, W) of images with intrinsics K (B, 3, 3).

        The images have the size that the networks are trained at, as K has.
        """
        depth_m = disparity_to_depth(disparity, self.info.min_depth_m, self.info.max_depth_m)
        if self.info.zoom_convention == 'field_of_view':
            return canonical_to_metric(depth_m, K[:, 0, 0], self.info.image_width)
        if self.info.focal_px is None:
            return depth_m
        return canonical_to_metric(depth_m, focal_length(K), self.info.focal_px)

    def farthest(self, K: Tensor) -> Tensor:
        """Return the largest depth that `depth` can say of images with intrinsics K (B, 3, 3), (B, 1, 1, 1)."""
        return self.depth(torch.zeros(len(K), 1, 1, 1, device=K.device), K)


def make_networks(recipe: Recipe) -> Networks:
    """Return fresh networks, or those of the starting checkpoint.

    Raises:
        CheckpointError: If the checkpoint cannot be read or has another backbone than the recipe asks for.
    """
    if not recipe.checkpoint:
        info = recipe.model.describe(None)
        size = (info.pose_height, info.pose_width)
        pretrained = str(recipe.model.pretrained)
        fresh = make_depth_net(info, pretrained)
        fresh.recompute = recipe.model.recompute
        pose_net = PoseNet(info.pose_backbone, pretrained='hub' if pretrained == 'hub' else 'none', size=size)
        source = describe_weights(pretrained, info.backbone, recipe.model.pretrained_licence)
        info = replace(info, pretrained=source)
        return Networks(fresh, pose_net, info, knows_motion=recipe.learns_motion)
    start = starting_checkpoint(recipe)
    info = recipe.model.describe(start.info)
    if warning := size_warning(start.info, (info.image_height, info.image_width)):
        logger.warning(warning)
    _check_convention(info, recipe)
    depth_net = _as_described(start.depth_net, info)
    info = _tuned(depth_net, info, recipe)
    depth_net.recompute = recipe.model.recompute
    kept = start.pose_net is not None and start.pose_net.backbone == info.pose_backbone
    pose_net = start.pose_net if start.pose_net is not None and kept else PoseNet(info.pose_backbone)
    pose_net.size = (info.pose_height, info.pose_width)
    return Networks(depth_net, pose_net, info, knows_motion=kept or recipe.learns_motion)


def _as_described(depth_net: DepthNetwork, info: CheckpointInfo) -> DepthNetwork:
    """Return a network as the info has it: the one of the start, or a fresh one, with its encoder where that fits."""
    if not isinstance(depth_net, DepthNet):
        return depth_net
    wanted, had = ((each.backbone, each.decoder_channels, each.attention) for each in (info, depth_net))
    if wanted == had:
        depth_net.smooth_attention = info.smooth_attention
        return depth_net
    fresh = make_depth_net(info)
    if info.backbone == depth_net.backbone:
        fresh.encoder = depth_net.encoder
    return fresh


def _check_convention(info: CheckpointInfo, recipe: Recipe) -> None:
    if info.zoom_convention == 'field_of_view' and recipe.augment.shapes:
        raise ConfigError(f'augment.shapes cannot be used with {info.backbone}, which sees images of one shape only')


def _tuned(depth_net: DepthNetwork, info: CheckpointInfo, recipe: Recipe) -> CheckpointInfo:
    """Let those weights learn that the recipe says, and return what the network is then."""
    if recipe.model.tune == 'decoder':
        for parameter in depth_net.encoder_parameters:
            parameter.requires_grad = False
    wants_adapters, scales_images = recipe.model.tune == 'adapters', recipe.model.learned_scale == 'image'
    if not isinstance(depth_net, FoundationNet):
        if wants_adapters or scales_images:
            what, instead = ('tune adapters', 'whole or decoder') if wants_adapters else ('learned_scale image', 'run')
            raise ConfigError(
                f'model.{what} is for networks of transformers, and {recipe.checkpoint!r} is one of ours: '
                f'choose {instead}'
            )
        return info
    if scales_images:
        depth_net.scale_each_image()
    if not wants_adapters:
        return replace(info, foundation=depth_net.foundation)
    place = recipe.checkpoint
    if not place.startswith(HUB):
        place = str(locate_checkpoint(place).resolve())
    add_adapters(depth_net, recipe.model.adapter_rank, place, weights_digest(place))
    return replace(info, foundation=depth_net.foundation)


def starting_checkpoint(recipe: Recipe) -> Checkpoint:
    """Return the checkpoint that a recipe starts from.

    Raises:
        CheckpointError: If it cannot be read.
    """
    return load_checkpoint(recipe.checkpoint)


def starting_networks(recipe: Recipe) -> Networks:
    """Return the networks of the checkpoint that a recipe starts from, with its own encoder and depth range.

    Raises:
        CheckpointError: If it cannot be read.
    """
    start = starting_checkpoint(recipe)
    networks = Networks(start.depth_net, start.pose_net or PoseNet(), start.info)
    return networks.requires_grad_(requires_grad=False).eval()


class Average(nn.Module):
    """Networks whose weights follow others' as an exponential moving average; they never get a gradient.

    torch's AveragedModel would need the same function of ours, since the decay rises with the step.

    Attributes:
        networks: The averaged networks, always in evaluation mode.
    """

    def __init__(self, networks: Networks, decay: float) -> None:
        super().__init__()
        self.decay = decay
        nets = copy.deepcopy((networks.depth_net, networks.pose_net))
        self.networks = Networks(*nets, networks.info, knows_motion=networks.knows_motion)
        self.networks.load_state_dict(networks.state_dict())
        self.networks.requires_grad_(requires_grad=False).eval()
        self._pairs: _Pairs | None = None

    def _apply(self, *args: Any, **kwargs: Any) -> Average:  # noqa: ANN401 - whatever torch moves tensors by
        """Move to another device, where tensors are others."""
        self._pairs = None
        super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]  # torch does not annotate it
        return self

    def train(self, mode: bool = True) -> Average:  # noqa: ARG002 - torch's own signature
        """Stay in evaluation mode, whatever the module around says."""
        return super().train(mode=False)

    @torch.no_grad()
    def follow(self, networks: Networks, step: int) -> None:
        """Move towards the networks; faster in the first steps, so that the random start is soon forgotten."""
        decay = min(self.decay, (1 + step) / (10 + step))
        if self._pairs is None or self._pairs.networks is not networks:
            self._pairs = _pairs(self.networks, networks)
        torch._foreach_lerp_(self._pairs.own, self._pairs.other, 1 - decay)
        for counter, counted in self._pairs.counters:
            counter.copy_(counted)


class _Pairs(NamedTuple):
    """The tensors of averaged networks and of those that they follow.

    Finding them anew for each step took 15 ms on a CPU, of networks with 2000 of them.
    """

    networks: Networks
    own: list[Tensor]
    other: list[Tensor]
    counters: list[tuple[Tensor, Tensor]]


def _pairs(average: Networks, networks: Networks) -> _Pairs:
    """Return the tensors of both, those that are averaged and those that are counters."""
    own, other = average.state_dict(), networks.state_dict()
    floating = [name for name, tensor in own.items() if tensor.is_floating_point()]
    counters = [(own[name], other[name]) for name in own.keys() - set(floating)]
    return _Pairs(networks, [own[name] for name in floating], [other[name] for name in floating], counters)


def native_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 in hardware."""
    if device.type == 'cuda':
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == 'cpu' and bool(torch.cpu._is_amx_tile_supported())  # noqa: SLF001 - torch has no public name for it


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """Return the context that networks run in: bfloat16 or float32, as a recipe's `precision` says."""
    enabled = precision == 'bf16' or (precision == 'auto' and native_bf16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)
