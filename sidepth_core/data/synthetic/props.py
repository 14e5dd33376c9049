"""Things that stand along a drive, each of a few solids in the builder's frame (x along the line, y left, z up)."""

from __future__ import annotations

import math

import numpy as np

from sidepth_core.data.synthetic.palette import Palette
from sidepth_core.data.synthetic.shapes import Builder, Kind

Random = np.random.Generator


def tree(build: Builder, palette: Palette, rng: Random, x: float, y: float, scale: float = 1.0) -> None:
    """Add a leafy tree or a fir."""
    leaves = int(rng.choice(palette.foliage))
    height = scale * rng.uniform(4.5, 9.0)
    trunk = scale * rng.uniform(0.18, 0.4)
    build.add(Kind.CYLINDER, (x, y, height * 0.3), (trunk, trunk, height * 0.6), palette.bark)
    if rng.random() < 0.2:
        for level, width in ((0.35, 0.42), (0.55, 0.32), (0.78, 0.2)):
            build.add(Kind.ELLIPSOID, (x, y, height * level), (height * width, height * width, height * 0.42), leaves)
        return
    crown = height * rng.uniform(0.42, 0.65)
    for part in range(int(rng.integers(6, 11))):
        # A big middle and smaller boughs around it make an outline that no two trees share.
        reach = 0.0 if part == 0 else crown * rng.uniform(0.22, 0.42)
        around, climb = rng.uniform(0, 2 * math.pi), rng.uniform(-0.5, 0.9)
        size = crown * (0.75 if part == 0 else rng.uniform(0.28, 0.52))
        centre = (
            x + reach * math.cos(around),
            y + reach * math.sin(around),
            height * 0.7 + climb * 0.45 * crown * (part > 0),
        )
        build.add(Kind.ELLIPSOID, centre, (size, size * rng.uniform(0.8, 1.2), size * rng.uniform(0.65, 1.0)), leaves)


def bush(build: Builder, palette: Palette, rng: Random, x: float, y: float) -> None:
    """Add a bush."""
    size = rng.uniform(0.6, 1.8)
    leaves = int(rng.choice(palette.foliage))
    build.add(Kind.ELLIPSOID, (x, y, size * 0.3), (size, size, size), leaves)
    build.add(
        Kind.ELLIPSOID, (x + size * 0.4, y + size * 0.15, size * 0.25), (size * 0.8, size * 0.7, size * 0.7), leaves
    )


def pole(build: Builder, palette: Palette, x: float, y: float, height: float, width: float = 0.12) -> None:
    """Add a round post."""
    build.add(Kind.CYLINDER, (x, y, height / 2), (width, width, height), palette.metal)


def street_lamp(build: Builder, palette: Palette, rng: Random, x: float, y: float, side: float) -> None:
    """Add a lamp whose arm reaches over the road; side is +1 left of it, -1 right."""
    height = rng.uniform(5, 9)
    pole(build, palette, x, y, height, 0.16)
    build.box((x, y - side * 0.8, height), (0.1, 1.8, 0.1), palette.metal, shadow=False)
    build.box((x, y - side * 1.6, height - 0.08), (0.3, 0.7, 0.14), palette.lamp, shadow=False)


def traffic_sign(build: Builder, palette: Palette, rng: Random, x: float, y: float) -> None:
    """Add a sign on a post, facing the traffic."""
    height = rng.uniform(2.0, 2.8)
    pole(build, palette, x, y, height, 0.08)
    face = int(rng.choice(palette.signs))
    if rng.random() < 0.5:
        build.box((x - 0.06, y, height), (0.03, rng.uniform(0.5, 1.0), rng.uniform(0.5, 0.9)), face)
    else:
        build.add(Kind.BOX, (x - 0.06, y, height), (0.03, 0.65, 0.65), face)


