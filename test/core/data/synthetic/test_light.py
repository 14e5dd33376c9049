"""The hours and the rain of the synthetic world."""

from __future__ import annotations

import math

import numpy as np
import torch

from sidepth_core.camera import Camera
from sidepth_core.data.synthetic import Drive
from sidepth_core.data.synthetic.ground import Ground, Place, water
from sidepth_core.data.synthetic.light import outdoors


def test_days_have_low_suns_dusk_and_rain() -> None:
    days = [outdoors(np.random.default_rng(seed)) for seed in range(400)]
    low = [light for light, _ in days if math.degrees(math.asin(light.sun[2])) < 18]
    dusk = [light for light, _ in days if max(light.direct) < 0.1]
    wet = [light for light, _ in days if light.wet]
    assert 0.06 < len(low) / len(days) < 0.22
    assert 0.07 < len(dusk) / len(days) < 0.18
    assert 0.1 < len(wet) / len(days) < 0.4
    assert min(math.degrees(math.asin(light.sun[2])) for light in low) >= 6 - 1e-6


def test_water_stands_on_what_is_paved_only() -> None:
    ground = Ground(edges=(-2.0, 2.0), materials=(5, 7, 5), paved=(7,))
    d = torch.tensor([-5.0, -1.0, 0.0, 1.0, 5.0])
    place = Place(torch.arange(5.0), d, torch.full((5,), 0.01), torch.full((5,), 0.01))
    film = water(ground, place, 1.0)
    assert film[[0, 4]].tolist() == [0, 0]
    assert (film[1:4] > 0.3).all()
    assert not water(ground, place, -5.0).any()


def test_a_wet_road_looks_otherwise_and_is_as_far() -> None:
    camera = Camera.pinhole(96, 48, 70)
    drive = Drive('highway', 3)
    scene = drive._scene
    scene.light = scene.light._replace(wet=0.0)
    dry = drive.render(0, camera)
    scene.light = scene.light._replace(wet=1.0)
    wet = drive.render(0, camera)
    assert torch.equal(dry.depth_m, wet.depth_m)
    difference = (dry.image - wet.image).abs().amax(dim=0)
    assert (difference[30:] > 0.02).float().mean() > 0.3
    assert difference[torch.isinf(dry.depth_m)].median() == 0
