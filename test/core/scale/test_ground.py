"""The height of the camera gives the scale where there is ground, and only there."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from sidepth_core.camera import Camera
from sidepth_core.data.synthetic import Drive
from sidepth_core.errors import ScaleError
from sidepth_core.scale import GroundMeter, Measurement, Mount, Refusal, mount_of
from sidepth_core.scale.ground import NO_GROUND_IN_VIEW, NO_PLANE, TILTED

CAMERA = Camera(256, 160, 190, 200, 125.0, 82.0)


def plane(height_m: float, mount: Mount, *, far: float = 60.0) -> Tensor:
    """Return the depth of flat ground below a camera, (1, h, w); `far` where there is sky."""
    u, v = np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height))
    rays = np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones(u.shape)], axis=-1)
    dips = rays @ np.array(mount.down)
    depth = np.where(dips > 0, height_m / np.maximum(dips, 1e-6), far)
    return torch.from_numpy(np.minimum(depth, far)[None].astype(np.float32))


def measured(depth: Tensor, mount: Mount) -> Measurement:
    """Return a measurement, which there must be."""
    found = GroundMeter()(depth, CAMERA, mount)
    assert isinstance(found, Measurement), found
    return found


def test_convention_mount_looks_down_by_pitch_and_leans_right_by_roll() -> None:
    assert mount_of(1.0).down == pytest.approx((0, 1, 0))
    assert mount_of(1.0, pitch_deg=30).down == pytest.approx((0, math.cos(math.pi / 6), 0.5))
    assert mount_of(1.0, roll_deg=90).down == pytest.approx((1, 0, 0))


@pytest.mark.parametrize(('pitch_deg', 'roll_deg'), [(0, 0), (12, 0), (-5, 4)])
def test_flat_ground_gives_the_ratio_of_heights(pitch_deg: float, roll_deg: float) -> None:
    mount = mount_of(1.65, pitch_deg, roll_deg)
    found = measured(plane(0.55, mount), mount)
    assert found.factor == pytest.approx(3.0, rel=0.01)
    assert math.hypot(found.std, found.bias) < 0.05


def test_ground_that_leans_against_the_mount_is_followed_and_costs_certainty() -> None:
    told, real = mount_of(1.0), mount_of(1.0, pitch_deg=2.0)
    found = measured(plane(1.0, real), told)
    assert found.factor == pytest.approx(1.0, rel=0.03)


def test_things_on_the_ground_do_not_raise_it() -> None:
    mount = mount_of(1.2)
    depth = plane(1.2, mount)
    depth[0, 95:140, 20:90] = 4.0  # a car
    depth[0, 90:, 215:] = 3.0  # a wall
    assert measured(depth, mount).factor == pytest.approx(1.0, rel=0.02)


def test_deviation_covers_the_error_of_bent_ground() -> None:
    rng = np.random.default_rng(3)
    mount = mount_of(1.0)
    inside = 0
    for _ in range(40):
        left, far = rng.normal(0, 0.1, 2)
        u = torch.linspace(-1, 1, CAMERA.width)[None, None, :]
        v = torch.linspace(-1, 1, CAMERA.height)[None, :, None]
        scale = float(rng.uniform(0.5, 2))
        depth = plane(1.0, mount) * torch.exp(left * u + far * v) * scale
        found = measured(depth, mount)
        # What is right for the ground in the middle of what is seen of it.
        error = math.log(found.factor * scale) + far * 0.5
        inside += abs(error) < 2 * math.hypot(found.std, found.bias)
    assert inside >= 36


def test_ground_that_the_network_bends_counts_by_its_middle_not_by_its_near_end() -> None:
    mount = mount_of(1.0)
    v = torch.linspace(-1, 1, CAMERA.height)[None, :, None]
    rough = torch.from_numpy(np.random.default_rng(0).normal(0, 0.08, (1, CAMERA.height, CAMERA.width)))
    found = measured((plane(1.0, mount) * torch.exp(0.4 * v + rough)).float(), mount)
    rows = v[0, 96:, 0]  # those that look down by more than 4 degrees
    assert found.factor == pytest.approx(math.exp(-0.4 * float(rows.median())), rel=0.1)


def test_ground_that_is_mostly_hidden_is_less_sure() -> None:
    mount = mount_of(1.2)
    depth = plane(1.2, mount)
    seen = measured(depth, mount)
    depth[0, 90:, :100] = 2.0
    assert measured(depth, mount).bias > seen.bias + 0.2


def test_rendered_ground_gives_metres() -> None:
    for scene in ('street', 'corridor'):
        drive = Drive(scene, 5)
        depth = drive.render(0, CAMERA).depth_m.reshape(1, CAMERA.height, CAMERA.width)
        mount = mount_of(drive.mount.height_m, math.degrees(drive.mount.pitch), math.degrees(drive.mount.roll))
        assert measured(depth * 0.5, mount).factor == pytest.approx(2.0, rel=0.03)


def test_wall_before_the_camera_is_no_ground() -> None:
    found = GroundMeter()(torch.full((1, 160, 256), 2.0), CAMERA, mount_of(1.0))
    assert isinstance(found, Refusal)
    assert found.reason in {NO_PLANE, TILTED}


def test_noise_is_no_ground() -> None:
    depth = torch.from_numpy(np.random.default_rng(0).uniform(1, 50, (1, 160, 256)).astype(np.float32))
    found = GroundMeter()(depth, CAMERA, mount_of(1.0))
    assert isinstance(found, Refusal)
    assert found.reason == NO_PLANE


def test_camera_that_looks_up_sees_no_ground() -> None:
    found = GroundMeter()(torch.ones(1, 160, 256), CAMERA, mount_of(1.0, pitch_deg=-40))
    assert isinstance(found, Refusal)
    assert found.reason == NO_GROUND_IN_VIEW


@pytest.mark.parametrize('value', [math.nan, math.inf, 0.0])
def test_depth_that_is_not_known_is_no_ground(value: float) -> None:
    found = GroundMeter()(torch.full((1, 160, 256), value), CAMERA, mount_of(1.0))
    assert isinstance(found, Refusal)
    assert found.reason == NO_GROUND_IN_VIEW


@pytest.mark.parametrize('height_m', [0.0, -1.65, math.nan, math.inf])
def test_height_must_be_above_the_ground(height_m: float) -> None:
    with pytest.raises(ScaleError, match=r'camera_height is .* above 0'):
        mount_of(height_m)


def test_camera_that_looks_straight_down_has_no_horizon_to_rely_on() -> None:
    with pytest.raises(ScaleError, match='camera_pitch is 90'):
        mount_of(1.0, pitch_deg=90)
