"""Triangulated depth of clips: found once, kept beside the cache, brought with the clips that ask for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sidepth_core.data.prepare import (
    PreparedDataset,
    PrepareSettings,
    estimate_two_view_depth,
    estimate_two_view_poses,
    maps,
    prepare,
    two_view_depths,
)
from sidepth_core.data.synthetic import SyntheticSource
from sidepth_core.errors import DatasetError


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('depth') / 'cache'
    source = SyntheticSource('street', seed=8, frames=6, width=320, height=160, fov_deg=80.0)
    prepare([source], path, PrepareSettings(width=256, height=128, stride=1, workers=1))
    estimate_two_view_poses(path)
    return path


def test_clips_bring_triangulated_depth_once_it_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert PreparedDataset(folder)[0].two_view_depth.isnan().all()
    with pytest.raises(DatasetError, match='has not the triangulated depth of every clip'):
        PreparedDataset(folder, two_view_depth=True)
    monkeypatch.setattr(maps, 'MAPS_A_FILE', 3)
    told: list[tuple[int, int]] = []
    estimate_two_view_depth(folder, lambda done, of: told.append((done, of)))
    assert told == [(3, 4), (4, 4)]
    clips = PreparedDataset(folder, two_view_depth=True)
    for clip in clips:
        depth, true_m = clip.two_view_depth.numpy(), clip.depth_m.numpy()
        seen = np.isfinite(depth) & (true_m < 80)
        error = np.log(depth[seen] / true_m[seen])
        assert seen.mean() > 0.2
        assert np.median(np.abs(error - np.median(error))) < 0.06
    monkeypatch.setattr(two_view_depths, 'two_view_depth_of', lambda _: pytest.fail('found again'))
    estimate_two_view_depth(folder)


def test_a_clip_without_two_view_poses_has_no_triangulated_depth(folder: Path) -> None:
    clip = PreparedDataset(folder)[0]
    blind = clip._replace(two_view_pose=clip.two_view_pose * np.nan)
    assert np.isnan(two_view_depths.two_view_depth_of(blind)).all()
    assert two_view_depths.two_view_depth_of(clip).shape == PreparedDataset(folder).size
