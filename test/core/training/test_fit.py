"""Whole runs, small enough for a CPU: what they leave behind, how they resume, fine-tune, fail and share work."""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml

from sidepth_core.camera import Camera
from sidepth_core.checkpoint import load_checkpoint
from sidepth_core.data.calibration import read_calibration
from sidepth_core.data.prepare import PreparedDataset
from sidepth_core.data.synthetic import SyntheticSource
from sidepth_core.data.synthetic.export import write_folder
from sidepth_core.errors import CheckpointError, ConfigError, DatasetError
from sidepth_core.training import clip_data
from sidepth_core.training.collapse import CollapseError
from sidepth_core.training.fit import check_device, fit, processes_from_environment, save_camera, scale_of
from sidepth_core.training.metrics import read_metric
from sidepth_core.training.module import DepthTraining
from sidepth_core.training.recipes import load_recipe, render_recipe
from sidepth_core.training.run_folder import open_run_folder, saved_step
from sidepth_core.training.settings import ObjectiveSettings, Recipe
from sidepth_core.training.sources import at_camera_shape, open_sources, prepare_sources
from sidepth_core.training.split import Source, Split

DEBUG = load_recipe(Path(__file__).parents[3] / 'training' / 'debug.yaml')
MODULE = 'import sys; from sidepth_core.cli import main; sys.exit(main(sys.argv[1:]))'


@pytest.fixture
def recipe(cache: Path, tmp_path: Path) -> Recipe:
    """Two supervised steps' worth of network, no more terms than needed."""
    return replace(
        DEBUG,
        out=str(tmp_path / 'run'),
        data=replace(DEBUG.data, cache=str(cache)),
        objective=ObjectiveSettings(),
        watch=replace(DEBUG.watch, validate_every=100, figure_every=100, save_every=100),
    )


def command(recipe: Recipe, folder: Path, *arguments: str) -> list[str]:
    path = folder / 'recipe.yaml'
    path.write_text(render_recipe(recipe, 'test'))
    return [sys.executable, '-c', MODULE, 'train', '--recipe', str(path), *arguments]


def environment() -> dict[str, str]:
    root = str(Path(__file__).parents[3])
    return {**os.environ, 'PYTHONPATH': root, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}


def test_the_debug_recipe_trains_two_steps_and_its_folder_explains_itself(cache: Path, tmp_path: Path) -> None:
    recipe = replace(DEBUG, out=str(tmp_path / 'run'), data=replace(DEBUG.data, cache=str(cache)))
    folder = fit(recipe).folder
    assert load_recipe(folder / 'config.yaml') == recipe
    assert json.loads((folder / 'environment.json').read_text())['versions']['torch'] == torch.__version__.split('+')[0]
    for term in ('photometric', 'speed', 'zoom_consistency', 'self_distillation', 'two_view_pose', 'depth', 'loss'):
        assert len(read_metric(folder / 'metrics.csv', f'train/{term}')) == 2, term
    for score in ('photometric', 'abs_rel', 'abs_rel_unscaled', 'speed'):
        assert read_metric(folder / 'metrics.csv', f'val/{score}'), score
    assert [path.name for path in (folder / 'figures').iterdir()] == ['step-0000002.png']
    assert list((folder / 'tensorboard').glob('events*'))
    for name in ('last', 'best'):
        info = load_checkpoint(folder / name).info
        assert (info.image_width, info.image_height, info.pose_width) == (96, 64, 96)
        assert info.scale == 'relative'  # two steps make no metres, whatever they learn from
        assert 'on the validation clips metres are off by AbsRel' in info.scale_note
        assert info.licence == 'Apache-2.0'
        assert info.training_data == recipe.data.sources
    assert load_checkpoint(folder / 'last').pose_net is not None


