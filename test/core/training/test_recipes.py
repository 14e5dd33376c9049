from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from sidepth_core.data.prepare.clip_table import find_clips
from sidepth_core.data.prepare.shards import FrameTable
from sidepth_core.errors import ConfigError
from sidepth_core.training.recipes import (
    HEADING,
    field_sentences,
    find_recipe,
    load_recipe,
    read_arguments,
    recipe_parser,
    render_recipe,
)
from sidepth_core.training.settings import DataSettings, ModelSettings, OptimiserSettings, Recipe
from sidepth_core.training.sources import at_camera_shape, prepare_settings, prepare_sources

FOLDER = Path(__file__).parents[3] / 'training'
REFERENCE = FOLDER / 'reference.yaml'
RECIPES = sorted(set(FOLDER.glob('*.yaml')) - {REFERENCE})

OLD_FINETUNE_BAG = """
out: runs/finetuned
checkpoint: default
steps: 300
seed: 0
device: auto
precision: auto
resume: false
licence: ''
data: {sources: [], cache: '', validation_share: 0.1, test_share: 0.1, validation_clips: 64, workers: 1,
  max_hole_share: 0.02, hole_checkpoint: '', margin: 1.3, clip_frames: 3, stride: 0, codec: auto,
  gate: {still_share: 0.00040257648953301127, duplicate_difference: 0.15, max_bright_share: 0.5, max_dark_share: 0.9,
    min_contrast: 4.0, min_tracked_share: 0.15, blur_ratio: 0.35, gap_ratio: 3.5}}
model: {backbone: null, width: null, height: null, pose_width: null, pose_height: null, pretrained: false,
  min_depth_m: 0.1, max_depth_m: 100.0, zoom_convention: null, focal_px: null, freeze_batch_norm: true,
  recompute: false}
augment: {zoom_probability: 0.5, zoom_smallest: 0.5, zoom_centre: anywhere, zoom_isotropic: false, zoom_sources: false,
  flip_probability: 0.5, jitter_probability: 0.5, brightness: 0.2, contrast: 0.2, saturation: 0.2, hue: 0.1}
objective: {photometric: 1.0, smoothness_first: 0.001, smoothness_second: 0.001, speed: 0.05, zoom_consistency: 0.0,
  depth: 0.0, self_distillation: 0.0, seen_motion: 1.0, auto_mask: true, motion_mask: false, supervised_steps: 0}
optimiser: {learning_rate: 5.0e-05, pose_rate: 4.0, batch_size: 4, warmup_steps: 50,
  warmup_start: 0.3333333333333333, milestones: [0.5, 0.75], decay: 0.5, weight_decay: 0.0, gradient_clip: 35.0,
  ema_decay: 0.99}
watch: {log_every: 10, validate_every: 50, picture_every: 100, save_every: 100, select_by: photometric, patience: 5,
  collapse_checks: 10, collapse_after: 100, collapse_hole_share: 0.3}
"""


def test_the_promised_recipes_are_there() -> None:
    names = {path.stem for path in RECIPES}
    assert names == {
        'kitti_1024x320', 'kitti_640x192', 'finetune_bag', 'robot_indoor', 'synthetic', 'small', 'small_more',
        'base', 'base_more', 'debug', 'ablation', 'distill_bag',
    }  # fmt: skip


def repeated(content: dict[str, Any], below: object, prefix: str = '') -> Iterator[str]:
    """Yield the keys of a recipe that say what would be so without them."""
    for key, value in content.items():
        before = getattr(below, key)
        if is_dataclass(before):
            yield from repeated(value, before, f'{prefix}{key}.')
        elif value == (list(before) if isinstance(before, tuple) else before):
            yield f'{prefix}{key}'


@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_a_recipe_begins_with_its_purpose_and_says_only_what_differs_from_its_base(path: Path) -> None:
    text = path.read_text(encoding='utf-8')
    assert text.startswith('# ')
    content = yaml.safe_load(text)
    base = content.pop('base', None)
    assert list(repeated(content, load_recipe(FOLDER / f'{base}.yaml') if base else Recipe())) == []
    assert load_recipe(path) != Recipe()


def test_the_reference_is_current_and_says_the_defaults() -> None:
    assert REFERENCE.read_text(encoding='utf-8') == render_recipe(Recipe(), HEADING), 'run `make reference`'
    assert load_recipe(REFERENCE) == Recipe()


