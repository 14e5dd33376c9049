"""The materials of one world: families of surfaces, drawn anew for every seed."""

from __future__ import annotations

import colorsys

import numpy as np

from sidepth_core.data.synthetic.textures import Material

Colour = tuple[float, float, float]


class Palette:
    """The materials that a world builds with; each attribute holds rows of `materials`."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.materials: list[Material] = []
        self._rng = rng
        self.asphalt = self.add(
            Material(self.grey(0.24, 0.46, 0.03), grain=self.near(0.1), streak=self.near(0.09), stain=0.08)
        )
        self.concrete = self.add(Material(self.grey(0.5, 0.72, 0.06), grain=0.06, streak=0.06, stain=0.1))
        self.paving = self.add(
            _rows(self.grey(0.45, 0.68, 0.05), 0.82, (self.near(0.5), self.near(0.4)), 0.06, self._rng.choice([0, 0.5]))
        )
        self.grass = self.add(
            Material(self.hsv((0.17, 0.29), (0.22, 0.5), (0.3, 0.52)), grain=0.22, streak=0.05, stain=0.16)
        )
        self.dirt = self.add(
            Material(self.hsv((0.06, 0.11), (0.2, 0.45), (0.35, 0.55)), grain=0.16, streak=0.1, stain=0.18)
        )
        self.kerb = self.add(_rows(self.grey(0.55, 0.75, 0.04), 0.8, (1.0, 5.0), 0.02, 0.0))
        self.metal = self.add(Material(self.grey(0.5, 0.7, 0.04), grain=0.04, streak=0.1, stain=0.05))
        self.dark = self.add(Material((0.12, 0.12, 0.13), grain=0.05, streak=0.03, stain=0.03))
        self.glass = self.add(Material((0.1, 0.12, 0.14), grain=0.02, streak=0.12, stain=0.1))
        self.tyre = self.add(Material((0.1, 0.1, 0.1), grain=0.03))
        self.hub = self.add(Material(self.grey(0.45, 0.7, 0.02), grain=0.05))
        self.skin = self.add(Material(self.hsv((0.03, 0.08), (0.25, 0.6), (0.35, 0.85)), grain=0.03))
        self.lamp = self.add(Material((1.0, 0.98, 0.9), grain=0.0, streak=0.0, stain=0.0, glow=1.6))
        self.rail = self.add(_rows(self.grey(0.6, 0.8, 0.02), 0.55, (5.0, 0.1), 0.05, 0.0))
        self.noise_wall = self.add(
            _rows(self.hsv((0.08, 0.4), (0.05, 0.3), (0.4, 0.7)), 0.7, (self.near(2.5), self.near(0.5)), 0.08, 0.0)
        )
        self.bark = self.add(Material(self.hsv((0.04, 0.1), (0.15, 0.4), (0.25, 0.42)), grain=0.2, streak=0.1))
        self.wood = self.add(_rows(self.hsv((0.05, 0.1), (0.2, 0.5), (0.4, 0.65)), 0.7, (0.14, 6.0), 0.12, 0.0))
        self.foliage = tuple(
            self.add(
                Material(
                    self.hsv((0.18, 0.32), (0.22, 0.55), (0.22, 0.44)), grain=0.3, streak=0.0, stain=0.25, finest=0.04
                )
            )
            for _ in range(4)
        )
        self.paints = tuple(self.add(Material(self.paint(), grain=0.015, streak=0.03, stain=0.06)) for _ in range(8))
        self.facades = tuple(self.add(self.facade()) for _ in range(10))
        self.walls = tuple(self.add(self.wall()) for _ in range(5))
        self.roofs = tuple(
            self.add(_rows(self.hsv((0.0, 0.08), (0.1, 0.6), (0.3, 0.55)), 0.75, (0.35, 0.35), 0.1, 0.5))
            for _ in range(3)
        )
        self.doors = tuple(self.add(self.door()) for _ in range(4))
        self.signs = tuple(self.add(self.sign()) for _ in range(6))
        self.shops = tuple(self.add(self.shop()) for _ in range(4))
        self._add_interior()
        # A generator of its own: what is added for vehicles changes nothing of what a seed drew for the rest.
        self._rng = rng.spawn(1)[0]
        self._add_vehicles([self.materials[row].colour for row in self.paints])

    def _add_vehicles(self, colours: list[Colour]) -> None:
        """Add what vehicles need; rows of windows, screens and panes are in the order of the paints."""
        self.windows = tuple(self.add(self.window(colour, self.near(0.95), 0.86)) for colour in colours)
        self.screens = tuple(self.add(self.window(colour, 9.0, 0.92)) for colour in colours)
        self.panes = tuple(self.add(self.window((0.1, 0.1, 0.11), self.near(1.5), 0.94)) for _ in colours)
        self.plates = tuple(
            self.add(_plate(colour)) for colour in ((0.93, 0.93, 0.92), (0.93, 0.93, 0.92), (0.9, 0.72, 0.15))
        )
        self.head_lamp = self.add(Material((0.85, 0.87, 0.9), grain=0.1, glow=self.near(0.3, 0.9)))
        self.tail_lamp = self.add(Material((0.5, 0.04, 0.04), grain=0.08))
        self.brake_lamp = self.add(Material((0.95, 0.12, 0.08), grain=0.05, glow=1.1))
        self.tarpaulins = tuple(self.add(self.tarpaulin()) for _ in range(5))
        self.cargo_doors = tuple(self.add(self.cargo_door()) for _ in range(3))

    def window(self, paint: Colour, period: float, fill: float) -> Material:
        """Return glass between pillars of a paint, dark or with a little of the sky in it."""
        glass = (
            self.grey(0.06, 0.16, 0.02) if self._rng.random() < 0.7 else self.hsv((0.5, 0.62), (0.1, 0.35), (0.2, 0.5))
        )
        return Material(
            paint,
            accent=glass,
            frame=(0.06, 0.06, 0.07),
            period=(period, 9.0),
            fill=(fill, 0.86),
            border=(0.03, 0.05),
            jitter=0.3,
            grain=0.04,
            streak=0.08,
            stain=0.25,
        )

    def tarpaulin(self) -> Material:
        """Return the side of a lorry: plain, ribbed, or with large letters."""
        plain = self.grey(0.5, 0.95, 0.03) if self._rng.random() < 0.5 else self.hsv((0, 1), (0.3, 0.85), (0.2, 0.75))
        style = self._rng.integers(3)
        if style == 0:
            return Material(plain, grain=0.02, streak=0.06, stain=0.1)
        if style == 1:
            return _rows(plain, self.near(0.85, 0.1), (self.near(0.4, 0.6), 9.0), 0.03, 0.0)
        ink = self.hsv((0, 1), (0.2, 0.9), (0.1, 0.9))
        size = self.near(0.9, 0.5)
        return Material(
            plain,
            accent=ink,
            frame=ink,
            period=(size, size * 1.6),
            fill=(0.62, 0.4),
            jitter=0.2,
            grain=0.02,
            streak=0.05,
            stain=0.1,
        )

    def cargo_door(self) -> Material:
        """Return the rear of a lorry: two doors with a dark gap and bars."""
        colour = self.grey(0.35, 0.95, 0.04) if self._rng.random() < 0.7 else self.hsv((0, 1), (0.3, 0.8), (0.2, 0.7))
        return Material(
            (0.1, 0.1, 0.1),
            accent=colour,
            frame=(colour[0] * 0.7, colour[1] * 0.7, colour[2] * 0.7),
            period=(1.2, self.near(2.4, 0.5)),
            fill=(0.97, 0.96),
            border=(0.03, 0.02),
            jitter=0.05,
            grain=0.04,
            streak=0.06,
            stain=0.14,
        )

    def _add_interior(self) -> None:
        self.trim = self.add(Material(self.grey(0.3, 0.9, 0.05), grain=0.03, streak=0.04, stain=0.04))
        self.red = self.add(Material((0.75, 0.1, 0.08), grain=0.03, stain=0.05))
        self.carton = self.add(
            Material(self.hsv((0.07, 0.1), (0.3, 0.5), (0.5, 0.75)), grain=0.05, streak=0.05, stain=0.08)
        )
        self.plasters = tuple(self.add(self.plaster()) for _ in range(3))
        self.ceiling = self.add(
            _rows(self.grey(0.75, 0.95, 0.03), 0.85, (0.6, 0.6), 0.03, 0.0)._replace(grain=0.04, streak=0.02, glow=0.35)
        )
        self.panelling = self.add(
            _rows(self.hsv((0.05, 0.6), (0.05, 0.3), (0.35, 0.75)), 0.75, (self.near(0.4), 1.0), 0.05, 0.0)
        )
        self.floor_tiles = self.add(_rows(self.grey(0.35, 0.8, 0.08), 0.75, (self.near(0.45),) * 2, 0.07, 0.0))
        self.carpet = self.add(
            Material(self.hsv((0, 1), (0.05, 0.4), (0.25, 0.55)), grain=0.12, streak=0.0, stain=0.08)
        )
        self.planks = self.add(
            _rows(self.hsv((0.05, 0.1), (0.25, 0.55), (0.4, 0.7)), 0.7, (self.near(1.2), self.near(0.14)), 0.12, 0.5)
        )
        self.daylight = self.add(
            Material(
                (0.7, 0.7, 0.7),
                accent=(0.95, 0.97, 1.0),
                frame=(0.7, 0.7, 0.7),
                period=(0.9, 1.4),
                fill=(0.92, 0.92),
                grain=0.02,
                stain=0.2,
                glow=1.3,
            )
        )
        self.pictures = tuple(self.add(self.picture()) for _ in range(6))
        self.cupboards = tuple(self.add(self.cupboard()) for _ in range(4))

    def add(self, material: Material) -> int:
        """Add a material and return its row."""
        self.materials.append(material)
        return len(self.materials) - 1

    def near(self, value: float, spread: float = 0.3) -> float:
        """Return a number within +-spread (relative) of value."""
        return value * float(self._rng.uniform(1 - spread, 1 + spread))

    def grey(self, low: float, high: float, tint: float) -> Colour:
        """Return a grey between low and high, warm or cool by up to tint."""
        red, green, blue = self._rng.uniform(low, high) + np.array([1.0, 0.2, -1.0]) * self._rng.uniform(-tint, tint)
        return (float(red), float(green), float(blue))

    def hsv(self, hue: tuple[float, float], saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
        """Return a colour from ranges of hue, saturation and value."""
        return colorsys.hsv_to_rgb(*(float(self._rng.uniform(*part)) for part in (hue, saturation, value)))

    def paint(self) -> Colour:
        """Return a car colour: mostly white, grey and black, as on real streets."""
        if self._rng.random() < 0.65:
            return self.grey(*((0.8, 0.95), (0.4, 0.65), (0.1, 0.25))[self._rng.integers(3)], 0.02)
        return self.hsv(((0.0, 0.08), (0.55, 0.68), (0.25, 0.45))[self._rng.integers(3)], (0.3, 0.85), (0.2, 0.65))

    def facade(self) -> Material:
        """Return a wall with rows of framed windows."""
        wall = (
            self.hsv((0.0, 0.15), (0.03, 0.4), (0.4, 0.88)) if self._rng.random() < 0.75 else self.grey(0.35, 0.8, 0.05)
        )
        border = float(self._rng.uniform(0.015, 0.06))
        light_frame = self._rng.random() < 0.6
        return Material(
            wall,
            accent=self.hsv((0.5, 0.65), (0.05, 0.35), (0.12, 0.45)),
            frame=self.grey(0.75, 0.95, 0.03) if light_frame else self.grey(0.15, 0.45, 0.05),
            period=(float(self._rng.uniform(1.8, 4.2)), float(self._rng.uniform(2.7, 3.8))),
            fill=(float(self._rng.uniform(0.32, 0.72)), float(self._rng.uniform(0.42, 0.66))),
            border=(border, border),
            jitter=float(self._rng.uniform(0.2, 0.7)),
            grain=self.near(0.06),
            streak=self.near(0.05),
            stain=self.near(0.08),
        )

    def shop(self) -> Material:
        """Return a shop window: large panes between narrow posts."""
        return self.facade()._replace(
            period=(self.near(2.2), 2.9),
            fill=(0.86, 0.8),
            border=(0.02, 0.03),
            accent=self.hsv((0, 1), (0.05, 0.3), (0.12, 0.5)),
        )

    def wall(self) -> Material:
        """Return a plain or brick wall."""
        if self._rng.random() < 0.5:
            brick = self.hsv((0.0, 0.09), (0.25, 0.6), (0.35, 0.65))
            return _rows(brick, 0.75, (self.near(0.25), self.near(0.085)), 0.14, 0.5)
        return Material(self.grey(0.45, 0.85, 0.06), grain=0.08, streak=0.08, stain=0.14)

    def plaster(self) -> Material:
        """Return a painted indoor wall: light, and nearly without texture."""
        colour = self.grey(0.6, 0.95, 0.06) if self._rng.random() < 0.6 else self.hsv((0, 1), (0.08, 0.35), (0.55, 0.9))
        return Material(colour, grain=self.near(0.03, 0.6), streak=self.near(0.025, 0.6), stain=self.near(0.06, 0.5))

    def door(self) -> Material:
        """Return a door with panels."""
        wooden = self._rng.random() < 0.5
        colour = self.hsv((0.05, 0.11), (0.2, 0.6), (0.3, 0.7)) if wooden else self.hsv((0, 1), (0.02, 0.4), (0.2, 0.9))
        darker: Colour = (colour[0] * 0.8, colour[1] * 0.8, colour[2] * 0.8)
        count = float(self._rng.choice([0.45, 0.7, 1.1]))
        return Material(
            colour,
            accent=darker,
            frame=(0.2, 0.2, 0.2),
            period=(0.5, count),
            fill=(0.75, 0.78),
            border=(0.03, 0.02),
            grain=0.04,
        )

    def picture(self) -> Material:
        """Return a printed sheet: coloured fields, rows of text or a blotchy photograph."""
        ground, field = self.hsv((0, 1), (0.0, 0.3), (0.5, 0.95)), self.hsv((0, 1), (0.1, 0.7), (0.15, 0.8))
        size = self.near(0.25, 0.7)
        return Material(
            ground,
            accent=field,
            frame=field,
            period=(size, size * self.near(0.6, 0.6)),
            fill=(0.8, 0.6),
            jitter=0.6,
            grain=0.1,
            stain=0.3,
        )

    def cupboard(self) -> Material:
        """Return the fronts of cupboards, drawers or lockers."""
        front = (
            self.grey(0.35, 0.85, 0.05) if self._rng.random() < 0.5 else self.hsv((0.04, 0.12), (0.2, 0.6), (0.3, 0.7))
        )
        gap: Colour = (front[0] * 0.5, front[1] * 0.5, front[2] * 0.5)
        period = (self.near(0.45), float(self._rng.choice([0.25, 0.6, 1.9])))
        return Material(
            gap,
            accent=front,
            frame=front,
            period=period,
            fill=(0.95, 0.95),
            jitter=0.05,
            grain=0.04,
            streak=0.06,
            stain=0.05,
        )

    def sign(self) -> Material:
        """Return a board with a bright field and rows of letters, seen as short bars."""
        ground = self.hsv((0, 1), (0.5, 0.95), (0.3, 0.85)) if self._rng.random() < 0.7 else self.grey(0.85, 0.98, 0.02)
        ink = (0.95, 0.95, 0.93) if sum(ground) < 1.6 else (0.1, 0.1, 0.15)
        size = self.near(0.22)
        return Material(
            ground,
            accent=ink,
            frame=ink,
            period=(size * 0.8, size * 1.7),
            fill=(0.6, 0.5),
            jitter=0.25,
            grain=0.02,
            streak=0.02,
            stain=0.03,
        )


def _rows(colour: Colour, joint: float, period: tuple[float, float], jitter: float, bond: float) -> Material:
    """Return rows of stones or planks with joints of `joint` times their brightness."""
    seam: Colour = (colour[0] * joint, colour[1] * joint, colour[2] * joint)
    thin = 0.012
    fill = (1 - thin / period[0], 1 - thin / period[1])
    return Material(
        seam,
        accent=colour,
        frame=colour,
        period=period,
        fill=fill,
        jitter=jitter,
        bond=float(bond),
        grain=0.07,
        streak=0.04,
    )


def _plate(ground: Colour) -> Material:
    ink: Colour = (0.1, 0.1, 0.12)
    return Material(ground, accent=ink, frame=ink, period=(0.065, 9.0), fill=(0.62, 0.62), jitter=0.3, grain=0.02)
