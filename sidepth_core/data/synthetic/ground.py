"""The ground z = 0: bands of material along the line, lane markings, crossings and side roads, sun shade."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sidepth_core.data.synthetic.arrays import column, pick, put, where_true
from sidepth_core.data.synthetic.path import Segment
from sidepth_core.data.synthetic.rays import Rays
from sidepth_core.data.synthetic.textures import MaterialTable, Surface, albedo, band, noise, pulses
from sidepth_core.data.synthetic.trace import Pairs, Solids, by_kind, inside, pairs_of

Array = npt.NDArray[np.float64]
MAX_STEP_M = 50.0
PUDDLE_M = (6.0, 1.8)
"""Wavelength of the noise that makes puddles, along and across the line, metres."""
PUDDLE_SPREAD = 0.3


class Line(NamedTuple):
    """A painted line: its middle d, width, dash length and spacing (spacing 0: unbroken), metres, and its whiteness."""

    d: float
    width: float
    dash: float = 0.0
    spacing: float = 0.0
    colour: tuple[float, float, float] = (0.9, 0.9, 0.87)


class Patch(NamedTuple):
    """A part of the ground that is covered otherwise: first_s..last_s, low_d..high_d, metres.

    `stripe` is the period of the stripes along d (a zebra crossing), 0 for a full cover.
    """

    first_s: float
    last_s: float
    low_d: float
    high_d: float
    colour: tuple[float, float, float]
    stripe: float = 0.0


class Ground(NamedTuple):
    """How the ground looks along the line.

    Attributes:
        edges: Where the material changes, d in metres, ascending.
        materials: Their rows in the material table, one more than edges, from the right (least d) to the left.
        lines: Painted lines.
        wear: How much of the paint is worn off, 0..1.
        aligned: Lay the material out along the world's x and y, not along the line: the floor of a building.
        paved: Rows of the materials on which water stands when it rains, a mirror seen from low down.
    """

    edges: tuple[float, ...]
    materials: tuple[int, ...]
    lines: tuple[Line, ...] = ()
    wear: float = 0.3
    aligned: bool = False
    paved: tuple[int, ...] = ()


class Place(NamedTuple):
    """P points of the ground by the line: s and d (P,), their change from pixel to pixel (P,), metres."""

    s: Tensor
    d: Tensor
    step_s: Tensor
    step_d: Tensor


def ground_depth(rays_x: Tensor, rays_y: Tensor, T_world_camera: Array) -> Tensor:
    """Return the depth (P,) of the ground along rays (x, y, 1); inf above the horizon."""
    down_x, down_y, down_z = -T_world_camera[2, :3]
    falling = rays_x * float(down_x) + rays_y * float(down_y) + float(down_z)
    return torch.where(falling > 1e-5, float(T_world_camera[2, 3]) / falling, torch.inf)


def locate(
    segments: list[Segment] | None, x: Tensor, y: Tensor, depth_m: Tensor, T_world_camera: Array, rays: Rays
) -> Place:
    """Return where the ground at depth_m along rays (x, y, 1) lies by the line; in the world, without segments."""
    forward, left, up = (T_world_camera[row, :3] for row in (0, 1, 2))
    rise = x * float(up[0]) + y * float(up[1]) + float(up[2])
    east, slide_east = _ground_axis(forward, up, x, y, rise, depth_m, rays)
    north, slide_north = _ground_axis(left, up, x, y, rise, depth_m, rays)
    if segments is None:
        s, d = east + float(T_world_camera[0, 3]), north + float(T_world_camera[1, 3])
        return _place(s, d, torch.hypot(*slide_east), torch.hypot(*slide_north))
    # Relative to the camera before float32: drives get kilometres long.
    rows = [
        (
            seg.s,
            seg.x - T_world_camera[0, 3],
            seg.y - T_world_camera[1, 3],
            math.cos(seg.heading),
            math.sin(seg.heading),
            seg.curvature,
        )
        for seg in segments
    ]
    index = torch.zeros_like(x, dtype=torch.int64)
    for _, start_x, start_y, start_cos, start_sin, _ in rows[1:]:
        index += (east - start_x) * start_cos + (north - start_y) * start_sin > 0
    s0, x0, y0, cos, sin, bend = pick(torch.tensor(rows).T.float().contiguous().to(x.device), index)
    ahead = (east - x0) * cos + (north - y0) * sin
    beside = (north - y0) * cos - (east - x0) * sin
    inner = (1 - bend * beside).clamp_(1e-3)
    ratio = torch.hypot(bend * ahead, inner)
    s = s0 + torch.atan2(bend * ahead, inner) / bend
    d = (2 * beside - bend * (ahead.square() + beside.square())) / (1 + ratio)
    turn_cos, turn_sin = inner / ratio, bend * ahead / ratio
    along_cos, along_sin = cos * turn_cos - sin * turn_sin, sin * turn_cos + cos * turn_sin
    slides = tuple(zip(slide_east, slide_north, strict=True))
    step_s = torch.hypot(*(to_east * along_cos + to_north * along_sin for to_east, to_north in slides))
    step_d = torch.hypot(*(to_north * along_cos - to_east * along_sin for to_east, to_north in slides))
    return _place(s, d, step_s, step_d)


def _place(s: Tensor, d: Tensor, step_s: Tensor, step_d: Tensor) -> Place:
    return Place(s, d, step_s.clamp(1e-4, MAX_STEP_M), step_d.clamp(1e-4, MAX_STEP_M))


def _ground_axis(
    axis: Array, up: Array, x: Tensor, y: Tensor, rise: Tensor, depth_m: Tensor, rays: Rays
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return one world coordinate of the points (camera at 0) and its change to the next column and the next row."""
    along = x * float(axis[0]) + y * float(axis[1]) + float(axis[2])
    tilt = along / rise
    slides = tuple((float(axis[index]) - tilt * float(up[index])) * depth_m * rays.step[index] for index in (0, 1))
    return along * depth_m, (slides[0], slides[1])


