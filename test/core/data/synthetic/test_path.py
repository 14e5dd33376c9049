"""The line of a drive, and the way back from a point on the ground to its place by the line."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sidepth_core.camera import Camera
from sidepth_core.data.synthetic.ground import locate
from sidepth_core.data.synthetic.path import Path
from sidepth_core.data.synthetic.rays import camera_rays

PIECES = [(10.0, 0.0), (math.pi * 20, 1 / 40), (5.0, 0.0), (30.0, -1 / 25), (50.0, 0.0)]


def test_a_quarter_turn_ends_where_it_should() -> None:
    path = Path(iter([(10.0, 0.0), (math.pi * 20, 1 / 40), (10.0, 0.0)]))
    end = path.at(10 + math.pi * 20 + 3)
    assert (end.x, end.y, end.heading) == pytest.approx((50.0, 43.0, math.pi / 2), abs=1e-3)
    left = path.at(5.0, 2.0)
    assert (left.x, left.y) == pytest.approx((5.0, 2.0), abs=1e-3)


def test_pieces_join_without_a_jump() -> None:
    path = Path(iter(PIECES))
    for joint in np.cumsum([length for length, _ in PIECES])[:-1]:
        before, after = path.at(joint - 1e-6), path.at(joint + 1e-6)
        assert after == pytest.approx(before, abs=1e-5)


def test_the_line_goes_on_backwards_before_its_start() -> None:
    place = Path(iter(PIECES)).at(-7.0, 1.0)
    assert (place.x, place.y) == pytest.approx((-7.0, 1.0), abs=1e-3)


def test_ground_points_find_their_place_by_the_line() -> None:
    path = Path(iter(PIECES))
    camera = Camera(40, 30, 200.0, 200.0, 19.5, 14.5)
    rays = camera_rays(camera, torch.device('cpu'))
    # Straight down from 100 m: column 20 rows and columns are metres / 2 around the camera.
    for s, d in ((8.0, -3.0), (30.0, 4.0), (60.0, -2.0), (90.0, 5.0)):
        place = path.at(s, d)
        pose = np.eye(4)
        pose[:3, :3] = np.array([[0, -1, 0], [-1, 0, 0], [0, 0, -1]])
        pose[:3, 3] = place.x, place.y, 100.0
        depth = torch.full_like(rays.x, 100.0)
        found = locate(path.between(0, 120), rays.x, rays.y, depth, pose, rays)
        middle = [float(column.reshape(30, 40)[14:16, 19:21].mean()) for column in found[:2]]
        assert middle == pytest.approx([s, d], abs=0.02)
        # A pixel is half a metre here, along and across the line.
        assert float(found.step_s.reshape(30, 40)[15, 20]) == pytest.approx(0.5, rel=0.15)
        assert float(found.step_d.reshape(30, 40)[15, 20]) == pytest.approx(0.5, rel=0.02)
