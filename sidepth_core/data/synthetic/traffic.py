"""Vehicles and people in rows: queues in a lane, cars parked at a kerb, riders and pedestrians beside them."""

from __future__ import annotations

import math

import numpy as np

from sidepth_core.data.synthetic.palette import Palette
from sidepth_core.data.synthetic.path import Path
from sidepth_core.data.synthetic.shapes import Builder
from sidepth_core.data.synthetic.vehicles import TRAFFIC, Body, drawn, vehicle

Random = np.random.Generator


def ahead(rng: Random, body: Body) -> float:
    """Return how far ahead of the camera the middle of a body is that drives before us: often close, metres."""
    return float(np.exp(rng.uniform(np.log(3.5), np.log(45.0)))) + body.length / 2


def queue(
    rng: Random,
    build: Builder,
    palette: Palette,
    path: Path,
    ends: tuple[float, float],
    d: float,
    *,
    shares: dict[str, float] = TRAFFIC,
    gap: tuple[float, float] = (1.0, 5.0),
    fill: float = 1.0,
    towards: bool = False,
) -> None:
    """Add vehicles one behind the other that stand along a line.

    Args:
        rng: Source of everything drawn.
        build: Where they are added.
        palette: The materials.
        path: The line.
        ends: The stretch of the line that they stay within, metres; whole vehicles only.
        d: Where their middles are, metres left of the line.
        shares: Of the styles.
        gap: Least and greatest gap between two, metres.
        fill: Chance of each vehicle; where it is left out, its room stays free.
        towards: Turn them against the line.
    """
    s, last = ends[0] + float(rng.uniform(0, 0.5 * gap[1])), ends[1]
    while True:
        body = drawn(rng, shares)
        if s + body.length > last:
            return
        if rng.random() < fill:
            build.stand(*path.at(s + body.length / 2))
            aside, turn = float(rng.normal(0, 0.08)), float(rng.normal(0, 0.015))
            vehicle(build, palette, rng, body, 0, d + aside, turn + (math.pi if towards else 0.0))
        s += body.length + float(rng.uniform(*gap))
