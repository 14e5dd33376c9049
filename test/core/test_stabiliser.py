"""The stabiliser takes out what the network makes up and keeps what the camera's motion changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sidepth_core.benchmarks.flicker import flicker_pairs, median_error
from sidepth_core.data.frames import DepthMap, Frame
from sidepth_core.data.synthetic import SyntheticSource
from sidepth_core.evaluation.flicker import mean_flicker
from sidepth_core.stabiliser import Stabiliser

PERIOD_NS = 100_000_000
IMAGE = torch.rand(1, 3, 24, 40, generator=torch.Generator().manual_seed(0))
DEPTH = 5 + 10 * torch.rand(1, 1, 12, 20, generator=torch.Generator().manual_seed(1))


def jitter(count: int, size: float) -> list[float]:
    """Return factors around 1 that jump from frame to frame."""
    noise = torch.randn(count, generator=torch.Generator().manual_seed(2)) * size
    return noise.exp().tolist()


def spread(maps: list[torch.Tensor]) -> float:
    """Return how much log depth changes from map to map, root mean square."""
    logs = torch.cat(maps).log()
    return float((logs[1:] - logs[:-1]).square().mean().sqrt())


def test_scale_jitter_of_a_still_scene_is_damped() -> None:
    stabiliser = Stabiliser()
    raw = [DEPTH * factor for factor in jitter(40, 0.05)]
    steady = [stabiliser(depth, IMAGE, index * PERIOD_NS, 0.5) for index, depth in enumerate(raw)]
    assert spread(steady[10:]) < 0.35 * spread(raw[10:])


def test_steady_approach_is_followed_without_lag() -> None:
    stabiliser = Stabiliser()
    raw = [DEPTH * 0.98**index for index in range(60)]
    steady = [stabiliser(depth, IMAGE, index * PERIOD_NS, 0.5) for index, depth in enumerate(raw)]
    error = (steady[-1] / raw[-1]).log().abs().max()
    # 2 % a frame over a time constant of five frames would lag by 10 % in a plain running mean.
    assert error < 0.02


def closing(speed_mps: float, hold: int = 0) -> list[float]:
    """Return distances at 10 Hz from four seconds away down to 0.45 m, the last one so many times more, metres."""
    count = round((max(5.0, 4 * speed_mps) - 0.45) / (speed_mps * 0.1))
    return [0.45 + speed_mps * 0.1 * (count - index) for index in range(count + 1)] + [0.45] * hold


def bias(stabiliser: Stabiliser, raw: list[torch.Tensor], truth: list[torch.Tensor]) -> torch.Tensor:
    """Return how much farther than the truth the stabilised maps are, a share, one map a row."""
    maps = [stabiliser(depth, IMAGE, (index + 1) * PERIOD_NS, 0.5) for index, depth in enumerate(raw)]
    return torch.stack([(found / true - 1).flatten() for found, true in zip(maps, truth, strict=True)])


@pytest.mark.parametrize('speed_mps', [0.5, 1.0, 1.5, 2.0, 3.0])
def test_a_wall_that_comes_nearer_at_constant_speed_is_not_put_too_far(speed_mps: float) -> None:
    raw = [DEPTH / DEPTH.min() * distance for distance in closing(speed_mps)]
    found = bias(Stabiliser(), raw, raw)
    assert found.max() < 0.03
    assert found.min() > -0.03
    assert abs(found.mean()) < 0.01


@pytest.mark.parametrize('speed_mps', [0.5, 1.0, 1.5, 2.0, 3.0])
def test_an_obstacle_that_comes_nearer_before_a_still_scene_is_not_put_too_far(speed_mps: float) -> None:
    raw = []
    for distance in closing(speed_mps):
        scene = DEPTH.clone()
        scene[..., 3:9, 5:15] = distance
        raw.append(scene)
    found = bias(Stabiliser(), raw, raw).view(-1, *DEPTH.shape[-2:])[:, 3:9, 5:15]
    assert found.max() < 0.05
    assert found.min() > -0.03
    assert abs(found.mean()) < 0.02


@pytest.mark.parametrize('speed_mps', [0.5, 1.0, 3.0])
def test_an_approach_is_followed_through_the_jitter_of_the_scale(speed_mps: float) -> None:
    truth = [DEPTH / DEPTH.min() * distance for distance in closing(speed_mps)]
    raw = [depth * factor for depth, factor in zip(truth, jitter(len(truth), 0.03), strict=True)]
    found = bias(Stabiliser(), raw, truth)
    assert abs(found.mean()) < 0.015
    assert found.max() < 0.06  # two standard deviations of what the network made up


def test_a_wall_before_which_the_camera_stops_stays_where_it_is() -> None:
    raw = [DEPTH / DEPTH.min() * distance for distance in closing(1.0, hold=15)]
    found = bias(Stabiliser(), raw, raw)[-15:]
    assert found.max() < 0.03
    assert found.min() > -0.15
    assert abs(found[-1]).max() < 0.1


def test_a_missed_image_does_not_change_the_speed_of_an_approach() -> None:
    stabiliser, distances = Stabiliser(), closing(1.0)
    for index in (index for index in range(len(distances)) if index % 3):
        depth = DEPTH / DEPTH.min() * distances[index]
        found = stabiliser(depth, IMAGE, (index + 1) * PERIOD_NS, 0.5)
        assert (found / depth).max() < 1.05


def test_pixels_whose_image_changed_are_not_smoothed() -> None:
    stabiliser = Stabiliser()
    stabiliser(DEPTH, IMAGE, 0, 0.5)
    moved = DEPTH.clone()
    moved[..., 10:] = 2.0
    image = IMAGE.clone()
    image[..., 20:] = 1 - image[..., 20:] / 3
    found = stabiliser(moved, image, PERIOD_NS, 0.5)
    torch.testing.assert_close(found[..., 12:], moved[..., 12:], rtol=0.05, atol=0)


def test_first_map_and_maps_after_a_jump_come_back_as_they_are() -> None:
    stabiliser = Stabiliser()
    assert stabiliser(DEPTH, IMAGE, 10 * PERIOD_NS, 0.5) is DEPTH
    for stamp in (5 * PERIOD_NS, 500 * PERIOD_NS):
        other = DEPTH * 1.5
        assert stabiliser(other, IMAGE, stamp, 0.5) is other


def test_bytes_and_floats_are_the_same_image() -> None:
    bytes_image = (IMAGE * 255).round().to(torch.uint8)
    results = []
    for image in (bytes_image, bytes_image.float() / 255):
        stabiliser = Stabiliser()
        stabiliser(DEPTH, image, 0, 0.5)
        results.append(stabiliser(DEPTH * 1.1, image, PERIOD_NS, 0.5))
    torch.testing.assert_close(*results)


def network_like(frame: Frame, index: int) -> torch.Tensor:
    """Return true depth with the errors of a network: the scale jumps, surfaces waver."""
    generator = torch.Generator().manual_seed(index)
    coarse = torch.randn(1, 1, 6, 12, generator=generator)
    waver = torch.nn.functional.interpolate(coarse, size=(48, 96), mode='bilinear')
    factor = (0.05 * torch.randn(1, generator=generator) + 0.05 * waver).exp()
    return torch.from_numpy(np.minimum(frame.depth_m, 100).astype(np.float32)) * factor


def test_flicker_of_a_synthetic_drive_falls_and_error_does_not_rise() -> None:
    frames = list(SyntheticSource('street', seed=5, frames=16, width=96, height=48))
    stabiliser = Stabiliser()
    raw: list[DepthMap] = []
    steady: list[DepthMap] = []
    for index, frame in enumerate(frames):
        depth, image = network_like(frame, index), torch.from_numpy(frame.image.copy()).permute(2, 0, 1)[None]
        raw.append(depth[0, 0].numpy())
        steady.append(stabiliser(depth, image, frame.stamp_ns, 0.5)[0, 0].numpy())
    before, after = (mean_flicker(flicker_pairs(frames, maps)[4:]).total for maps in (raw, steady))
    assert after < 0.5 * before
    assert median_error(frames, steady) < median_error(frames, raw)
