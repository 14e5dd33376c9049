"""A training run from recipe to checkpoint, read top-down."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy

from sidepth_core.camera import Camera
from sidepth_core.checkpoint import Checkpoint, CheckpointInfo, load_info, save_checkpoint
from sidepth_core.errors import ConfigError, DatasetError
from sidepth_core.evaluation.comparison import Comparison
from sidepth_core.training.before_after import compare_with_start
from sidepth_core.training.callbacks import (
    Figures,
    KeepBest,
    ProgressBar,
    SaveState,
    StopOnCollapse,
    Throughput,
    interruptions_as_before,
)
from sidepth_core.training.clip_data import ClipData
from sidepth_core.training.memory import available_bytes, check_memory
from sidepth_core.training.metrics import MetricsTable
from sidepth_core.training.module import DepthTraining
from sidepth_core.training.networks import make_networks
from sidepth_core.training.run_folder import METRICS_FILE, forget_unstarted, open_run_folder, saved_step, versions
from sidepth_core.training.settings import Recipe
from sidepth_core.training.sources import at_camera_shape, starting_info
from sidepth_core.training.split import Source
from sidepth_core.training.teacher import teacher_of

PREPARING_TIMEOUT = timedelta(hours=24)
"""How long the other processes wait for the first one to prepare the recordings."""
CAMERA_FILE = 'camera.json'
KNOWN_DISTANCE_SHARE = 0.5
"""A source whose distance is known for at least this share of its clips holds the scale."""
IN_METRES = 'val/abs_rel_unscaled'
LARGEST_ERROR = 0.5
"""AbsRel in metres up to which depth that is learned from known depth is called metric: not after two steps."""


class Run(NamedTuple):
    """What a training run left behind.

    Attributes:
        folder: The run's folder.
        comparison: Before and after on held-out frames; None without a starting checkpoint or test part.
        notes: Sentences that a user should read.
    """

    folder: Path
    comparison: Comparison | None
    notes: tuple[str, ...]


def fit(recipe: Recipe) -> Run:
    """Train as the recipe says.

    Raises:
        ConfigError: If the recipe cannot work, or its folder holds another run.
        DatasetError: If a source cannot be used.
        CheckpointError: If the checkpoint to start from cannot be read.
        CollapseError: If the run goes nowhere.
    """
    recipe = at_camera_shape(recipe)
    folder = Path(recipe.out)
    check_device(recipe)
    teacher_of(recipe.objective)  # before hours of preparing
    state = open_run_folder(recipe)
    try:
        L.seed_everything(recipe.seed, verbose=False)
        module = DepthTraining(recipe, make_networks(recipe))
        if os.environ.get('LOCAL_RANK', '0') == '0':
            check_memory(module, available_bytes(accelerator_of(recipe), _gpu(recipe.device)))
        data = ClipData(recipe)
        trainer = make_trainer(recipe, state, data, partial(save_average, module=module, data=data))
        with interruptions_as_before():
            trainer.fit(module, datamodule=data, ckpt_path=state, weights_only=True)
    except BaseException:
        forget_unstarted(recipe)
        raise
    if not trainer.is_global_zero:
        return Run(folder, None, ())
    notes = save_camera(folder, module.learned_camera, learns_depth=not recipe.objective.weights.two_view_pose)
    if not recipe.checkpoint or not recipe.data.test_share:
        return Run(folder, None, notes)
    try:
        return Run(folder, compare_with_start(recipe, data.sources), notes)
    except DatasetError as error:
        return Run(folder, None, (*notes, f'no table of before and after: {error}'))


def make_trainer(
    recipe: Recipe, state: Path | None, data: ClipData, save: Callable[[Path, dict[str, float]], None]
) -> L.Trainer:
    """Return Lightning's trainer for the recipe, with everything that happens beside the steps."""
    folder, watch = Path(recipe.out), recipe.watch
    step = saved_step(state)
    machines = processes_from_environment(recipe)
    return L.Trainer(
        **machines,
        max_steps=recipe.steps,
        max_epochs=-1,  # one endless epoch, see ClipSampler
        accumulate_grad_batches=recipe.optimiser.accumulate,
        val_check_interval=min(watch.validate_every, recipe.steps) * recipe.optimiser.accumulate,  # in batches
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=1,  # the module decides what it logs when
        gradient_clip_val=recipe.optimiser.gradient_clip,
        use_distributed_sampler=False,  # StepBatchSampler shares out the clips
        sync_batchnorm=int(os.environ.get('WORLD_SIZE', '1')) > 1 and machines['accelerator'] == 'gpu',
        enable_checkpointing=False,  # SaveState and KeepBest do it
        enable_model_summary=False,
        default_root_dir=folder,
        logger=[
            MetricsTable(folder / METRICS_FILE, step),
            TensorBoardLogger(folder, name='tensorboard', version='', purge_step=step or None),
        ],
        callbacks=callbacks(recipe, data, save),
    )


