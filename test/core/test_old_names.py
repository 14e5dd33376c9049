"""Recipes, sources and caches of earlier versions load under today's names."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from sidepth_core.data.folders.image_folders import FolderSource
from sidepth_core.data.prepare.cache import prepare
from sidepth_core.data.prepare.dataset import PreparedDataset
from sidepth_core.data.prepare.settings import PrepareSettings
from sidepth_core.data.prepare.two_view_poses import estimate_two_view_poses
from sidepth_core.data.synthetic import SyntheticSource
from sidepth_core.data.synthetic.export import write_folder
from sidepth_core.errors import ConfigError
from sidepth_core.training.recipes import load_recipe, read_arguments, recipe_parser
from sidepth_core.training.settings import DataSettings, ModelSettings, Recipe
from sidepth_core.training.sources import prepare_settings, prepare_sources

OLD_RECIPE = """
data:
  sources: ['synthetic:street?seed=5&frames=6&take=3']
  gate: {blur_ratio: 0.5}
objective: {seen_motion: 0.25}
watch: {picture_every: 7}
"""
SMALL = PrepareSettings(width=64, height=32, stride=1, codec='raw')


@pytest.fixture
def drive(tmp_path: Path) -> FolderSource:
    """Return eight frames of a street, written as a folder."""
    source = SyntheticSource('street', seed=3, frames=8, width=96, height=64)
    for _ in write_folder(source, tmp_path / 'drive'):
        pass
    return FolderSource(tmp_path / 'drive')


def made_earlier(cache: Path, drive: FolderSource) -> Path:
    """Prepare a cache, with two-view poses, and give its files and fields their earlier names."""
    prepare([drive], cache, SMALL)
    estimate_two_view_poses(cache)
    for path in cache.rglob('selection.json'):
        path.rename(path.with_name('sifted.json'))
    (cache / 'two_view_poses.npz').rename(cache / 'seen_motions.npz')
    manifest = cache / 'cache.json'
    manifest.write_text(manifest.read_text().replace('"frame_selection"', '"gate"'))
    assert '"gate"' in manifest.read_text()
    return cache


def test_an_old_recipe_loads_and_says_what_its_keys_are_called_now(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / 'old.yaml'
    path.write_text(OLD_RECIPE)
    with caplog.at_level(logging.WARNING):
        recipe = load_recipe(path)
    assert recipe.data.frame_selection.blur_ratio == 0.5
    assert recipe.data.sources == ('synthetic:street?seed=5&frames=6&sequence=3',)
    assert (recipe.objective.two_view_pose, recipe.watch.figure_every) == (0.25, 7)
    assert 'objective.seen_motion is called objective.two_view_pose now' in caplog.text


def test_an_old_option_on_the_command_line_still_counts() -> None:
    arguments = ['--objective.seen_motion=0.5', '--data.gate.gap_ratio', '9']
    recipe = read_arguments(recipe_parser(), arguments)
    assert (recipe.objective.two_view_pose, recipe.data.frame_selection.gap_ratio) == (0.5, 9)


def test_an_unknown_key_of_an_old_recipe_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'old.yaml'
    path.write_text('data: {gate: {blur: 0.5}}\n')
    with pytest.raises(ConfigError, match=r"frame_selection\.blur .did you mean 'blur_ratio'"):
        load_recipe(path)


def test_an_old_option_of_a_synthetic_source_is_the_new_one() -> None:
    old, new = (SyntheticSource.from_text(f'synthetic:mixed?{key}=4') for key in ('take', 'sequence'))
    assert old == new
    assert old.sequence_frames == 4


def test_an_old_cache_is_complete_and_gives_its_two_view_poses(tmp_path: Path, drive: FolderSource) -> None:
    cache = made_earlier(tmp_path / 'cache', drive)
    before = {path: path.stat().st_mtime_ns for path in cache.rglob('*.*[a-z]') if path.name != '.lock'}
    prepare([drive], cache, SMALL)
    estimate_two_view_poses(cache)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob('*.*[a-z]') if path.name != '.lock'} == before
    with np.load(cache / 'seen_motions.npz') as stored:
        np.testing.assert_array_equal(PreparedDataset(cache)[0].two_view_pose.numpy(), stored['motions'][0])


def test_an_old_cache_that_was_interrupted_goes_on(tmp_path: Path, drive: FolderSource) -> None:
    cache = made_earlier(tmp_path / 'cache', drive)
    manifest = cache / 'cache.json'
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), 'complete': False}))
    prepare([drive], cache, SMALL)
    assert [path.name for path in cache.glob('source-000/s*.json')] == ['sifted.json']
    assert len(PreparedDataset(cache)) == 6



def test_a_run_finds_the_cache_that_an_earlier_version_made_for_its_source(tmp_path: Path) -> None:
    recipe = Recipe(
        str(tmp_path / 'run'),
        data=DataSettings(('synthetic:street?frames=6&sequence=6',), stride=1),
        model=ModelSettings(width=64, height=32),
    )
    settings = asdict(prepare_settings(recipe, ''))
    settings['gate'] = settings.pop('frame_selection')
    decides = json.dumps(['synthetic:street?frames=6&take=6', settings], sort_keys=True)
    digest = hashlib.sha256(decides.encode()).hexdigest()[:10]
    (today,) = prepare_sources(recipe)
    readable = today.cache.name.rpartition('-')[0].replace('sequence', 'take')
    earlier = today.cache.rename(today.cache.with_name(f'{readable}-{digest}'))
    (found,) = prepare_sources(recipe)
    assert found.cache == earlier != today.cache
