from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest

from sidepth_core.data.prepare.clip_table import find_clips
from sidepth_core.data.prepare.shards import FrameTable
from sidepth_core.errors import ConfigError
from sidepth_core.training.recipes import field_sentences, find_recipe, load_recipe, recipe_parser, render_recipe
from sidepth_core.training.settings import ModelSettings, OptimiserSettings, Recipe
from sidepth_core.training.sources import prepare_settings

FOLDER = Path(__file__).parents[3] / 'training'
RECIPES = sorted(FOLDER.glob('*.yaml'))


def test_the_promised_recipes_are_there() -> None:
    names = {path.stem for path in RECIPES}
    assert names == {
        'kitti_1024x320', 'kitti_640x192', 'finetune_bag', 'robot_indoor', 'synthetic', 'default_checkpoint', 'debug'
    }  # fmt: skip


@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_complete_and_repeats_every_sentence(path: Path) -> None:
    text = path.read_text(encoding='utf-8')
    heading = text.split('\n\n', 1)[0]
    assert heading.startswith('# ')
    body = render_recipe(load_recipe(path), 'heading').split('\n\n', 1)[1]
    assert text.split('\n\n', 1)[1] == body


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
        ('model: {backbone: vgg}', "backbone 'vgg' is not one of hrnet18"),
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


def test_another_training_size_keeps_the_canonical_focal_length() -> None:
    start = ModelSettings(width=640, zoom_convention='canonical', focal_px=500.0).describe(None)
    assert ModelSettings(width=320, height=128).describe(start).focal_px == 500
    assert ModelSettings(width=640, zoom_convention='canonical').describe(None).focal_px == 640


def test_help_leaves_the_lines_of_a_description_as_they_are() -> None:
    text = recipe_parser(prog='train', description='Train:\n\n  train --bag a/\n  train --bag b/\n').format_help()
    assert '\n  train --bag a/\n  train --bag b/\n' in text
