"""A world: an endless line with things built along it piece by piece, each piece from its own seed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import torch

from sidepth_core.data.synthetic.ground import Ground, Patch
from sidepth_core.data.synthetic.palette import Palette
from sidepth_core.data.synthetic.path import Path
from sidepth_core.data.synthetic.render import Light, Moment
from sidepth_core.data.synthetic.shapes import Builder, Shapes
from sidepth_core.data.synthetic.sky import Sky
from sidepth_core.data.synthetic.textures import MaterialTable

KEPT_PIECES = 64
PATCH_SIGHT_M = 90.0
"""Patches of the ground farther ahead are too flat to the eye to be drawn."""


class Piece(NamedTuple):
    """What stands along one stretch of the line, and what covers its ground."""

    shapes: Shapes
    patches: tuple[Patch, ...]


class Mover(NamedTuple):
    """A thing that moves along the line: its solids at the origin facing x, where it is at a time, and its d."""

    shapes: Shapes
    s_at: Callable[[float], float]
    d: float
    backwards: bool


class Scene(Protocol):
    """A kind of world: the materials, the line, the light and a rule that fills each stretch of the line."""

    palette: Palette
    path: Path
    ground: Ground
    light: Light
    sky: Sky
    piece_length: float
    sight: tuple[float, float]
    mover_count: int

    def build(self, rng: np.random.Generator, first_s: float, build: Builder) -> list[Patch]:
        """Add what stands between first_s and first_s + piece_length, and return what covers its ground."""
        ...

    def mover(self, rng: np.random.Generator, build: Builder) -> tuple[float, float, float, bool]:
        """Add a moving thing at the origin; return its distance ahead at the start, d, speed, and if it comes towards us."""
        ...


class World:
    """A scene that can be looked at from anywhere along its line at any time."""

    def __init__(self, scene: Scene, seed: int, device: torch.device) -> None:
        self.scene = scene
        self._seed = seed
        self._table = MaterialTable.of(scene.palette.materials, device)
        self._pieces: OrderedDict[int, Piece] = OrderedDict()
        self._movers: list[Mover] = []

    def moment(self, s: float, time_s: float) -> Moment:
        """Return what there is to see around the place s of the line at a time."""
        behind, ahead = self.scene.sight
        length = self.scene.piece_length
        pieces = [self._piece(index) for index in range(int((s - behind) // length), int((s + ahead) // length) + 1)]
        moving = [self._moved(mover, time_s) for mover in self._movers]
        return Moment(
            Shapes.joined([piece.shapes for piece in pieces] + moving),
            self.scene.path.between(s - behind, s + ahead + 200),
            self.scene.ground,
            [patch for piece in pieces for patch in piece.patches if s - 10 < patch.last_s and patch.first_s < s + PATCH_SIGHT_M],
            self._table,
            self.scene.light,
            self.scene.sky,
        )

    def add_movers(self, pace: Callable[[float], float]) -> None:
        """Let things move from now on; pace(time_s) is the drive's own s, so that traffic keeps with it."""
        rng = np.random.default_rng([self._seed, 7])
        for _ in range(self.scene.mover_count):
            build = Builder()
            ahead, d, speed, towards = self.scene.mover(rng, build)
            self._movers.append(Mover(build.build(), _motion(pace, ahead, speed, towards=towards), d, towards))

    def _piece(self, index: int) -> Piece:
        if index not in self._pieces:
            build = Builder()
            rng = np.random.default_rng([self._seed, 3, index + 2**20])
            patches = self.scene.build(rng, index * self.scene.piece_length, build)
            self._pieces[index] = Piece(build.build(), tuple(patches))
        self._pieces.move_to_end(index)
        while len(self._pieces) > KEPT_PIECES:
            self._pieces.popitem(last=False)
        return self._pieces[index]

    def _moved(self, mover: Mover, time_s: float) -> Shapes:
        place = self.scene.path.at(max(mover.s_at(time_s), 0.0), mover.d)
        return mover.shapes.moved(place.x, place.y, place.heading + (np.pi if mover.backwards else 0.0))


def _motion(pace: Callable[[float], float], ahead: float, speed: float, *, towards: bool) -> Callable[[float], float]:
    """Return where a thing is at a time: traffic ahead drifts against our own pace, oncoming traffic passes again and again."""
    if not towards:
        return lambda time_s: pace(time_s) + ahead + 6 * np.sin(time_s * speed / 40)
    spacing = 160.0
    return lambda time_s: pace(time_s) + (ahead - (pace(time_s) + speed * time_s)) % spacing - 15
