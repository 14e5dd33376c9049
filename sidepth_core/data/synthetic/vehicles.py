"""Vehicles of a few dozen solids each: cars, vans, pick-ups, lorries, tankers, buses; riders on two wheels.

Frame: x forward, y left, z up, the origin on the ground below the middle.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sidepth_core.data.synthetic.palette import Palette
from sidepth_core.data.synthetic.shapes import Builder, Kind, Plane

Random = np.random.Generator


class Body(NamedTuple):
    """A vehicle to be built: its style, a key of STYLES, and its length, width and height, metres."""

    style: str
    length: float
    width: float
    height: float


class Style(NamedTuple):
    """What a style's bodies measure, least and greatest, and the function that builds one."""

    length: tuple[float, float]
    width: tuple[float, float]
    height: tuple[float, float]
    build: Callable[[Builder, Palette, Random, Body], None]


TRAFFIC = {'car': 0.6, 'van': 0.15, 'pickup': 0.04, 'lorry': 0.09, 'trailer': 0.04, 'tanker': 0.02, 'bus': 0.06}
"""What drives in a town and, with few buses, on a motorway: shares."""
PARKED = {'car': 0.78, 'van': 0.16, 'pickup': 0.04, 'lorry': 0.02}
"""What stands at a kerb."""
LARGE = {'car': 0.35, 'van': 0.2, 'pickup': 0.05, 'lorry': 0.16, 'trailer': 0.08, 'tanker': 0.04, 'bus': 0.12}
"""A queue with many high vehicles in it."""


RIDERS = {'bicycle': 0.65, 'motorbike': 0.35}


def drawn(rng: Random, shares: dict[str, float]) -> Body:
    """Return a body whose style is drawn by shares."""
    weights = np.array(list(shares.values()))
    name = list(shares)[int(rng.choice(len(weights), p=weights / weights.sum()))]
    style = STYLES[name]
    return Body(name, *(float(rng.uniform(*part)) for part in (style.length, style.width, style.height)))


def vehicle(build: Builder, palette: Palette, rng: Random, body: Body, x: float, y: float, yaw: float = 0.0) -> None:
    """Add a vehicle that points along yaw."""
    STYLES[body.style].build(build.within(x, y, yaw), palette, rng, body)


def _car(build: Builder, palette: Palette, rng: Random, body: Body) -> None:
    length, width, height = body[1:]
    number = _paint(palette, rng)
    paint, side, screen = palette.paints[number], palette.windows[number], palette.screens[number]
    clear, belt = 0.2, height * float(rng.uniform(0.6, 0.67))
    hinge, drop, tail = float(rng.uniform(0.3, 0.42)), float(rng.uniform(0.3, 0.6)), float(rng.uniform(0.1, 0.35))
    cuts = (_bevel(hinge, drop), _bevel(0.82, tail, front=False))
    _cut(build, (0, 0, (clear + belt) / 2), (length, width, belt - clear), paint, cuts)
    # The boot of a saloon leaves less length to the roof than the tail of an estate.
    rear = float(rng.choice([-0.49, -0.47, -0.36])) * length
    front = (hinge * 0.5 + 0.05) * length
    room = front - rear
    rake, slant = float(rng.uniform(0.42, 0.62)), float(rng.uniform(0.1, 0.22) if rear < -0.4 * length else 0.32)
    glasses = (screen, screen, side, side, paint, paint, screen, screen)
    planes = (_screen(rake / room * height), _screen(slant / room * height, front=False))
    _cut(
        build, ((front + rear) / 2, 0, (belt + height) / 2 - 0.01), (room, width * 0.9, height - belt), glasses, planes
    )
    bumper = palette.dark if rng.random() < 0.5 else paint
    build.box((0, 0, 0.34), (length + 0.07, width * 0.97, 0.2), bumper)
    _lamps(build, palette, rng, body, belt - float(rng.uniform(0.1, 0.25)), 0.62)
    _plate(build, palette, rng, -length / 2 - 0.03, float(rng.uniform(0.5, 0.8)))
    for y in (-width / 2 - 0.07, width / 2 + 0.07):
        build.box((front - 0.3 * room, y, belt + 0.07), (0.1, 0.18, 0.13), paint, shadow=False)
    if rng.random() < 0.12:
        build.box((rear + room * 0.45, 0, height + 0.12), (room * 0.5, width * 0.6, 0.24), palette.dark)
    _axles(build, palette, body, (-0.3 * length, 0.31 * length), float(rng.uniform(0.3, 0.35)), arch=palette.dark)


