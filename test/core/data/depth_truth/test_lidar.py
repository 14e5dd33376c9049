"""LiDAR into depth maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sidepth_core.camera import Camera
from sidepth_core.data.depth_truth.lidar import points_of_cloud, project_depth, read_velodyne, without_hidden
from sidepth_core.errors import DatasetError

CAMERA = Camera(40, 30, 20, 25, 19.5, 14.5)


def test_convention_a_point_falls_on_the_pixel_with_the_nearest_centre() -> None:
    # u = 20 * 1.02 / 2 + 19.5 = 29.7 -> 30; v = 25 * -0.4 / 2 + 14.5 = 9.5 -> 10 (half up)
    depth = project_depth(np.array([[1.02, -0.4, 2.0]]), np.eye(4), CAMERA)
    assert depth.shape == (30, 40)
    assert depth.dtype == np.float32
    assert np.argwhere(np.isfinite(depth)).tolist() == [[10, 30]]
    assert depth[10, 30] == 2.0


def test_the_nearest_point_of_a_pixel_wins_whatever_the_order() -> None:
    points = np.array([[0, 0, 9.0], [0, 0, 4.0], [0, 0, 6.0]])
    for order in ([0, 1, 2], [1, 0, 2], [2, 0, 1]):
        assert np.nanmax(project_depth(points[order], np.eye(4), CAMERA)) == 4.0


def test_points_behind_outside_and_on_the_lens_are_left_out() -> None:
    points = np.array([[0, 0, -5.0], [0, 0, 0.01], [90, 0, 5.0], [0, 40.0, 5.0]])
    assert np.isnan(project_depth(points, np.eye(4), CAMERA)).all()
    assert np.isnan(project_depth(np.empty((0, 3)), np.eye(4), CAMERA)).all()


def test_points_go_through_the_lens_but_not_beyond_its_fold() -> None:
    bent = Camera(640, 480, 400, 400, 320, 240, 'plumb_bob', (-0.3, 0, 0, 0))
    # x = 0.5: 0.5 * (1 - 0.3 * 0.25) * 400 + 320 = 505
    depth = project_depth(np.array([[5.0, 0, 10.0]]), np.eye(4), bent)
    assert depth[240, 505] == 10
    # x = 1.8 lies beyond the fold at 1.05: the polynomial alone would put it at 1.8 * 0.028 * 400 + 320 = 340.
    assert np.isnan(project_depth(np.array([[18.0, 0, 10.0]]), np.eye(4), bent)).all()


def test_clouds_are_read_whatever_their_layout() -> None:
    names, formats = ['i', 'z', 'x', 'y'], ['<f4', '<f8', '<f4', '<f4']
    layout = np.dtype({'names': names, 'formats': formats, 'offsets': [0, 4, 12, 20], 'itemsize': 28})
    cloud = np.zeros((2, 3), layout)
    cloud['x'], cloud['y'], cloud['z'] = 1.0, 2.0, np.arange(6).reshape(2, 3)
    cloud['z'][0, 0] = np.nan
    rows = np.zeros((2, 90), np.uint8)
    rows[:, :84] = cloud.view(np.uint8).reshape(2, 84)
    fields = [('intensity', 0, 7), ('z', 4, 8), ('x', 12, 7), ('y', 20, 7)]
    points = points_of_cloud(fields, 3, 2, 28, 90, rows.ravel())
    assert points.tolist() == [[1, 2, z] for z in range(1, 6)]
    swapped = np.array([[1.5, 2, 3]], '>f4').view(np.uint8).ravel()
    xyz = [('x', 0, 7), ('y', 4, 7), ('z', 8, 7)]
    assert points_of_cloud(xyz, 1, 1, 12, 12, swapped, is_bigendian=True).tolist() == [[1.5, 2, 3]]
    with pytest.raises(DatasetError, match='expected numbers x, y, z'):
        points_of_cloud(xyz[:2], 1, 1, 12, 12, swapped)
    with pytest.raises(DatasetError, match='has only 12'):
        points_of_cloud(xyz, 2, 1, 12, 24, swapped)
    with pytest.raises(DatasetError, match='points of 8 bytes, but x, y, z end at byte 12'):
        points_of_cloud(xyz, 1, 1, 8, 8, swapped)
    with pytest.raises(DatasetError, match='points of 2147483648 bytes, expected at most'):
        points_of_cloud(xyz, 0, 0, 1 << 31, 0, swapped)


def test_raw_sweeps_are_read(tmp_path: Path) -> None:
    np.arange(8, dtype='<f4').tofile(tmp_path / 'a.bin')
    assert read_velodyne(tmp_path / 'a.bin').tolist() == [[0, 1, 2], [4, 5, 6]]
    with pytest.raises(DatasetError, match='has 8 values, expected a multiple of 5'):
        read_velodyne(tmp_path / 'a.bin', 5)


def scene_with_a_car() -> tuple[np.ndarray, np.ndarray]:
    """Return a map with a wall 20 m away and a car 4 m away that few beams hit, and where the wall shows through."""
    depth = np.full((270, 480), np.nan, np.float32)
    depth[60:140:2, ::2] = 20.0
    car = np.zeros_like(depth, dtype=bool)
    car[110:200, 100:300] = True
    through = car & np.isfinite(depth)
    depth[110:200:15, 100:300:2] = 4.0
    return depth, through & (depth != 4.0)


def test_what_shows_through_a_near_car_is_left_out_and_nothing_else() -> None:
    depth, through = scene_with_a_car()
    kept = without_hidden(depth)
    assert through.sum() > 1000
    assert np.isnan(kept[through]).all()
    lost = np.isfinite(depth) & np.isnan(kept) & ~through
    # The coarse grid looks one column aside.
    assert np.argwhere(lost)[:, 1].tolist() == [300] * int(lost.sum())
    np.testing.assert_array_equal(kept[np.isfinite(kept)], depth[np.isfinite(kept)])


def test_a_road_up_to_a_wall_keeps_all() -> None:
    rows = np.arange(270)
    road = np.where(rows > 140, 1.6 * 200 / np.maximum(rows - 130, 1), 32.0).astype(np.float32)
    depth = np.full((270, 480), np.nan, np.float32)
    depth[80::3, ::2] = road[80::3, None]
    np.testing.assert_array_equal(without_hidden(depth), depth)


@pytest.mark.parametrize('scale', [2, 4])
def test_larger_images_are_looked_at_alike(scale: int) -> None:
    depth, through = scene_with_a_car()
    large = np.full((270 * scale, 480 * scale), np.nan, np.float32)
    large[::scale, ::scale] = depth
    assert np.isnan(without_hidden(large)[::scale, ::scale][through]).all()


def test_an_empty_map_stays_empty() -> None:
    assert np.isnan(without_hidden(np.full((5, 7), np.nan, np.float32))).all()
