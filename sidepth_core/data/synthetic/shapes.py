"""The solids that a scene is built of: boxes, cut boxes, upright or lying cylinders and ellipsoids, as arrays."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FACES = 8
"""Faces of a solid, for its materials: -x, +x, -y, +y, -z, +z, first cut, second cut."""

Array = npt.NDArray[np.float64]
Triple = tuple[float, float, float]
Plane = tuple[float, float, float, float]
NO_CUT: Plane = (0.0, 0.0, 0.0, 1.0)


class Kind(IntEnum):
    """What a solid is inside its half sizes: a unit cube, one with two cuts, a cylinder along z, or a ball."""

    BOX = 0
    CUT_BOX = 1
    CYLINDER = 2
    ELLIPSOID = 3


class Shapes(NamedTuple):
    """N solids.

    Attributes:
        kind: (N,) int64, a Kind.
        centre: (N, 3), world, metres.
        axes: (N, 3, 3), row i is the unit vector of the solid's own axis i in the world.
        half: (N, 3), half sizes along the own axes, metres.
        cuts: (N, 2, 4), planes (n, m): what fulfils n . p <= m is kept, p in units of the half sizes.
        material: (N, FACES) int64, rows of the material table.
        casts_shadow: (N,) bool.
        seed: (N,) a number that moves the solid's texture apart from other solids'.
    """

    kind: npt.NDArray[np.int64]
    centre: Array
    axes: Array
    half: Array
    cuts: Array
    material: npt.NDArray[np.int64]
    casts_shadow: npt.NDArray[np.bool_]
    seed: Array

    @classmethod
    def joined(cls, parts: list[Shapes]) -> Shapes:
        """Return all solids of all parts."""
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def rows(self, chosen: npt.NDArray[np.bool_]) -> Shapes:
        """Return the chosen solids."""
        kind, centre, axes, half, cuts, material, casts_shadow, seed = self
        return Shapes(
            kind[chosen], centre[chosen], axes[chosen], half[chosen],
            cuts[chosen], material[chosen], casts_shadow[chosen], seed[chosen],
        )  # fmt: skip

    def moved(self, x: float, y: float, yaw: float) -> Shapes:
        """Return the solids turned by yaw about the world's z axis, then moved by (x, y)."""
        turn = np.array([[math.cos(yaw), -math.sin(yaw), 0], [math.sin(yaw), math.cos(yaw), 0], [0, 0, 1]])
        return self._replace(centre=self.centre @ turn.T + [x, y, 0], axes=self.axes @ turn.T)


class _Solid(NamedTuple):
    """A solid that was added: as Builder.add takes it, but in the world."""

    kind: Kind
    centre: Triple
    yaw: float
    lie: bool
    half: Triple
    planes: tuple[Plane, ...]
    material: tuple[int, ...]
    shadow: bool


class Builder:
    """Collects solids placed in a local frame (x forward, y left, z up) that stands somewhere in the world."""

    def __init__(self) -> None:
        self._solids: list[_Solid] = []
        self._origin = (0.0, 0.0, 0.0)

    def stand(self, x: float, y: float, heading: float) -> Builder:
        """Place what is added from now on in the frame at (x, y) of the world, turned by heading."""
        self._origin = (x, y, heading)
        return self

    def within(self, x: float, y: float, yaw: float) -> Builder:
        """Return a builder of the same collection whose frame stands at (x, y) of this one's, turned by yaw."""
        inner = Builder()
        inner._solids = self._solids
        east, north = self._place(x, y)
        return inner.stand(east, north, self._origin[2] + yaw)

    def _place(self, x: float, y: float) -> tuple[float, float]:
        x0, y0, heading = self._origin
        cos, sin = math.cos(heading), math.sin(heading)
        return x0 + cos * x - sin * y, y0 + sin * x + cos * y

    def add(
        self,
        kind: Kind,
        centre: Triple,
        size: Triple,
        material: int | tuple[int, ...],
        *,
        yaw: float = 0.0,
        lie: bool = False,
        cuts: tuple[Plane, ...] = (),
        shadow: bool = True,
    ) -> None:
        """Add a solid.

        Args:
            kind: What it is.
            centre: Its centre in the local frame, metres.
            size: Its full sizes along its own axes, metres.
            material: One material for all faces, or one for each of FACES.
            yaw: Its turn about z against the local frame, radians.
            lie: Lay the solid's own z axis along the local y (an axle), its own y down.
            cuts: Up to two planes (see Shapes.cuts).
            shadow: Whether it shades the ground.
        """
        x, y, z = centre
        half = (size[0] / 2, size[1] / 2, size[2] / 2)
        planes = (*cuts, *(NO_CUT,) * (2 - len(cuts)))
        faces = (material,) * FACES if isinstance(material, int) else material
        where = (*self._place(x, y), z)
        self._solids.append(_Solid(kind, where, self._origin[2] + yaw, lie, half, planes, faces, shadow))

    def box(
        self,
        centre: Triple,
        size: Triple,
        material: int | tuple[int, ...],
        *,
        yaw: float = 0.0,
        shadow: bool = True,
    ) -> None:
        """Add a box by its centre and full sizes."""
        self.add(Kind.BOX, centre, size, material, yaw=yaw, shadow=shadow)

    def build(self) -> Shapes:
        """Return what was added."""
        count = len(self._solids)
        columns = zip(*self._solids, strict=True) if count else ((),) * len(_Solid._fields)
        kind, centre, yaw, lie, half, cuts, material, shadow = columns
        cos, sin = np.cos(np.asarray(yaw, dtype=float)), np.sin(np.asarray(yaw, dtype=float))
        zero, one = np.zeros(count), np.ones(count)
        standing = np.stack([cos, sin, zero, -sin, cos, zero, zero, zero, one], axis=-1).reshape(count, 3, 3)
        lying = np.stack([cos, sin, zero, zero, zero, -one, -sin, cos, zero], axis=-1).reshape(count, 3, 3)
        return Shapes(
            np.asarray(kind, dtype=np.int64).reshape(count),
            np.asarray(centre, dtype=np.float64).reshape(count, 3),
            np.where(np.asarray(lie, dtype=bool).reshape(count, 1, 1), lying, standing),
            np.asarray(half, dtype=np.float64).reshape(count, 3),
            np.asarray(cuts, dtype=np.float64).reshape(count, 2, 4),
            np.asarray(material, dtype=np.int64).reshape(count, FACES),
            np.asarray(shadow, dtype=np.bool_).reshape(count),
            np.modf(np.abs(np.sin(np.asarray(centre).reshape(count, 3) @ [12.9898, 78.233, 37.719]) * 4375.85))[0] * 64,
        )