def _van(build: Builder, palette: Palette, rng: Random, body: Body) -> None:
    length, width, height = body[1:]
    number = _paint(palette, rng)
    paint, screen = palette.paints[number], palette.screens[number]
    snout, clear = float(rng.uniform(0.4, 0.8)), 0.25
    room, middle = length - snout, -snout / 2
    back = screen if rng.random() < 0.5 else palette.cargo_doors[0]
    faces = (back, screen, paint, paint, paint, paint, screen, paint)
    rake = _screen(0.5 * height / room, low=-0.1)
    _cut(build, (middle, 0, (clear + height) / 2), (room, width, height - clear), faces, (rake,))
    bonnet = 0.55 * height
    size = (snout, width * 0.97, bonnet - clear)
    _cut(build, (length / 2 - snout / 2, 0, (clear + bonnet) / 2), size, paint, (_bevel(-0.6, 0.6),))
    front = length / 2 - snout
    glass = palette.windows[number]
    reach = room * 0.85 if rng.random() < 0.35 else 1.0
    build.box((front - 0.35 - reach / 2, 0, height * 0.67), (reach, width + 0.015, height * 0.24), glass, shadow=False)
    build.box((0, 0, 0.36), (length + 0.06, width * 0.98, 0.2), palette.dark)
    _lamps(build, palette, rng, body, height * 0.5, 0.7)
    _plate(build, palette, rng, -length / 2 - 0.03, 0.6)
    for y in (-width / 2 - 0.1, width / 2 + 0.1):
        build.box((front - 0.2, y, height * 0.6), (0.1, 0.2, 0.3), palette.dark, shadow=False)
    _axles(build, palette, body, (-0.3 * length, 0.5 * length - snout - 0.1), 0.34, arch=palette.dark)


def _pickup(build: Builder, palette: Palette, rng: Random, body: Body) -> None:
    length, width, height = body[1:]
    number = _paint(palette, rng)
    paint, side, screen = palette.paints[number], palette.windows[number], palette.screens[number]
    floor, belt = 0.75, 0.6 * height
    build.box((0, 0, (floor + 0.35) / 2), (length, width * 0.98, floor - 0.35), paint)
    _cut(build, (length * 0.2, 0, (0.4 + belt) / 2), (length * 0.6, width, belt - 0.4), paint, (_bevel(0.2, 0.3),))
    for y in (-width / 2 + 0.05, width / 2 - 0.05):
        build.box((-length * 0.3, y, (0.4 + belt) / 2), (length * 0.4, 0.1, belt - 0.4), paint)
    build.box((-length / 2 + 0.04, 0, (0.4 + belt) / 2), (0.08, width, belt - 0.4), paint)
    room = length * 0.38
    glasses = (screen, screen, side, side, paint, paint, screen, screen)
    _cut(build, (length * 0.07, 0, (belt + height) / 2), (room, width * 0.9, height - belt), glasses,
         (_screen(0.4 * height / room), _screen(0.05, front=False)))  # fmt: skip
    if rng.random() < 0.4:
        load = (length * float(rng.uniform(0.15, 0.34)), width * 0.7, float(rng.uniform(0.3, 0.9)))
        build.box((-length * 0.3, 0, floor + load[2] / 2), load, int(rng.choice((palette.carton, palette.wood))))
    build.box((0, 0, 0.48), (length + 0.1, width * 0.96, 0.18), palette.dark)
    _lamps(build, palette, rng, body, belt - 0.2, 0.8)
    _plate(build, palette, rng, -length / 2 - 0.06, 0.5)
    _axles(build, palette, body, (-0.3 * length, 0.32 * length), 0.38, arch=palette.dark)


