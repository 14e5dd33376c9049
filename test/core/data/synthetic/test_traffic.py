"""Vehicles are as large as asked for, queues stay within their stretch, and a drive stops behind the jam."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sidepth_core.camera import Camera
from sidepth_core.data.synthetic import Drive
from sidepth_core.data.synthetic.drive import Pace
from sidepth_core.data.synthetic.palette import Palette
from sidepth_core.data.synthetic.path import Path
from sidepth_core.data.synthetic.shapes import Builder, Shapes
from sidepth_core.data.synthetic.traffic import queue
from sidepth_core.data.synthetic.vehicles import STYLES, TRAFFIC, drawn, vehicle

AHEAD = Camera(64, 48, 60.0, 60.0, 31.5, 23.5)


def extent(shapes: Shapes) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and greatest corner (N, 3) of each solid's bounding box."""
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
    corners = shapes.centre[:, None] + signs @ (shapes.axes * shapes.half[:, :, None])
    return corners.min(axis=1), corners.max(axis=1)


@pytest.mark.parametrize('style', STYLES)
@pytest.mark.parametrize('seed', range(4))
def test_a_vehicle_is_as_large_as_its_body_says(style: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    palette, build, body = Palette(rng), Builder(), drawn(rng, {style: 1.0})
    vehicle(build, palette, rng, body, 0, 0)
    least, most = extent(build.build())
    low, high = least.min(axis=0), most.max(axis=0)
    assert high[0] - low[0] == pytest.approx(body.length, abs=0.35)
    assert high[1] - low[1] == pytest.approx(body.width, abs=0.55)
    assert high[2] == pytest.approx(body.height, abs=0.5)
    # Wheels touch the ground, and nothing reaches into it.
    assert low[2] == pytest.approx(0, abs=0.02)


def test_a_queue_stays_in_its_stretch_and_leaves_gaps() -> None:
    rng = np.random.default_rng(5)
    palette, build = Palette(rng), Builder()
    path = Path(iter([(1000.0, 0.0)]))
    queue(rng, build, palette, path, (10.0, 90.0), -3.0, shares=TRAFFIC, gap=(1.0, 2.0))
    least, most = extent(build.build())
    assert least[:, 0].min() > 9.7
    assert most[:, 0].max() < 90.3
    covered = np.zeros(1000, dtype=bool)
    for first, last in zip(least[:, 0], most[:, 0], strict=True):
        covered[round(first * 10) : round(last * 10)] = True
    gaps = np.diff(np.flatnonzero(covered))
    assert (gaps > 5).sum() >= 5
    assert gaps.max() < 25


def test_a_queue_of_none_is_empty() -> None:
    rng = np.random.default_rng(5)
    palette, build = Palette(rng), Builder()
    queue(rng, build, palette, Path(iter([(1000.0, 0.0)])), (0.0, 90.0), 0.0, fill=0.0)
    assert len(build.build().kind) == 0


@pytest.mark.parametrize('seed', range(6))
def test_a_jam_stands_close_ahead_and_the_drive_stops_behind_it(seed: int) -> None:
    drive = Drive('jam', seed, fps=1.0)
    nearest = []
    for second in (0, 600):
        # What stands higher than the road: the rows above the middle, in the columns around the way.
        depth = drive.render(second, AHEAD).depth_m[12:24, 24:40]
        nearest.append(float(depth.min()))
    assert min(nearest) > 1.5
    assert max(nearest) < 32
    assert drive.speed_mps(600.0) < 0.01


def test_a_drive_with_an_end_slows_down_and_never_turns_back() -> None:
    pace = Pace(np.random.default_rng(1), 2.0, 5.0, 8.0)
    travelled = np.array([pace(time) for time in np.arange(0, 60, 0.1)])
    assert (np.diff(travelled) >= 0).all()
    assert travelled[-1] == pytest.approx(8.0, abs=0.01)
    free = Pace(np.random.default_rng(1), 2.0, 5.0)
    assert pace(0.01) == pytest.approx(free(0.01), rel=0.01)
