"""Motion brought to the time of an image."""

from __future__ import annotations

import numpy as np
import pytest

from sidepth_core.data.tracks import chain, interpolate_pose, make_track, rigid, rotation_of_quaternion

HALF = 0.5**0.5


def test_convention_quaternion_about_z_turns_x_to_y() -> None:
    rotation = rotation_of_quaternion(0, 0, HALF, HALF)
    assert rotation @ [1, 0, 0] == pytest.approx([0, 1, 0])
    assert rotation_of_quaternion(0, 0, 2, 2) == pytest.approx(rotation)
    assert rotation_of_quaternion(0, 0, 0, 0).tolist() == np.eye(3).tolist()


def test_convention_chain_maps_points_of_the_source_into_the_target() -> None:
    transforms = {
        ('base', 'mast'): rigid(np.eye(3), [0, 0, 2]),
        ('mast', 'camera'): rigid(rotation_of_quaternion(0, 0, HALF, HALF), [1, 0, 0]),
        ('base', 'lidar'): rigid(np.eye(3), [5, 0, 0]),
    }
    T_base_camera = chain(transforms, 'base', 'camera')
    assert T_base_camera is not None
    assert T_base_camera @ [1, 0, 0, 1] == pytest.approx([1, 1, 2, 1])
    T_lidar_camera = chain(transforms, '/lidar', 'camera')
    assert T_lidar_camera is not None
    assert T_lidar_camera @ [1, 0, 0, 1] == pytest.approx([-4, 1, 2, 1])
    assert chain(transforms, 'base', 'elsewhere') is None


def test_poses_are_interpolated_at_constant_rate_of_turn() -> None:
    first, second = np.eye(4), rigid(rotation_of_quaternion(0, 0, HALF, HALF), [2, 0, 0])
    third = interpolate_pose(first, second, 1 / 3)
    assert third[:3, 3] == pytest.approx([2 / 3, 0, 0])
    assert third[:2, 0] == pytest.approx([np.cos(np.pi / 6), np.sin(np.pi / 6)])
    assert interpolate_pose(first, second, 0.0) == pytest.approx(first)
    assert interpolate_pose(first, second, 1.0) == pytest.approx(second)


def test_a_track_sorts_interpolates_and_ends() -> None:
    second = 1_000_000_000
    track = make_track([second, 0, second], np.array([[3.0, 4, 0], [0, 1, 0], [9, 9, 9]]))
    assert track.stamps_ns.tolist() == [0, second]
    assert track.speed_at(0) == 1
    assert track.speed_at(second) == 5
    # One second is longer than any gap that may be bridged.
    assert track.speed_at(second // 2) is None
    assert track.speed_at(second + second // 4) == 5
    assert track.speed_at(2 * second) is None
    assert track.pose_at(0) is None
    near = make_track([0, second // 4], np.array([[1.0, 0, 0], [2, 0, 0]]))
    assert near.speed_at(second // 8) == pytest.approx(1.5)