def _lorry(build: Builder, palette: Palette, rng: Random, body: Body) -> None:
    """Add a lorry with a box, a tarpaulin or an open bed behind its cab."""
    rear, front = _chassis(build, palette, rng, body)
    bed, room, middle = 1.15, front - rear, (front + rear) / 2
    number, width = _paint(palette, rng), body.width
    if rng.random() < 0.8:
        skin = int(rng.choice((palette.paints[number], *palette.tarpaulins, *palette.tarpaulins)))
        faces = (int(rng.choice((*palette.cargo_doors, skin))), *(skin,) * 7)
        build.box((middle, 0, (bed + body.height) / 2), (room, width, body.height - bed), faces)
        return
    build.box((middle, 0, bed + 0.1), (room, width, 0.25), palette.wood)
    load = int(rng.integers(3))
    high = float(rng.uniform(0.5, 1.3))
    if load == 0:
        for x in (-0.26, 0.24):
            size = (room * 0.44, width * 0.8, high * float(rng.uniform(0.7, 1)))
            build.box((middle + x * room, 0, bed + 0.2 + size[2] / 2), size, int(rng.choice(palette.paints)))
    elif load == 1:
        for y, z in ((-0.7, 0.35), (0, 0.35), (0.7, 0.35), (-0.35, 0.95), (0.35, 0.95)):
            size = (0.66, 0.66, room * 0.95)
            build.add(Kind.CYLINDER, (middle, y, bed + 0.2 + z), size, palette.bark, yaw=math.pi / 2, lie=True)
    else:
        build.add(Kind.ELLIPSOID, (middle, 0, bed + 0.3), (room * 0.9, width * 0.9, 2 * high), palette.dirt)
        for y in (-width / 2, width / 2):
            build.box((middle, y, bed + 0.4), (room, 0.08, 0.7), palette.paints[number])
        build.box((rear, 0, bed + 0.4), (0.08, width, 0.7), palette.paints[number])


def _tanker(build: Builder, palette: Palette, rng: Random, body: Body) -> None:
    rear, front = _chassis(build, palette, rng, body)
    tall = body.height - 1.1
    skin = palette.metal if rng.random() < 0.5 else palette.paints[_paint(palette, rng)]
    size = (min(body.width, tall * 1.3), tall, front - rear)
    middle = ((front + rear) / 2, 0, 1.1 + tall / 2)
    # Laid down and turned, the cylinder's own z axis runs along x and its own y axis down.
    build.add(Kind.CYLINDER, middle, size, skin, yaw=math.pi / 2, lie=True)
    build.box(((front + rear) / 2, 0, body.height + 0.04), ((front - rear) * 0.8, 0.5, 0.12), palette.dark)
    build.box((rear - 0.05, 0.35, 1.1 + tall / 2), (0.06, 0.4, tall), palette.metal, shadow=False)


def _chassis(build: Builder, palette: Palette, rng: Random, body: Body) -> tuple[float, float]:
    """Add a lorry's cab, frame, wheels and lamps; return where its load begins and ends along x."""
    length, width, height = body[1:]
    number = _paint(palette, rng)
    paint, screen = palette.paints[number], palette.screens[number]
    cab, top = float(rng.uniform(1.6, 2.2)), min(height, float(rng.uniform(2.4, 3.3)))
    front, sill = length / 2, 0.45 * top
    build.box((front - cab / 2, 0, (0.35 + sill) / 2), (cab, width, sill - 0.35), paint)
    _front(build, palette, rng, body, 0.75, 1.1)
    faces = (paint, paint, paint, paint, paint, paint, screen, screen)
    _cut(build, (front - cab / 2, 0, (sill + top) / 2), (cab, width * 0.98, top - sill), faces,
         (_screen(float(rng.uniform(0.03, 0.2))), (1.0, 0.0, 0.0, 0.995)))  # fmt: skip
    door = (0.5 * cab, width + 0.02, 0.3 * top)
    build.box((front - 0.45 * cab, 0, 0.66 * top), door, palette.windows[number], shadow=False)
    build.box((-cab / 2, 0, 0.85), (length - cab, width * 0.4, 0.35), palette.dark)
    for y in (-width / 2 - 0.12, width / 2 + 0.12):
        build.box((front - 0.15, y, 0.68 * top), (0.12, 0.2, 0.5), palette.dark, shadow=False)
    rear = -length / 2
    build.box((rear + 0.1, 0, 0.55), (0.1, width * 0.94, 0.14), palette.metal)
    for y in (-width / 2 + 0.3, width / 2 - 0.3):
        build.box((rear + 0.03, y, 0.85), (0.08, 0.42, 0.16), _red(palette, rng), shadow=False)
    _plate(build, palette, rng, rear - 0.02, 0.72)
    if rng.random() < 0.6:
        build.box((-0.05 * length, 0, 0.7), (length * 0.4, width * 0.98, 0.5), palette.metal)
    axles = [front - 0.55 * cab, rear + 1.3]
    axles += [rear + 2.5] if length > 8 else []
    axles += [rear + 3.7, front - cab - 1.2] if length > 11 else []
    _axles(build, palette, body, tuple(axles), 0.48)
    return rear + 0.05, front - cab - float(rng.uniform(0.15, 0.6))


