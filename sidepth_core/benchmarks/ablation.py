"""What each part of the method is worth: the paper's ablation at a size for a processor, on drives with exact depth.

Every variant learns from view synthesis alone, from the same clips in the same order, and is scored on drives that
nobody trained on, in full view and zoomed. The simulator's own poses take the place of the pose network's, so that what
is compared is depth, and not how well two networks find together within few steps.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal, NamedTuple

from sidepth_core.benchmarks.row import Request, Row
from sidepth_core.data.frames import Frame
from sidepth_core.data.synthetic import SyntheticSource
from sidepth_core.evaluation.evaluated_model import load_model
from sidepth_core.evaluation.run import DriveEvaluation, EvaluationSettings, evaluate_frames
from sidepth_core.training.fit import fit
from sidepth_core.training.recipes import find_recipe, load_recipe
from sidepth_core.training.settings import Recipe

ZOOM: dict[str, Any] = {'augment': {'zoom_probability': 0.5}}
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    'baseline': {},
    '+ zoom augmentation': ZOOM,
    '+ cross-attention': {'model': {'attention': True}},
    '+ both': {**ZOOM, 'model': {'attention': True}},
    '+ both, consistency': {**ZOOM, 'model': {'attention': True}, 'objective': {'zoom_consistency': 0.1}},
    '+ both, canonical': {**ZOOM, 'model': {'attention': True, 'zoom_convention': 'canonical'}},
}
"""Name -> what it changes of the recipe `ablation`, by section."""
SEEDS = (1, 2, 3)
HELD_OUT = tuple(
    f'synthetic:{scene}?seed={seed}&frames=8&sequence=2&width=208&height=128&fov=70'
    for scene in ('street', 'highway', 'corridor')
    for seed in (9001, 9002, 9003, 9004)
)
ZOOMED = slice(1, None)
"""Rows of the zoom table at shares 0.9 to 0.5; the first is the full view."""


class Scores(NamedTuple):
    """One trained network on all held-out drives; means over drives.

    Attributes:
        full_view: AbsRel, median-scaled.
        zoomed_own: AbsRel at zooms of 0.9 to 0.5 of the image, each with its own median scale.
        zoomed_full: The same with the scale of the full view: what a robot sees that zooms.
        drift: Standard deviation over images of ln scale at half the image against the full view.
    """

    full_view: float
    zoomed_own: float
    zoomed_full: float
    drift: float


def rows(request: Request) -> Iterator[Row]:
    """Yield each variant's scores as means over seeds, with their standard deviation."""
    seeds = SEEDS[:1] if request.quick else SEEDS
    with tempfile.TemporaryDirectory() as folder:
        recipe = load_recipe(find_recipe('ablation'))
        device: Literal['cuda', 'cpu'] = 'cuda' if request.device.type == 'cuda' else 'cpu'
        recipe = replace(recipe, device=device, data=replace(recipe.data, cache=f'{folder}/cache'))
        if request.quick:
            recipe = replace(recipe, steps=20)
        drives = [list(SyntheticSource.from_text(drive)) for drive in HELD_OUT]
        references: Scores | None = None
        for name, changes in VARIANTS.items():
            runs = [trained_scores(variant(recipe, changes, seed), Path(folder) / name, drives) for seed in seeds]
            means = Scores(*(fmean(column) for column in zip(*runs, strict=True)))
            spreads = Scores(*(stdev(column) if len(runs) > 1 else 0.0 for column in zip(*runs, strict=True)))
            references = references or means
            for what, mean, spread, reference in zip(Scores._fields, means, spreads, references, strict=True):
                ratio = mean / reference
                yield Row(f'{name}: {what}', mean, '', 'baseline', ratio, note=f'std {spread:.3f} of {len(runs)} seeds')


def variant(recipe: Recipe, changes: dict[str, dict[str, Any]], seed: int) -> Recipe:
    """Return the recipe with a variant's changes."""
    sections = {name: replace(getattr(recipe, name), **fields) for name, fields in changes.items()}
    return replace(recipe, seed=seed, **sections)


def trained_scores(recipe: Recipe, folder: Path, drives: Sequence[Sequence[Frame]]) -> Scores:
    """Train a network and score it on the held-out drives."""
    run = fit(replace(recipe, out=f'{folder}-{recipe.seed}'))
    model = load_model(run.folder / 'last', device=recipe.device)
    settings = EvaluationSettings(metrics=('depth', 'zoom'), zoom_every=1, figures=0)
    return mean_scores([evaluate_frames(model, frames, settings, 'held out') for frames in drives])


def mean_scores(drives: list[DriveEvaluation]) -> Scores:
    """Return the means over drives."""
    zoomed = [row for drive in drives for row in drive.zoom[ZOOMED]]
    return Scores(
        fmean(drive.zoom[0].own.abs_rel for drive in drives),
        fmean(row.own.abs_rel for row in zoomed),
        fmean(row.full.abs_rel for row in zoomed),
        fmean(drive.zoom[-1].drift_std for drive in drives),
    )
