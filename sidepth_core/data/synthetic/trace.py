"""Ray casting of many solids at once: which solid a pixel's ray meets first, and at what depth.

Every (solid, pixel) pair inside the solid's bounding box on the screen is one element of flat arrays, so that a frame
costs a few dozen tensor operations however many solids it shows. Near solids go first; pairs that lie behind what was
already hit are dropped before anything is computed for them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sidepth_core.data.synthetic.arrays import pick, where_true
from sidepth_core.data.synthetic.rays import Rays
from sidepth_core.data.synthetic.shapes import Kind, Shapes

NEAR_M = 0.05
"""Nothing closer than this is drawn."""
FIRST_PASS = 0.9
"""How many pairs, in frames' worth of pixels, the first pass takes: what hides most of the rest."""
TINY = 1e-9
CORNERS = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
EDGES = np.array([(i, i | bit) for i in range(8) for bit in (1, 2, 4) if not i & bit])
Array = npt.NDArray[np.float64]


class Run(NamedTuple):
    """Neighbouring rows of solids of one kind."""

    kind: Kind
    rows: range


class Solids(NamedTuple):
    """The N solids that a camera can see, by and large from near to far; the tensors are on the device.

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
        nearest_m: (N,) least depth of its bounding box.
        box: (N, 4) int64, first and last column, first and last row that it can touch.
        passes: Rows that are cast together, near ones first; within a pass the solids are ordered by kind.
        runs: Stretches of rows of one kind.
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
    nearest_m: Tensor
    box: npt.NDArray[np.int64]
    passes: tuple[range, ...]
    runs: tuple[Run, ...]


class Pairs(NamedTuple):
    """Flat (solid, pixel) pairs, (M,) int64 each."""

    solid: Tensor
    pixel: Tensor


class Hits(NamedTuple):
    """What each of P rays meets first.

    Attributes:
        depth_m: (P,) depth along Z, metres; inf where nothing is met.
        solid: (P,) int64 row of the solid, -1 where there is none.
        pairs: Every pair that was looked at, from near to far.
    """

    depth_m: Tensor
    solid: Tensor
    pairs: list[Pairs]


def view(shapes: Shapes, T_world_camera: Array, sun: Array, rays: Rays) -> Solids:
    """Return those solids that can be seen, in the camera's frame, with their boxes on the screen."""
    return _select(shapes, shapes.centre[:, None] + _corners(shapes), T_world_camera, sun, rays)


def shadow_view(shapes: Shapes, T_world_camera: Array, sun: Array, rays: Rays) -> Solids:
    """Return those solids whose shadow on the ground z = 0 can be seen, with the boxes of their shadows."""
    shapes = shapes.rows(shapes.casts_shadow)
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
    area = (box[order, 1] - box[order, 0] + 1) * (box[order, 3] - box[order, 2] + 1)
    near = int(np.searchsorted(np.cumsum(area), FIRST_PASS * rays.width * rays.height))
    passes = tuple(rows for rows in (range(near), range(near, len(order))) if len(rows))
    order = np.concatenate(
        [part[np.argsort(shapes.kind[part], kind='stable')] for part in (order[:near], order[near:])]
    )
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
        put(nearest[order]),
        box[order],
        passes,
        _runs(shapes.kind[order], near),
    )


def _runs(kind: npt.NDArray[np.int64], near: int) -> tuple[Run, ...]:
    changes = np.flatnonzero((np.diff(kind) != 0) | (np.arange(1, len(kind)) == near)) + 1
    bounds = [0, *(int(change) for change in changes), len(kind)]
    rows = (range(first, last) for first, last in itertools.pairwise(bounds) if last > first)
    return tuple(Run(Kind(int(kind[part.start])), part) for part in rows)


def _screen_boxes(corners: Array, rays: Rays) -> tuple[npt.NDArray[np.int64], Array]:
    depth = corners[:, :, 2]
    first, last = EDGES.T
    # Where an edge passes the near plane, the crossing bounds what is seen of it.
    share = (NEAR_M - depth[:, first]) / np.where(
        depth[:, last] == depth[:, first], 1.0, depth[:, last] - depth[:, first]
    )
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


