"""Four cameras: one process with one network and one batch, against a process for each."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from sidepth_core.benchmarks.row import Request, Row
from sidepth_core.inference import DepthEstimator

CAMERAS = 4
SIZE = (720, 1280)
"""Height and width of the images."""
ENGINE = 'channels_last'
"""The node's own choice."""


def rows(request: Request) -> Iterator[Row]:
    """Yield images a second and memory of both ways; every process starts fresh and measures itself."""
    seconds = 2.0 if request.quick else 8.0
    note = f'{CAMERAS} images {SIZE[1]}x{SIZE[0]} at a time, {_threads()} cores'
    together, together_mib = _measure(request, processes=1, batch=CAMERAS, seconds=seconds)
    apart, apart_mib = _measure(request, processes=CAMERAS, batch=1, seconds=seconds)
    yield Row('four processes', apart, 'images/s', note=note)
    ratio = together / apart
    yield Row(
        'one process', together, 'images/s', 'four processes', ratio, wanted='at least 1', met=bool(ratio >= 1)
    )
    yield Row('four processes, memory', apart_mib, 'MiB')
    ratio = together_mib / apart_mib
    yield Row(
        'one process, memory', together_mib, 'MiB', 'four processes', ratio, wanted='at most 0.5', met=ratio <= 0.5
    )


def _threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def _measure(request: Request, processes: int, batch: int, seconds: float) -> tuple[float, float]:
    """Return images a second and MiB of memory, summed over the processes."""
    context = multiprocessing.get_context('spawn')  # a forked child cannot use CUDA
    links, workers = [], []
    for _ in range(processes):
        ours, theirs = context.Pipe()
        threads = max(1, _threads() // processes)
        worker = context.Process(target=_work, args=(theirs, request, batch, seconds, threads), daemon=True)
        worker.start()
        links.append(ours)
        workers.append(worker)
    for link in links:
        link.recv()
    for link in links:
        link.send('go')
    results = [link.recv() for link in links]
    for worker in workers:
        worker.join()
    return sum(rate for rate, _ in results), sum(mib for _, mib in results)


def _work(link: Connection, request: Request, batch: int, seconds: float, threads: int) -> None:
    """Estimate batches for a while, once told to, and send images a second and MiB."""
    torch.set_num_threads(threads)
    estimator = DepthEstimator.load(request.checkpoint, device=request.device, engine=ENGINE)
    images = torch.randint(0, 256, (batch, 3, *SIZE), dtype=torch.uint8)
    focal_px = torch.full((batch,), float(SIZE[1]))
    estimator.depth(images, focal_px).cpu()
    link.send('ready')
    link.recv()
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        estimator.depth(images, focal_px).cpu()
        count += batch
    link.send((count / (time.perf_counter() - start), _memory_mib(request.device)))


def _memory_mib(device: torch.device) -> float:
    """Return what this process holds: on the GPU where it runs there, else in main memory."""
    if device.type == 'cuda':
        return torch.cuda.memory_reserved(device) / 2**20
    statm = Path('/proc/self/statm')
    return int(statm.read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2**20 if statm.exists() else float('nan')