def test_what_a_recording_does_not_know_is_not_validated(recipe: Recipe, tmp_path: Path) -> None:
    images = tmp_path / 'images'
    for _ in write_folder(SyntheticSource('street', seed=3, frames=12, width=160, height=96), images):
        pass
    for name in ('poses.txt', 'speeds.txt'):
        (images / name).unlink()
    shutil.rmtree(images / 'depth')
    folder = fit(replace(recipe, steps=1, data=replace(recipe.data, sources=(str(images),), cache=''))).folder
    assert read_metric(folder / 'metrics.csv', 'val/photometric')
    for score in ('speed', 'abs_rel', 'abs_rel_unscaled'):
        assert not read_metric(folder / 'metrics.csv', f'val/{score}'), score
    assert load_checkpoint(folder / 'best').info.metrics.keys() == {'val/photometric'}


@pytest.mark.parametrize(('weight', 'judged'), [(0.5, 'val/two_view_depth'), (0.0, 'val/photometric')])
def test_best_is_chosen_by_triangulated_depth_where_there_is_any(
    recipe: Recipe, tmp_path: Path, weight: float, judged: str
) -> None:
    chosen = replace(
        recipe,
        steps=4,
        data=replace(recipe.data, cache=str(tmp_path / 'cache')),
        objective=ObjectiveSettings(two_view_pose=1.0, two_view_depth=weight),
        watch=replace(recipe.watch, validate_every=1, select_by='two_view_depth'),
    )
    folder = fit(chosen).folder
    scores = [value for _, value in read_metric(folder / 'metrics.csv', judged)]
    assert len(scores) == 4
    assert load_checkpoint(folder / 'best').info.metrics[judged] == pytest.approx(min(scores), abs=1e-4)
    assert bool(read_metric(folder / 'metrics.csv', 'val/two_view_depth')) == bool(weight)


def test_a_camera_that_nobody_knows_is_learned_and_written_down(recipe: Recipe, tmp_path: Path) -> None:
    images = tmp_path / 'images'
    for _ in write_folder(SyntheticSource('street', seed=3, frames=24, width=160, height=120), images):
        pass
    (images / 'camera.json').unlink()
    start = fit(replace(recipe, out=str(tmp_path / 'start'), steps=1)).folder / 'last'
    learned = replace(
        recipe,
        checkpoint=str(start),
        steps=4,
        data=replace(recipe.data, sources=(f'{images}?camera=learned',), cache='', test_share=0.2),
        model=replace(recipe.model, backbone=None, width=None, height=None),
    )
    with pytest.raises(ConfigError, match=r'camera=learned needs objective\.train_pose true'):
        fit(replace(learned, objective=replace(recipe.objective, two_view_pose=1.0, train_pose=False)))
    run = fit(learned)
    camera = read_calibration(run.folder / 'camera.json')
    assert (camera.width, camera.height) == (160, 120)
    assert load_checkpoint(run.folder / 'best').info.camera == camera
    angles = [value for _, value in read_metric(run.folder / 'metrics.csv', 'camera/field_of_view_deg')]
    assert len(set(angles)) == len(angles) == 4  # it moves
    assert camera.field_of_view_deg[0] == pytest.approx(75, abs=2)
    assert camera.fy == pytest.approx(camera.fx, rel=0.03)
    assert 'learned camera' in run.notes[0]
    assert run.comparison is not None
    assert run.comparison.rows[0].name == 'AbsRel, median-scaled'
    assert any(row.name == 'view synthesis error, shared poses' for row in run.comparison.rows)


def test_a_learned_camera_that_depth_could_not_use_yet_is_said_to_be_for_the_next_run(tmp_path: Path) -> None:
    notes = save_camera(tmp_path, Camera(160, 120, 100, 100, 80, 60), learns_depth=False)
    assert notes[1].endswith(f'camera={tmp_path / "camera.json"}')
    assert len(save_camera(tmp_path, Camera(160, 120, 100, 100, 80, 60), learns_depth=True)) == 1
    assert save_camera(tmp_path, None, learns_depth=False) == ()


