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


def thing(build: Builder, palette: Palette, rng: Random, x: float, y: float, z: float, *, largest: float = 0.3) -> None:
    """Put a small thing on the floor or on a surface at height z: a carton, a book, a cup, a bottle, a ball."""
    size = rng.uniform(0.05, largest, 3)
    colour = int(rng.choice([*palette.paints, *palette.pictures, palette.carton, palette.wood, palette.metal]))
    kind = (Kind.BOX, Kind.BOX, Kind.CYLINDER, Kind.ELLIPSOID)[int(rng.integers(4))]
    if kind is not Kind.BOX:
        size[1] = size[0]
    sizes = (float(size[0]), float(size[1]), float(size[2]))
    build.add(kind, (x, y, z + sizes[2] / 2), sizes, colour, yaw=float(rng.uniform(0, 3)))


def kitchen_unit(build: Builder, palette: Palette, rng: Random, x: float, width: float) -> None:
    """Add a counter with a cupboard above, or a fridge, against the wall at y = 0, the room at y < 0."""
    front = int(rng.choice(palette.cupboards))
    if rng.random() < 0.2:
        height = float(rng.uniform(1.4, 2.0))
        build.box((x, -0.32, height / 2), (min(width, 0.75), 0.62, height), int(rng.choice([front, palette.metal])))
        return
    build.box((x, -0.3, 0.44), (width, 0.58, 0.86), front)
    build.box((x, -0.31, 0.89), (width, 0.62, 0.04), int(rng.choice([palette.wood, palette.dark, palette.concrete])))
    if rng.random() < 0.25:
        build.box((x, -0.32, 0.915), (0.5, 0.4, 0.01), int(rng.choice([palette.metal, palette.dark])), shadow=False)
    for _ in range(int(rng.integers(0, 5))):
        thing(build, palette, rng, x + width * rng.uniform(-0.4, 0.4), -float(rng.uniform(0.12, 0.5)), 0.91)
    if rng.random() < 0.7:
        build.box((x, -0.18, 1.85), (width, 0.35, float(rng.uniform(0.6, 0.8))), front, shadow=False)


def shelf(build: Builder, palette: Palette, rng: Random, x: float, width: float) -> None:
    """Add an open shelf with boxes and books, against the wall at y = 0, the room at y < 0."""
    depth, height, boards = rng.uniform(0.25, 0.6), rng.uniform(0.9, 2.2), int(rng.integers(3, 6))
    frame = int(rng.choice([palette.wood, palette.metal, palette.trim]))
    build.box((x, -0.01, height / 2), (width, 0.02, height), frame, shadow=False)
    for end in (-0.5, 0.5):
        build.box((x + end * width, -depth / 2, height / 2), (0.03, depth, height), frame)
    for board in range(boards + 1):
        z = height * board / boards
        build.box((x, -depth / 2, max(z, 0.02)), (width, depth, 0.03), frame, shadow=False)
        place = -width / 2 + 0.05
        while board < boards and place < width / 2 - 0.1 and rng.random() < 0.8:
            size = float(rng.uniform(0.08, 0.45))
            tall = float(rng.uniform(0.3, 0.9)) * height / boards
            colour = int(rng.choice([*palette.paints, *palette.pictures, palette.carton]))
            middle = min(place + size / 2, width / 2 - 0.05)
            build.box((x + middle, -depth / 2, z + tall / 2), (size, depth * 0.8, tall), colour, shadow=False)
            place += size + 0.02


def desk(build: Builder, palette: Palette, rng: Random, x: float, width: float) -> None:
    """Add a desk with a screen and a chair, against the wall at y = 0, the room at y < 0."""
    build.box((x, -0.32, 0.73), (width, 0.62, 0.03), int(rng.choice([palette.wood, palette.trim, palette.dark])))
    for end in (-0.46, 0.46):
        build.box((x + end * width, -0.32, 0.36), (0.04, 0.55, 0.72), palette.metal)
    screen = (float(rng.uniform(0.4, 0.7)), 0.04, float(rng.uniform(0.28, 0.42)))
    build.box((x, -0.22, 1.02), screen, palette.dark)
    build.box((x, -0.2, 0.8), (0.06, 0.06, 0.12), palette.dark)
    build.box((x, -0.25, 0.752), (0.24, 0.18, 0.02), palette.dark)
    for _ in range(int(rng.integers(0, 4))):
        thing(build, palette, rng, x + width * rng.uniform(-0.45, 0.45), -float(rng.uniform(0.15, 0.5)), 0.745)


def sofa(build: Builder, palette: Palette, rng: Random, x: float, width: float) -> None:
    """Add a sofa or a bed against the wall at y = 0, the room at y < 0."""
    cover = int(rng.choice([*palette.paints, palette.carpet]))
    if rng.random() < 0.3:
        build.box((x, -0.3, 0.25), (width, 0.6, 0.5), cover)
        build.box((x - 0.35 * width, -0.3, 0.55), (0.3, 0.45, 0.12), palette.trim)
        return
    build.box((x, -0.32, 0.2), (width, 0.62, 0.4), cover)
    build.box((x, -0.08, 0.6), (width, 0.16, 0.5), cover)
    for end in (-0.5, 0.5):
        build.box((x + end * (width - 0.15), -0.32, 0.3), (0.15, 0.62, 0.6), cover)