def callbacks(recipe: Recipe, data: ClipData, save: Callable[[Path, dict[str, float]], None]) -> list[Callback]:
    """Return what happens beside the steps; KeepBest before SaveState, which saves its verdict."""
    folder, watch = Path(recipe.out), recipe.watch
    world = int(os.environ.get('WORLD_SIZE', '1'))
    return [
        ProgressBar(refresh_rate=watch.log_every),
        Throughput(watch.log_every, recipe.optimiser.batch_size * world),
        StopOnCollapse(watch),
        Figures(folder / 'figures', watch.figure_every, data.first_batch),
        KeepBest(f'val/{watch.select_by}', watch.patience, partial(save, folder / 'best')),
        SaveState(folder, watch.save_every, partial(save, folder / 'last')),
    ]


def check_device(recipe: Recipe) -> None:
    """Refuse a device that there is not, or that nothing here trains on.

    Raises:
        ConfigError: If the recipe asks for one.
    """
    device, count = recipe.device, torch.cuda.device_count()
    if device != 'auto' and not re.fullmatch(r'cpu|cuda(:\d+)?', device):
        raise ConfigError(f'device {device!r} is none to train on: expected auto, cpu, cuda, or one GPU such as cuda:1')
    if device.startswith('cuda') and not count:
        raise ConfigError(
            f'device {device!r} cannot be used here: torch {torch.__version__} finds no GPU. '
            'Choose --device cpu or auto, or install a torch that fits the driver'
        )
    number = _gpu(device)
    if number is not None and number >= count:
        raise ConfigError(f'device {device!r} cannot be used here: the GPUs are cuda:0 to cuda:{count - 1}')
    if number is not None and int(os.environ.get('WORLD_SIZE', '1')) > 1:
        raise ConfigError(f'device {device!r} is one GPU, and torchrun started several processes: write --device cuda')


def _gpu(device: str) -> int | None:
    """Return the number of the one GPU that a device names; None where it names none."""
    _, colon, number = device.partition(':')
    return int(number) if colon else None


def accelerator_of(recipe: Recipe) -> str:
    """Return 'cuda' or 'cpu': what the recipe trains on here."""
    on_gpu = recipe.device.startswith('cuda') or (recipe.device == 'auto' and torch.cuda.is_available())
    return 'cuda' if on_gpu else 'cpu'