def _bus(build: Builder, palette: Palette, rng: Random, body: Body) -> None:
    length, width, height = body[1:]
    number = _paint(palette, rng)
    paint, screen, panes = palette.paints[number], palette.screens[number], palette.panes[number]
    low, high = 0.38 * height, 0.8 * height
    build.box((0, 0, (0.32 + low) / 2), (length, width, low - 0.32), paint)
    back = screen if rng.random() < 0.6 else int(rng.choice(palette.pictures))
    faces = (back, screen, panes, panes, paint, paint, screen, screen)
    _cut(build, (0, 0, (low + high) / 2), (length - 0.02, width * 0.985, high - low), faces, (_screen(0.012),))
    build.box((0, 0, (high + height) / 2), (length - 0.15, width * 0.99, height - high), paint)
    for x, wide in ((length / 2 - 0.07, 0.7), (-length / 2 + 0.07, 0.25)):
        build.box((x, 0, (high + height) / 2), (0.1, width * wide, 0.28), palette.signs[0], shadow=False)
    if rng.random() < 0.5:
        build.box((-0.2 * length, 0, height + 0.1), (2.5, width * 0.7, 0.22), paint)
    for y in (-width / 2 - 0.15, width / 2 + 0.15):
        build.box((length / 2 + 0.1, y, 0.7 * height), (0.15, 0.2, 0.4), palette.dark, shadow=False)
    _lamps(build, palette, rng, body, 0.9, 0.75)
    _plate(build, palette, rng, -length / 2 - 0.02, 0.6)
    _axles(build, palette, body, (-0.27 * length, 0.28 * length), 0.48, arch=palette.dark)


def _rider(build: Builder, palette: Palette, rng: Random, body: Body) -> None:
    """Add a bicycle or a motorbike, and who rides it."""
    wheel = 0.34 if body.style == 'bicycle' else 0.31
    thick = 0.05 if body.style == 'bicycle' else 0.16
    reach = body.length / 2 - wheel
    for x in (-reach, reach):
        build.add(Kind.CYLINDER, (x, 0, wheel), (2 * wheel, 2 * wheel, thick), palette.tyre, lie=True)
    paint, shirt = rng.choice(palette.paints, 2)
    trousers = int(rng.choice((palette.dark, *palette.paints)))
    if body.style == 'motorbike':
        build.add(Kind.ELLIPSOID, (0.0, 0, 0.62), (1.3, 0.36, 0.5), int(paint))
        build.box((-reach - 0.1, 0, 0.75), (0.08, 0.2, 0.1), _red(palette, rng))
    else:
        build.box((0.05, 0, 0.55), (2 * reach, 0.04, 0.06), int(paint))
        build.box((-0.15, 0, 0.7), (0.05, 0.04, 0.5), int(paint))
    build.box((reach - 0.1, 0, 0.8), (0.06, 0.06, 0.6), palette.metal)
    build.box((reach - 0.15, 0, 1.05), (0.06, 0.55, 0.05), palette.dark)
    seat = 0.95 if body.style == 'bicycle' else 0.85
    build.add(Kind.ELLIPSOID, (-0.15, 0, seat), (0.4, 0.36, 0.34), trousers)
    build.add(Kind.ELLIPSOID, (-0.05, 0, seat + 0.3), (0.34, 0.42, 0.6), int(shirt))
    build.add(Kind.ELLIPSOID, (0.06, 0, seat + 0.62), (0.23, 0.2, 0.27), palette.skin)
    build.add(Kind.ELLIPSOID, (0.04, 0, seat + 0.69), (0.25, 0.22, 0.2), int(rng.choice(palette.paints)))
    for y, x in ((-0.14, 0.1), (0.14, 0.0)):
        build.add(Kind.CYLINDER, (x, y, 0.32 + seat * 0.3), (0.14, 0.14, seat * 0.75), trousers)
        build.box((0.2, y * 1.6, seat + 0.25), (0.5, 0.1, 0.11), int(shirt))


