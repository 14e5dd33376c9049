"""Scale from the height of the camera: the ground is where the predicted depth puts a plane below it.

A plane n.P = h is linear in inverse depth: with P = z r, 1/z = (n/h).r, so a = n/h is a linear least squares problem
with the residual a.P - 1, which is relative, as the errors of a network are. Points are chosen on the device; a few
hundred of them come to the CPU, where solving for three numbers costs less than launching the kernels that would.

The plane says which points are ground, and how it leans. The factor is then the median over these points of the depth
that the ground has there over the depth that is predicted: a network bends the ground, and the distance of the fitted
plane follows its near end, where it is furthest off the scale of the rest of the image.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sidepth_core.camera import Camera
from sidepth_core.errors import ScaleError
from sidepth_core.scale.measurement import Measurement, Refusal
from sidepth_core.scale.robust import INDEPENDENT, Floats, disagreement, middle_of

MAX_POINTS = 400
MIN_POINTS = 60
MIN_DIP = 0.07
"""Rays that go down by less than this sine (4 degrees) meet the ground far away, where depth knows little."""
TILTS_DEG = (-4.0, -2.0, 0.0, 2.0, 4.0)
ROLLS_DEG = (-2.0, 0.0, 2.0)
"""Hypotheses of how the ground lies against what the mount says."""
LOOSE_STD = math.radians(2.0)
"""How far the ground may lean against the mount while it is looked for, radians: what leans more is no ground."""
TILT_STD = math.radians(0.5)
"""How far a vehicle nods, a road slopes and a mount is off, radians: more of a slope is rather an error of the network,
whose points are rough; where they are smooth, they are believed."""
MAX_TILT = math.radians(10.0)
BIN = 0.05
"""Width of the histogram of heights, in its logarithm."""
MAX_SPREAD = 0.12
"""Ground is not rougher than this share; what is further off stands on it."""
ROUNDS = 4
"""Rounds of reweighted least squares; further ones move the plane by less than a percent."""
NEAR_PLANE = 0.25
"""Points within this share of the plane belong to it."""
MIN_SUPPORT = 0.3
"""A plane that holds less than this share of the points below the horizon is not the ground."""
HIDDEN_STD = 1.0
"""How unsure a plane is that holds few of the points below the horizon: what hides the ground, a bed or a table, may be
what was taken for it. A standard deviation, as a share, for each share of the points that it does not hold; chosen on
synthetic rooms (seeds 5000 and 8300 of `sidepth benchmark scale`)."""
CELLS = (2, 3)
"""The ground is divided into so many strips from near to far, and from left to right."""
MIN_CELL = 10
MIN_CELLS = 3
MIN_STD = 0.01
MIN_BIAS = 0.02
"""How well height and mount are known at best."""

NO_GROUND_IN_VIEW = 'ground not in view'
NO_PLANE = 'no plane below the camera'
TILTED = 'plane tilted against the mount'


class Mount(NamedTuple):
    """How a camera sits over the ground.

    Attributes:
        height_m: Height of its centre, metres.
        down: Which way is down in its optical frame, unit vector.
    """

    height_m: float
    down: tuple[float, float, float]


def mount_of(height_m: float, pitch_deg: float = 0.0, roll_deg: float = 0.0) -> Mount:
    """Return the mount of a camera that looks along the ground.

    Args:
        height_m: Height over the ground, metres.
        pitch_deg: How far it looks down, degrees.
        roll_deg: How far it is turned clockwise about its axis, as seen from behind, degrees.

    Raises:
        ScaleError: If it is not above the ground, or looks straight down or up.
    """
    if not (math.isfinite(height_m) and height_m > 0):
        raise ScaleError(f'camera_height is {height_m!r} m: expected the height of the camera over the ground, above 0')
    if not (abs(pitch_deg) < 85 and abs(roll_deg) <= 180):
        raise ScaleError(
            f'camera_pitch is {pitch_deg!r}, camera_roll {roll_deg!r} degrees: expected less than 85, and up to 180'
        )
    pitch, roll = math.radians(pitch_deg), math.radians(roll_deg)
    down = math.sin(roll) * math.cos(pitch), math.cos(roll) * math.cos(pitch), math.sin(pitch)
    return Mount(height_m, down)


class _Grid(NamedTuple):
    """The pixels that may show ground, for one camera and mount.

    Attributes:
        pixels: Their places in a flattened map, (N,) int64, on the device.
        rays: Their rays, (N, 3).
        dips: How far each ray goes down, sine times length, (T, N) for T hypotheses of the tilt.
        normals: These hypotheses, unit vectors pointing down, (T, 3); the mount's is the middle one.
        cells: Which cell of CELLS each is in, (N,).
    """

    pixels: Tensor
    rays: Floats
    dips: Floats
    normals: Floats
    cells: npt.NDArray[np.int64]


class GroundMeter:
    """Measures the scale of depth maps by the height of the camera; holds what only depends on camera and mount."""

    def __init__(self) -> None:
        self._key: object = None
        self._grid: _Grid | None = None

    def __call__(self, depth: Tensor, camera: Camera, mount: Mount) -> Measurement | Refusal:
        """Return the scale of one depth map.

        Args:
            depth: Depth along Z in any unit, (1, h, w), on any device.
            camera: The rectified camera of that map, of its size.
            mount: How it sits.
        """
        grid = self._grid_of(camera, mount, depth.device)
        if grid is None:
            return Refusal(NO_GROUND_IN_VIEW, 'too few pixels lie below the horizon that the mount gives')
        z = depth.flatten()[grid.pixels].double().cpu().numpy()
        known = np.isfinite(z) & (z > 0)
        if known.sum() < MIN_POINTS:
            return Refusal(NO_GROUND_IN_VIEW, f'depth is known in {int(known.sum())} pixels below the horizon')
        return _measure(z[known], grid, known, mount.height_m)

    def _grid_of(self, camera: Camera, mount: Mount, device: torch.device) -> _Grid | None:
        key = (camera, mount.down, device)
        if key != self._key:
            self._key, self._grid = key, _make_grid(camera, np.array(mount.down), device)
        return self._grid


def _make_grid(camera: Camera, down: Floats, device: torch.device) -> _Grid | None:
    """Choose pixels evenly among those whose rays meet the ground; None where there are too few."""
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)], -1).reshape(-1, 3)
    dips = rays @ down / np.linalg.norm(rays, axis=1)
    ground = np.flatnonzero(dips > MIN_DIP)
    if len(ground) < MIN_POINTS:
        return None
    step = max(1, math.ceil(math.sqrt(len(ground) / MAX_POINTS)))
    rows, columns = np.unravel_index(ground, (camera.height, camera.width))
    index = ground[(rows % step == step // 2) & (columns % step == step // 2)] if step > 1 else ground
    if len(index) < MIN_POINTS:
        return None
    chosen, dip = rays[index], dips[index]
    normals = _tilted(down)
    strips, sides = CELLS
    near = np.searchsorted(np.quantile(dip, np.arange(1, strips) / strips), dip)
    side = np.searchsorted(np.quantile(chosen[:, 0], np.arange(1, sides) / sides), chosen[:, 0])
    return _Grid(torch.from_numpy(index).to(device), chosen, normals @ chosen.T, normals, near * sides + side)


def _tilted(down: Floats) -> Floats:
    """Return hypotheses of the ground's normal about the mount's, (T, 3), the mount's own in the middle."""
    across, along = _tangents(down)
    normals = np.stack(
        [
            down + math.tan(math.radians(tilt)) * along + math.tan(math.radians(roll)) * across
            for tilt in TILTS_DEG
            for roll in ROLLS_DEG
        ]
    )
    return np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True))


