"""The ablation: every variant is another run, and its scores are those of the zoomed views."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sidepth_core.benchmarks import ablation
from sidepth_core.benchmarks.ablation import VARIANTS, mean_scores, trained_scores, variant
from sidepth_core.data.synthetic import SyntheticSource
from sidepth_core.evaluation.depth_metrics import DepthScores
from sidepth_core.evaluation.run import DriveEvaluation
from sidepth_core.evaluation.zoom_metrics import SHARES, ZoomRow
from sidepth_core.training.recipes import find_recipe, load_recipe
from sidepth_core.training.settings import Recipe

ONE = 'synthetic:corridor?seed=9001&frames=2&sequence=2&width=208&height=128&fov=70'


@pytest.fixture(scope='module')
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    recipe = load_recipe(find_recipe('ablation'))
    data = replace(
        recipe.data,
        sources=('synthetic:corridor?seed=3&frames=16&width=208&height=128',),
        cache=str(tmp_path_factory.mktemp('cache')),
    )
    return replace(recipe, steps=2, data=data, optimiser=replace(recipe.optimiser, batch_size=2))


def test_every_variant_is_another_recipe(recipe: Recipe) -> None:
    recipes = [variant(recipe, changes, 1) for changes in VARIANTS.values()]
    assert all(first != second for index, first in enumerate(recipes) for second in recipes[:index])
    assert recipes[0] == replace(recipe, seed=1)


def test_a_variant_is_trained_and_scored_on_drives_it_never_saw(recipe: Recipe, tmp_path: Path) -> None:
    drives = [list(SyntheticSource.from_text(ONE))]
    scores = {
        name: trained_scores(variant(recipe, VARIANTS[name], 1), tmp_path / name, drives)
        for name in ('baseline', '+ both, canonical')
    }
    assert all(0 < value < 5 for name in scores for value in scores[name][:3])
    assert scores['baseline'] != scores['+ both, canonical']


def test_scores_are_means_over_drives_and_zooms() -> None:
    def depth(abs_rel: float) -> DepthScores:
        return DepthScores(abs_rel, *[0.0] * (len(DepthScores._fields) - 1))

    rows = tuple(
        ZoomRow(share, depth(0.1 + index), depth(0.2 + index), 0.0, index / 10, 4) for index, share in enumerate(SHARES)
    )
    scores = mean_scores([DriveEvaluation('one', 1, zoom=rows), DriveEvaluation('two', 1, zoom=rows)])
    assert scores == pytest.approx(ablation.Scores(0.1, 3.1, 3.2, 0.5))
