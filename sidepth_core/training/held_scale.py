"""Metres that nobody measured: those of the starting weights, as they say them of a run's own clips."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from sidepth_core.augment import AugmentedBatch, AugmentSettings, augment
from sidepth_core.checkpoint import CheckpointInfo
from sidepth_core.data.clips import Batch, collate, middle_only
from sidepth_core.losses import log_scale
from sidepth_core.training.networks import Networks, autocast
from sidepth_core.training.split import Source
from sidepth_core.zoom import Size, full_to_zoomed

CLIPS = 8
ZOOMS = 4
"""Zoomed views of each clip. One view says metres that are off with its field of view, on a street by a quarter from
one end of the zooms to the other: the mean over many is better than the answer to any."""


class HeldScale:
    """What the starting weights say of some clips, and how the depth of other networks lies beside it.

    Args:
        start: Networks with the starting weights.
        batch: The clips, their middle frames alone, on the networks' device.
        size: Height and width of what networks see, pixels.
        augment_as: How the run crops images; the zooms are drawn here.
        precision: What the networks run in.
    """

    def __init__(
        self, start: Networks, batch: Batch, size: Size, augment_as: AugmentSettings, precision: str
    ) -> None:
        zooms = replace(
            augment_as, zoom_probability=1, zoom_centre='anywhere', zoom_isotropic=True, flip_probability=0,
            jitter_probability=0,
        )  # fmt: skip
        generator = torch.Generator().manual_seed(0)
        self._precision = precision
        self._said: list[tuple[AugmentedBatch, Tensor, Tensor]] = []
        for _ in range(ZOOMS):
            view = augment(batch, zooms, generator, size)
            said_m = self._depth(start, view.depth_input, view.K_target)
            self._said.append((view, said_m, start.farthest(view.K_target)))

    def log_factor(self, networks: Networks) -> float:
        """Return ln of the factor between depth of whole images and what the starting weights say of their zooms.

        NaN where they see nothing but sky.
        """
        factors = []
        for view, said_m, farthest_m in self._said:
            whole_m = self._depth(networks, view.full_input, view.K_full)
            factors.append(log_scale(1 / full_to_zoomed(1 / whole_m, view.view), said_m, farthest_m))
        return float(torch.cat(factors).nanmean())

    def hold(self, networks: Networks, info: CheckpointInfo) -> CheckpointInfo:
        """Return the description of networks with the range of depth at which the factor is 1."""
        log_factor = self.log_factor(networks)
        factor = 1.0 if math.isnan(log_factor) else math.exp(-log_factor)
        return replace(info, min_depth_m=factor * info.min_depth_m, max_depth_m=factor * info.max_depth_m)

    @torch.no_grad()
    def _depth(self, networks: Networks, images: Tensor, K: Tensor) -> Tensor:
        with autocast(images.device, self._precision):
            disparity = networks.disparity(images)
        return networks.depth(disparity, K)


def unmeasured_clips(sources: list[Source]) -> Batch | None:
    """Return middle frames of training clips, evenly spread; None where a distance is known or no camera is."""
    train = [(source, index) for source in sources if source.camera_known for index in source.split.train]
    if not train or any(source.distance_share for source in sources):
        return None
    chosen = [train[number * len(train) // CLIPS] for number in range(CLIPS)]
    return middle_only(collate([source.clips[index] for source, index in chosen]))
