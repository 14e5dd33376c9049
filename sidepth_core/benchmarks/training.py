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
BATCH = {'cpu': 2, 'cuda': 12}


class Speed(NamedTuple):
    """What one form reaches: steps a second, and MiB at the peak."""

    steps: float
    peak_mib: float


def rows(request: Request) -> Iterator[Row]:
    """Yield the plain form and ours in both number formats, at each size."""
    kind = request.device.type
    for width, height in SIZES[: 1 if request.quick else None]:
        with tempfile.TemporaryDirectory(prefix='sidepth-bench-') as name:
            cache = Path(name) / 'cache'
            draw_drive(Path(name) / 'drive', 8)
            prepare([FolderSource(Path(name) / 'drive', fps=10)], cache, PrepareSettings(width, height, stride=1))
            speeds = {form: _measured(request, cache, form) for form in FORMS}
        plain = speeds.pop('plain')
        what = f'hrnet18 + DCA, {width}x{height}, batch {BATCH[kind]}'
        yield Row(f'{what}, plain form', plain.steps, 'steps/s', figures={'peak MiB': plain.peak_mib})
        fastest = max(speeds, key=lambda form: speeds[form].steps)
        for form, speed in speeds.items():
            ratio = speed.steps / plain.steps
            promise = (f'at least {WANTED[kind]:g}', ratio >= WANTED[kind]) if form == fastest else ('', None)
            figures = {'peak MiB': speed.peak_mib}
            yield Row(f'{what}, {form}', speed.steps, 'steps/s', 'plain form', ratio, *promise, figures=figures)


class PlainNetworks(Networks):
    """Networks that leave memory in torch's own order."""

    def __init__(self, networks: Networks) -> None:
        super().__init__(networks.depth_net, networks.pose_net, networks.info)
        self.to(memory_format=torch.contiguous_format)

    def disparity(self, image: Tensor) -> Tensor:
        """Return sigma (B, 1, H, W) of images (B, 3, H, W)."""
        sigma: Tensor = self.depth_net(image.contiguous()).disparity
        return sigma


def stepper(cache: Path, form: str, device: torch.device) -> Callable[[], None]:
    """Return what makes one training step on the clips of a cache, in one of FORMS."""
    clips = PreparedDataset(cache)
    width, height = (round(side / PrepareSettings().margin) for side in reversed(clips.size))
    recipe = Recipe(model=ModelSettings('hrnet18', width, height))
    module = DepthTraining(recipe, make_networks(recipe)).to(device)
    if form == 'plain':
        module.networks = PlainNetworks(module.networks).to(device)
    optimiser = module.configure_optimizers()['optimizer']
    batch = collate([clips[index % len(clips)] for index in range(BATCH[device.type])]).to(device)
    precision = 'bf16' if form == 'bf16' else 'float32'

    def step() -> None:
        drawn = draw(len(batch.images), recipe.augment, torch.Generator().manual_seed(0))
        networks = module.networks
        view = apply(batch, drawn, (height, width), networks.pose_net.size)
        outcome = evaluate(networks, view, recipe.objective, teacher=module.average.networks, precision=precision)
        optimiser.zero_grad()
        outcome.terms.total(recipe.objective.weights).backward()
        nn.utils.clip_grad_norm_(networks.parameters(), recipe.optimiser.gradient_clip)
        optimiser.step()
        module.average.follow(networks, 0)

    return step


def measured(cache: Path, form: str, device: torch.device, steps: int) -> Speed:
    """Return what a form reaches here; call it in a process of its own."""
    with ExitStack() as stack:
        if form == 'plain':
            stack.enter_context(attention_maps_made())
        before = reset_peak(device)
        step = stepper(cache, form, device)
        step()  # Adam's state and the kernels' choices are made by the first
        times = []
        for _ in range(steps):
            start = time.perf_counter()
            step()
            if device.type == 'cuda':
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - start)
    return Speed(1 / statistics.median(times), peak(device) - before)


def _measured(request: Request, cache: Path, form: str) -> Speed:
    threads, steps = torch.get_num_threads(), 2 if request.quick else 3 if request.device.type == 'cpu' else 20
    options = ['--device', str(request.device), '--threads', str(threads), '--steps', str(steps)]
    command = [sys.executable, '-m', __name__, str(cache), form, *options]
    result = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  # this very module
    return Speed(*(float(value) for value in result.stdout.split()[-2:]))


def _main() -> None:
    parser = argparse.ArgumentParser(description='Print steps a second and peak memory (MiB) of a form of training.')
    parser.add_argument('cache', type=Path)
    parser.add_argument('form', choices=FORMS)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--threads', type=int, required=True)
    parser.add_argument('--steps', type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(*measured(options.cache, options.form, torch.device(options.device), options.steps))  # noqa: T201  # the answer


if __name__ == '__main__':
    _main()