def test_one_clip_can_be_learned_by_heart(recipe: Recipe) -> None:
    one = replace(
        recipe,
        steps=40,
        data=replace(recipe.data, validation_share=0.5),
        augment=replace(recipe.augment, zoom_probability=0, flip_probability=0, jitter_probability=0),
        objective=ObjectiveSettings(depth=1.0, supervised_steps=40),
        optimiser=replace(recipe.optimiser, learning_rate=1e-3, batch_size=1),
        watch=replace(recipe.watch, collapse_checks=0),
    )
    clips = open_sources(one)[0]
    first = clips._replace(split=clips.split._replace(train=clips.split.train[:1]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clip_data, 'open_sources', lambda _: [first])
        folder = fit(one).folder
    losses = [value for _, value in read_metric(folder / 'metrics.csv', 'train/depth')]
    assert sum(losses[-5:]) / 5 < 0.35 * losses[0]


def test_a_killed_run_goes_on_bit_for_bit(recipe: Recipe, tmp_path: Path) -> None:
    recipe = replace(
        recipe,
        steps=6,
        objective=replace(recipe.objective, self_distillation=0.1, two_view_pose=1.0),
        optimiser=replace(recipe.optimiser, batch_size=1, accumulate=2),
        watch=replace(recipe.watch, save_every=2, validate_every=3),
    )
    whole = fit(replace(recipe, out=str(tmp_path / 'whole'))).folder
    killed = tmp_path / 'killed'
    process = subprocess.Popen(
        command(replace(recipe, out=str(killed)), tmp_path), env=environment(), stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 240
    while len(read_metric(killed / 'metrics.csv', 'train/loss')) < 4:  # saved at 2 and 3, busy with 5
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (killed / 'last' / 'model.json').exists() or (killed / 'resume.ckpt').exists()
    fit(replace(recipe, out=str(killed), resume=True))
    for name in ('last', 'best'):
        first, second = (safetensors.torch.load_file(run / name / 'model.safetensors') for run in (whole, killed))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first), name
    for metric in ('train/loss', 'val/photometric'):
        assert read_metric(whole / 'metrics.csv', metric) == read_metric(killed / 'metrics.csv', metric), metric


def test_two_processes_or_two_batches_get_the_gradient_of_one_of_twice_the_size(recipe: Recipe, tmp_path: Path) -> None:
    # Frozen statistics and no dropout: what a process normalises with must not depend on its half of the batch.
    script = tmp_path / 'gradient.py'
    script.write_text(
        'import os, sys, torch\n'
        'from sidepth_core.training import fit as module\n'
        'from sidepth_core.training.recipes import load_recipe\n'
        'from lightning.pytorch.callbacks import Callback\n'
        'class Keep(Callback):\n'
        '    def on_train_start(self, trainer, step):\n'
        '        step.networks.depth_net.decoder.dropout.p = 0.0\n'
        '    def on_before_optimizer_step(self, trainer, step, optimizer):\n'
        '        if trainer.is_global_zero:\n'
        '            named = step.networks.named_parameters()\n'
        '            torch.save({n: p.grad.clone() for n, p in named if p.grad is not None}, sys.argv[2])\n'
        'usual = module.callbacks\n'
        'module.callbacks = lambda *arguments: [*usual(*arguments), Keep()]\n'
        'module.fit(load_recipe(sys.argv[1]))\n'
    )
    base = replace(
        recipe,
        steps=1,
        precision='float32',
        model=replace(recipe.model, freeze_batch_norm=True),
        objective=ObjectiveSettings(depth=1.0, auto_mask=False, speed=0.1, photometric=0.0),
        optimiser=replace(recipe.optimiser, gradient_clip=1e9),
    )
    gradients = []
    for processes, batches in ((1, 1), (2, 1), (1, 2)):
        optimiser = replace(base.optimiser, batch_size=4 // processes // batches, accumulate=batches)
        settings = replace(base, out=str(tmp_path / f'of-{processes}-{batches}'), optimiser=optimiser)
        config = tmp_path / f'{processes}-{batches}.yaml'
        config.write_text(render_recipe(settings, 'test'))
        saved = tmp_path / f'{processes}-{batches}.pt'
        launcher = [sys.executable] if processes == 1 else [
            sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node', '2', '--master-port', '29631'
        ]  # fmt: skip
        done = subprocess.run(
            [*launcher, str(script), str(config), str(saved)],
            env=environment(), check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        gradients.append(torch.load(saved, weights_only=True))
    single, *others = gradients
    assert len(single) > 150
    for other in others:
        assert single.keys() == other.keys()
        for name, gradient in single.items():
            tolerance = 1e-5 * (1 + gradient.abs().max().item())
            torch.testing.assert_close(other[name], gradient, rtol=1e-3, atol=tolerance, msg=name)


def test_steps_of_several_batches_are_logged_validated_and_saved_as_steps(recipe: Recipe) -> None:
    optimiser = replace(recipe.optimiser, batch_size=1, accumulate=3)
    watch = replace(recipe.watch, log_every=2, validate_every=2, figure_every=3)
    folder = fit(replace(recipe, steps=4, optimiser=optimiser, watch=watch)).folder
    assert [step for step, _ in read_metric(folder / 'metrics.csv', 'train/loss')] == [1, 3]
    assert [step for step, _ in read_metric(folder / 'metrics.csv', 'speed/clips_per_s')] == [1, 3]
    assert len(read_metric(folder / 'metrics.csv', 'val/photometric')) == 2
    assert {path.name for path in (folder / 'figures').iterdir()} == {'step-0000003.png', 'step-0000004.png'}
    assert saved_step(folder / 'resume.ckpt') == 4


def test_fine_tuning_ends_with_a_table_and_an_image_on_frames_it_never_saw(recipe: Recipe, tmp_path: Path) -> None:
    start = fit(replace(recipe, out=str(tmp_path / 'start'))).folder / 'last'
    tuned = replace(
        recipe,
        checkpoint=str(start),
        out=str(tmp_path / 'tuned'),
        data=replace(recipe.data, test_share=0.3),
        model=replace(recipe.model, backbone=None, width=None, height=None, freeze_batch_norm=True),
        objective=replace(recipe.objective, supervised_steps=0, hold_scale=0.1),
        watch=replace(recipe.watch, validate_every=2),
    )
    run = fit(tuned)
    assert read_metric(run.folder / 'metrics.csv', 'train/hold_scale')
    kept = torch.load(run.folder / 'resume.ckpt', weights_only=True)['state_dict']
    assert {name.split('.')[0] for name in kept} == {'networks', 'average'}  # the start is read again on resuming
    assert run.notes == ()
    assert run.comparison is not None
    assert run.comparison.before.frames == 4
    assert (run.folder / 'comparison.png').stat().st_size > 10_000
    rows = json.loads((run.folder / 'comparison.json').read_text())['rows']
    assert rows[0]['name'] == 'AbsRel, median-scaled'
    assert load_checkpoint(run.folder / 'best').info.training_data[0] == f'started from {start}'
    statistics = 'depth_net.encoder.bn1.running_mean'
    before, after = (safetensors.torch.load_file(path / 'model.safetensors') for path in (start, run.folder / 'best'))
    assert torch.equal(before[statistics], after[statistics])
    weight = 'depth_net.decoder.head.weight'
    assert not torch.equal(before[weight], after[weight])


def test_fine_tuning_is_done_at_the_shape_of_the_camera(recipe: Recipe) -> None:
    text = 'synthetic:street?seed=3&frames=3&width=480&height=150'
    model = replace(recipe.model, backbone=None, width=None, height=None)
    tuned = replace(recipe, checkpoint='small', model=model, data=replace(recipe.data, sources=(text,)))
    at_shape = at_camera_shape(tuned).model
    assert (at_shape.width, at_shape.height) == (416, 128)
    assert at_camera_shape(replace(tuned, model=at_shape)).model == at_shape
    given = replace(tuned, model=replace(model, width=320))
    assert at_camera_shape(given) is given
    many = replace(tuned, augment=replace(tuned.augment, shapes=(1.5, 3.0)))
    assert at_camera_shape(many) is many
    scratch = replace(tuned, checkpoint='')
    assert at_camera_shape(scratch) is scratch
    cache = str(prepare_sources(recipe)[0].cache)
    prepared = at_camera_shape(replace(tuned, data=replace(tuned.data, sources=(cache,)))).model
    assert (prepared.width, prepared.height) == (288, 192)


def test_a_collapsed_run_is_stopped_with_the_reason(recipe: Recipe) -> None:
    hopeless = replace(
        recipe,
        steps=8,
        optimiser=replace(recipe.optimiser, learning_rate=1e6, warmup_steps=0),
        watch=replace(recipe.watch, collapse_after=0, collapse_checks=2),
    )
    with pytest.raises(CollapseError, match='training stopped at step'):
        fit(hopeless)


def test_a_run_that_fails_leaves_interruptions_as_they_were(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise ValueError('no more memory')

    monkeypatch.setattr(DepthTraining, 'training_step', fails)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match='no more memory'):
        fit(recipe)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_run_that_never_began_leaves_its_folder_to_the_corrected_one(recipe: Recipe, tmp_path: Path) -> None:
    wrong = replace(recipe, data=replace(recipe.data, sources=(str(tmp_path / 'nothing'),), cache=''))
    with pytest.raises(DatasetError, match='does not exist'):
        fit(wrong)
    assert not (Path(recipe.out) / 'config.yaml').exists()
    assert open_run_folder(recipe) is None


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_a_gpu_that_is_not_there_is_one_error_and_leaves_nothing(recipe: Recipe) -> None:
    with pytest.raises(ConfigError, match=r"device 'cuda' cannot be used here.*--device cpu"):
        fit(replace(recipe, device='cuda'))
    assert not Path(recipe.out).exists()


def test_a_state_that_cannot_be_resumed_from_is_one_error(tmp_path: Path) -> None:
    state, trap = tmp_path / 'resume.ckpt', tmp_path / 'ran'
    torch.save({'global_step': 7, 'weights': torch.arange(100_000)}, state)
    assert saved_step(state) == 7
    whole = state.read_bytes()

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (trap,)

    torch.save({'global_step': Trap()}, tmp_path / 'trap')
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    torch.save({'step': 7}, tmp_path / 'other')
    others = [(tmp_path / name).read_bytes() for name in ('trap', 'other')]
    cut = [whole[: len(whole) * part // 20] for part in range(20)]
    for content in (*cut, *others, bytes(flipped), pickle.dumps(Trap()), pickle.dumps(3), b'hello'):
        state.write_bytes(content)
        with pytest.raises(CheckpointError, match=r'cannot be resumed from.*--checkpoint .*/last'):
            saved_step(state)
    assert not trap.exists()


def test_a_folder_in_use_is_refused(recipe: Recipe) -> None:
    fit(replace(recipe, steps=1))
    with pytest.raises(ConfigError, match='holds a run already'):
        fit(recipe)
    with pytest.raises(ConfigError, match='cannot be resumed under another recipe: seed was 0, is 5'):
        fit(replace(recipe, seed=5, resume=True))


def source_with(distance_share: float) -> Source:
    return Source('drive', 1.0, [], Split([], [], []), distance_share, 0.0, True, (64, 96), (64, 96))  # type: ignore[arg-type] # no clips needed


@pytest.mark.parametrize(
    ('objective', 'shares', 'scale', 'note'),
    [
        (ObjectiveSettings(speed=0.05), (1.0,), 'metric', 'driven distance'),
        (ObjectiveSettings(speed=0.05), (1.0, 0.0), 'relative', 'no odometry or speed in drive'),
        (ObjectiveSettings(speed=0.0), (1.0,), 'relative', 'no speed term'),
    ],
)
def test_scale_is_metric_only_where_something_measured_metres(
    objective: ObjectiveSettings, shares: tuple[float, ...], scale: str, note: str
) -> None:
    found, why = scale_of(Recipe(objective=objective), [source_with(share) for share in shares])
    assert found == scale
    assert note in why


@pytest.mark.parametrize(
    ('scores', 'scale', 'note'),
    [
        ({}, 'relative', 'not measured yet'),
        ({'val/abs_rel_unscaled': 0.73}, 'relative', 'off by AbsRel 0.73'),
        ({'val/abs_rel_unscaled': 0.2}, 'metric', 'AbsRel in metres 0.200 on validation clips'),
    ],
)
def test_known_depth_makes_metres_only_once_they_are_right(scores: dict[str, float], scale: str, note: str) -> None:
    recipe = Recipe(objective=ObjectiveSettings(speed=0.0, depth=1.0))
    found, why = scale_of(recipe, [source_with(0.0)], None, scores)
    assert found == scale
    assert note in why


@pytest.mark.parametrize(
    ('device', 'message'),
    [
        ('cuda:1', "device 'cuda:1' cannot be used here"),
        ('cuda', 'finds no GPU'),
        ('gpu', "device 'gpu' is none to train on: expected auto, cpu, cuda, or one GPU such as cuda:1"),
    ],
)
def test_a_device_that_is_not_there_is_refused(device: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    with pytest.raises(ConfigError, match=message):
        check_device(Recipe(device=device))


def test_one_gpu_of_several_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    check_device(Recipe(device='cuda:1'))
    machines = processes_from_environment(Recipe(device='cuda:1'))
    assert (machines['accelerator'], machines['devices'], machines['num_nodes']) == ('gpu', [1], 1)
    with pytest.raises(ConfigError, match='the GPUs are cuda:0 to cuda:1'):
        check_device(Recipe(device='cuda:2'))
    monkeypatch.setenv('WORLD_SIZE', '2')
    with pytest.raises(ConfigError, match='torchrun started several processes: write --device cuda'):
        check_device(Recipe(device='cuda:1'))


@pytest.mark.parametrize(('origin', 'is_warned'), [('contradicting', True), ('two views', False)])
def test_odometry_that_contradicts_two_views_is_warned_of(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, origin: str, is_warned: bool
) -> None:
    monkeypatch.setattr(PreparedDataset, 'chosen_poses', lambda *_: (np.full((2, 4, 4), np.nan), [origin, origin]))
    both = replace(recipe, objective=ObjectiveSettings(two_view_pose=1.0, pose_source='both'))
    with caplog.at_level(logging.INFO):
        open_sources(both)
    assert f'poses between frames: 28 {origin}' in caplog.text
    assert ("check the camera's mounting" in caplog.text) == is_warned


@pytest.mark.parametrize(
    ('start_scale', 'shares', 'scale', 'note'),
    [
        ('metric', (0.0,), 'metric', 'metres are held at those of default, not measured: rendered'),
        ('metric', (1.0, 0.0), 'metric', r'not measured (measured in 1 of 2 sources): rendered'),
        ('metric', (1.0,), 'metric', 'driven distance'),
        ('relative', (0.0,), 'relative', 'no odometry or speed in drive'),
    ],
)
def test_metres_that_are_held_are_said_not_to_be_measured(
    start_scale: str, shares: tuple[float, ...], scale: str, note: str
) -> None:
    holding = Recipe(checkpoint='default', objective=ObjectiveSettings(speed=0.05, hold_scale=0.1))
    start = replace(holding.model.describe(None), scale=start_scale, scale_note='rendered')
    found, why = scale_of(holding, [source_with(share) for share in shares], start)
    assert found == scale
    assert note in why


def test_config_of_a_run_is_a_recipe(recipe: Recipe) -> None:
    folder = fit(replace(recipe, steps=1)).folder
    assert yaml.safe_load((folder / 'config.yaml').read_text())['steps'] == 1
