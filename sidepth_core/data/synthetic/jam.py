"""Standing traffic: a street or a motorway whose lane is blocked by a queue that the drive rolls up to and stops at.

Ahead, on the other lanes and beside the camera stand vehicles of every kind, the nearest a few metres away.
"""

from __future__ import annotations

import numpy as np

from sidepth_core.data.synthetic.ground import Patch
from sidepth_core.data.synthetic.highway import LANE_M, Highway
from sidepth_core.data.synthetic.shapes import Builder
from sidepth_core.data.synthetic.street import Street
from sidepth_core.data.synthetic.traffic import queue
from sidepth_core.data.synthetic.vehicles import LARGE, TRAFFIC

QUEUE_M = 120.0
"""How far the queues reach ahead; beyond, nobody would see the road for them."""
ROLLING_MPS = (0.0, 5.0)
SHARES = (TRAFFIC, LARGE)


def _lead(rng: np.random.Generator) -> tuple[float, float]:
    """Return how far ahead the last vehicle of the queue stands, and how far the drive gets, metres."""
    lead = float(np.exp(rng.uniform(np.log(4.0), np.log(26.0))))
    return lead, float(rng.uniform(0.1, 1.0)) * (lead - 2.5)


class StreetJam(Street):
    """A street whose lanes are full, or at least ours."""

    speed_mps = ROLLING_MPS

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self._lead, self.reach_m = _lead(rng)
        self._shares = SHARES[int(rng.integers(2))]
        self._spread = float(rng.uniform(2, 9))

    def build(self, rng: np.random.Generator, first_s: float, build: Builder) -> list[Patch]:
        """Add one stretch of the street and the queue in it."""
        patches = super().build(rng, first_s, build)
        last_s = min(first_s + self.piece_length, QUEUE_M)
        ends, gap = (max(first_s, self._lead), last_s), (1.0, self._spread)
        queue(rng, build, self.palette, self.path, ends, self.ego_d, shares=self._shares, gap=gap)
        return patches


class HighwayJam(Highway):
    """A motorway whose lanes all stand."""

    speed_mps = ROLLING_MPS

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self._lead, self.reach_m = _lead(rng)
        self._shares = SHARES[int(rng.integers(2))]
        self._spread = float(rng.uniform(2, 12))
        self._fill = float(rng.uniform(0.5, 1.0))

    def build(self, rng: np.random.Generator, first_s: float, build: Builder) -> list[Patch]:
        """Add one stretch of the motorway and the queues in it."""
        patches = super().build(rng, first_s, build)
        last_s = min(first_s + self.piece_length, QUEUE_M)
        for lane in range(self._lanes):
            ours = lane == self._own_lane
            ends = (max(first_s, self._lead) if ours else first_s, last_s)
            d = -(self._inner + (lane + 0.5) * LANE_M)
            gap, fill = (1.0, self._spread), 1.0 if ours else self._fill
            queue(rng, build, self.palette, self.path, ends, d, shares=self._shares, gap=gap, fill=fill)
        return patches


def jam(rng: np.random.Generator) -> Street | Highway:
    """Return a jam on a street or on a motorway."""
    return StreetJam(rng) if rng.random() < 0.5 else HighwayJam(rng)
