"""Training steps of the whole method a second, and their peak memory, against the plain form in the same run.

A step is that of `sidepth train`: augmentation, depth and pose networks, view synthesis, losses, gradients, Adam, and
the running average, on clips that lie in memory. The plain form is what most trainers run: float32, memory in torch's
own order, attention maps made in full. Each form runs in a process of its own, whose memory the system counts.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sidepth_core.augment import apply, draw
from sidepth_core.benchmarks.loading import draw_drive
from sidepth_core.benchmarks.plain_form import attention_maps_made
from sidepth_core.benchmarks.row import Request, Row
from sidepth_core.benchmarks.training_memory import peak, reset_peak
from sidepth_core.data.clips import collate
from sidepth_core.data.folders import FolderSource
from sidepth_core.data.prepare import PreparedDataset, PrepareSettings, prepare
from sidepth_core.training.module import DepthTraining
from sidepth_core.training.networks import Networks, make_networks
from sidepth_core.training.objective import evaluate
from sidepth_core.training.settings import ModelSettings, Recipe

ABOUT = """\
Peak memory is what weights, gradients, Adam's state and a step's own tensors add to the libraries. The ratio of a
faster form is below 1 where it is slower: bf16 needs a processor with AMX, or a GPU.
"""
SIZES = ((640, 192), (1024, 320))
"""Width and height of the images, those of the published networks."""
FORMS = ('plain', 'float32', 'bf16')
WANTED = {'cpu': 1.5, 'cuda': 3.0}
"""How many times as many steps a second are promised, by device."""
BATCH = {'cpu': (2, 1), 'cuda': (12, 4)}
"""Clips a step at each of SIZES, by device."""


class Speed(NamedTuple):
    """What one form reaches: steps a second, and MiB at the peak."""

    steps: float
    peak_mib: float


def rows(request: Request) -> Iterator[Row]:
    """Yield the plain form and ours in both number formats, at each size."""
    kind = request.device.type
    forms = list(FORMS)
    for (width, height), batch in zip(SIZES[: 1 if request.quick else None], BATCH[kind], strict=False):
        with tempfile.TemporaryDirectory(prefix='sidepth-bench-') as name:
            cache = Path(name) / 'cache'
            draw_drive(Path(name) / 'drive', 8)
            prepare([FolderSource(Path(name) / 'drive', fps=10)], cache, PrepareSettings(width, height, stride=1))
            speeds = {form: _measured(request, cache, form, batch) for form in forms}
        plain = speeds.pop('plain')
        what = f'hrnet18 + DCA, {width}x{height}, batch {batch}'
        yield Row(f'{what}, plain form', plain.steps, 'steps/s', figures={'peak MiB': plain.peak_mib})
        fastest = max(speeds, key=lambda form: speeds[form].steps)
        forms = ['plain', fastest] if kind == 'cpu' else forms  # the slow ones take minutes at the larger size
        for form, speed in speeds.items():
            ratio = speed.steps / plain.steps
            wanted, met = (f'at least {WANTED[kind]:g}', ratio >= WANTED[kind]) if form == fastest else ('', None)
            figures = {'peak MiB': speed.peak_mib}
            yield Row(f'{what}, {form}', speed.steps, 'steps/s', 'plain form', ratio, wanted, met, figures=figures)


class PlainNetworks(Networks):
    """Networks that leave memory in torch's own order."""

    def __init__(self, networks: Networks) -> None:
        super().__init__(networks.depth_net, networks.pose_net, networks.info)
        self.to(memory_format=torch.contiguous_format)

    def disparity(self, image: Tensor) -> Tensor:
        """Return sigma (B, 1, H, W) of images (B, 3, H, W)."""
        sigma: Tensor = self.depth_net(image.contiguous()).disparity
        return sigma


def stepper(cache: Path, form: str, device: torch.device, count: int) -> Callable[[], float]:
    """Return what makes one training step on so many clips of a cache, in one of FORMS, and returns its loss."""
    clips = PreparedDataset(cache)
    width, height = (round(side / PrepareSettings().margin) for side in reversed(clips.size))
    recipe = Recipe(model=ModelSettings('hrnet18', width, height))
    module = DepthTraining(recipe, make_networks(recipe)).to(device)
    if form == 'plain':
        module.networks = PlainNetworks(module.networks).to(device)
    optimiser = module.configure_optimizers()['optimizer']
    batch = collate([clips[index % len(clips)] for index in range(count)]).to(device)
    precision = 'bf16' if form == 'bf16' else 'float32'

    def step() -> float:
        drawn = draw(len(batch.images), recipe.augment, torch.Generator().manual_seed(0))
        networks = module.networks
        view = apply(batch, drawn, (height, width), networks.pose_net.size)
        outcome = evaluate(networks, view, recipe.objective, average=module.average.networks, precision=precision)
        optimiser.zero_grad()
        loss = outcome.terms.total(recipe.objective.weights)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(networks.parameters(), recipe.optimiser.gradient_clip)
        optimiser.step()
        module.average.follow(networks, 0)
        return float(loss.detach())

    return step


def measured(cache: Path, form: str, device: torch.device, count: int, steps: int) -> Speed:
    """Return what a form reaches here in some steps of `count` clips; call it in a process of its own."""
    with ExitStack() as stack:
        if form == 'plain':
            stack.enter_context(attention_maps_made())
        before = reset_peak(device)
        step = stepper(cache, form, device, count)
        step()  # Adam's state and the kernels' choices are made by the first
        times = []
        for _ in range(steps):
            start = time.perf_counter()
            step()
            if device.type == 'cuda':
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - start)
    return Speed(1 / statistics.median(times), peak(device) - before)


def _measured(request: Request, cache: Path, form: str, batch: int) -> Speed:
    steps = 2 if request.device.type == 'cpu' else 20
    numbers = {'threads': torch.get_num_threads(), 'clips': batch, 'steps': steps}
    options = [word for name, number in numbers.items() for word in (f'--{name}', str(number))]
    command = [sys.executable, '-m', __name__, str(cache), form, '--device', str(request.device), *options]
    result = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  # this very module
    return Speed(*(float(value) for value in result.stdout.split()[-2:]))


def _main() -> None:
    parser = argparse.ArgumentParser(description='Print steps a second and peak memory (MiB) of a form of training.')
    parser.add_argument('cache', type=Path)
    parser.add_argument('form', choices=FORMS)
    parser.add_argument('--device', default='cpu')
    for name in ('threads', 'clips', 'steps'):
        parser.add_argument(f'--{name}', type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(*measured(options.cache, options.form, torch.device(options.device), options.clips, options.steps))  # noqa: T201  # the answer


if __name__ == '__main__':
    _main()
