"""The scale of a run is held at what the starting weights say of its clips, zoomed this way and that."""

from __future__ import annotations

import math
from typing import cast

import pytest
import torch
from torch.utils.data import Dataset

from sidepth_core.augment import AugmentSettings
from sidepth_core.data.clips import Batch, Clip, middle_only
from sidepth_core.geometry import depth_to_disparity, disparity_to_depth
from sidepth_core.training.held_scale import HeldScale, unmeasured_clips
from sidepth_core.training.networks import Networks, make_networks
from sidepth_core.training.settings import ModelSettings, Recipe
from sidepth_core.training.split import Source, Split

SIZE = (64, 96)
MODEL = ModelSettings(backbone='tf_efficientnet_lite0', width=96, height=64, pose_width=96, pose_height=64)


class Answering(Networks):
    """Networks that say one depth of dark images and another one of bright images."""

    def __init__(self, networks: Networks, dark_m: float, bright_m: float) -> None:
        super().__init__(networks.depth_net, networks.pose_net, networks.info)
        self._dark_m, self._bright_m = dark_m, bright_m

    def disparity(self, image: torch.Tensor) -> torch.Tensor:
        """Return the sigma of that depth; sky at the top."""
        is_bright = image.mean((1, 2, 3), keepdim=True) > 0.3
        depth_m = torch.where(is_bright, self._bright_m, self._dark_m).expand(-1, 1, *image.shape[-2:]).clone()
        depth_m[:, :, :10] = 99
        return depth_to_disparity(depth_m)


@pytest.fixture(scope='module')
def networks() -> Networks:
    return make_networks(Recipe(model=MODEL)).eval()


@pytest.fixture(scope='module')
def batch() -> Batch:
    """Return clips that are dark as a whole and bright where they are zoomed in."""
    images = torch.zeros(8, 3, 3, 80, 120, dtype=torch.uint8)
    images[..., 14:66, 21:99] = 160
    K = torch.tensor([[[96.0, 0, 60], [0, 96, 40], [0, 0, 1]]]).repeat(8, 1, 1)
    unknown, seen = torch.full((8, 2), math.nan), torch.zeros(8, 2, 4, 4)
    depth = torch.ones(8, 1, 80, 120)
    clips = Batch(images, K, unknown, unknown, depth, seen, torch.zeros(8, 2, 8, 3), depth, depth)
    return middle_only(clips)


def test_whole_images_get_the_scale_that_the_start_says_of_their_zooms(networks: Networks, batch: Batch) -> None:
    start = Answering(networks, dark_m=8.0, bright_m=12.0)
    held = HeldScale(start, batch, SIZE, AugmentSettings(), 'float32')
    between = held.log_factor(start)
    assert -math.log(12 / 8) < between < -0.1  # between the mean of both and what it says of whole images
    # One that says 4 m of everything has half of that scale, whatever it would say of zooms.
    assert held.log_factor(Answering(networks, 4.0, 1.0)) == pytest.approx(between - math.log(2), abs=1e-5)


def test_the_range_of_depth_is_what_is_corrected(networks: Networks, batch: Batch) -> None:
    start, tuned = Answering(networks, 8.0, 8.0), Answering(networks, 6.0, 6.0)
    held = HeldScale(start, batch, SIZE, AugmentSettings(), 'float32')
    info = held.hold(tuned, tuned.info)
    sigma = tuned.disparity(torch.zeros(1, 3, *SIZE))
    depth_m = disparity_to_depth(sigma, info.min_depth_m, info.max_depth_m)
    assert depth_m[0, 0, -1, 0].item() == pytest.approx(8, rel=1e-4)
    assert info.max_depth_m == pytest.approx(100 * 8 / 6, rel=1e-4)
    assert held.hold(start, start.info).max_depth_m == pytest.approx(100, rel=1e-5)


def test_a_start_that_sees_nothing_but_sky_holds_nothing(networks: Networks, batch: Batch) -> None:
    held = HeldScale(Answering(networks, 99.0, 99.0), batch, SIZE, AugmentSettings(), 'float32')
    assert held.hold(networks, networks.info) == networks.info


def source(*, distance_share: float = 0.0, camera_known: bool = True) -> Source:
    """Return a source of 81 clips whose images show their number, 80 of them to train on."""
    nothing, depth = torch.full((2,), math.nan), torch.ones(1, 8, 12)
    clips = [
        Clip(
            torch.full((3, 3, 8, 12), number, dtype=torch.uint8), torch.eye(3), nothing, nothing, depth,
            torch.ones(2, 4, 4), torch.ones(2, 8, 3), depth, depth,
        )
        for number in range(81)
    ]  # fmt: skip
    split = Split(train=list(range(80)), validation=[80], test=[])
    size = (8, 12)
    return Source('drive', 1.0, cast('Dataset[Clip]', clips), split, distance_share, 0.0, camera_known, size, size)


def test_clips_are_spread_over_the_training_part() -> None:
    batch = unmeasured_clips([source(), source()])
    assert batch is not None
    assert batch.images[:, 0, 0, 0, 0].tolist() == [0, 20, 40, 60, 0, 20, 40, 60]


def test_nothing_is_corrected_where_a_distance_is_known_or_no_camera_is() -> None:
    assert unmeasured_clips([source(), source(distance_share=0.4)]) is None
    assert unmeasured_clips([source(camera_known=False)]) is None
