"""Point clouds of depth maps, of one image or fused over a drive, and the PLY files that viewers open."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from sidepth_core.camera import Camera
from sidepth_core.depth_maps import rays
from sidepth_core.errors import ConfigError
from sidepth_core.gates import EDGE_STEP, edge_mask

NETWORK_WIDTH = 416
"""Width, pixels, near which edges are looked for: a network smears them over a few of its own pixels."""
REACH_IN_MEDIANS = 3.0
"""Median depths up to which points are shown: networks put the sky at their farthest depth."""
MERGE_EVERY = 16
"""Frames after which points of one voxel become one."""


class Cloud(NamedTuple):
    """Coloured points.

    Attributes:
        points_m: (N, 3) float32 x, y, z; metres, or the checkpoint's own unit.
        colours: (N, 3) uint8 RGB.
    """

    points_m: npt.NDArray[np.float32]
    colours: npt.NDArray[np.uint8]


def cloud_of(
    depth_m: npt.NDArray[np.float32],
    camera: Camera,
    image: npt.NDArray[np.uint8],
    *,
    stride: int = 1,
    farthest_m: float = float('inf'),
    edges: bool = False,
) -> Cloud:
    """Return the points of a depth map in the optical frame (x right, y down, z forward).

    Args:
        depth_m: (H, W) float32 along Z; what is not finite makes no point.
        camera: Rectified camera of that size.
        image: (H, W, 3) uint8 RGB of that size.
        stride: Take every so many-th pixel along rows and columns.
        farthest_m: Points deeper than this are left out.
        edges: Keep the points that fly between near and far surfaces, which a network makes at edges.

    Raises:
        ConfigError: If the sizes differ or the camera is distorted.
    """
    if depth_m.shape != (camera.height, camera.width) or image.shape[:2] != depth_m.shape:
        sizes = f'depth {depth_m.shape!r}, image {image.shape[:2]!r}, camera {(camera.height, camera.width)!r}'
        raise ConfigError(f'a cloud needs depth, image and camera of one size: {sizes}')
    kept = np.isfinite(depth_m) & (depth_m > 0) & (depth_m <= farthest_m)
    if not edges:
        kept &= ~flying(depth_m)
    kept = kept[::stride, ::stride]
    directions = rays(camera, stride).numpy()[kept]
    return Cloud(
        np.asarray(directions * depth_m[::stride, ::stride][kept][:, None], np.float32),
        np.ascontiguousarray(image[::stride, ::stride][kept]),
    )


def worth_showing(depth_m: npt.NDArray[np.float32]) -> float:
    """Return the depth up to which a map's points say something to the eye: beyond lie sky and guesses."""
    known = depth_m[np.isfinite(depth_m) & (depth_m > 0)]
    return REACH_IN_MEDIANS * float(np.median(known)) if known.size else float('inf')


def flying(depth_m: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Return the pixels at edges of depth, (H, W); found at about the size that the network has."""
    height, width = depth_m.shape
    step = max(1, round(width / NETWORK_WIDTH))
    small = torch.from_numpy(np.nan_to_num(depth_m[::step, ::step], nan=1e4, posinf=1e4, neginf=1e-3))[None, None]
    mask = edge_mask(small.clamp(1e-3, 1e4).contiguous(), EDGE_STEP).float()
    return np.asarray(F.interpolate(mask, size=(height, width), mode='nearest')[0, 0].bool().numpy())


class FusedCloud:
    """The points of many frames in one frame of reference, one for each voxel; memory grows with the places seen.

    Args:
        voxel_m: Edge of a voxel, metres.
    """

    def __init__(self, voxel_m: float = 0.1) -> None:
        if not voxel_m > 0:
            raise ConfigError(f'voxel size {voxel_m!r} is not positive: expected metres, such as 0.1')
        self._voxel_m = voxel_m
        self._fresh: list[Cloud] = []
        self._merged = Cloud(np.empty((0, 3), np.float32), np.empty((0, 3), np.uint8))
        self.frames = 0

    def add(self, cloud: Cloud, T_world_camera: npt.NDArray[np.float64]) -> None:
        """Add a frame's points, given in its optical frame.

        Args:
            cloud: The points.
            T_world_camera: (4, 4), maps points of the optical frame into the world.
        """
        moved = cloud.points_m @ T_world_camera[:3, :3].T + T_world_camera[:3, 3]
        self._fresh.append(Cloud(np.asarray(moved, np.float32), cloud.colours))
        self.frames += 1
        if len(self._fresh) == MERGE_EVERY:
            self._merge()

    def cloud(self) -> Cloud:
        """Return the points so far, in the world frame; of several in a voxel the latest."""
        self._merge()
        return self._merged

    def _merge(self) -> None:
        parts = [*reversed(self._fresh), self._merged]
        points = np.concatenate([part.points_m for part in parts])
        colours = np.concatenate([part.colours for part in parts])
        voxels = np.floor(points / self._voxel_m).astype(np.int64)
        _, first = np.unique(_keys(voxels), return_index=True)
        self._merged = Cloud(points[first], colours[first])
        self._fresh = []


def _keys(voxels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return one number for each voxel: 21 bits an axis, which is 200 km of 0.1 m."""
    wrapped = voxels & 0x1FFFFF
    return np.asarray(wrapped[:, 0] << 42 | wrapped[:, 1] << 21 | wrapped[:, 2])


def write_ply(path: Path, cloud: Cloud) -> None:
    """Write a cloud as binary PLY, which MeshLab, CloudCompare, Blender and Open3D open; make its folder.

    Raises:
        OSError: If the file cannot be written.
    """
    rows = np.empty(len(cloud.points_m), np.dtype([('xyz', '<f4', 3), ('rgb', 'u1', 3)]))
    rows['xyz'], rows['rgb'] = cloud.points_m, cloud.colours
    header = (
        'ply\nformat binary_little_endian 1.0\ncomment x right, y down, z forward\n'
        f'element vertex {len(rows)}\n'
        'property float x\nproperty float y\nproperty float z\n'
        'property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n'
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header.encode('ascii') + rows.tobytes())
