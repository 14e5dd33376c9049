"""How speed grows: the network's time with pixels and batch, training's speed with readers and processes.

Cameras are in `node`, where they come over ROS.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from sidepth_core.benchmarks.inference import PLAIN, cores, made, median_ms
from sidepth_core.benchmarks.loading import draw_drive
from sidepth_core.benchmarks.row import Request, Row
from sidepth_core.benchmarks.waiting import IMAGES
from sidepth_core.checkpoint import load_checkpoint
from sidepth_core.engines.verification import probe
from sidepth_core.models import DepthNetwork

ABOUT = """\
The shipped checkpoint on one thread. A training process is held to one thread, too, and two of them are started by
`torchrun`; their clips count together.
"""
SIZES = ((96, 160), (192, 320), (384, 640), (576, 960))
"""Height and width, pixels."""
BATCHES = (1, 2, 4, 8)
ENGINES = (PLAIN, 'channels_last float32', 'openvino float32')
WORKERS = (0, 1, 2)
PROCESSES = (1, 2)
LATENCY, BATCH, READERS, RANKS = 'latency at', 'images a batch of', 'training with', 'training in'
"""How the rows of each curve begin."""


def rows(request: Request) -> Iterator[Row]:
    """Yield the points of each curve."""
    threads = torch.get_num_threads()
    if request.device.type == 'cpu':
        torch.set_num_threads(1)
    try:
        network = load_checkpoint(request.checkpoint, pose=False).depth_net
        yield from _latencies(request, network)
        yield from _batches(request, network)
    finally:
        torch.set_num_threads(threads)
    if not request.quick:
        yield from _training(request)


def _latencies(request: Request, network: DepthNetwork) -> Iterator[Row]:
    """Yield the time of an image of growing size on each engine."""
    for size in SIZES[: 2 if request.quick else None]:
        medians = _medians(request, network, probe(*size))
        for label, median in medians.items():
            ratio = median / medians[PLAIN] if label != PLAIN else None
            yield Row(f'{LATENCY} {size[1]}x{size[0]}, {label}', median, 'ms', PLAIN if ratio else '', ratio)


def _batches(request: Request, network: DepthNetwork) -> Iterator[Row]:
    """Yield images a second in batches of growing size on each engine."""
    for count in BATCHES[: 2 if request.quick else None]:
        medians = _medians(request, network, probe(192, 320).repeat(count, 1, 1, 1))
        for label, median in medians.items():
            yield Row(f'{BATCH} {count}, {label}', 1e3 * count / median, 'images/s')


def _medians(request: Request, network: DepthNetwork, images: Tensor) -> dict[str, float]:
    images = images.to(request.device)
    size = (int(images.shape[-2]), int(images.shape[-1]))
    engines = {label: made(label, network, request, size) for label in ENGINES}
    calls = {label: partial(engine, images) for label, engine in engines.items() if engine is not None}
    return median_ms(calls, request.device, rounds=5)


def _training(request: Request) -> Iterator[Row]:
    """Yield clips a second with more and more readers in one process, and in two processes."""
    with tempfile.TemporaryDirectory(prefix='sidepth-bench-') as name:
        draw_drive(Path(name) / 'drive', IMAGES)
        for workers in WORKERS:
            share, rate = trained(Path(name), request, workers, 1)
            what = f'{READERS} {workers} reader{"s" * (workers != 1)} beside it'
            yield Row(what, rate, 'clips/s', figures={'waiting %': 100 * share})
        one = None
        for processes in PROCESSES:
            if processes > max(1, torch.cuda.device_count() if request.device.type == 'cuda' else cores()):
                continue
            _, rate = trained(Path(name), request, 0, processes)
            one = one or rate
            what = f'{RANKS} {processes} process{"es" * (processes > 1)}'
            yield Row(what, rate, 'clips/s', 'one process' if processes > 1 else '', rate / one)


def trained(folder: Path, request: Request, workers: int, processes: int) -> tuple[float, float]:
    """Train for some steps; return the share of time spent waiting for data, and clips a second of all processes."""
    with tempfile.TemporaryDirectory(dir=folder) as own:
        for shared in ('drive', 'cache'):
            (folder / shared).mkdir(exist_ok=True)
            (Path(own) / shared).symlink_to(folder / shared)
        launch = ['-m', 'torch.distributed.run', '--standalone', f'--nproc-per-node={processes}']
        options = [own, '--device', request.device.type, '--workers', str(workers)]
        start = launch if processes > 1 else []
        command = [sys.executable, *start, '-m', 'sidepth_core.benchmarks.waiting', *options]
        environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
        run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)  # noqa: S603  # ours
    share, rate = (float(value) for value in run.stdout.split()[-2:])
    return share, rate


def pictures(rows: Sequence[Row], folder: Path) -> list[tuple[str, str]]:
    """Draw the curves; return their file name and caption."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only the page needs it

    figure = Figure(figsize=(12, 3.4), layout='constrained')
    pixels, batches, training = figure.subplots(1, 3)
    for label in ENGINES:
        for axes, begins in ((pixels, LATENCY), (batches, BATCH)):
            own = [row for row in rows if row.what.startswith(begins) and row.what.endswith(label)]
            places = [_place(row.what.split(',')[0].split()[-1]) for row in own]
            axes.plot(places, [row.value for row in own], 'o-', label=label)
    for begins, name in ((READERS, 'readers, one process'), (RANKS, 'processes, no reader')):
        own = [row for row in rows if row.what.startswith(begins)]
        training.plot([int(row.what.split()[2]) for row in own], [row.value for row in own], 'o-', label=name)
    pixels.set(xlabel='thousands of pixels', ylabel='ms an image', ylim=(0, None))
    batches.set(xlabel='images a batch', ylabel='images a second', ylim=(0, None))
    training.set(xlabel='how many', ylabel='clips a second', ylim=(0, None))
    for axes in (pixels, batches, training):
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / 'scaling.png', dpi=110)
    return [('scaling.png', 'Latency against pixels, throughput against batch, training against readers and processes')]


def _place(text: str) -> float:
    """Return thousands of pixels of '320x192', and 4 of '4'."""
    width, cross, height = text.partition('x')
    return int(width) * int(height) / 1e3 if cross else float(width)
