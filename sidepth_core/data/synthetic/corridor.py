"""The inside of a building: straight corridors that meet at right angles, doors, open rooms, lamps, furniture."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from sidepth_core.data.synthetic import furniture, props
from sidepth_core.data.synthetic.ground import Ground, Patch
from sidepth_core.data.synthetic.light import indoors
from sidepth_core.data.synthetic.palette import Palette
from sidepth_core.data.synthetic.path import Path, Segment
from sidepth_core.data.synthetic.shapes import Builder
from sidepth_core.data.synthetic.world import AHEAD, Passer

STRAIGHT = 1e-3
"""Segments that bend less than this are corridors, the others are their corners, 1/m."""
WALL_M = 0.12


def right_angles(rng: np.random.Generator, radius: float) -> Iterator[tuple[float, float]]:
    """Yield (length, curvature) of corridors and rounded right-angle turns, a staircase that never meets itself."""
    turned = 0
    while True:
        yield float(rng.uniform(4, 16)), 0.0
        turn = -turned or int(rng.choice([-1, 1]))
        turned += turn
        yield radius * math.pi / 2, turn / radius


class Corridor:
    """See the module; the Scene protocol explains the members."""

    piece_length = 8.0
    sight = (14.0, 42.0)
    speed_mps = (0.0, 1.5)
    camera_height_m = (0.2, 1.5)
    gaze = AHEAD
    reach_m = math.inf
    mover_count = 2

    def __init__(self, rng: np.random.Generator) -> None:
        self.palette = Palette(rng)
        self.light, self.sky = indoors(rng)
        self._width = float(rng.uniform(1.7, 3.6))
        self._height = float(rng.uniform(2.3, 3.3))
        self.ceiling_m = self._height
        self._radius = 0.75 * self._width
        self.path = Path(right_angles(rng, self._radius))
        walls = self.palette.walls if rng.random() < 0.25 else self.palette.plasters
        self._wall, self._room_wall = (int(row) for row in rng.choice(walls, 2))
        self._wainscot = bool(rng.random() < 0.35)
        self._clutter = float(rng.uniform(0.3, 1.0))
        self._lamp_step = float(rng.uniform(1.8, 3.6))
        self._lamp = (1.2, 0.25) if rng.random() < 0.6 else (0.55, 0.55)
        self.ego_d = float(rng.uniform(-0.1, 0.1)) * self._width
        floor = int(rng.choice([self.palette.floor_tiles, self.palette.carpet, self.palette.planks]))
        self.ground = Ground((), (floor,), aligned=True)

    def build(self, rng: np.random.Generator, first_s: float, build: Builder) -> list[Patch]:
        """Add the corridors that begin in this stretch, each with the corner at its end."""
        for segment in self.path.between(first_s, first_s + self.piece_length):
            begins = first_s <= segment.s < first_s + self.piece_length
            if begins and abs(segment.curvature) < STRAIGHT:
                self._corridor(rng, build, segment)
        return []

    def _corridor(self, rng: np.random.Generator, build: Builder, segment: Segment) -> None:
        """Build in the frame whose x axis runs along the corridor from where the path becomes straight."""
        build.stand(segment.x, segment.y, segment.heading)
        turn = math.copysign(1.0, self.path.segment(segment.s + segment.length + 0.01).curvature)
        half = self._width / 2
        start = -self._radius + half if segment.s > 0 else -20.0
        inner, outer = segment.length + self._radius - half, segment.length + self._radius + half
        for side in (-1.0, 1.0):
            # Beyond the end of the straight part one wall stops at the inner corner, the other goes on to the end.
            self._wall_with_openings(rng, build, start, inner if side == turn else outer, side, segment.length)
        self._end_wall(rng, build, outer, half)
        middle, length = (start + outer) / 2, outer - start
        build.box(
            (middle, 0, self._height + 0.05),
            (length, self._width + 2 * WALL_M, 0.1),
            self.palette.ceiling,
            shadow=False,
        )
        for x in np.arange(start + 1.0, outer - 0.5, self._lamp_step):
            build.box((x, 0, self._height), (*self._lamp, 0.06), self.palette.lamp, shadow=False)

    def _end_wall(self, rng: np.random.Generator, build: Builder, x: float, half: float) -> None:
        height = self._height
        build.box((x + WALL_M / 2, 0, height / 2), (WALL_M, 2 * half + 2 * WALL_M, height), self._wall, shadow=False)
        build.box((x - 0.008, 0, 0.05), (0.016, 2 * half, 0.1), self.palette.trim, shadow=False)
        if rng.random() < 0.5:
            board = (rng.uniform(0.5, 1.3), rng.uniform(0.4, 0.9))
            build.box(
                (x - 0.01, rng.uniform(-0.2, 0.2), 1.5),
                (0.03, *board),
                int(rng.choice(self.palette.pictures)),
                shadow=False,
            )

    def _wall_with_openings(
        self, rng: np.random.Generator, build: Builder, first: float, last: float, side: float, walked: float
    ) -> None:
        """Build one wall in panels: plain ones, ones with a door, and openings into rooms."""
        y = side * self._width / 2
        x = first
        while x < last:
            length = float(rng.uniform(1.6, 3.2))
            length = length if last - x - length > 1.6 else last - x
            inside = x > first + 0.3 and x + length < min(last, walked + 1) - 0.3
            if inside and length > 1.5 and rng.random() < 0.16:
                self._room(rng, build, x + length / 2, length, y, side)
            else:
                self._panel(rng, build, x, length, y, side, furnished=inside)
            x += length

    def _panel(
        self,
        rng: np.random.Generator,
        build: Builder,
        x: float,
        length: float,
        y: float,
        side: float,
        *,
        furnished: bool,
    ) -> None:
        p, height, middle = self.palette, self._height, x + length / 2
        build.box((middle, y + side * WALL_M / 2, height / 2), (length, WALL_M, height), self._wall, shadow=False)
        build.box((middle, y - side * 0.008, 0.05), (length, 0.016, 0.1), p.trim, shadow=False)
        if self._wainscot:
            build.box((middle, y - side * 0.004, 0.5), (length, 0.012, 1.0), p.panelling, shadow=False)
        if not furnished:
            return
        what = rng.random()
        if what < 0.3:
            furniture.door(build, p, rng, middle, y, side)
        elif what < 0.42:
            furniture.picture(build, p, rng, middle, y, side)
        elif what < 0.5:
            furniture.window(build, p, middle, y, side, length * 0.7)
        elif what < 0.55:
            furniture.extinguisher(build, p, middle, y, side)
        if rng.random() < self._clutter * 0.6 and not 0 < what < 0.3:
            self._furnish(rng, build, middle, y, side)

    def _furnish(self, rng: np.random.Generator, build: Builder, x: float, y: float, side: float) -> None:
        """Put something against the wall that leaves the way free."""
        p = self.palette
        room = self._width / 2 - 0.6
        if room < 0.2:
            return
        depth = min(room, float(rng.uniform(0.25, 0.6)))
        style = int(rng.integers(6))
        if style <= 1:
            furniture.cabinet(build, p, rng, x, y, side, depth)
        elif style == 2 and room > 0.45:
            furniture.chair(build, p, rng, x, y - side * 0.3, -side * math.pi / 2 + rng.normal(0, 0.15))
        elif style == 3 and room > 0.45:
            furniture.plant(build, p, rng, x, y - side * 0.28)
        elif style == 4 and room > 0.35:
            furniture.crate(build, p, rng, x, y - side * 0.32)
        else:
            furniture.bin_(build, p, rng, x, y - side * 0.22)

    def _room(self, rng: np.random.Generator, build: Builder, x: float, width: float, y: float, side: float) -> None:
        """Leave the wall open under a lintel, and build the room behind it."""
        p, height = self.palette, self._height
        depth, wide = float(rng.uniform(2.0, 4.5)), width + 1.0
        top = 2.15
        build.box(
            (x, y + side * WALL_M / 2, (height + top) / 2), (width, WALL_M, height - top), self._wall, shadow=False
        )
        far = y + side * (WALL_M + depth)
        middle = y + side * (WALL_M + depth / 2)
        build.box((x, far + side * 0.05, height / 2), (wide, 0.1, height), self._room_wall, shadow=False)
        for end in (-1, 1):
            build.box((x + end * wide / 2, middle, height / 2), (0.1, depth, height), self._room_wall, shadow=False)
        build.box((x, middle, height + 0.04), (wide, depth, 0.1), p.ceiling, shadow=False)
        build.box((x, middle, height - 0.02), (0.6, 0.6, 0.04), p.lamp, shadow=False)
        furniture.table(build, p, rng, x, middle)
        furniture.chair(build, p, rng, x + 0.1, middle - side * 0.7, side * math.pi / 2)
        furniture.picture(build, p, rng, x, far, side)
        if rng.random() < 0.5:
            furniture.window(build, p, x, far, side, wide * 0.6)

    def mover(self, rng: np.random.Generator, build: Builder) -> Passer:
        """Add a person who walks towards us."""
        props.pedestrian(build, self.palette, rng, 0, 0)
        side = float(rng.choice([-1, 1]))
        return Passer(float(rng.uniform(4, 30)), side * min(0.8, self._width / 2 - 0.35), 1.1, towards=True)