def processes_from_environment(recipe: Recipe) -> dict[str, Any]:
    """Return accelerator, devices, machines and strategy: torchrun's where it started us, else one process."""
    accelerator, number = 'gpu' if accelerator_of(recipe) == 'cuda' else 'cpu', _gpu(recipe.device)
    here = int(os.environ.get('LOCAL_WORLD_SIZE', '1'))
    world = int(os.environ.get('WORLD_SIZE', '1'))
    strategy: Any = 'auto'
    if world > 1:
        # Supervised steps leave the pose network without a gradient; models of transformers have unused weights.
        start = starting_info(recipe)
        unused = recipe.objective.supervised_steps > 0 or (start is not None and start.foundation is not None)
        strategy = DDPStrategy(find_unused_parameters=unused, timeout=PREPARING_TIMEOUT)
    devices: int | list[int] = here if number is None else [number]
    return {'accelerator': accelerator, 'devices': devices, 'num_nodes': world // here, 'strategy': strategy}


def save_average(directory: Path, metrics: dict[str, float], *, module: DepthTraining, data: ClipData) -> None:
    """Write the averaged networks as a checkpoint that says what it is."""
    networks = module.average.networks
    scores = metrics or {name: float(value) for name, value in module.trainer.callback_metrics.items()}
    scale, note = scale_of(module.recipe, data.sources, starting_info(module.recipe), scores)
    info = replace(
        networks.info,
        scale=scale,
        scale_note=note,
        training_data=training_data(module.recipe),
        licence=module.recipe.licence or licence_of(networks.info, module.recipe),
        versions=versions(),
        metrics=metrics,
        camera=module.learned_camera,
    )
    if module.held_scale:
        info = module.held_scale.hold(networks, info)
    pose_net = networks.pose_net if networks.knows_motion else None
    save_checkpoint(directory, Checkpoint(networks.depth_net, pose_net, info))


def save_camera(folder: Path, camera: Camera | None, *, learns_depth: bool) -> tuple[str, ...]:
    """Write the camera that was learned, if there is one, and return what to say of it."""
    if camera is None:
        return ()
    path = folder / CAMERA_FILE
    path.write_text(json.dumps(camera.to_dict(), indent=2) + '\n', encoding='utf-8')
    horizontal, vertical = camera.field_of_view_deg
    note = (
        f'learned camera: {path}, {horizontal:.0f} x {vertical:.0f} degrees. Only the turns of a recording tell it: on '
        'straight drives it may end anywhere. A calibration (camera=FILE) is better'
    )
    if learns_depth:
        return (note,)
    again = f'depth learned nothing of those recordings: how they moved is seen with a camera only. Next: camera={path}'
    return (note, again)


def training_data(recipe: Recipe) -> tuple[str, ...]:
    """Return what the weights were trained on, a line each: the checkpoint they started from, and the sources."""
    started = (f'started from {recipe.checkpoint}',) if recipe.checkpoint else ()
    taught = (f'taught by {recipe.objective.teacher}',) if recipe.objective.teacher else ()
    return (*started, *taught, *recipe.data.sources)


def licence_of(info: CheckpointInfo, recipe: Recipe) -> str:
    """Return the licence of weights whose recipe names none: of what they start from, and of a teacher, if any."""
    if not recipe.objective.teacher:
        return info.licence
    asked = load_info(recipe.objective.teacher).licence or 'a licence that its card does not name'
    return '; '.join(part for part in (info.licence, f'taught by a model under {asked}') if part)


def scale_of(
    recipe: Recipe,
    sources: list[Source],
    start: CheckpointInfo | None = None,
    scores: Mapping[str, float] | None = None,
) -> tuple[str, str]:
    """Return 'metric' or 'relative', and the reason in one sentence: measured here, held from the start, or neither.

    Args:
        recipe: The run.
        sources: What it learned from.
        start: What it started from; None for random weights.
        scores: Of the last validation, by name. Known depth makes metres only once they are about right there.
    """
    objective = recipe.objective
    if objective.depth:
        error = (scores or {}).get(IN_METRES, math.nan)
        if error <= LARGEST_ERROR:
            known = f'known depth in metres (weight {objective.depth:g})'
            return 'metric', f'learned from {known}; AbsRel in metres {error:.3f} on validation clips'
        found = 'not measured yet' if math.isnan(error) else f'off by AbsRel {error:.2f} (at most {LARGEST_ERROR:g})'
        return 'relative', f'learns from known depth in metres, but on the validation clips metres are {found}'
    driven = [source for source in sources if source.distance_share >= KNOWN_DISTANCE_SHARE]
    if objective.speed and len(driven) == len(sources):
        return 'metric', f'learned from driven distance (speed term, weight {objective.speed:g}) in every source'
    if objective.hold_scale and start is not None and start.scale == 'metric':
        measured = f' (measured in {len(driven)} of {len(sources)} sources)' if objective.speed and driven else ''
        return 'metric', f'metres are held at those of {recipe.checkpoint}, not measured{measured}: {start.scale_note}'
    if objective.teacher_scale:
        return 'metric', f'metres are those of the teacher {objective.teacher}, not measured'
    missing = ', '.join(source.name for source in sources if source not in driven)
    reason = f'no odometry or speed in {missing}' if objective.speed else 'the recipe has no speed term'
    return 'relative', f'{reason}, so nothing held the scale to metres'
