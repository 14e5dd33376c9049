"""The second round: clips into which the first round's depth tears holes are left out."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sidepth_core.data.folders.image_folders import FolderSource
from sidepth_core.data.synthetic import SyntheticSource
from sidepth_core.data.synthetic.export import write_folder
from sidepth_core.errors import DatasetError
from sidepth_core.training import holes
from sidepth_core.training.fit import fit
from sidepth_core.training.recipes import load_recipe
from sidepth_core.training.settings import ObjectiveSettings, Recipe
from sidepth_core.training.sources import open_sources

DEBUG = load_recipe(Path(__file__).parents[3] / 'training' / 'debug.yaml')


@pytest.fixture(scope='module')
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """A recipe of one step on images whose camera nobody knows."""
    folder = tmp_path_factory.mktemp('holes')
    for _ in write_folder(SyntheticSource('street', seed=3, frames=16, width=160, height=96), folder / 'images'):
        pass
    (folder / 'images' / 'camera.json').unlink()
    assert next(iter(FolderSource(folder / 'images'))).camera is None
    sources = (f'{folder}/images?camera=learned',)
    data = replace(DEBUG.data, sources=sources, cache=str(folder / 'cache'))
    return replace(DEBUG, steps=1, out=str(folder / 'first'), data=data, objective=ObjectiveSettings())


@pytest.fixture(scope='module')
def first_round(recipe: Recipe) -> Path:
    return fit(recipe).folder / 'last'


def test_clips_with_holes_are_left_out_of_training_only(
    recipe: Recipe, first_round: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source,) = open_sources(recipe)
    seen = 0

    def share(depth_m: Tensor, K: Tensor) -> Tensor:
        """Find a hole in every third clip."""
        nonlocal seen
        assert K.isfinite().all()
        numbers = torch.arange(seen, seen + len(depth_m))
        seen += len(depth_m)
        return torch.where(numbers % 3 == 1, 0.05, 0.01)

    monkeypatch.setattr(holes, 'hole_share', share)
    data = replace(recipe.data, hole_checkpoint=str(first_round), max_hole_share=0.02)
    kept = holes.without_holes(source, data, torch.device('cpu'))
    assert kept.split.train == [clip for place, clip in enumerate(source.split.train) if place % 3 != 1]
    assert kept.split.validation == source.split.validation
    with pytest.raises(DatasetError, match=r'every clip has holes over more than 0% of the image: raise data'):
        holes.without_holes(source, replace(data, max_hole_share=0.0), torch.device('cpu'))


def test_a_second_round_trains_on_what_is_left(
    recipe: Recipe, first_round: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = replace(recipe.data, hole_checkpoint=str(first_round), max_hole_share=1.0)
    with caplog.at_level(logging.INFO):
        run = fit(replace(recipe, out=f'{recipe.out}-and-second', data=data))
    assert (run.folder / 'last' / 'model.safetensors').is_file()
    assert '0 of ' in caplog.text
    assert 'clips have infinite-depth holes and are left out' in caplog.text
