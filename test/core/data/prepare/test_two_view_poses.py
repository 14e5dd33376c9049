"""Motion that is seen between the frames of clips: measured once, kept beside the cache, doubted where it bends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sidepth_core.data.clips import Clip
from sidepth_core.data.frames import WeightedSource
from sidepth_core.data.prepare import two_view_poses
from sidepth_core.data.prepare.cache import prepare
from sidepth_core.data.prepare.dataset import TWO_VIEW_POSES_FILE, PreparedDataset
from sidepth_core.data.prepare.settings import PrepareSettings
from sidepth_core.data.prepare.two_view_poses import estimate_two_view_poses, two_view_poses_of
from sidepth_core.data.synthetic import SyntheticSource
from sidepth_core.data.two_view import TwoViewGeometry


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('seen') / 'cache'
    source = SyntheticSource('street', seed=5, frames=10, width=320, height=208, fov_deg=60.0)
    prepare([WeightedSource(source)], path, PrepareSettings(width=256, height=160, stride=1, workers=1))
    return path


def test_a_cache_tells_the_motion_of_each_clip_once_it_is_measured(folder: Path) -> None:
    assert PreparedDataset(folder)[0].two_view_pose.isnan().all()
    told: list[tuple[int, int]] = []
    estimate_two_view_poses(folder, lambda done, of: told.append((done, of)))
    cache = PreparedDataset(folder)
    assert told == [(index + 1, len(cache)) for index in range(len(cache))]
    for index in range(len(cache)):
        seen, poses = cache[index].two_view_pose.double().numpy(), cache.pose(index)
        for motion, other in zip(seen, (0, 2), strict=True):
            true = np.linalg.inv(poses[other]) @ poses[1]
            direction = true[:3, 3] / np.linalg.norm(true[:3, 3])
            assert np.degrees(np.arccos(np.clip(motion[:3, 3] @ direction, -1, 1))) < 8
            assert np.linalg.norm(motion[:3, :3] - true[:3, :3]) < 0.01


def test_a_cache_brings_the_poses_that_are_asked_for(folder: Path) -> None:
    estimate_two_view_poses(folder)
    for source, origin in (('odometry', 'odometry'), ('both', 'two views')):
        cache = PreparedDataset(folder, source)
        chosen, origins = cache.chosen_poses(3)
        assert origins == [origin, origin]
        assert np.allclose(cache[3].two_view_pose, chosen)
        true = np.linalg.inv(cache.pose(3)[0]) @ cache.pose(3)[1]
        is_exact = np.allclose(chosen[0, :3, 3], true[:3, 3] / np.linalg.norm(true[:3, 3]), atol=1e-6)
        assert is_exact == (source == 'odometry')


def test_corners_have_the_depth_of_the_middle_frame_in_lengths_of_the_motion(folder: Path) -> None:
    estimate_two_view_poses(folder)
    cache = PreparedDataset(folder)
    height, width = cache.size
    clip, poses = cache[3], cache.pose(3)
    for points, other in zip(clip.two_view_points.numpy(), (0, 2), strict=True):
        known = points[np.isfinite(points).all(axis=1)]
        assert len(known) > 20
        column, row, depth = known.T
        true = clip.depth_m[0].numpy()[(row * height).astype(int), (column * width).astype(int)]
        metres = depth * np.linalg.norm((np.linalg.inv(poses[other]) @ poses[1])[:3, 3])
        near = true < 20
        assert near.sum() > 8
        assert np.median(np.abs(metres[near] / true[near] - 1)) < 0.1


def test_what_is_measured_is_not_measured_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    estimate_two_view_poses(folder)
    monkeypatch.setattr(two_view_poses, 'two_view_poses_of', lambda _: pytest.fail('measured again'))
    estimate_two_view_poses(folder)


def test_a_clip_through_an_unknown_lens_tells_nothing(folder: Path) -> None:
    clip = PreparedDataset(folder)[0]
    seen = two_view_poses_of(clip._replace(intrinsics=torch.full((3, 3), torch.nan)))
    assert np.isnan(seen.motions).all()
    assert np.isnan(seen.points).all()


def test_what_older_rules_measured_is_measured_again(folder: Path) -> None:
    estimate_two_view_poses(folder)
    path = folder / TWO_VIEW_POSES_FILE
    today = dict(np.load(path))
    np.savez(path, motions=today['motions'] + 1, points=today['points'])
    estimate_two_view_poses(folder)
    assert np.array_equal(np.load(path)['motions'], today['motions'], equal_nan=True)


def test_a_camera_that_stands_by_odometry_shows_no_motion_whatever_passes_it(folder: Path) -> None:
    clip = PreparedDataset(folder)[0]
    assert np.isfinite(two_view_poses_of(clip).motions).all()
    seconds = clip.dt_s
    stands = two_view_poses_of(clip._replace(distance_m=torch.stack([0.01 * seconds[0], 1.0 * seconds[1]])))
    assert np.isnan(stands.motions[0]).all()
    assert np.isnan(stands.points[0]).all()
    assert np.isfinite(stands.motions[1]).all()


def heading(degrees: float) -> TwoViewGeometry:
    """Return what is seen by a camera that goes so far to the right of straight ahead."""
    motion = np.eye(4)
    motion[:3, 3] = -np.sin(np.radians(degrees)), 0, -np.cos(np.radians(degrees))
    return TwoViewGeometry(motion, np.zeros((1, 2)), np.zeros((1, 2)), np.array([[0.0, 0.0, 9.0]]))


@pytest.mark.parametrize(('after_deg', 'is_believed'), [(20.0, True), (40.0, False), (-170.0, False)])
def test_courses_that_contradict_each_other_are_not_believed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, after_deg: float, is_believed: bool
) -> None:
    answers = iter([heading(0), heading(after_deg)])
    monkeypatch.setattr(two_view_poses, 'two_view_geometry', lambda *_: next(answers))
    found = two_view_poses_of(PreparedDataset(folder)[0])
    assert np.isfinite(found.motions).all() == is_believed
    assert np.isfinite(found.points[:, 0]).all() == is_believed


def test_one_neighbour_alone_is_believed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([None, heading(0)])
    monkeypatch.setattr(two_view_poses, 'two_view_geometry', lambda *_: next(answers))
    clip: Clip = PreparedDataset(folder)[0]
    before, after = two_view_poses_of(clip).motions
    assert np.isnan(before).all()
    assert np.array_equal(after, heading(0).T_now_before)