def test_a_full_recipe_of_an_older_release_is_still_the_same_recipe(tmp_path: Path) -> None:
    path = tmp_path / 'old.yaml'
    path.write_text(OLD_FINETUNE_BAG)
    today = load_recipe(FOLDER / 'finetune_bag.yaml')
    as_it_was = replace(
        today,
        objective=replace(today.objective, hold_scale=0.0, hold_sky=0.0, two_view_depth=0.0),
        optimiser=replace(today.optimiser, learning_rate=5e-5),
        watch=replace(today.watch, select_by='photometric'),
    )
    assert load_recipe(path) == as_it_was


def test_a_recipe_lies_over_its_base_and_that_over_its_own(tmp_path: Path) -> None:
    (tmp_path / 'bases').mkdir()
    (tmp_path / 'bases' / 'mine.yaml').write_text('base: finetune_bag\nsteps: 7\noptimiser: {batch_size: 2}\n')
    path = tmp_path / 'top.yaml'
    for name in ('bases/mine', 'bases/mine.yaml', str(tmp_path / 'bases' / 'mine.yaml')):
        path.write_text(f'base: {name}\noptimiser: {{learning_rate: 1e-3}}\n')
        recipe, bottom = load_recipe(path), load_recipe(FOLDER / 'finetune_bag.yaml')
        changed = replace(bottom.optimiser, batch_size=2, learning_rate=1e-3)
        assert recipe == replace(bottom, steps=7, optimiser=changed)


@pytest.mark.parametrize(
    ('text', 'fault'),
    [
        ('base: finetune', "base of .*mine.yaml': no recipe 'finetune': expected a file, or one of .*finetune_bag"),
        ('base: mine', 'rest on each other in a circle: .*mine.yaml -> .*mine.yaml'),
        ('base: [finetune_bag]', r"base of .* is \['finetune_bag'\]: expected the name of a recipe"),
        ('bas: finetune_bag', r"bas \(did you mean 'base'\?\)"),
        ('data: {base: finetune_bag}', r'data.base \('),
    ],
)
def test_a_base_that_cannot_be_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / 'mine.yaml'
    path.write_text(text)
    with pytest.raises(ConfigError, match=fault):
        load_recipe(path)


def test_every_field_has_a_sentence() -> None:
    def missing(settings: type, prefix: str) -> list[str]:
        sentences = field_sentences(settings)
        found = [f'{prefix}{field.name}' for field in fields(settings) if len(sentences.get(field.name, '')) < 10]
        for field in fields(settings):
            default = getattr(settings(), field.name)
            if is_dataclass(default):
                found += missing(type(default), f'{prefix}{field.name}.')
        return found

    assert missing(Recipe, '') == []


def test_the_paper_recipe_has_the_papers_numbers() -> None:
    recipe = load_recipe(FOLDER / 'kitti_1024x320.yaml')
    assert (recipe.model.backbone, recipe.model.width, recipe.model.height) == ('hrnet18', 1024, 320)
    assert recipe.steps == 40 * 39810 // 12
    assert (recipe.optimiser.learning_rate, recipe.optimiser.gradient_clip) == (1e-4, 35)
    assert recipe.objective.weights[:3] == (1.0, 1e-3, 1e-3)


def drive(frames: int, motion_px: float) -> FrameTable:
    """Return the table of a drive whose image moves so far from frame to frame, at KITTI's ten frames a second."""
    one, many = np.ones(frames), np.arange(frames)
    pose = np.tile(np.eye(4), (frames, 1, 1))
    depth = np.zeros(frames, np.bool_)
    return FrameTable(many, many * 10**8, *[one] * 4, one, pose, motion_px * one, one, 0.1 * one, one, depth)


@pytest.mark.parametrize('name', ['kitti_1024x320', 'kitti_640x192'])
def test_kitti_clips_are_of_neighbouring_frames_as_in_the_paper_however_slow_the_drive(name: str) -> None:
    settings = prepare_settings(load_recipe(FOLDER / f'{name}.yaml'), 'kitti/?split=eigen_zhou')
    frames = find_clips(drive(9, motion_px=3.0), settings, 1242, 0, 0).clips.frames
    assert np.array_equal(frames - frames[:, 1:2], np.tile([-1, 0, 1], (7, 1)))


def test_the_rate_warms_up_from_a_third_and_halves_at_the_milestones() -> None:
    settings = OptimiserSettings(warmup_steps=500, milestones=(0.5, 0.75))
    assert settings.rate_factor(0, 4000) == pytest.approx(1 / 3)
    assert settings.rate_factor(250, 4000) == pytest.approx(2 / 3)
    assert settings.rate_factor(500, 4000) == settings.rate_factor(1999, 4000) == 1
    assert settings.rate_factor(2000, 4000) == 0.5
    assert settings.rate_factor(3000, 4000) == 0.25


