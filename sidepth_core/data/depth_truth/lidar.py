"""LiDAR as ground truth: point clouds of several file formats, and their projection into an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from sidepth_core.camera import Camera
from sidepth_core.data.frames import DepthMap
from sidepth_core.errors import DatasetError
from sidepth_core.rectify import distort, fold_radius

Points = npt.NDArray[np.float64]
"""(N, 3) points, metres."""

MIN_DEPTH_M = 0.1
"""Nearer returns are the vehicle itself."""

LARGEST_POINT = 1 << 20
"""Bytes of a point; a cloud without points may claim any number, and numpy takes no more than 31 bits of them."""

COARSE_ROWS = 270
"""Rows of the grid on which `without_hidden` looks around."""

ROWS_ABOVE, ROWS_BELOW = 18, 30
"""How far it looks there: beams that hit a near car lie farther apart on its side, below, than on its roof."""

HIDDEN_SHARE, HIDDEN_M = 0.75, 0.3
"""A return is behind another that is nearer than HIDDEN_SHARE of its depth less HIDDEN_M."""

# sensor_msgs/PointField
_DATATYPES = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 8: 'f8'}


def read_velodyne(path: Path, values_per_point: int = 4) -> Points:
    """Return the points of a raw float32 file: 4 values a point as KITTI writes them, 5 as nuScenes does.

    Raises:
        DatasetError: If the file's length is no whole number of points.
    """
    values = np.fromfile(path, dtype='<f4')
    if values.size % values_per_point:
        raise DatasetError(f'{str(path)!r} has {values.size} values, expected a multiple of {values_per_point}')
    return values.reshape(-1, values_per_point)[:, :3].astype(np.float64)


def points_of_cloud(
    fields: Sequence[tuple[str, int, int]],
    width: int,
    height: int,
    point_step: int,
    row_step: int,
    data: npt.NDArray[np.uint8],
    *,
    is_bigendian: bool = False,
) -> Points:
    """Return the finite points of a sensor_msgs/PointCloud2 from its fields.

    Args:
        fields: Name, offset and datatype of each PointField.
        width: Points a row.
        height: Rows.
        point_step: Bytes a point.
        row_step: Bytes a row.
        data: The bytes.
        is_bigendian: Byte order of the values.

    Raises:
        DatasetError: If x, y, z are missing, or the lengths or a point's fields do not fit.
    """
    by_name = {name: (offset, datatype) for name, offset, datatype in fields}
    if not {'x', 'y', 'z'} <= by_name.keys() or any(by_name[axis][1] not in _DATATYPES for axis in 'xyz'):
        raise DatasetError(f'point cloud has fields {", ".join(by_name)}, expected numbers x, y, z')
    if point_step > LARGEST_POINT:
        raise DatasetError(f'point cloud has points of {point_step} bytes, expected at most {LARGEST_POINT}')
    end = max(by_name[axis][0] + np.dtype(_DATATYPES[by_name[axis][1]]).itemsize for axis in 'xyz')
    if end > point_step:
        raise DatasetError(f'point cloud has points of {point_step} bytes, but x, y, z end at byte {end}')
    row_step = row_step or width * point_step
    if data.size < height * row_step or row_step < width * point_step:
        raise DatasetError(f'point cloud of {height} rows of {row_step} bytes has only {data.size}')
    order = '>' if is_bigendian else '<'
    dtype = np.dtype(
        {
            'names': list('xyz'),
            'formats': [order + _DATATYPES[by_name[axis][1]] for axis in 'xyz'],
            'offsets': [by_name[axis][0] for axis in 'xyz'],
            'itemsize': point_step,
        }
    )
    grid = np.ndarray((height, width), dtype, buffer=np.ascontiguousarray(data), strides=(row_step, point_step))
    points = np.stack([grid[axis].ravel().astype(np.float64) for axis in 'xyz'], axis=-1)
    return np.asarray(points[np.isfinite(points).all(axis=1)])


def project_depth(points: Points, T_camera_points: npt.NDArray[np.float64], camera: Camera) -> DepthMap:
    """Return the depth of a camera's pixels that points fall on; NaN elsewhere, the nearest point where several do.

    Convention: a point belongs to the pixel whose centre is nearest, round half up. The camera may be
    distorted: the points go through its lens.

    Args:
        points: (N, 3), metres.
        T_camera_points: (4, 4), from the points' frame to the optical frame.
        camera: The camera of the image.

    Returns:
        (H, W) float32, metres along Z.
    """
    seen = points @ T_camera_points[:3, :3].T + T_camera_points[:3, 3]
    seen = seen[seen[:, 2] > MIN_DEPTH_M]
    seen = seen[np.hypot(seen[:, 0], seen[:, 1]) < fold_radius(camera) * seen[:, 2]]
    depth = np.full((camera.height, camera.width), np.nan, dtype=np.float32)
    if not len(seen):
        return depth
    pixels = np.floor(distort(seen, camera) + 0.5).astype(np.int64)
    inside = ((pixels >= 0) & (pixels < (camera.width, camera.height))).all(axis=1)
    pixels, z = pixels[inside], seen[inside, 2].astype(np.float32)
    far_first = np.argsort(-z, kind='stable')
    depth[pixels[far_first, 1], pixels[far_first, 0]] = z[far_first]
    return depth


def without_hidden(depth_m: DepthMap) -> DepthMap:
    """Return a sparse depth map without the returns that lie between much nearer ones above and below.

    A LiDAR on the roof sees past a near car what the camera below it does not: projected, the wall behind shows
    through the car, between the few beams that hit it. Some true returns go with them, such as those of a far street
    between the road and a traffic light that hangs above it.

    Args:
        depth_m: (H, W) metres; NaN where there is no return.
    """
    rows, columns = depth_m.shape
    block = max(1, round(rows / COARSE_ROWS))
    known = ~np.isnan(depth_m)
    v, u = np.nonzero(known)
    nearest = np.full((-(-rows // block), -(-columns // block)), np.inf, dtype=np.float32)
    np.minimum.at(nearest, (v // block, u // block), depth_m[v, u])
    above = _nearest_of(nearest, ROWS_ABOVE, anchor_row=ROWS_ABOVE)
    below = _nearest_of(nearest, ROWS_BELOW, anchor_row=0)
    in_front = np.maximum(above, below)[v // block, u // block]
    hidden = in_front < HIDDEN_SHARE * depth_m[v, u] - HIDDEN_M
    kept = np.array(depth_m, np.float32)
    kept[v[hidden], u[hidden]] = np.nan
    return kept


def _nearest_of(nearest: DepthMap, rows: int, anchor_row: int) -> DepthMap:
    """Return the least of each place, the `rows` above or below it, and the columns beside these."""
    around = np.ones((rows + 1, 3), np.uint8)
    least = cv2.erode(nearest, around, anchor=(1, anchor_row), borderType=cv2.BORDER_CONSTANT, borderValue=[np.inf])
    return least.astype(np.float32)
