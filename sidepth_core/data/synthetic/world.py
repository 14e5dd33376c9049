"""A world: an endless line with things built along it piece by piece, each piece from its own seed."""

from __future__ import annotations

import math
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
MIN_GAP_M = 16.0
"""The middles of two moving things on one lane are at least this far apart."""
ROUND_M = 160.0
"""Oncoming things start again this far ahead when they have passed."""
PASSED_M = 15.0
"""How far behind the camera they are then."""
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


class Passer(NamedTuple):
    """How a moving thing travels: metres ahead at the start, d, metres a second, towards us or with us."""

    ahead: float
    d: float
    speed_mps: float
    towards: bool


class Gaze(NamedTuple):
    """Where cameras of a scene look, as mean and standard deviation, radians.

    Attributes:
        pitch: Down is positive.
        roll: Clockwise is positive.
        yaw: Against the way, left is positive.
    """

    pitch: tuple[float, float] = (0.02, 0.04)
    roll: tuple[float, float] = (0.0, 0.015)
    yaw: tuple[float, float] = (0.0, 0.02)


AHEAD = Gaze()
"""The gaze of a camera on a vehicle."""


class Scene(Protocol):
    """A kind of world: the materials, the line, the light and a rule that fills each stretch of the line.

    Attributes:
        palette: Its materials.
        path: The line.
        ground: The look of the ground.
        light: The light.
        sky: What lies beyond.
        piece_length: Length of a stretch, metres.
        sight: How far behind and ahead of the camera the world is built, metres.
        speed_mps: Least and greatest cruising speed, metres a second; a least of 0 makes the drive stop at times.
        camera_height_m: Least and greatest height of the camera, metres.
        gaze: Where its cameras look.
        ceiling_m: How high the ceiling is, metres; inf under the sky.
        reach_m: How far the drive gets before it stands for good; inf without an end.
        ego_d: Where the drive keeps, metres left of the line.
        mover_count: How many things move, where that is asked for.
    """

    palette: Palette
    path: Path
    ground: Ground
    light: Light
    sky: Sky
    piece_length: float
    sight: tuple[float, float]
    speed_mps: tuple[float, float]
    camera_height_m: tuple[float, float]
    gaze: Gaze
    ceiling_m: float
    reach_m: float
    ego_d: float
    mover_count: int

    def build(self, rng: np.random.Generator, first_s: float, build: Builder) -> list[Patch]:
        """Add what stands between first_s and first_s + piece_length, and return what covers its ground."""
        ...

    def mover(self, rng: np.random.Generator, build: Builder) -> Passer:
        """Add a moving thing at the origin, and return how it travels."""
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
            [
                patch
                for piece in pieces
                for patch in piece.patches
                if s - 10 < patch.last_s and patch.first_s < s + PATCH_SIGHT_M
            ],
            self._table,
            self.scene.light,
            self.scene.sky,
        )

    def add_movers(self, pace: Callable[[float], float]) -> None:
        """Let things move from now on; pace(time_s) is the drive's own s, so that traffic keeps with it."""
        rng = np.random.default_rng([self._seed, 7])
        passers: list[Passer] = []
        for _ in range(self.scene.mover_count):
            build = Builder()
            passer = self.scene.mover(rng, build)
            if all(abs(passer.ahead - other.ahead) > MIN_GAP_M or passer.d != other.d for other in passers):
                passers.append(passer)
                self._movers.append(Mover(build.build(), _motion(pace, passer), passer.d, passer.towards))

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
        place = self.scene.path.at(mover.s_at(time_s), mover.d)
        return mover.shapes.moved(place.x, place.y, place.heading + (np.pi if mover.backwards else 0.0))


def _motion(pace: Callable[[float], float], passer: Passer) -> Callable[[float], float]:
    """Return where a thing is at a time: with us it keeps near, towards us it comes again and again."""
    if not passer.towards:
        # The nearer it is, the less its distance changes: nothing comes to within the camera.
        wander = min(6.0, 0.15 * abs(passer.ahead))
        return lambda time_s: pace(time_s) + passer.ahead + wander * math.sin(pace(time_s) / 40)

    def oncoming(time_s: float) -> float:
        ours = pace(time_s)
        return ours + (passer.ahead - ours - passer.speed_mps * time_s) % ROUND_M - PASSED_M

    return oncoming
