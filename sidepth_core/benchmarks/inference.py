"""Milliseconds of one image through the depth network: every engine in every precision, against the plain form.

The plain form is the network as it is published: see plain_form.py. The floor is that of floor.py.
"""

from __future__ import annotations

import copy
import logging
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch

from sidepth_core.benchmarks.floor import floor_ms, layers, measured_rates
from sidepth_core.benchmarks.plain_form import plain_engine
from sidepth_core.benchmarks.row import Request, Row
from sidepth_core.checkpoint import DEFAULT_CHECKPOINT, load_checkpoint
from sidepth_core.engines import FACTORIES, Engine, Target
from sidepth_core.engines.engine import DTYPES
from sidepth_core.engines.verification import probe
from sidepth_core.errors import ConfigError
from sidepth_core.models import DepthNet, DepthNetwork

logger = logging.getLogger(__name__)

ABOUT = """\
The plain form is the published one: eager float32, attention maps made in full, memory in torch's own order. The floor
is what the operations of the network's layers, and their weights, inputs and outputs, take at the rates that this
processor reached a moment before in a matrix product and in a copy: nothing else is counted.
"""

PUBLISHED_SIZES = ((192, 640), (320, 1024))
"""Height and width at which DaB-Net is published."""

PLAIN = 'plain form'
WANTED = {'cpu': 0.5, 'cuda': 0.2}
"""Share of the plain form's time that is promised for the fastest engine, by device."""

ROUNDS = 9
SECONDS = 4.0
"""So long the plain form is measured at most; it and all others at least three times."""

Calls = Mapping[str, Callable[[], object]]
"""What is measured, by name."""

NOTHING = {'floor ms': math.nan, 'times the floor': math.nan}
"""The columns of what was not measured."""

BYTES = {'float32': 4, 'bf16': 2, 'fp16': 2}
"""Of a number, by precision."""


def rows(request: Request) -> Iterator[Row]:
    """Yield a row for each number of threads, network, size, engine and precision."""
    before = torch.get_num_threads()
    try:
        for threads in thread_counts(request):
            torch.set_num_threads(threads)
            yield from _rows(request)
    finally:
        torch.set_num_threads(before)
    if request.device.type == 'cpu' and not request.quick:
        note = 'not yet measured: no GPU here'
        yield Row('CUDA graphs, ONNX Runtime on CUDA and TensorRT', math.nan, 'ms', note=note, figures=dict(NOTHING))


def thread_counts(request: Request) -> tuple[int, ...]:
    """Return with how many threads networks are measured: 1 and 2 on a processor where nobody said how many."""
    there = torch.get_num_threads()
    if request.device.type != 'cpu' or request.quick or request.threads:
        return (there,)
    return tuple(count for count in (1, 2) if count <= max(there, cores()))


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def _rows(request: Request) -> Iterator[Row]:
    kind = request.device.type
    threads = torch.get_num_threads()
    rates = {name: measured_rates(request.device, DTYPES[name]) for name in _precisions(request)}
    for name, network, (height, width) in _cases(request):
        image = probe(height, width).to(request.device)
        found = layers(network.to(request.device), image)
        floors = {precision: floor_ms(found, rates[precision], BYTES[precision]) for precision in rates}
        engines = dict(_makeable(network, request, (height, width)))
        calls: Calls = {label: partial(engine, image) for label, engine in engines.items()}
        medians = median_ms(calls, request.device, _rounds(calls[PLAIN]))
        gflop, megabytes = sum(one.flops for one in found) / 1e9, 4e-6 * sum(one.numbers for one in found)
        what = f'{name} {width}x{height}' + (f', {threads} thread{"s" * (threads > 1)}' if kind == 'cpu' else '')
        fastest = min(medians, key=medians.__getitem__)
        for label, median in medians.items():
            floor = floors[label.split()[-1] if label != PLAIN else 'float32']
            figures = {'floor ms': floor, 'times the floor': median / floor}
            if label == PLAIN:
                note = f'{gflop:.3g} G operations, {megabytes:.3g} MB in float32'
                yield Row(f'{what}, {label}', median, 'ms', note=note, figures=figures)
                continue
            ratio = median / medians[PLAIN]
            is_promised = label == fastest and not request.quick
            wanted, met = (f'at most {WANTED[kind]:g}', ratio <= WANTED[kind]) if is_promised else ('', None)
            yield Row(f'{what}, {label}', median, 'ms', PLAIN, ratio, wanted, met, figures=figures)


def _rounds(plain: Callable[[], object]) -> int:
    plain()
    start = time.perf_counter()
    plain()
    return max(3, min(ROUNDS, int(SECONDS / (time.perf_counter() - start))))


def median_ms(calls: Calls, device: torch.device, rounds: int = ROUNDS) -> dict[str, float]:
    """Return the median time of each call, milliseconds.

    The calls take turns, so that what else the machine does meanwhile falls on all of them.
    """
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {label: [] for label in calls}
    for _ in range(rounds):
        for label, call in calls.items():
            _finish(device)
            start = time.perf_counter()
            call()
            _finish(device)
            times[label].append((time.perf_counter() - start) * 1e3)
    return {label: statistics.median(values) for label, values in times.items()}


def _cases(request: Request) -> Iterator[tuple[str, DepthNetwork, tuple[int, int]]]:
    """Yield name, network and image size; speed does not depend on the weights of the published network."""
    if request.checkpoint is not None or DEFAULT_CHECKPOINT.is_dir():
        checkpoint = load_checkpoint(request.checkpoint, pose=False)
        info = checkpoint.info
        yield info.backbone, checkpoint.depth_net, (info.image_height, info.image_width)
    if not request.quick:
        published = DepthNet('hrnet18').eval()
        for size in PUBLISHED_SIZES:
            yield 'hrnet18', published, size


def _precisions(request: Request) -> tuple[str, ...]:
    return ('float32', 'bf16') if request.device.type == 'cpu' else ('float32', 'bf16', 'fp16')


def _labels(request: Request) -> list[str]:
    engines = [name for name in FACTORIES if name not in {'eager', 'compiled'}] + ['compiled'] * request.compiled
    return [PLAIN, 'eager float32', *(f'{name} {one}' for name in engines for one in _precisions(request))]


def _makeable(network: DepthNetwork, request: Request, size: tuple[int, int]) -> Iterator[tuple[str, Engine]]:
    """Yield each engine that can be made here; of the others, say why not."""
    for label in _labels(request):
        if engine := made(label, network, request, size):
            yield label, engine


def made(label: str, network: DepthNetwork, request: Request, size: tuple[int, int]) -> Engine | None:
    """Return the engine that a label names, of a network that stays as it is; None, and say why, if there is none."""
    if label == PLAIN:
        return plain_engine(copy.deepcopy(network), Target(request.device, 'float32', size))
    name, precision = label.split()
    try:
        return FACTORIES[name](copy.deepcopy(network), Target(request.device, precision, size))
    except ConfigError as error:
        logger.warning('%s is left out: %s', label, error)
    except Exception as error:  # noqa: BLE001  # a compiler or a runtime can fail in any way
        logger.warning('%s is left out: %s: %s', label, type(error).__name__, (str(error).splitlines() or [''])[0])
    return None


def _finish(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
