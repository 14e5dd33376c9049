"""A motorway through the country: several lanes, barriers, gantries, bridges, noise walls, woods and fields."""

from __future__ import annotations

import math

import numpy as np

from sidepth_core.data.synthetic import props
from sidepth_core.data.synthetic.ground import Ground, Line, Patch
from sidepth_core.data.synthetic.light import outdoors
from sidepth_core.data.synthetic.palette import Palette
from sidepth_core.data.synthetic.path import Path
from sidepth_core.data.synthetic.shapes import Builder
from sidepth_core.data.synthetic.street import winding
from sidepth_core.data.synthetic.traffic import ahead, queue
from sidepth_core.data.synthetic.vehicles import TRAFFIC, drawn, vehicle
from sidepth_core.data.synthetic.world import AHEAD, Passer

LANE_M = 3.6
TRAFFIC_MPS = 27.0


class Highway:
    """See the module; the Scene protocol explains the members."""

    piece_length = 40.0
    sight = (20.0, 320.0)
    speed_mps = (8.0, 32.0)
    camera_height_m = (1.0, 2.0)
    gaze = AHEAD
    ceiling_m = math.inf
    reach_m = math.inf
    mover_count = 14

    def __init__(self, rng: np.random.Generator) -> None:
        self.palette = Palette(rng)
        self.path = Path(winding(rng, (80, 400), (350, 1500), 0.7))
        self.light, self.sky = outdoors(rng)
        self._lanes = int(rng.integers(2, 5))
        self._median = float(rng.uniform(0.8, 4.0))
        self._shoulder = float(rng.uniform(1.5, 3.2))
        self._rail = bool(rng.random() < 0.75)
        self._middle_wall = bool(rng.random() < 0.5)
        self._wood = float(rng.uniform(0.1, 1.0))
        # The line runs along the middle of the median; our side is on its right.
        self._inner = self._median / 2 + 0.6
        self._outer = self._inner + self._lanes * LANE_M
        self._own_lane = int(rng.integers(0, self._lanes))
        self.ego_d = -(self._inner + (self._own_lane + 0.5) * LANE_M)
        # Standing traffic on the other side, and on the lane beside ours.
        self._oncoming = float(rng.uniform(0.3, 1.0)) * (rng.random() < 0.25)
        self._beside = float(rng.uniform(0.3, 1.0)) * (rng.random() < 0.25)
        self.ground = self._ground(rng)

    def _ground(self, rng: np.random.Generator) -> Ground:
        p = self.palette
        road = p.asphalt if rng.random() < 0.75 else p.concrete
        verge = self._outer + self._shoulder
        half, wide = self._median / 2, verge + float(rng.uniform(1, 3))
        edges = (-wide, -verge, -half, half, verge, wide)
        middle = p.grass if self._median > 2 and not self._middle_wall else p.concrete
        field = p.grass if rng.random() < 0.7 else p.dirt
        materials = (field, p.dirt, road, middle, road, p.dirt, field)
        dash, spacing = ((3.0, 12.0), (6.0, 18.0), (3.0, 9.0))[int(rng.integers(3))]
        yellow = (0.85, 0.68, 0.25) if rng.random() < 0.4 else (0.9, 0.9, 0.87)
        lines = []
        for side in (-1, 1):
            lines.append(Line(side * self._inner, 0.16, colour=yellow))
            lines.append(Line(side * self._outer, 0.16))
            lines += [Line(side * (self._inner + lane * LANE_M), 0.13, dash, spacing) for lane in range(1, self._lanes)]
        return Ground(edges, materials, tuple(lines), wear=float(rng.uniform(0.05, 0.45)), paved=(road, p.concrete))

    def build(self, rng: np.random.Generator, first_s: float, build: Builder) -> list[Patch]:
        """Add one stretch of the motorway."""
        p = self.palette
        verge = self._outer + self._shoulder
        for s in np.arange(0, self.piece_length, 10.0):
            self._at(build, first_s + s + 5)
            self._barriers(build, verge)
        if rng.random() < 0.3:
            self._gantry(rng, build, first_s + 20, verge)
        elif rng.random() < 0.12:
            self._bridge(rng, build, first_s + 20, verge)
        walled = rng.random() < 0.15
        for side in (-1.0, 1.0):
            if walled and side < 0:
                for s in np.arange(0, self.piece_length, 10.0):
                    self._at(build, first_s + s + 5)
                    build.box((0, side * (verge + 2.5), 1.7), (10.02, 0.3, 3.4), p.noise_wall)
            else:
                self._country(rng, first_s, build, side, verge)
            self._at(build, first_s + float(rng.uniform(5, 35)))
            if rng.random() < 0.3:
                props.traffic_sign(build, p, rng, 0, side * (verge + 1.2))
            for s in (10.0, 30.0):
                self._at(build, first_s + s)
                props.pole(build, p, 0, side * (verge + 0.5), 1.0, 0.12)
        self._standing(rng, first_s, build, verge)
        return self._repairs(rng, first_s)

    def _standing(self, rng: np.random.Generator, first_s: float, build: Builder, verge: float) -> None:
        """Add what stands on other lanes and on the hard shoulder."""
        ends, lanes = (first_s, first_s + self.piece_length), []
        if self._oncoming:
            lanes += [(self._inner + (lane + 0.5) * LANE_M, self._oncoming) for lane in range(self._lanes)]
        if self._beside:
            lanes.append(
                (self.ego_d - LANE_M if self._own_lane < self._lanes - 1 else self.ego_d + LANE_M, self._beside)
            )
        for d, fill in lanes:
            queue(rng, build, self.palette, self.path, ends, d, gap=(1.0, 12.0), fill=fill, towards=d > 0)
        if self._shoulder > 2.4 and rng.random() < 0.12:
            build.stand(*self.path.at(first_s + 20))
            vehicle(build, self.palette, rng, drawn(rng, TRAFFIC), 0, 1.2 - verge)

    def _at(self, build: Builder, s: float) -> Builder:
        return build.stand(*self.path.at(s))

    def _barriers(self, build: Builder, verge: float) -> None:
        p = self.palette
        if self._middle_wall:
            build.box((0, 0, 0.42), (10.05, 0.35, 0.84), p.concrete)
        else:
            self._guard_rail(build, 0.0)
        if self._rail:
            for side in (-1.0, 1.0):
                self._guard_rail(build, side * (verge + 0.3))

    def _guard_rail(self, build: Builder, d: float) -> None:
        build.box((0, d, 0.62), (10.05, 0.08, 0.3), self.palette.rail, shadow=True)
        for x in (-3.5, 0.0, 3.5):
            build.box((x, d, 0.35), (0.1, 0.14, 0.7), self.palette.metal, shadow=False)

    def _gantry(self, rng: np.random.Generator, build: Builder, s: float, verge: float) -> None:
        p = self.palette
        self._at(build, s)
        for d in (-verge - 0.8, 0.0):
            build.box((0, d, 3.4), (0.35, 0.35, 6.8), p.metal)
        build.box((0, -(verge + 0.8) / 2, 6.6), (0.5, verge + 1.2, 0.6), p.metal)
        for lane in range(self._lanes):
            if rng.random() < 0.7:
                d = -(self._inner + (lane + 0.5) * LANE_M)
                build.box(
                    (-0.4, d, 6.5), (0.12, rng.uniform(2.2, 3.4), rng.uniform(1.6, 2.8)), int(rng.choice(p.signs))
                )

    def _bridge(self, rng: np.random.Generator, build: Builder, s: float, verge: float) -> None:
        p = self.palette
        self._at(build, s)
        reach, width = 2 * verge + 40, float(rng.uniform(6, 12))
        build.box((0, 0, 6.4), (width, reach, 1.3), p.concrete)
        build.box((-width / 2, 0, 7.4), (0.12, reach, 0.9), p.rail, shadow=False)
        for d in (-verge - 1.5, 0.0, verge + 1.5):
            build.box((0, d, 2.9), (width * 0.8, 0.7, 5.8), p.concrete)
        for side in (-1.0, 1.0):
            build.box((0, side * (verge + 14), 3.0), (width, 22, 6.0), p.grass)

    def _country(self, rng: np.random.Generator, first_s: float, build: Builder, side: float, verge: float) -> None:
        p = self.palette
        for _ in range(int(rng.poisson(7 * self._wood))):
            self._at(build, first_s + float(rng.uniform(0, self.piece_length)))
            props.tree(build, p, rng, 0, side * (verge + 4 + float(rng.exponential(12))), float(rng.uniform(0.8, 1.5)))
        for _ in range(int(rng.integers(0, 4))):
            self._at(build, first_s + float(rng.uniform(0, self.piece_length)))
            props.bush(build, p, rng, 0, side * (verge + rng.uniform(2, 9)))
        if rng.random() < 0.25:
            self._at(build, first_s + float(rng.uniform(8, 30)))
            size = rng.uniform(8, 26)
            props.building(build, p, rng, 0, side * (verge + rng.uniform(18, 50)), size, rng.uniform(8, 20), side)
        if rng.random() < 0.4:
            self._at(build, first_s + 20)
            d = side * (verge + rng.uniform(60, 110))
            props.wood(build, p, rng, d, self.piece_length)

    def _repairs(self, rng: np.random.Generator, first_s: float) -> list[Patch]:
        patches = []
        for _ in range(int(rng.integers(0, 3))):
            s = first_s + float(rng.uniform(0, self.piece_length))
            lane = int(rng.integers(0, self._lanes))
            d = -(self._inner + lane * LANE_M) - LANE_M
            shade = float(rng.uniform(0.16, 0.36))
            patches.append(Patch(s, s + float(rng.uniform(4, 30)), d + 0.1, d + LANE_M - 0.1, (shade, shade, shade)))
        return patches

    def mover(self, rng: np.random.Generator, build: Builder) -> Passer:
        """Add a vehicle in one of the lanes, with us or on the other side."""
        body = drawn(rng, TRAFFIC)
        vehicle(build, self.palette, rng, body, 0, 0)
        towards = bool(rng.random() < 0.4)
        lane = int(rng.integers(0, self._lanes))
        d = self._inner + (lane + 0.5) * LANE_M
        if towards:
            return Passer(float(rng.uniform(3, 140)), d, TRAFFIC_MPS, towards=True)
        # Beside us some are level with us.
        near = ahead(rng, body) if lane == self._own_lane else float(rng.uniform(-6, 60))
        return Passer(near, -d, TRAFFIC_MPS, towards=False)
