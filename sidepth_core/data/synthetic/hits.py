"""From a ray's hit to the surface it lies on: texture coordinates, their change from pixel to pixel, and the normal."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

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
    half = solids.half[:, solid]
    axes = solids.to_unit[:, solid].reshape(3, 3, -1) * half[:, None]
    kind = solids.kind[solid]
    ray = axes[:, 0] * x + axes[:, 1] * y + axes[:, 2]
    unit = solids.origin[:, solid] + ray / half * depth_m
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
        (normal * solids.sun[:, solid]).sum(dim=0),
        (normal * solids.up[:, solid]).sum(dim=0),
        place[2] + half[2],
    )


def _normals(solids: Solids, solid: Tensor, kind: Tensor, unit: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    axis = unit.abs().argmax(dim=0)
    sign = torch.gather(unit, 0, axis[None])[0] > 0
    face = axis * 2 + sign
    normal = torch.zeros_like(unit).scatter_(0, axis[None], torch.where(sign, 1.0, -1.0)[None])
    cut = torch.nonzero(kind == int(Kind.CUT_BOX)).squeeze(1)
    if len(cut):
        planes = solids.cuts[:, solid[cut]].reshape(2, 4, -1)
        excess = (planes[:, :3] * unit[:, cut]).sum(dim=1) - planes[:, 3]
        for index in (0, 1):
            # A hit lies on the cut when it lies closer to it than to the cube's own faces.
            on = excess[index].abs() < (1 - unit[:, cut].abs().amax(dim=0)).abs()
            direction = planes[index, :3] / half[:, cut]
            normal[:, cut] = torch.where(on, torch.nn.functional.normalize(direction, dim=0), normal[:, cut])
            face[cut] = torch.where(on, 6 + index, face[cut])
    curved = torch.nonzero(kind >= int(Kind.CYLINDER)).squeeze(1)
    if len(curved):
        ball = kind[curved] == int(Kind.ELLIPSOID)
        x, y, z = unit[:, curved]
        lid = ~ball & ((1 - z.abs()).abs() < (1 - torch.hypot(x, y)).abs())
        direction = torch.where(lid, torch.zeros_like(x), unit[:, curved] / half[:, curved])
        direction[2] = torch.where(lid, z, direction[2] * ball)
        normal[:, curved] = torch.nn.functional.normalize(direction, dim=0)
        face[curved] = torch.where(lid, 4 + (z > 0).to(torch.int64), 0)
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
    curved = torch.nonzero((kind >= int(Kind.CYLINDER)) & ~flat).squeeze(1)
    if len(curved):
        radius = half[:2, curved].amax(dim=0)
        ring = torch.hypot(place[0, curved], place[1, curved]).clamp_(1e-3)
        u[curved] = radius * torch.atan2(place[1, curved], place[0, curved])
        step_u[curved] = torch.hypot(moved[0, curved], moved[1, curved]) * (radius / ring).clamp_(1, 20)
        extent_u[curved] = 2 * torch.pi * radius
    # From the left edge of the face, so that patterns begin where it does.
    u = u + extent_u / 2
    material = torch.gather(solids.material[:, solid], 0, face[None])[0]
    return Surface(material, u, v, step_u, step_v, extent_u, extent_v, solids.seed[solid])