def _tangents(down: Floats) -> tuple[Floats, Floats]:
    """Return two unit vectors in the ground: across and along the view."""
    across = np.cross(down, [0.0, 0.0, 1.0])
    across /= np.linalg.norm(across)
    return across, np.cross(across, down)


def _measure(z: Floats, grid: _Grid, known: npt.NDArray[np.bool_], height_m: float) -> Measurement | Refusal:
    points = z[:, None] * grid.rays[known]
    normal, height = _densest(z, grid, known)
    down = grid.normals[len(grid.normals) // 2]
    plane, _, _ = _refined(points, normal / height, down, LOOSE_STD)
    size = float(np.linalg.norm(plane))
    off = points @ plane - 1
    on_plane = np.abs(off) < NEAR_PLANE
    support = float(on_plane.mean())
    if not (size > 0 and support >= MIN_SUPPORT):
        return Refusal(NO_PLANE, f'{support:.0%} of the points lie within {NEAR_PLANE:.0%} of one')
    tilt = math.acos(min(1.0, float(plane @ down) / size))
    if tilt > MAX_TILT:
        return Refusal(TILTED, f'by {math.degrees(tilt):.0f} degrees')
    plane, spread, tilt_std = _refined(points, plane, down, TILT_STD)
    normal = plane / np.linalg.norm(plane)
    on_plane = np.abs(points @ plane - 1) < NEAR_PLANE
    # What a unit of predicted depth is in metres, point by point, with the ground as it leans and as the mount says.
    logs = -np.log((points @ normal)[on_plane] / height_m)
    level = -np.log(np.maximum((points @ down)[on_plane], 1e-9) / height_m)
    bias, parts = disagreement(logs, grid.cells[known][on_plane], MIN_CELL)
    if parts < MIN_CELLS:
        return Refusal(NO_PLANE, f'seen in {parts} of {CELLS[0] * CELLS[1]} parts of the ground')
    factor, noise = middle_of(logs), math.hypot(spread / math.sqrt(INDEPENDENT), tilt_std)
    # Bent depth looks like a slope: how far the height differs under the mount's own normal is how far it may be bent.
    bent = middle_of(level) - factor
    hidden = HIDDEN_STD * (1 - float(on_plane.mean()))
    return Measurement(math.exp(factor), max(MIN_STD, noise), math.hypot(MIN_BIAS, bias, bent, hidden))


def _densest(z: Floats, grid: _Grid, known: npt.NDArray[np.bool_]) -> tuple[Floats, float]:
    """Return normal and height of the plane, among the hypotheses, that most points are near."""
    dips = grid.dips[:, known]
    logs = np.log(np.maximum(dips * z, 1e-9))
    lowest = middle_of(logs[len(logs) // 2]) - 2.0
    bins = np.clip(((logs - lowest) / BIN).astype(np.int64), 0, 79)
    rows = np.arange(len(dips))[:, None] * 80
    counts = np.bincount((bins + rows).ravel(), minlength=80 * len(dips)).reshape(-1, 80).astype(np.float64)
    counts[:, 1:-1] = counts[:, 1:-1] * 2 + counts[:, :-2] + counts[:, 2:]
    counts[:, [0, -1]] = 0
    best, place = np.unravel_index(int(counts.argmax()), counts.shape)
    return grid.normals[best], math.exp(lowest + (float(place) + 0.5) * BIN)


def _refined(points: Floats, plane: Floats, down: Floats, tilt_std: float) -> tuple[Floats, float, float]:
    """Return the plane a (a.P = 1) by reweighted least squares with Tukey's weights.

    The mount is a measurement too: it says that the normal is `down`, give or take `tilt_std`. Beside the plane come
    the spread of the points about it, and the standard deviation of its height, both as shares.
    """
    tangents = np.stack(_tangents(down))
    spread = 0.08
    normal_matrix = np.eye(3)
    for _ in range(ROUNDS):
        off = points @ plane - 1
        weights = np.square(np.maximum(1 - np.square(off / (4.685 * spread)), 0))
        total = float(weights.sum())
        if total < MIN_POINTS / 4:
            return plane, math.inf, math.inf
        # The variance of one of INDEPENDENT points is spread^2; the prior's rows are in the same unit.
        scale = INDEPENDENT / (total * spread**2)
        prior = tangents / (tilt_std * np.linalg.norm(plane))
        normal_matrix = scale * (points * weights[:, None]).T @ points + prior.T @ prior
        plane = np.linalg.solve(normal_matrix, scale * points.T @ weights)
        inliers = np.abs(off)[weights > 0]
        spread = min(max(1.4826 * middle_of(inliers), 0.01), MAX_SPREAD)
    size = np.linalg.norm(plane)
    variance = plane @ np.linalg.solve(normal_matrix, plane) / size**4
    return plane, spread, math.sqrt(max(0.0, float(variance)))
