"""What `sidepth benchmark` measures. A benchmark is a module; it joins by a line in BENCHMARKS.

Its function `rows` yields what it measures; what it has as `ABOUT` and what its `pictures` draws go to the page (see
page.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType

from sidepth_core.benchmarks.row import Request, Row

__all__ = ['BENCHMARKS', 'ON_REQUEST', 'Request', 'Row', 'module_of', 'run']

BENCHMARKS = {
    'inference': 'one image through the depth network, every engine and precision against the plain form and the floor',
    'engines': 'start-up, size on disk, speed and agreement of each engine',
    'loading': 'training triplets from a prepared cache and from a plain PIL + torchvision loader',
    'waiting': 'share of training time spent waiting for data, from a warm cache',
    'training_memory': 'peak memory of a training step with fused and with materialised attention',
    'training': 'training steps a second and their peak memory, against the plain form',
    'preparing': 'from a bag to the cache, frames a second of a core, against decoding alone',
    'scaling': 'the network against pixels and batch, training against readers and processes',
    'node': 'the depth node over real ROS 2: latency, drops, processor time, and all that is not the network',
    'cameras': 'four cameras in one process and batch against a process for each',
    'flicker': 'flicker of depth on a synthetic drive, with and without the stabiliser',
    'edges': 'flying pixels that the edge gate removes against good ones that it costs, on held-out synthetic drives',
    'scale': 'metres of each source of scale on held-out synthetic drives, and what they cost',
    'ablation': 'zoom augmentation and cross-attention, alone and together, 18 small trainings: half an hour or more',
    'photometric_loss': 'the photometric loss of a batch against pad + avg_pool2d',
}
"""Each benchmark, which is the module of that name here, and what it measures."""

ELSEWHERE = {'node': 'sidepth_ros.benchmark'}
"""Benchmarks whose module is not here: ROS is imported only when they run."""

ON_REQUEST = ('ablation', 'edges', 'flicker', 'scale', 'training_memory')
"""Run only where they are named: they say what is the same on every machine."""


def module_of(name: str) -> ModuleType:
    """Return the module of a benchmark."""
    return import_module(ELSEWHERE.get(name, f'{__name__}.{name}'))


def run(name: str, request: Request) -> Iterator[Row]:
    """Run the benchmark of that name, yielding rows as they are measured."""
    rows: Callable[[Request], Iterator[Row]] = module_of(name).rows
    yield from rows(request)