def pairs_of(solids: Solids, rows: range, width: int) -> Pairs:
    """Return all pairs of a run of solids with the pixels of their boxes, solid by solid."""
    box = solids.box[rows.start : rows.stop]
    columns, heights = box[:, 1] - box[:, 0] + 1, box[:, 3] - box[:, 2] + 1
    solid = np.repeat(np.arange(rows.start, rows.stop), heights)
    line = np.arange(len(solid)) - np.repeat(np.cumsum(heights) - heights, heights)
    counts = np.repeat(columns, heights)
    starts = np.repeat(box[:, 2] * width + box[:, 0], heights) + line * width
    pixel = np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
    device = solids.kind.device
    return Pairs(torch.from_numpy(np.repeat(solid, counts)).to(device), torch.from_numpy(pixel).to(device))


def trace(solids: Solids, rays: Rays, background_m: Tensor) -> Hits:
    """Return what each pixel's ray meets first, in front of a background of known depth (P,)."""
    depth = background_m.clone()
    winner = torch.full_like(depth, -1, dtype=torch.int64)
    looked_at = []
    for rows in solids.passes:
        pairs = pairs_of(solids, rows, rays.width)
        looked_at.append(pairs)
        keep = where_true(pick(solids.nearest_m, pairs.solid) < pick(depth, pairs.pixel))
        cast(solids, Pairs(pick(pairs.solid, keep), pick(pairs.pixel, keep)), rays.x, rays.y, depth, winner)
    return Hits(depth, winner, looked_at)


def cast(solids: Solids, pairs: Pairs, x: Tensor, y: Tensor, depth: Tensor, winner: Tensor) -> None:
    """Intersect pairs, ordered by solid, and lower `depth` and `winner` (P,) in place where something nearer is hit."""
    for kind, solid, pixel in by_kind(solids, pairs):
        enter = first_crossing(kind, solids, solid, pick(x, pixel), pick(y, pixel))
        found = where_true(enter < pick(depth, pixel))
        hit, spot, enter = pick(solid, found), pick(pixel, found), pick(enter, found)
        depth.scatter_reduce_(0, spot, enter, 'amin')
        best = where_true(enter == pick(depth, spot))
        # Where two solids are met at the very same depth, the larger row wins on every device.
        hit, spot = pick(hit, best), pick(spot, best)
        winner.index_fill_(0, spot, -1)
        winner.scatter_reduce_(0, spot, hit, 'amax')


def by_kind(solids: Solids, pairs: Pairs) -> Iterator[tuple[Kind, Tensor, Tensor]]:
    """Yield the solids and pixels of pairs, which are ordered by solid, one kind after the other."""
    starts = torch.tensor([run.rows.start for run in solids.runs], device=pairs.solid.device)
    bounds = [*torch.searchsorted(pairs.solid, starts).tolist(), len(pairs.solid)]
    stretches = list(zip(solids.runs, itertools.pairwise(bounds), strict=True))
    for kind in Kind:
        parts = [slice(*ends) for run, ends in stretches if run.kind == kind and ends[1] > ends[0]]
        if parts:
            solid, pixel = (torch.cat([column[part] for part in parts]) for column in pairs)
            yield kind, solid, pixel


def first_crossing(kind: Kind, solids: Solids, solid: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the depth (M,) at which the ray (x, y, 1) enters its solid; inf where it misses or starts inside."""
    matrix = pick(solids.to_unit, solid)
    dx = torch.addcmul(matrix[2] + TINY, matrix[0], x).addcmul_(matrix[1], y)
    dy = torch.addcmul(matrix[5] + TINY, matrix[3], x).addcmul_(matrix[4], y)
    dz = torch.addcmul(matrix[8] + TINY, matrix[6], x).addcmul_(matrix[7], y)
    enter, leave = inside(kind, solids.cuts, solid, pick(solids.origin, solid), torch.stack([dx, dy, dz]))
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
        planes = pick(cuts, solid)
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