def test_an_unknown_key_names_its_nearest_neighbour(tmp_path: Path) -> None:
    path = tmp_path / 'mine.yaml'
    path.write_text('optimiser:\n  learning_rte: 1e-4\nstep: 3\n')
    faults = r"optimiser.learning_rte \(did you mean 'learning_rate'\?\); step \(did you mean 'steps'"
    with pytest.raises(ConfigError, match=faults):
        load_recipe(path)


@pytest.mark.parametrize(
    ('text', 'fault'),
    [
        ('steps: many', 'steps.*many'),
        ('steps: 0', 'steps 0 is not positive'),
        ('model: {width: 100}', 'width 100 is not a positive multiple of 32'),
        ('objective: {hold_scale: 0.1}', 'hold_scale and hold_sky need a checkpoint to start from'),
        ('objective: {photometric: 0}', 'nothing to learn from'),
        ('objective: {supervised_steps: 5}', 'needs the weight depth'),
        ('data: {validation_share: 0.0}', 'nothing to choose `best` on'),
        ('augment: {zoom_centre: left}', "zoom_centre 'left'"),
        ('- a list', 'expected a mapping of settings'),
        ('steps: [', 'is no YAML'),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_name(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / 'mine.yaml'
    path.write_text(text)
    with pytest.raises(ConfigError, match=fault):
        load_recipe(path)


def test_recipes_are_found_by_name_and_the_rest_are_listed() -> None:
    assert find_recipe('finetune_bag') == FOLDER / 'finetune_bag.yaml'
    with pytest.raises(ConfigError, match=r"no recipe 'finetune': expected a file, or one of .*finetune_bag"):
        find_recipe('finetune')


def test_what_is_null_comes_from_the_starting_checkpoint() -> None:
    start = ModelSettings(backbone='resnet18', width=320, height=192).describe(None)
    info = ModelSettings(height=128).describe(start)
    assert (info.backbone, info.image_width, info.image_height) == ('resnet18', 320, 128)


def test_attention_stays_as_the_starting_checkpoint_has_it() -> None:
    start = ModelSettings(smooth_attention=True).describe(None)
    assert ModelSettings().describe(start).smooth_attention
    assert not ModelSettings(smooth_attention=False).describe(start).smooth_attention
    assert not ModelSettings(attention=False).describe(start).smooth_attention
    assert not ModelSettings().describe(None).smooth_attention  # as published


def test_another_training_size_keeps_the_canonical_focal_length() -> None:
    start = ModelSettings(width=640, zoom_convention='canonical', focal_px=500.0).describe(None)
    assert ModelSettings(width=320, height=128).describe(start).focal_px == 500
    assert ModelSettings(width=640, zoom_convention='canonical').describe(None).focal_px == 640


def test_help_leaves_the_lines_of_a_description_as_they_are() -> None:
    text = recipe_parser(prog='train', description='Train:\n\n  train --bag a/\n  train --bag b/\n').format_help()
    assert '\n  train --bag a/\n  train --bag b/\n' in text


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--seed', '-1'], r'seed -1 is not in 0\.\.4294967295'),
        (['--optimiser.batch_size', '1000000'], 'batch_size 1000000 is beyond 4096'),
        (['--model.width', '1073741824'], 'width 1073741824 is beyond 8192'),
        (['--model.pose_height', '1000000000'], 'pose_height 1000000000 is beyond 8192'),
        (['--data.workers', '1000000'], r'workers 1000000 is not in 0\.\.256'),
    ],
)
def test_numbers_that_no_machine_can_train_with_are_refused(arguments: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_arguments(recipe_parser(), arguments)


def test_a_prepared_cache_is_a_source_and_not_the_folder_of_caches(tmp_path: Path) -> None:
    (tmp_path / 'cache.json').write_text('{}')
    recipe = load_recipe('debug')
    recipe = replace(recipe, data=replace(recipe.data, cache=str(tmp_path)))
    with pytest.raises(ConfigError, match=r'data.cache is .* a prepared cache itself.*name it as a source \(--bag'):
        prepare_sources(recipe)


def test_a_prepared_cache_takes_no_options(tmp_path: Path) -> None:
    (tmp_path / 'cache.json').write_text('{}')
    source = f'{tmp_path}?weight=2'
    for recipe in (
        Recipe(data=DataSettings(sources=(source,))),
        Recipe(checkpoint='small', data=DataSettings(sources=(source,))),
    ):
        with pytest.raises(ConfigError, match=r'is prepared already.* name it without \?weight=2'):
            prepare_sources(at_camera_shape(recipe))