def ground_colour(ground: Ground, patches: list[Patch], table: MaterialTable, place: Place) -> Tensor:
    """Return the linear colour (3, P) of the ground in full light."""
    edges = torch.tensor(ground.edges, dtype=torch.float32, device=place.d.device)
    rows = torch.tensor(ground.materials, device=place.d.device)
    which = torch.searchsorted(edges, place.d)
    material = pick(rows, which)
    period = pick(table.cells[:2], material)
    surface = Surface(
        material, place.s, place.d, place.step_s, place.step_d, period[0], period[1], which.to(place.d.dtype)
    )
    look = albedo(table, surface)
    colour = look.colour
    if len(edges):
        colour = _blend_bands(table, edges, rows, which, place, colour)
    for patch in patches:
        _paint_patch(patch, ground.wear, place, colour)
    for line in ground.lines:
        _paint_line(line, ground.wear, place, colour)
    return colour * look.grain


def water(ground: Ground, place: Place, wet: float) -> Tensor:
    """Return how much of the ground is covered by water, (P,) in 0..1: puddles and films, on what is paved only."""
    paved = torch.tensor([float(row in ground.paved) for row in ground.materials], device=place.d.device)
    edges = torch.tensor(ground.edges, dtype=torch.float32, device=place.d.device)
    film = wet + PUDDLE_SPREAD * noise(place.s / PUDDLE_M[0], place.d / PUDDLE_M[1])
    return film.clamp_(0, 1) * pick(paved, torch.searchsorted(edges, place.d))


def _paint_patch(patch: Patch, wear: float, place: Place, colour: Tensor) -> None:
    reach = (patch.last_s - patch.first_s + place.step_s) / 2
    spots = where_true((place.s - (patch.first_s + patch.last_s) / 2).abs() < reach)
    if not len(spots):
        return
    s, d, step_s, step_d = (pick(values, spots) for values in place)
    cover = band(s, patch.first_s, patch.last_s, step_s) * band(d, patch.low_d, patch.high_d, step_d)
    if patch.stripe:
        half = torch.full_like(d, 0.5)
        cover *= pulses(d / patch.stripe, half, step_d * (1.3 / patch.stripe)) * (1 - wear / 2)
    put(colour, spots, torch.lerp(pick(colour, spots), _linear(patch.colour, colour), cover))


def _paint_line(line: Line, wear: float, place: Place, colour: Tensor) -> None:
    spots = where_true((place.d - line.d).abs() < (line.width + place.step_d * 1.2) / 2)
    if not len(spots):
        return
    s, d, step_s, step_d = (pick(values, spots) for values in place)
    cover = band(d, line.d - line.width / 2, line.d + line.width / 2, step_d * 1.2)
    if line.spacing:
        fill = torch.full_like(s, line.dash / line.spacing)
        cover *= pulses(s / line.spacing, fill, step_s * (1.2 / line.spacing))
    put(colour, spots, torch.lerp(pick(colour, spots), _linear(line.colour, colour), cover * (1 - wear)))


def _blend_bands(
    table: MaterialTable, edges: Tensor, rows: Tensor, which: Tensor, place: Place, colour: Tensor
) -> Tensor:
    """Mix each pixel's band with the plain colour of the band whose edge runs through the pixel."""
    last = len(edges) - 1
    for other, edge in ((which - 1, which - 1), (which + 1, which)):
        distance = (place.d - pick(edges, edge.clamp(0, last))).abs() / place.step_d
        share = (0.5 - distance).clamp_(0) * ((edge >= 0) & (edge <= last))
        colour = torch.lerp(colour, pick(pick(table.colour, rows), other.clamp(0, last + 1)), share)
    return colour


def _linear(colour: tuple[float, float, float], like: Tensor) -> Tensor:
    return column(colour, like).square()


def ground_shade(solids: Solids, rays: Rays, depth_m: Tensor, camera_height_m: float, softness: float) -> Tensor:
    """Return how much of the sun the solids take from each pixel's ground, (P,) in 0..1; depth_m is inf off the ground.

    The edge of a shade is as soft as the way that the light goes through the solid is short.
    """
    shade = torch.zeros_like(depth_m)
    on_ground = torch.isfinite(depth_m)
    towards_sun = solids.sun / solids.half + 1e-9
    pairs = pairs_of(solids, range(len(solids.box)), rays.width)
    keep = where_true(pick(on_ground, pairs.pixel))
    for kind, solid, pixel in by_kind(solids, Pairs(pick(pairs.solid, keep), pick(pairs.pixel, keep))):
        matrix = pick(solids.to_unit, solid).view(3, 3, -1)
        z = pick(depth_m, pixel)
        ray = matrix[:, 0] * pick(rays.x, pixel) + matrix[:, 1] * pick(rays.y, pixel) + matrix[:, 2]
        start = pick(solids.origin, solid) + ray * z
        enter, leave = inside(kind, solids.cuts, solid, start, pick(towards_sun, solid))
        # Seen at a flat angle a pixel covers more of the ground, and the edge of the shade gets wider with it.
        blur = softness + z * max(rays.step) * (1 + z / camera_height_m).clamp_(max=30)
        shade.scatter_reduce_(0, pixel, ((leave - enter.clamp_(0)) / blur).clamp_(0, 1), 'amax')
    return shade
