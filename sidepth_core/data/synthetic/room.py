"""A furnished room seen by a hand-held camera or a small robot: kitchen, living room, office, workshop or store.

The way is a circle somewhere in the room, and nothing stands nearer to it than ROBOT_M. The camera looks anywhere.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from sidepth_core.data.synthetic import furniture, props
from sidepth_core.data.synthetic.ground import Ground, Patch
from sidepth_core.data.synthetic.light import indoors
from sidepth_core.data.synthetic.palette import Palette
from sidepth_core.data.synthetic.path import Path
from sidepth_core.data.synthetic.shapes import Builder
from sidepth_core.data.synthetic.world import Gaze, Passer

ROBOT_M = 0.35
"""What stands in the room keeps this far from the way, metres."""
WALL_M = 0.12
ALONG_WALLS_M = 0.65
"""How far furniture reaches from the walls."""


class Room:
    """See the module; the Scene protocol explains the members."""

    piece_length = 1e6
    sight = (0.0, 0.0)
    speed_mps = (0.0, 0.5)
    camera_height_m = (0.2, 1.8)
    gaze = Gaze(pitch=(0.12, 0.25), roll=(0.0, 0.07), yaw=(0.0, 2.0))
    reach_m = math.inf
    mover_count = 0
    ego_d = 0.0

    def __init__(self, rng: np.random.Generator) -> None:
        self.palette = p = Palette(rng)
        self.light, self.sky = indoors(rng)
        large = rng.random() < 0.2
        self._half = rng.uniform(2.5, 6.0, 2) if large else rng.uniform(1.5, 3.2, 2)
        self._height = float(rng.uniform(2.3, 4.5 if large else 3.0))
        self.ceiling_m = self._height
        free = self._half - ALONG_WALLS_M - ROBOT_M
        self._radius = float(rng.uniform(0.35, max(free.min(), 0.4)))
        shift = np.maximum(free - self._radius, 0)
        self._middle = rng.uniform(-shift, shift)  # of the circle, seen from the room's middle
        self.path = Path(itertools.repeat((1e5, 1 / self._radius)))
        self._wall = int(rng.choice(p.walls if rng.random() < 0.12 else p.plasters))
        floor = int(rng.choice([p.floor_tiles, p.carpet, p.planks, p.concrete]))
        self.ground = Ground((), (floor,), aligned=True)
        self._kitchen = bool(rng.random() < 0.35)
        self._fullness = float(rng.uniform(0.4, 1.0))

    def build(self, rng: np.random.Generator, first_s: float, build: Builder) -> list[Patch]:
        """Add the whole room once; its frame is the world's, the way turns left from the world's origin."""
        if first_s != 0:
            return []
        # The way's centre lies one radius to the left of its start.
        build.stand(-self._middle[0], self._radius - self._middle[1], 0.0)
        (a, b), height = self._half, self._height
        build.box((0, 0, height + 0.05), (2 * a + 0.3, 2 * b + 0.3, 0.1), self._ceiling(rng), shadow=False)
        for _ in range(int(rng.integers(1, 4))):
            size = (1.2, 0.25) if rng.random() < 0.5 else (0.5, 0.5)
            where = rng.uniform(-0.7, 0.7, 2) * self._half
            build.box((where[0], where[1], height), (*size, 0.06), self.palette.lamp, shadow=False)
        for turn, (length, away) in enumerate(((a, b), (b, a), (a, b), (b, a))):
            yaw = turn * math.pi / 2
            wall = build.within(-away * math.sin(yaw), away * math.cos(yaw), yaw)
            self._along_wall(rng, wall, length, kitchen=self._kitchen and turn < 2)
        self._stand_around(rng, build)
        return []

    def _ceiling(self, rng: np.random.Generator) -> int:
        return int(rng.choice([self.palette.ceiling, *self.palette.plasters]))

    def _along_wall(self, rng: np.random.Generator, build: Builder, half: float, *, kitchen: bool) -> None:
        """Build a wall along x at y = 0, the room at y < 0, and what stands or hangs there, one thing after another."""
        p, height = self.palette, self._height
        build.box((0, WALL_M / 2, height / 2), (2 * half + 2 * WALL_M, WALL_M, height), self._wall, shadow=False)
        build.box((0, -0.008, 0.05), (2 * half, 0.016, 0.1), p.trim, shadow=False)
        x = -half + 0.1
        if rng.random() < 0.6:
            where = float(rng.uniform(-0.6, 0.6)) * half
            furniture.window(build, p, where, 0, 1, float(rng.uniform(0.7, 1.8)))
        while x < half - 0.4:
            width = min(float(rng.uniform(0.5, 1.8)), half - x)
            middle = x + width / 2
            if rng.random() < self._fullness:
                self._put(rng, build, middle, width, kitchen=kitchen)
            elif rng.random() < 0.5:
                furniture.picture(build, p, rng, middle, 0, 1)
            x += width + float(rng.uniform(0.02, 0.4))

    def _put(self, rng: np.random.Generator, build: Builder, x: float, width: float, *, kitchen: bool) -> None:
        p = self.palette
        if kitchen and rng.random() < 0.75:
            furniture.kitchen_unit(build, p, rng, x, width)
            return
        style = int(rng.integers(9))
        if style == 0:
            furniture.door(build, p, rng, x, 0, 1)
        elif style <= 2:
            furniture.shelf(build, p, rng, x, width)
        elif style == 3:
            furniture.cabinet(build, p, rng, x, 0, 1, min(ALONG_WALLS_M - 0.05, float(rng.uniform(0.3, 0.6))))
        elif style == 4:
            furniture.desk(build, p, rng, x, max(width, 0.9))
        elif style == 5:
            furniture.sofa(build, p, rng, x, max(width, 1.2))
        elif style == 6:
            furniture.plant(build, p, rng, x, -0.3)
        elif style == 7:
            furniture.crate(build, p, rng, x, -0.35)
        else:
            furniture.bin_(build, p, rng, x, -0.25)

    def _stand_around(self, rng: np.random.Generator, build: Builder) -> None:
        """Put things where they leave the way free."""
        p = self.palette
        for _ in range(int(rng.integers(3, 12) * self._fullness)):
            x, y = rng.uniform(-1, 1, 2) * (self._half - 0.3)
            room = abs(math.hypot(x - self._middle[0], y - self._middle[1]) - self._radius) - ROBOT_M
            style = int(rng.integers(6))
            if room > 0.95 and style <= 1:
                furniture.table(build, p, rng, x, y)
                for _ in range(int(rng.integers(0, 6))):
                    furniture.thing(build, p, rng, x + rng.uniform(-0.35, 0.35), y + rng.uniform(-0.2, 0.2), 0.75)
            elif room > 0.35 and style == 2:
                props.pedestrian(build, p, rng, x, y)
            elif room > 0.4 and style <= 4:
                furniture.chair(build, p, rng, x, y, float(rng.uniform(-math.pi, math.pi)))
            elif room > 0.3:
                furniture.thing(build, p, rng, x, y, 0.0, largest=0.5)

    def mover(self, rng: np.random.Generator, build: Builder) -> Passer:
        """Nobody walks in a room, see mover_count: the way is too narrow to pass."""
        raise NotImplementedError
