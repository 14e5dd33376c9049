"""A street through a town: carriageway, parked cars, pavements with trees and lamps, houses on both sides."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from sidepth_core.data.synthetic import props
from sidepth_core.data.synthetic.ground import Ground, Line, Patch
from sidepth_core.data.synthetic.light import outdoors
from sidepth_core.data.synthetic.palette import Palette
from sidepth_core.data.synthetic.path import Path
from sidepth_core.data.synthetic.shapes import Builder
from sidepth_core.data.synthetic.traffic import ahead, queue
from sidepth_core.data.synthetic.vehicles import PARKED, RIDERS, TRAFFIC, drawn, vehicle
from sidepth_core.data.synthetic.world import AHEAD, Passer


def winding(
    rng: np.random.Generator, straight: tuple[float, float], radius: tuple[float, float], turn: float
) -> Iterator[tuple[float, float]]:
    """Yield (length, curvature) of straights and bends whose heading stays within +-turn, so that they never meet."""
    heading = 0.0
    while True:
        yield float(rng.uniform(*straight)), 0.0
        target = float(rng.uniform(-turn, turn))
        bend = math.copysign(1 / float(np.exp(rng.uniform(*np.log(radius)))), target - heading)
        yield max(abs(target - heading) / abs(bend), 1.0), bend
        heading += max(abs(target - heading), abs(bend)) * math.copysign(1, bend)


TRAFFIC_MPS = 9.0


class Street:
    """See the module; the Scene protocol explains the members."""

    piece_length = 24.0
    sight = (12.0, 220.0)
    speed_mps = (0.0, 14.0)
    camera_height_m = (0.3, 2.0)
    gaze = AHEAD
    ceiling_m = math.inf
    reach_m = math.inf
    mover_count = 8

    def __init__(self, rng: np.random.Generator) -> None:
        self.palette = Palette(rng)
        self.path = Path(winding(rng, (25, 110), (35, 220), 0.9))
        self.light, self.sky = outdoors(rng)
        self._lane = float(rng.uniform(2.7, 3.5))
        self._parking = float(rng.choice([0.0, 2.1, 2.1]))
        self._road = self._lane + self._parking
        self._pavement = float(rng.uniform(1.6, 3.8))
        self._garden = float(rng.choice([0.0, 0.0, rng.uniform(2, 6)]))
        self._front = self._road + self._pavement + self._garden
        self._gap_chance = float(rng.uniform(0.05, 0.35))
        self._tree_chance = float(rng.uniform(0.0, 0.7))
        self._car_chance = float(rng.uniform(0.25, 0.85))
        self._oncoming = float(rng.uniform(0.3, 1.0)) * (rng.random() < 0.3)
        self.ego_d = -self._lane / 2
        self.ground = self._ground(rng)

    def _ground(self, rng: np.random.Generator) -> Ground:
        p = self.palette
        yard = p.grass if self._garden or rng.random() < 0.5 else p.dirt
        kerb, walk = self._road + 0.15, self._road + self._pavement
        right = (-walk, -kerb, -self._road)
        edges = (*right, self._road, kerb, walk)
        materials = (yard, p.paving, p.kerb, p.asphalt, p.kerb, p.paving, yard)
        lines = [Line(0.0, 0.12, float(rng.uniform(2, 4)), float(rng.uniform(6, 10)))]
        if rng.random() < 0.35:
            lines = [Line(0.0, 0.12)]
        if self._parking and rng.random() < 0.6:
            lines += [Line(side * self._lane, 0.1) for side in (-1, 1)]
        return Ground(
            edges, materials, tuple(lines), wear=float(rng.uniform(0.05, 0.6)), paved=(p.asphalt, p.kerb, p.paving)
        )

    def build(self, rng: np.random.Generator, first_s: float, build: Builder) -> list[Patch]:
        """Add one stretch of the street."""
        patches = []
        crossing = rng.random() < 0.12
        if crossing:
            patches.append(Patch(first_s + 3, first_s + 6.5, -self._lane, self._lane, (0.9, 0.9, 0.88), stripe=1.0))
        patches += [self._repair(rng, first_s) for _ in range(int(rng.integers(0, 2)))]
        side_street = rng.random() < 0.15
        for side in (-1.0, 1.0):
            opening = side_street and rng.random() < 0.7
            if opening:
                low, high = sorted((side * self._road, side * 60))
                patches.append(Patch(first_s + 9, first_s + 17, low, high, (0.36, 0.36, 0.37)))
            self._houses(rng, first_s, build, side, opening=opening)
            self._kerbside(rng, first_s, build, side, clear=crossing or opening)
        if self._oncoming:
            ends, gap = (first_s, first_s + self.piece_length), (1.0, 6.0)
            queue(rng, build, self.palette, self.path, ends, self._lane / 2, gap=gap, fill=self._oncoming, towards=True)
        return patches

    def _repair(self, rng: np.random.Generator, first_s: float) -> Patch:
        s, d = first_s + rng.uniform(0, self.piece_length), rng.uniform(-self._lane, self._lane)
        shade = float(rng.uniform(0.16, 0.4))
        return Patch(s, s + rng.uniform(0.6, 5), d, d + rng.uniform(0.4, 1.6), (shade, shade, shade))

    def _at(self, build: Builder, s: float) -> Builder:
        return build.stand(*self.path.at(s))

    def _houses(self, rng: np.random.Generator, first_s: float, build: Builder, side: float, *, opening: bool) -> None:
        ends = [(0.0, 8.0), (18.0, self.piece_length)] if opening else [(0.0, self.piece_length)]
        for low, high in ends:
            s = low
            while high - s > 4:
                width = float(rng.uniform(6, 16))
                width = width if high - s - width > 5 else high - s
                self._lot(rng, first_s + s + width / 2, width, build, side)
                s += width

    def _lot(self, rng: np.random.Generator, s: float, width: float, build: Builder, side: float) -> None:
        p, d = self.palette, side * self._front
        self._at(build, s)
        if rng.random() < self._gap_chance:
            props.fence(build, p, rng, 0, d, width)
            for _ in range(int(rng.integers(1, 4))):
                props.tree(build, p, rng, rng.uniform(-0.4, 0.4) * width, d + side * rng.uniform(2, 12), 1.2)
            return
        props.building(build, p, rng, 0, d + side * float(rng.uniform(0, 0.8)), width, float(rng.uniform(8, 14)), side)
        if self._garden:
            props.fence(build, p, rng, 0, d - side * self._garden, width * 0.8)
            props.bush(build, p, rng, rng.uniform(-0.4, 0.4) * width, d - side * self._garden * 0.5)

    def _kerbside(self, rng: np.random.Generator, first_s: float, build: Builder, side: float, *, clear: bool) -> None:
        p = self.palette
        kerb = side * (self._road + 0.5)
        if self._parking and not clear:
            ends, d, gap = (first_s, first_s + self.piece_length), side * (self._road - 1.05), (0.6, 1.8)
            queue(rng, build, p, self.path, ends, d, shares=PARKED, gap=gap, fill=self._car_chance, towards=side > 0)
        for s in np.arange(2.0, self.piece_length, 6.0):
            self._at(build, first_s + s + 3)
            if rng.random() < self._tree_chance:
                props.tree(build, p, rng, 0, kerb + side * 0.4, 0.75)
            elif rng.random() < 0.25:
                props.bin_or_box(build, p, rng, 0, side * (self._road + rng.uniform(0.6, self._pavement - 0.3)))
            elif rng.random() < 0.25:
                props.pedestrian(build, p, rng, 0, side * (self._road + rng.uniform(0.4, self._pavement - 0.2)))
        self._at(build, first_s + 13)
        if rng.random() < 0.6:
            props.street_lamp(build, p, rng, 0, kerb, side)
        if rng.random() < 0.35:
            props.traffic_sign(build, p, rng, 5, kerb)
        self._at(build, first_s + float(rng.uniform(1, self.piece_length - 1)))
        if rng.random() < 0.15:
            vehicle(build, p, rng, drawn(rng, RIDERS), 0, side * (self._lane - 0.35), math.pi if side > 0 else 0.0)
        elif rng.random() < 0.1:
            props.pedestrian(build, p, rng, 0, side * (self._lane - 0.2))

    def mover(self, rng: np.random.Generator, build: Builder) -> Passer:
        """Add a car that drives, or a person who walks, with us or towards us."""
        if rng.random() < 0.3:
            props.pedestrian(build, self.palette, rng, 0, 0)
            side = float(rng.choice([-1, 1]))
            return Passer(float(rng.uniform(8, 60)), side * (self._road + 0.8), 1.3, towards=True)
        if rng.random() < 0.2:
            rider = drawn(rng, RIDERS)
            vehicle(build, self.palette, rng, rider, 0, 0)
            return Passer(float(rng.uniform(5, 40)), 0.4 - self._lane, TRAFFIC_MPS, towards=False)
        body = drawn(rng, TRAFFIC)
        vehicle(build, self.palette, rng, body, 0, 0)
        towards = bool(rng.random() < 0.6)
        if towards:
            return Passer(float(rng.uniform(3, 120)), self._lane / 2, TRAFFIC_MPS, towards=True)
        return Passer(ahead(rng, body), -self._lane / 2, TRAFFIC_MPS, towards=False)
