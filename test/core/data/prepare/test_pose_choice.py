"""Poses by two views, by odometry, or by both: what counts, and what is refused."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from sidepth_core.data.prepare.pose_choice import PoseSource, choose_poses, describe_origins, odometry_poses

Floats = npt.NDArray[np.float64]
NOTHING = np.full((4, 4), np.nan)


def motion(course_deg: float = 0.0, turn_deg: float = 0.0) -> Floats:
    """Return the T_now_before of a camera that goes so far to the right of straight ahead, and turns."""
    T = np.eye(4)
    T[:3, :3] = cv2.Rodrigues(np.array([0.0, np.radians(turn_deg), 0.0]))[0]
    T[:3, 3] = -np.sin(np.radians(course_deg)), 0.0, -np.cos(np.radians(course_deg))
    return T


def test_odometry_gives_the_poses_of_the_other_frames_from_the_middle_one_where_the_camera_moves() -> None:
    poses = np.tile(np.eye(4), (5, 1, 1))
    poses[:, 2, 3] = 0.0, 2.0, 3.0, 3.001, 5.0  # ahead
    poses[0] = np.nan
    motions = odometry_poses(poses, np.full(4, 0.01))
    assert np.isnan(motions[0]).all()  # not known
    assert motions[1, :3, 3].tolist() == [0, 0, 1]  # points of the middle frame are farther from the one before
    assert np.isnan(motions[2]).all()  # a millimetre
    assert motions[3, :3, 3].tolist() == [0, 0, -1]


@pytest.mark.parametrize(
    ('source', 'two_view', 'odometry', 'counts', 'origin'),
    [
        ('two_view', motion(), motion(90), motion(), 'two views'),
        ('two_view', NOTHING, motion(), NOTHING, 'none'),
        ('odometry', motion(90), motion(), motion(), 'odometry'),
        ('odometry', motion(), NOTHING, NOTHING, 'none'),
        ('both', motion(10, 1), motion(), motion(10, 1), 'two views'),
        ('both', motion(), NOTHING, motion(), 'two views'),
        ('both', NOTHING, motion(), motion(), 'odometry'),
        ('both', motion(20), motion(), NOTHING, 'contradicting'),
        ('both', motion(0, 2), motion(), NOTHING, 'contradicting'),
        ('both', NOTHING, NOTHING, NOTHING, 'none'),
    ],
)
def test_what_counts_and_where_it_is_from(
    source: PoseSource, two_view: Floats, odometry: Floats, counts: Floats, origin: str
) -> None:
    chosen, origins = choose_poses(two_view[None], odometry[None], source)
    assert np.array_equal(chosen[0], counts, equal_nan=True)
    assert origins == [origin]


def test_origins_in_words() -> None:
    assert describe_origins(Counter(['two views', 'odometry', 'two views'])) == '1 odometry, 2 two views'
