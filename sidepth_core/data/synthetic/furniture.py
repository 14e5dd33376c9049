"""Things that stand or hang in a building, each built of a few solids in the builder's frame (x along the wall)."""

from __future__ import annotations

import numpy as np

from sidepth_core.data.synthetic.palette import Palette
from sidepth_core.data.synthetic.shapes import Builder, Kind

Random = np.random.Generator


def door(build: Builder, palette: Palette, rng: Random, x: float, y: float, side: float) -> None:
    """Add a closed door with its frame on a wall at y; side is +1 for the left wall, -1 for the right."""
    width, height = rng.uniform(0.8, 1.1), rng.uniform(1.98, 2.1)
    build.box(
        (x, y - side * 0.015, (height + 0.07) / 2), (width + 0.16, 0.05, height + 0.07), palette.trim, shadow=False
    )
    build.box((x, y - side * 0.03, height / 2), (width, 0.05, height), int(rng.choice(palette.doors)), shadow=False)
    build.box((x + 0.4 * width, y - side * 0.09, 1.02), (0.13, 0.06, 0.03), palette.metal, shadow=False)


def picture(build: Builder, palette: Palette, rng: Random, x: float, y: float, side: float) -> None:
    """Hang a picture, a poster or a notice board."""
    width, height = rng.uniform(0.3, 1.4), rng.uniform(0.3, 0.9)
    z = rng.uniform(1.3, 1.7)
    build.box((x, y - side * 0.012, z), (width + 0.06, 0.02, height + 0.06), palette.dark, shadow=False)
    build.box((x, y - side * 0.02, z), (width, 0.025, height), int(rng.choice(palette.pictures)), shadow=False)


def cabinet(build: Builder, palette: Palette, rng: Random, x: float, y: float, side: float, depth: float) -> None:
    """Add a cabinet, a locker, a shelf or a radiator against the wall."""
    width, height = rng.uniform(0.5, 1.8), rng.choice([0.5, 0.8, 1.2, 1.9])
    build.box((x, y - side * depth / 2, height / 2), (width, depth, height), int(rng.choice(palette.cupboards)))
    if height < 1.3 and rng.random() < 0.6:
        size = rng.uniform(0.15, 0.4)
        build.box(
            (x + rng.uniform(-0.2, 0.2), y - side * depth / 2, height + size / 2),
            (size, size * 0.8, size),
            int(rng.choice(palette.paints)),
        )


def chair(build: Builder, palette: Palette, rng: Random, x: float, y: float, yaw: float) -> None:
    """Add a chair with four legs and a back."""
    build = build.within(x, y, yaw)
    cover = int(rng.choice(palette.paints))
    build.box((0, 0, 0.45), (0.44, 0.44, 0.06), cover)
    build.box((-0.2, 0, 0.72), (0.05, 0.42, 0.45), cover)
    for dx in (-0.19, 0.19):
        for dy in (-0.19, 0.19):
            build.box((dx, dy, 0.21), (0.04, 0.04, 0.42), palette.metal)


def table(build: Builder, palette: Palette, rng: Random, x: float, y: float) -> None:
    """Add a table."""
    length, width = rng.uniform(0.8, 1.6), rng.uniform(0.5, 0.8)
    build.box((x, y, 0.73), (length, width, 0.04), palette.wood)
    for dx in (-0.45, 0.45):
        for dy in (-0.42, 0.42):
            build.box((x + dx * length, y + dy * width, 0.355), (0.05, 0.05, 0.71), palette.metal)


def plant(build: Builder, palette: Palette, rng: Random, x: float, y: float) -> None:
    """Add a potted plant."""
    pot, height = rng.uniform(0.2, 0.4), rng.uniform(0.7, 1.7)
    leaves = int(rng.choice(palette.foliage))
    build.add(Kind.CYLINDER, (x, y, pot / 2), (pot, pot, pot), int(rng.choice(palette.paints)))
    build.add(Kind.CYLINDER, (x, y, height * 0.4), (0.05, 0.05, height * 0.6), palette.bark)
    for _ in range(3):
        dx, dy = rng.normal(0, 0.1, 2)
        size = rng.uniform(0.3, 0.55)
        build.add(Kind.ELLIPSOID, (x + dx, y + dy, height * rng.uniform(0.6, 0.95)), (size, size, size * 1.1), leaves)


def crate(build: Builder, palette: Palette, rng: Random, x: float, y: float) -> None:
    """Add a carton or two, not quite aligned."""
    size = rng.uniform(0.25, 0.6)
    yaw = rng.uniform(-0.5, 0.5)
    build.box((x, y, size * 0.4), (size, size * 0.8, size * 0.8), palette.carton, yaw=yaw)
    if rng.random() < 0.4:
        build.box(
            (x, y, size * 1.05), (size * 0.7, size * 0.6, size * 0.5), palette.carton, yaw=yaw + rng.uniform(-0.4, 0.4)
        )


def extinguisher(build: Builder, palette: Palette, x: float, y: float, side: float) -> None:
    """Hang a fire extinguisher and its sign."""
    build.add(Kind.CYLINDER, (x, y - side * 0.1, 0.85), (0.15, 0.15, 0.5), palette.red)
    build.add(Kind.CYLINDER, (x, y - side * 0.1, 1.14), (0.05, 0.05, 0.1), palette.dark)
    build.box((x, y - side * 0.01, 1.6), (0.2, 0.015, 0.2), palette.red, shadow=False)


def bin_(build: Builder, palette: Palette, rng: Random, x: float, y: float) -> None:
    """Add a waste bin."""
    width, height = rng.uniform(0.25, 0.4), rng.uniform(0.35, 0.75)
    build.add(Kind.CYLINDER, (x, y, height / 2), (width, width, height), int(rng.choice(palette.paints)))


def window(build: Builder, palette: Palette, x: float, y: float, side: float, width: float) -> None:
    """Add a bright window to a wall."""
    build.box((x, y - side * 0.01, 1.55), (width, 0.04, 1.3), palette.daylight, shadow=False)
    build.box((x, y - side * 0.08, 0.88), (width + 0.1, 0.2, 0.04), palette.trim, shadow=False)
