"""Ray casting of many solids at once: which solid a pixel's ray meets first, and at what depth.

Every (solid, pixel) pair inside the solid's bounding box on the screen is one element of flat arrays, so that a frame
costs a few dozen tensor operations however many solids it shows. Near solids go first; pairs that lie behind what was
already hit are dropped before anything is computed for them.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sidepth_core.data.synthetic.rays import Rays
from sidepth_core.data.synthetic.shapes import Kind, Shapes

NEAR_M = 0.05
"""Nothing closer than this is drawn."""
BATCH_SHARES = (0.6, 1.2, 2.0)
"""How many pairs, in frames' worth of pixels, each pass from near to far may take; the last takes the rest."""
TINY = 1e-9
CORNERS = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
EDGES = np.array([(i, i | bit) for i in range(8) for bit in (1, 2, 4) if not i & bit])
Array = npt.NDArray[np.float64]


class Solids(NamedTuple):
    """The N solids that a camera can see, sorted from near to far; all but `box` and `nearest_m` are on the device.

    Attributes:
        to_unit: (9, N), rows of the matrix that takes camera-frame directions to the solid's unit space.
        origin: (3, N), the camera in the solid's unit space.
        cuts: (8, N), two planes (n, m) in unit space.
        kind: (N,) int64.
        material: (8, N) int64.
        half: (3, N), half sizes, metres.
        seed: (N,), see Shapes.
        up: (3, N), the world's up in the solid's own axes.
        sun: (3, N), the direction to the sun in the solid's own axes.
        box: (N, 4) int64, first and last column, first and last row that it can touch.
        nearest_m: (N,) least depth of its bounding box.
    """

    to_unit: Tensor
    origin: Tensor
    cuts: Tensor
    kind: Tensor
    material: Tensor
    half: Tensor
    seed: Tensor
    up: Tensor
    sun: Tensor
    box: npt.NDArray[np.int64]
    nearest_m: Array


class Pairs(NamedTuple):
    """Flat (solid, pixel) pairs, (M,) int64 each."""

    solid: Tensor
    pixel: Tensor


class Hits(NamedTuple):
    """What each of P rays meets first: depth along Z in metres (inf: nothing) and the solid's row (-1: none)."""

    depth_m: Tensor
    solid: Tensor


def view(shapes: Shapes, T_world_camera: Array, sun: Array, rays: Rays) -> Solids:
    """Return those solids that can be seen, in the camera's frame, with their boxes on the screen."""
    return _select(shapes, shapes.centre[:, None] + _corners(shapes), T_world_camera, sun, rays)


def shadow_view(shapes: Shapes, T_world_camera: Array, sun: Array, rays: Rays) -> Solids:
    """Return those solids whose shadow on the ground z = 0 can be seen, with the boxes of their shadows."""
    shapes = Shapes(*(column[shapes.casts_shadow] for column in shapes))
    corners = shapes.centre[:, None] + _corners(shapes)
    height = np.maximum(corners[:, :, 2:], 0)
    return _select(shapes, corners - height * (sun / sun[2]), T_world_camera, sun, rays)


def _corners(shapes: Shapes) -> Array:
    edges: Array = CORNERS @ (shapes.axes * shapes.half[:, :, None])
    return edges


def _select(shapes: Shapes, corners: Array, T_world_camera: Array, sun: Array, rays: Rays) -> Solids:
    rotation, position = T_world_camera[:3, :3], T_world_camera[:3, 3]
    axes = shapes.axes @ rotation
    centre = (shapes.centre - position) @ rotation
    box, nearest = _screen_boxes((corners - position) @ rotation, rays)
    wide = np.minimum(box[:, 1] - box[:, 0], box[:, 3] - box[:, 2]) >= 0
    order = np.flatnonzero(wide)
    order = order[np.argsort(nearest[order], kind='stable')]
    half = shapes.half[order]
    to_unit = axes[order] / half[:, :, None]
    origin = -np.einsum('nij,nj->ni', to_unit, centre[order])
    device = rays.x.device

    def put(values: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values.T, dtype=np.float32)).to(device)

    return Solids(
        put(to_unit.reshape(-1, 9)),
        put(origin),
        put(shapes.cuts[order].reshape(-1, 8)),
        torch.from_numpy(shapes.kind[order]).to(device),
        torch.from_numpy(np.ascontiguousarray(shapes.material[order].T)).to(device),
        put(half),
        put(shapes.seed[order]),
        put(shapes.axes[order, :, 2]),
        put(shapes.axes[order] @ sun),
        box[order],
        nearest[order],
    )


