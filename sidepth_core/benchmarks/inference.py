"""Milliseconds of one image through the depth network: every engine in every precision, at several sizes."""

from __future__ import annotations

import copy
import logging
import statistics
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from sidepth_core.benchmarks.row import Request, Row
from sidepth_core.checkpoint import DEFAULT_CHECKPOINT, load_checkpoint
from sidepth_core.engines import FACTORIES, Engine, Target
from sidepth_core.engines.verification import probe
from sidepth_core.errors import ConfigError
from sidepth_core.models import DepthNet, DepthNetwork

logger = logging.getLogger(__name__)

PUBLISHED_SIZES = ((192, 640), (320, 1024))
"""Height and width at which DaB-Net is published."""

ROUNDS = 9


def rows(request: Request) -> Iterator[Row]:
    """Yield a row for each network, size, engine and precision."""
    for name, network, size in _cases(request):
        height, width = size
        image = probe(height, width).to(request.device)
        engines = dict(_makeable(network, request, size))
        medians = median_ms({label: _call(engine, image) for label, engine in engines.items()}, request.device)
        plain, *others = medians
        yield Row(f'{name} {width}x{height}, {plain}', medians[plain], 'ms', note=_where(request))
        for label in others:
            ratio = medians[label] / medians[plain]
            yield Row(f'{name} {width}x{height}, {label}', medians[label], 'ms', against=plain, ratio=ratio)


def median_ms(calls: dict[str, Callable[[], object]], device: torch.device, rounds: int = ROUNDS) -> dict[str, float]:
    """Return the median time of each call, milliseconds.

    The calls take turns, so that what else the machine does meanwhile falls on all of them.
    """
    for call in calls.values():
        for _ in range(2):
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


def _labels(request: Request) -> list[str]:
    precisions = ('bf16',) if request.device.type == 'cpu' else ('bf16', 'fp16')
    engines = [name for name in FACTORIES if name not in {'eager', 'compiled'}] + ['compiled'] * request.compiled
    return ['eager float32', *(f'{name} {precision}' for name in engines for precision in ('float32', *precisions))]


def _makeable(network: DepthNetwork, request: Request, size: tuple[int, int]) -> Iterator[tuple[str, Engine]]:
    """Yield each engine that can be made here; of the others, say why not."""
    for label in _labels(request):
        if engine := _made(label, network, request, size):
            yield label, engine


def _made(label: str, network: DepthNetwork, request: Request, size: tuple[int, int]) -> Engine | None:
    name, precision = label.split()
    try:
        return FACTORIES[name](copy.deepcopy(network), Target(request.device, precision, size))
    except ConfigError as error:
        logger.warning('%s is left out: %s', label, error)
    except Exception as error:  # noqa: BLE001  # a compiler or a runtime can fail in any way
        logger.warning('%s is left out: %s: %s', label, type(error).__name__, (str(error).splitlines() or [''])[0])
    return None


def _call(engine: Engine, image: Tensor) -> Callable[[], object]:
    return lambda: engine(image)


def _finish(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def _where(request: Request) -> str:
    if request.device.type == 'cuda':
        return torch.cuda.get_device_name(request.device)
    return f'{torch.get_num_threads()} CPU threads'