def _paint(palette: Palette, rng: Random) -> int:
    return int(rng.integers(len(palette.paints)))


def _red(palette: Palette, rng: Random) -> int:
    return palette.brake_lamp if rng.random() < 0.45 else palette.tail_lamp


def _lamps(build: Builder, palette: Palette, rng: Random, body: Body, z: float, grille: float) -> None:
    """Add rear lamps whose middle is at z, and head lamps beside a grille."""
    rear = _red(palette, rng)
    tall, wide = float(rng.uniform(0.12, 0.45)), float(rng.uniform(0.14, 0.36))
    for side in (-1.0, 1.0):
        y = side * (body.width / 2 - wide / 2 - 0.04)
        build.box((-body.length / 2 + 0.03, y, z), (0.1, wide, tall), rear, shadow=False)
    _front(build, palette, rng, body, grille, 0.5)


def _front(build: Builder, palette: Palette, rng: Random, body: Body, z: float, wide: float) -> None:
    """Add head lamps at a height, and a grille as wide as a share of the body between them."""
    x, tall = body.length / 2 - 0.02, float(rng.uniform(0.1, 0.2))
    for side in (-1.0, 1.0):
        build.box((x, side * (body.width / 2 - 0.25), z), (0.08, 0.36, tall), palette.head_lamp, shadow=False)
    build.box((x, 0, z - 0.02), (0.06, body.width * 0.5 * wide, tall), palette.dark, shadow=False)


def _plate(build: Builder, palette: Palette, rng: Random, x: float, z: float) -> None:
    """Add number plates: one at x, behind, and one as far in front."""
    plate = int(rng.choice(palette.plates))
    for end, height in ((x, z), (-x, 0.45)):
        build.box((end, 0, height), (0.03, 0.52, 0.12), plate, shadow=False)


def _axles(
    build: Builder, palette: Palette, body: Body, along: tuple[float, ...], radius: float, arch: int | None = None
) -> None:
    """Add wheels at each place along x, with a dark arch above them."""
    layers = [(2.0, 1.012, palette.tyre), (1.25, 1.02, palette.hub)]
    layers += [] if arch is None else [(2.32, 1.004, arch)]
    for x in along:
        for size, width, material in layers:
            shape = (size * radius, size * radius, body.width * width)
            build.add(Kind.CYLINDER, (x, 0, max(1.0, size / 2) * radius), shape, material, lie=True, shadow=False)


def _cut(
    build: Builder,
    centre: tuple[float, float, float],
    size: tuple[float, float, float],
    faces: int | tuple[int, ...],
    cuts: tuple[Plane, ...],
) -> None:
    build.add(Kind.CUT_BOX, centre, size, faces, cuts=cuts)


def _bevel(begin: float, drop: float, *, front: bool = True) -> Plane:
    """Return a plane that takes the top off a unit cube from x = begin on, down by `drop` at x = 1 (or -1)."""
    slope = drop / (1 - begin)
    return (slope if front else -slope, 0.0, 1.0, 1 + slope * begin)


def _screen(run: float, *, front: bool = True, low: float = -1.0) -> Plane:
    """Return a plane that leans a unit cube's end back: by `run` of its length at the top, by nothing at z = low."""
    slope = 2 * run / (1 - low)
    return (1.0 if front else -1.0, 0.0, slope, 1 + slope * low)


STYLES = {
    'car': Style((3.5, 4.9), (1.65, 1.95), (1.38, 1.75), _car),
    'van': Style((4.5, 6.4), (1.85, 2.1), (1.85, 2.8), _van),
    'pickup': Style((4.8, 5.6), (1.8, 2.0), (1.7, 1.95), _pickup),
    'lorry': Style((6.0, 9.5), (2.2, 2.55), (2.7, 3.9), _lorry),
    'trailer': Style((12.0, 16.0), (2.5, 2.55), (3.6, 4.0), _lorry),
    'tanker': Style((7.0, 13.0), (2.4, 2.55), (2.9, 3.6), _tanker),
    'bus': Style((8.5, 13.0), (2.4, 2.55), (2.8, 3.3), _bus),
    'bicycle': Style((1.65, 1.85), (0.5, 0.6), (1.65, 1.85), _rider),
    'motorbike': Style((1.9, 2.2), (0.6, 0.8), (1.5, 1.7), _rider),
}