def _screen_boxes(corners: Array, rays: Rays) -> tuple[npt.NDArray[np.int64], Array]:
    depth = corners[:, :, 2]
    first, last = EDGES.T
    # Where an edge passes the near plane, the crossing bounds what is seen of it.
    share = (NEAR_M - depth[:, first]) / np.where(depth[:, last] == depth[:, first], 1.0, depth[:, last] - depth[:, first])
    crossing = corners[:, first] + share[:, :, None] * (corners[:, last] - corners[:, first])
    points = np.concatenate([corners, crossing], axis=1)
    seen = np.concatenate([depth > NEAR_M, (share > 0) & (share < 1)], axis=1)
    z = np.maximum(points[:, :, 2], NEAR_M)
    bounds = []
    for axis, table in ((0, rays.columns), (1, rays.rows)):
        projected = points[:, :, axis] / z
        low = np.where(seen, projected, np.inf).min(axis=1)
        high = np.where(seen, projected, -np.inf).max(axis=1)
        bounds += [np.searchsorted(table[1], low), np.searchsorted(table[0], high, side='right') - 1]
    return np.stack(bounds, axis=1).astype(np.int64), np.maximum(depth.min(axis=1), NEAR_M)


def pairs_of(box: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], width: int, device: torch.device) -> Pairs:
    """Return all pairs of the solids `rows` with the pixels of their boxes."""
    columns = box[rows, 1] - box[rows, 0] + 1
    heights = box[rows, 3] - box[rows, 2] + 1
    lines = np.repeat(np.arange(len(rows)), heights)
    line_of_solid = np.arange(len(lines)) - np.repeat(np.cumsum(heights) - heights, heights)
    starts = (box[rows, 2][lines] + line_of_solid) * width + box[rows, 0][lines]
    counts = columns[lines]
    offsets = starts - (np.cumsum(counts) - counts)
    total = int(counts.sum())
    repeats = torch.from_numpy(counts).to(device)
    line = torch.repeat_interleave(torch.arange(len(lines), device=device), repeats, output_size=total)
    solid = torch.from_numpy(rows[lines]).to(device)[line]
    pixel = torch.from_numpy(offsets).to(device)[line] + torch.arange(total, device=device)
    return Pairs(solid, pixel)


def batches(solids: Solids, rays: Rays) -> list[npt.NDArray[np.int64]]:
    """Return the rows of the solids in passes from near to far."""
    box = solids.box
    area = (box[:, 1] - box[:, 0] + 1) * (box[:, 3] - box[:, 2] + 1)
    reached = np.cumsum(area) / (rays.width * rays.height)
    limits = np.searchsorted(reached, np.cumsum(BATCH_SHARES))
    return [rows for rows in np.split(np.arange(len(box)), limits) if len(rows)]


def trace(solids: Solids, rays: Rays, background_m: Tensor) -> Hits:
    """Return what each pixel's ray meets first, in front of a background of known depth (P,)."""
    depth = background_m.clone()
    winner = torch.full_like(depth, -1, dtype=torch.int64)
    nearest = torch.from_numpy(solids.nearest_m.astype(np.float32)).to(depth.device)
    for rows in batches(solids, rays):
        pairs = pairs_of(solids.box, rows, rays.width, depth.device)
        keep = torch.nonzero(nearest[pairs.solid] < depth[pairs.pixel]).squeeze(1)
        cast(solids, Pairs(pairs.solid[keep], pairs.pixel[keep]), rays.x, rays.y, depth, winner)
    return Hits(depth, winner)


