"""From a ray's hit to the surface it lies on: texture coordinates, their change from pixel to pixel, and the normal."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sidepth_core.data.synthetic.arrays import pick, put, where_true
from sidepth_core.data.synthetic.arrays import unit as unit_vectors
from sidepth_core.data.synthetic.shapes import Kind
from sidepth_core.data.synthetic.textures import Surface
from sidepth_core.data.synthetic.trace import Solids

MAX_STEP_M = 50.0


class Facet(NamedTuple):
    """The surfaces of P hits on solids.

    Attributes:
        surface: What the texture needs.
        face: (P,) int64, which face of the solid (see shapes.FACES); round ones have one.
        sun: (P,) cosine between the normal and the sun.
        up: (P,) cosine between the normal and the world's up.
        above_m: (P,) height above the foot of the solid.
    """

    surface: Surface
    face: Tensor
    sun: Tensor
    up: Tensor
    above_m: Tensor


def facets(solids: Solids, solid: Tensor, x: Tensor, y: Tensor, depth_m: Tensor, step: tuple[float, float]) -> Facet:
    """Return the surface of each hit: solid (P,), ray (x, y, 1), depth (P,); step: rays' spacing (see Rays.step)."""
    half = pick(solids.half, solid)
    axes = pick(solids.to_unit, solid).reshape(3, 3, -1) * half[:, None]
    kind = pick(solids.kind, solid)
    ray = axes[:, 0] * x + axes[:, 1] * y + axes[:, 2]
    unit = pick(solids.origin, solid) + ray / half * depth_m
    place = unit * half
    normal, face = _normals(solids, solid, kind, unit, half)
    # Moving one pixel aside slides the hit along the surface: dP = z (e - ray n_e / (n . ray)).
    facing = (normal * ray).sum(dim=0)
    facing = torch.where(facing.abs() < 1e-4, 1e-4, facing)
    slides = []
    for axis in (0, 1):
        tilt = (normal * axes[:, axis]).sum(dim=0) / facing
        slides.append((axes[:, axis] - ray * tilt) * (depth_m * step[axis]))
    moved = torch.hypot(slides[0], slides[1]).clamp_(1e-5, MAX_STEP_M)
    surface = _surface(solids, solid, kind, face, place, moved, half)
    return Facet(
        surface,
        face,
        (normal * pick(solids.sun, solid)).sum(dim=0),
        (normal * pick(solids.up, solid)).sum(dim=0),
        place[2] + half[2],
    )


def _normals(solids: Solids, solid: Tensor, kind: Tensor, unit: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    x, y, z = unit.abs()
    on_x = x >= torch.maximum(y, z)
    on_y = ~on_x & (y >= z)
    on_z = ~(on_x | on_y)
    on = torch.stack([on_x, on_y, on_z])
    normal = torch.sign(unit) * on
    face = on_y * 2 + on_z * 4 + (normal.sum(dim=0) > 0)
    cut = where_true(kind == int(Kind.CUT_BOX))
    if len(cut):
        planes = pick(solids.cuts, pick(solid, cut)).reshape(2, 4, -1)
        place, size = pick(unit, cut), pick(half, cut)
        excess = (planes[:, :3] * place).sum(dim=1) - planes[:, 3]
        for index in (0, 1):
            # A hit lies on the cut when it lies closer to it than to the cube's own faces.
            nearer = excess[index].abs() < (1 - place.abs().amax(dim=0)).abs()
            put(normal, cut, torch.where(nearer, unit_vectors(planes[index, :3] / size), pick(normal, cut)))
            put(face, cut, torch.where(nearer, 6 + index, pick(face, cut)))
    curved = where_true(kind >= int(Kind.CYLINDER))
    if len(curved):
        ball = pick(kind, curved) == int(Kind.ELLIPSOID)
        place = pick(unit, curved)
        x, y, z = place
        lid = ~ball & ((1 - z.abs()).abs() < (1 - torch.hypot(x, y)).abs())
        direction = place / pick(half, curved) * ~lid
        direction[2] = torch.where(lid, z, direction[2] * ball)
        put(normal, curved, unit_vectors(direction))
        put(face, curved, (4 + (z > 0).to(torch.int64)) * lid)
    return normal, face


def _surface(
    solids: Solids, solid: Tensor, kind: Tensor, face: Tensor, place: Tensor, moved: Tensor, half: Tensor
) -> Surface:
    across = (face == 0) | (face == 1) | (face >= 6)
    flat = (face == 4) | (face == 5)
    u = torch.where(across, place[1], place[0])
    step_u = torch.where(across, moved[1], moved[0])
    extent_u = 2 * torch.where(across, half[1], half[0])
    v = torch.where(flat, place[1] + half[1], place[2] + half[2])
    step_v = torch.where(flat, moved[1], moved[2])
    extent_v = 2 * torch.where(flat, half[1], half[2])
    curved = where_true((kind >= int(Kind.CYLINDER)) & ~flat)
    if len(curved):
        radius = pick(half[:2], curved).amax(dim=0)
        x, y = pick(place[:2], curved)
        ring = torch.hypot(x, y).clamp_(1e-3)
        put(u, curved, radius * torch.atan2(y, x))
        put(step_u, curved, torch.hypot(*pick(moved[:2], curved)) * (radius / ring).clamp_(1, 20))
        put(extent_u, curved, 2 * torch.pi * radius)
    # From the left edge of the face, so that patterns begin where it does.
    u = u + extent_u / 2
    material = pick(solids.material.view(-1), face * solids.material.shape[1] + solid)
    return Surface(material, u, v, step_u, step_v, extent_u, extent_v, pick(solids.seed, solid))
