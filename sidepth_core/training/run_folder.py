"""The folder of a run, which explains itself: config, environment, metrics, figures, checkpoints."""

from __future__ import annotations

import json
import os
import pickle
import platform
import sys
import zipfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch

from sidepth_core import __version__
from sidepth_core.errors import CheckpointError, ConfigError
from sidepth_core.training.callbacks import RESUME_FILE
from sidepth_core.training.recipes import load_recipe, render_recipe
from sidepth_core.training.settings import Recipe

CONFIG_FILE = 'config.yaml'
ENVIRONMENT_FILE = 'environment.json'
METRICS_FILE = 'metrics.csv'
PACKAGES = ('torch', 'torchvision', 'lightning', 'numpy', 'safetensors', 'rosbags')
UNREADABLE = (
    zipfile.BadZipFile, RuntimeError, OSError, pickle.UnpicklingError, EOFError, LookupError, TypeError, ValueError
)  # fmt: skip
"""What reading a damaged state raises."""
MAY_CHANGE = ('resume', 'steps')
"""Fields of a recipe that a resumed run may have different."""


def versions() -> dict[str, str]:
    """Return the versions of what computes."""
    installed = {package: version(package) for package in PACKAGES if find_spec(package)}
    return {'sidepth': __version__, 'python': platform.python_version(), **installed}


def open_run_folder(recipe: Recipe) -> Path | None:
    """Make the folder, write what the run is, and return the state to resume from; None starts afresh.

    Raises:
        ConfigError: If the folder holds another run.
    """
    folder = Path(recipe.out)
    config, state = folder / CONFIG_FILE, folder / RESUME_FILE
    if os.environ.get('RANK', '0') != '0':
        return state if recipe.resume and state.exists() else None  # the first process does the rest
    if config.exists():
        if not recipe.resume:
            raise ConfigError(
                f'{recipe.out!r} holds a run already: choose another --out, or continue that run with --resume'
            )
        _check_same(recipe, load_recipe(config))
    folder.mkdir(parents=True, exist_ok=True)
    config.write_text(render_recipe(recipe, 'This run. `sidepth train --recipe` takes this file.'), encoding='utf-8')
    environment = {
        'versions': versions(),
        'command': sys.argv,
        'machine': platform.platform(),
        'processor': platform.processor() or platform.machine(),
        'threads': torch.get_num_threads(),
        'gpus': [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
    }
    (folder / ENVIRONMENT_FILE).write_text(json.dumps(environment, indent=2) + '\n', encoding='utf-8')
    return state if state.exists() else None


def _check_same(recipe: Recipe, before: Recipe) -> None:
    """Refuse to resume a run under another recipe."""
    changed = [
        f'{name} was {old!r}, is {new!r}'
        for name, old, new in (
            (name, getattr(before, name), getattr(recipe, name)) for name in recipe.__dataclass_fields__
        )
        if old != new and name not in MAY_CHANGE
    ]
    if changed:
        raise ConfigError(f'{recipe.out!r} cannot be resumed under another recipe: {"; ".join(changed)}')


def forget_unstarted(recipe: Recipe) -> None:
    """Take back what open_run_folder wrote, where the run failed before its first step."""
    folder = Path(recipe.out)
    has_begun = any((folder / name).exists() for name in (RESUME_FILE, METRICS_FILE))
    if os.environ.get('RANK', '0') == '0' and not has_begun:
        for name in (CONFIG_FILE, ENVIRONMENT_FILE):
            (folder / name).unlink(missing_ok=True)


def saved_step(state: Path | None) -> int:
    """Return the step at which a state was saved; 0 where there is none. No code from it runs.

    Raises:
        CheckpointError: If it is truncated, damaged or no state of a run.
        OSError: If it cannot be read.
    """
    if state is None:
        return 0
    with state.open('rb') as file:
        try:
            with zipfile.ZipFile(file) as archive:
                if damaged := archive.testzip():  # torch itself does not look at the check sums
                    raise ValueError(f'{damaged} is damaged')
            file.seek(0)
            return int(torch.load(file, map_location='cpu', weights_only=True)['global_step'])
        except UNREADABLE as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise CheckpointError(
                f'{str(state)!r} ({state.stat().st_size} bytes) cannot be resumed from, it is truncated, damaged or no '
                f'state of a run: {reason}. Begin a new run from its averaged weights: '
                f'--checkpoint {state.parent / "last"} --out ANOTHER'
            ) from error