def building(
    build: Builder, palette: Palette, rng: Random, x: float, y: float, width: float, depth: float, side: float
) -> None:
    """Add a house of the given width along the line whose front stands at y; side is +1 left of the road, -1 right."""
    wall = int(rng.choice(palette.facades))
    floors = int(rng.integers(1, 7))
    storey = palette.materials[wall].period[1]
    height = floors * storey + rng.uniform(0.2, 0.9)
    middle = y + side * depth / 2
    roof = int(rng.choice(palette.roofs))
    build.box((x, middle, height / 2), (width, depth, height), (wall, wall, wall, wall, roof, roof, roof, roof))
    if floors <= 3 and rng.random() < 0.65:
        rise = depth * rng.uniform(0.25, 0.5)
        slope = ((0.0, 0.5, 0.5, 0.5), (0.0, -0.5, 0.5, 0.5))
        gable = palette.walls[0]
        build.add(
            Kind.CUT_BOX,
            (x, middle, height),
            (width * 1.02, depth * 1.06, 2 * rise),
            (gable, gable, roof, roof, roof, roof, roof, roof),
            cuts=slope,
        )
    else:
        build.box((x, middle, height), (width + 0.3, depth + 0.3, 0.35), palette.concrete)
    front = y - side * 0.04
    if rng.random() < 0.45:
        shop = int(rng.choice(palette.shops))
        build.box((x, front, 1.45), (width * 0.92, 0.12, 2.9), shop, shadow=False)
        if rng.random() < 0.6:
            build.box(
                (x, front - side * 0.1, 3.1), (width * 0.8, 0.25, 0.55), int(rng.choice(palette.signs)), shadow=False
            )
        if rng.random() < 0.3:
            build.box((x, front - side * 0.6, 2.75), (width * 0.7, 1.2, 0.1), int(rng.choice(palette.paints)))
    else:
        build.box(
            (x + rng.uniform(-0.3, 0.3) * width, front, 1.1),
            (1.1, 0.12, 2.2),
            int(rng.choice(palette.doors)),
            shadow=False,
        )
    if floors >= 2 and rng.random() < 0.4:
        for floor in range(1, floors):
            build.box((x + width * 0.2, y - side * 0.5, floor * storey + 0.1), (2.4, 1.0, 0.15), palette.concrete)
            build.box(
                (x + width * 0.2, y - side * 0.98, floor * storey + 0.6), (2.4, 0.05, 0.9), palette.metal, shadow=False
            )


def fence(build: Builder, palette: Palette, rng: Random, x: float, y: float, length: float) -> None:
    """Add a fence, a hedge or a low wall along the line."""
    style = rng.integers(3)
    if style == 0:
        build.box((x, y, 0.7), (length, 0.06, 1.4), palette.wood)
    elif style == 1:
        build.box((x, y, 0.6), (length, 0.7, 1.2), int(rng.choice(palette.foliage)))
    else:
        build.box((x, y, 0.45), (length, 0.25, 0.9), int(rng.choice(palette.walls)))


def bin_or_box(build: Builder, palette: Palette, rng: Random, x: float, y: float) -> None:
    """Add one of the small things on a pavement: a bin, a cabinet, a crate, a bollard."""
    style = rng.integers(4)
    paint = int(rng.choice(palette.paints))
    if style == 0:
        build.add(Kind.CYLINDER, (x, y, 0.5), (0.5, 0.5, 1.0), paint)
    elif style == 1:
        build.box((x, y, 0.6), (0.8, 0.4, 1.2), palette.metal)
    elif style == 2:
        build.box((x, y, 0.25), (0.5, 0.6, 0.5), palette.wood, yaw=rng.uniform(0, 1.5))
    else:
        build.add(Kind.CYLINDER, (x, y, 0.45), (0.14, 0.14, 0.9), palette.dark)


def pedestrian(build: Builder, palette: Palette, rng: Random, x: float, y: float) -> None:
    """Add a person who stands or strides, turned anyhow: legs, body, arms, head, hair, some with a bag."""
    build = build.within(x, y, float(rng.uniform(-math.pi, math.pi)))
    height = float(rng.uniform(1.5, 1.9) if rng.random() < 0.88 else rng.uniform(1.0, 1.45))
    shirt, trousers, bag = (int(row) for row in rng.choice((*palette.paints, palette.dark), 3))
    stride, wide = float(rng.uniform(0, 0.16)), float(rng.uniform(0.9, 1.25))
    for side, step in ((-1, stride), (1, -stride)):
        build.add(Kind.CYLINDER, (step, 0.09 * side, height * 0.24), (0.15, 0.15, height * 0.48), trousers)
        build.box((step + 0.06, 0.09 * side, 0.04), (0.26, 0.1, 0.08), palette.dark, shadow=False)
        arm = (-step * 0.8, 0.24 * wide * side, height * 0.63)
        build.add(Kind.ELLIPSOID, arm, (0.14 + stride, 0.12, height * 0.36), shirt, shadow=False)
    build.add(Kind.ELLIPSOID, (0, 0, height * 0.65), (0.28 * wide, 0.44 * wide, height * 0.42), shirt)
    build.add(Kind.ELLIPSOID, (0.02, 0, height * 0.92), (0.2, 0.17, 0.25), palette.skin)
    build.add(
        Kind.ELLIPSOID, (-0.02, 0, height * 0.95), (0.21, 0.19, 0.2), int(rng.choice((palette.dark, palette.bark)))
    )
    if rng.random() < 0.35:
        build.box((-0.22, 0, height * 0.66), (0.2, 0.3, 0.42), bag)


def wood(build: Builder, palette: Palette, rng: Random, y: float, length: float) -> None:
    """Add the edge of a distant wood: crowns side by side along the line."""
    x = -length / 2
    while x < length / 2:
        width, height = rng.uniform(6, 13), rng.uniform(7, 15)
        leaves = int(rng.choice(palette.foliage))
        build.add(
            Kind.ELLIPSOID,
            (x + width / 2, y + rng.normal(0, 3), height * 0.42),
            (width * 1.3, width, height * 1.15),
            leaves,
            shadow=False,
        )
        x += width * 0.8
