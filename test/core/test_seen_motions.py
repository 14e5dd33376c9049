"""Motion that is seen between the frames of clips: measured once, kept beside the cache, doubted where it bends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sidepth_core.data import seen_motions
from sidepth_core.data.clips import Clip
from sidepth_core.data.prepare import WeightedSource, prepare
from sidepth_core.data.prepare_settings import PrepareSettings
from sidepth_core.data.prepared import PreparedDataset
from sidepth_core.data.seen_motions import clip_motions, measure_seen_motions
from sidepth_core.data.synthetic import SyntheticSource


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('seen') / 'cache'
    source = SyntheticSource('street', seed=5, frames=10, width=320, height=208, fov_deg=60.0)
    prepare([WeightedSource(source)], path, PrepareSettings(width=256, height=160, stride=1, workers=1))
    return path


def test_a_cache_tells_the_motion_of_each_clip_once_it_is_measured(folder: Path) -> None:
    assert PreparedDataset(folder)[0].seen_motion.isnan().all()
    told: list[tuple[int, int]] = []
    measure_seen_motions(folder, lambda done, of: told.append((done, of)))
    cache = PreparedDataset(folder)
    assert told == [(index + 1, len(cache)) for index in range(len(cache))]
    for index in range(len(cache)):
        seen, poses = cache[index].seen_motion.double().numpy(), cache.pose(index)
        for motion, other in zip(seen, (0, 2), strict=True):
            true = np.linalg.inv(poses[other]) @ poses[1]
            direction = true[:3, 3] / np.linalg.norm(true[:3, 3])
            assert np.degrees(np.arccos(np.clip(motion[:3, 3] @ direction, -1, 1))) < 8
            assert np.linalg.norm(motion[:3, :3] - true[:3, :3]) < 0.01


def test_what_is_measured_is_not_measured_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure_seen_motions(folder)
    monkeypatch.setattr(seen_motions, 'clip_motions', lambda _: pytest.fail('measured again'))
    measure_seen_motions(folder)


def test_a_clip_through_an_unknown_lens_tells_nothing(folder: Path) -> None:
    clip = PreparedDataset(folder)[0]
    assert np.isnan(clip_motions(clip._replace(intrinsics=torch.full((3, 3), torch.nan)))).all()


def heading(degrees: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return T_now_before of a camera that goes so far to the right of straight ahead."""
    motion = np.eye(4)
    motion[:3, 3] = -np.sin(np.radians(degrees)), 0, -np.cos(np.radians(degrees))
    return motion


@pytest.mark.parametrize(('after_deg', 'is_believed'), [(20.0, True), (40.0, False), (-170.0, False)])
def test_courses_that_contradict_each_other_are_not_believed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, after_deg: float, is_believed: bool
) -> None:
    answers = iter([heading(0), heading(after_deg)])
    monkeypatch.setattr(seen_motions, 'seen_motion', lambda *_: next(answers))
    found = clip_motions(PreparedDataset(folder)[0])
    assert np.isfinite(found).all() == is_believed


def test_one_neighbour_alone_is_believed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([None, heading(0)])
    monkeypatch.setattr(seen_motions, 'seen_motion', lambda *_: next(answers))
    clip: Clip = PreparedDataset(folder)[0]
    before, after = clip_motions(clip)
    assert np.isnan(before).all()
    assert np.array_equal(after, heading(0))
