"""How long training waits for data: a short run of the one training loop, on a cache that is ready.

The run is a process of its own, started and measured as every other: its share of time between the end of one step
and the start of the next is what it logs as speed/waiting_share. The first steps, which start the reader, are left out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from sidepth_core.benchmarks.loading import draw_drive
from sidepth_core.benchmarks.row import Request, Row
from sidepth_core.training.fit import fit
from sidepth_core.training.metrics import read_metric
from sidepth_core.training.run_folder import METRICS_FILE
from sidepth_core.training.settings import DataSettings, ModelSettings, OptimiserSettings, Recipe, WatchSettings

IMAGES = 24
LOG_EVERY = 4
LIMIT = 0.05


def rows(request: Request) -> Iterator[Row]:
    """Yield the share of time that a run of the paper's size (a smaller one on a CPU) waits for its clips."""
    with tempfile.TemporaryDirectory(prefix='sidepth-bench-') as name:
        folder = Path(name)
        draw_drive(folder / 'drive', IMAGES)
        recipe = recipe_for(request, folder)
        command = [sys.executable, '-m', __name__, name, '--device', request.device.type, *['--quick'] * request.quick]
        result = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  # this very module
        share, rate = (float(value) for value in result.stdout.split()[-2:])
    model, batch = recipe.model, recipe.optimiser.batch_size
    what = f'training {model.backbone} at {model.width}x{model.height}, batch {batch}, one reader'
    yield Row(what, rate, 'clips/s')
    yield Row('share of it spent waiting for data', 100 * share, '%', wanted=f'under {LIMIT:.0%}', met=share < LIMIT)


def recipe_for(request: Request, folder: Path, workers: int = 1) -> Recipe:
    """Return a run of some steps on the drive in a folder, as short as a benchmark has to be, with so many readers."""
    on_gpu = request.device.type == 'cuda'
    model = (
        ModelSettings('hrnet18', 640, 192, 640, 192)
        if on_gpu
        else ModelSettings('tf_efficientnet_lite0', 256, 96, 128, 64)
    )
    never = 10**6
    return Recipe(
        out=str(folder / f'run{workers}'),
        steps=LOG_EVERY * (3 if request.quick else 8 if not on_gpu else 40),
        device='cuda' if on_gpu else 'cpu',
        data=DataSettings((str(folder / 'drive'),), str(folder / 'cache'), workers=workers, stride=1),
        model=model,
        optimiser=OptimiserSettings(batch_size=12 if on_gpu else 4),
        watch=WatchSettings(LOG_EVERY, validate_every=never, figure_every=never, save_every=never),
    )


def waiting_share(metrics: Path) -> tuple[float, float]:
    """Return the share of time spent waiting and the clips a second of a run's metrics.csv, without its start."""
    shares, rates = (
        [value for step, value in read_metric(metrics, f'speed/{what}') if step >= LOG_EVERY]
        for what in ('waiting_share', 'clips_per_s')
    )
    return float(np.mean(shares)), float(np.mean(rates))


def _main() -> None:
    parser = argparse.ArgumentParser(description='Train for some steps; print the share of waiting and clips a second.')
    parser.add_argument('folder', type=Path)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('--workers', type=int, default=1)
    options = parser.parse_args()
    recipe = recipe_for(Request(torch.device(options.device), options.quick), options.folder, options.workers)
    run = fit(recipe)
    if os.environ.get('RANK', '0') == '0':
        print(*waiting_share(run.folder / METRICS_FILE))  # noqa: T201  # the answer


if __name__ == '__main__':
    _main()