def cast(solids: Solids, pairs: Pairs, x: Tensor, y: Tensor, depth: Tensor, winner: Tensor) -> None:
    """Intersect pairs and lower `depth` (P,) and `winner` (P,) in place where something nearer is hit."""
    kinds = solids.kind[pairs.solid]
    for kind in Kind:
        chosen = torch.nonzero(kinds == int(kind)).squeeze(1)
        if not len(chosen):
            continue
        solid, pixel = pairs.solid[chosen], pairs.pixel[chosen]
        enter = first_crossing(kind, solids, solid, x[pixel], y[pixel])
        found = torch.nonzero(enter < depth[pixel]).squeeze(1)
        solid, pixel, enter = solid[found], pixel[found], enter[found]
        depth.scatter_reduce_(0, pixel, enter, 'amin')
        best = torch.nonzero(enter == depth[pixel]).squeeze(1)
        # Where two solids are met at the very same depth, the larger row wins on every device.
        winner[pixel[best]] = -1
        winner.scatter_reduce_(0, pixel[best], solid[best], 'amax')


def first_crossing(kind: Kind, solids: Solids, solid: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the depth (M,) at which the ray (x, y, 1) enters its solid; inf where it misses or starts inside."""
    matrix = solids.to_unit[:, solid]
    dx = torch.addcmul(matrix[2] + TINY, matrix[0], x).addcmul_(matrix[1], y)
    dy = torch.addcmul(matrix[5] + TINY, matrix[3], x).addcmul_(matrix[4], y)
    dz = torch.addcmul(matrix[8] + TINY, matrix[6], x).addcmul_(matrix[7], y)
    enter, leave = inside(kind, solids.cuts, solid, solids.origin[:, solid], torch.stack([dx, dy, dz]))
    return torch.where((enter < leave) & (enter > NEAR_M), enter, torch.inf)


def inside(kind: Kind, cuts: Tensor, solid: Tensor, origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Return where the lines origin + t direction, (3, M) in unit space, enter and leave their solids, (M,) each.

    A line that misses enters after it leaves.
    """
    ox, oy, oz = origin
    dx, dy, dz = direction
    if kind == Kind.ELLIPSOID:
        return _ball(origin, direction)
    if kind == Kind.CYLINDER:
        enter, leave = _ball(origin[:2], direction[:2])
    else:
        enter, leave = _overlap(*_slab(ox, dx), *_slab(oy, dy))
    enter, leave = _overlap(enter, leave, *_slab(oz, dz))
    if kind == Kind.CUT_BOX:
        planes = cuts[:, solid]
        for nx, ny, nz, limit in (planes[:4].unbind(), planes[4:].unbind()):
            along = nx * dx + ny * dy + nz * dz + TINY
            crossing = (limit - (nx * ox + ny * oy + nz * oz)) / along
            enter = torch.where(along < 0, torch.maximum(enter, crossing), enter)
            leave = torch.where(along > 0, torch.minimum(leave, crossing), leave)
    return enter, leave


def _slab(origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    inverse = direction.reciprocal()
    middle = origin * inverse
    reach = inverse.abs_()
    return -middle - reach, reach - middle


def _ball(origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    # Through the closest point, not through the quadratic's discriminant: that one cancels for thin, distant solids.
    square = (direction * direction).sum(dim=0)
    closest = -(origin * direction).sum(dim=0) / square
    miss = torch.addcmul(origin, direction, closest).square_().sum(dim=0)
    reach = torch.sqrt((1 - miss) / square)
    reach = torch.where(miss < 1, reach, -torch.inf)
    return closest - reach, closest + reach


def _overlap(enter: Tensor, leave: Tensor, other_enter: Tensor, other_leave: Tensor) -> tuple[Tensor, Tensor]:
    return torch.maximum(enter, other_enter), torch.minimum(leave, other_leave)
