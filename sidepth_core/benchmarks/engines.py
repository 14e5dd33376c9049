"""What each engine costs and gives: time to start, without and with a build on disk, its size, speed and agreement.

Each engine starts in a process of its own with an empty folder of builds, and then in another one, which finds what
the first has built. Start-up is from the loaded weights to the first depth, the runtime's own import included.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch.nn import functional as F

from sidepth_core.benchmarks.row import Request, Row
from sidepth_core.checkpoint import load_checkpoint
from sidepth_core.data.sources import open_source
from sidepth_core.engines import FACTORIES, Target
from sidepth_core.engines.engine import PRECISIONS
from sidepth_core.engines.export import export
from sidepth_core.engines.torch_engines import eager
from sidepth_core.engines.verification import TOLERANCES, depth_difference, median_ms, probe
from sidepth_core.errors import ConfigError

ABOUT = """\
The shipped checkpoint at its own size, one image at a time. Difference: 95 % of the depths of a fixed image are nearer
to those of eager float32 than this; what differs more than its precision is allowed is not used. A build is kept by
weights, engine, precision, size, versions and device. Speeds in one process, turn by turn: see `inference`.
"""
CALIBRATION = 'synthetic:street?seed=5&frames=16'
"""The drive whose images measure the ranges of int8."""


class Start(NamedTuple):
    """What the start of an engine took and gave: seconds, milliseconds an image, largest relative difference."""

    start_s: float
    image_ms: float
    difference: float


def rows(request: Request) -> Iterator[Row]:
    """Yield a row for each engine and precision that can be made here, and what became of int8."""
    for name, precision in pairs(request):
        with tempfile.TemporaryDirectory(prefix='sidepth-bench-') as cache:
            first = started(request, name, precision, Path(cache))
            if first is None:
                continue
            again = started(request, name, precision, Path(cache)) or first
            built_mib = sum(path.stat().st_size for path in Path(cache).rglob('*.build')) / 2**20
        figures = {
            'start s': first.start_s,
            'again s': again.start_s,
            'build MiB': built_mib or float('nan'),
            'difference %': 100 * first.difference,
        }
        used, limit = first.difference <= TOLERANCES[precision], f'difference at most {TOLERANCES[precision]:.0%}'
        speed_ms = min(first.image_ms, again.image_ms)
        yield Row(f'{name} {precision}', speed_ms, 'ms', wanted=limit, met=used, figures=figures)
    if not request.quick:
        yield from integers(request)


def pairs(request: Request) -> list[tuple[str, str]]:
    """Return the engines with their precisions, eager float32 first."""
    names = [name for name in FACTORIES if name != 'compiled' or request.compiled]
    precisions = [one for one in PRECISIONS if one != 'fp16' or request.device.type == 'cuda']
    return [('eager', 'float32'), *((name, one) for name in names[1:] for one in precisions)]


def started(request: Request, name: str, precision: str, cache: Path) -> Start | None:
    """Start an engine in a process of its own, with its builds in a folder; None where it cannot be made here."""
    options = ['--device', str(request.device), '--threads', str(torch.get_num_threads())]
    options += ['--checkpoint', request.checkpoint] if request.checkpoint else []
    command = [sys.executable, '-m', __name__, name, precision, *options]
    environment = {**os.environ, 'XDG_CACHE_HOME': str(cache)}
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)  # noqa: S603  # this module
    answer = json.loads(run.stdout.splitlines()[-1])
    return None if answer is None else Start(*answer)


def measured(name: str, precision: str, device: torch.device, checkpoint: str | None) -> Start | None:
    """Start an engine here, measure it, and compare it; None where it cannot be made."""
    loaded = load_checkpoint(checkpoint, pose=False)
    size = loaded.info.image_height, loaded.info.image_width
    image = probe(*size).to(device)
    expected = eager(loaded.depth_net, Target(device, 'float32', size))(image)
    network = load_checkpoint(checkpoint, pose=False).depth_net
    start = time.perf_counter()
    try:
        engine = FACTORIES[name](network, Target(device, precision, size))
    except ConfigError:
        return None
    found = engine(image)
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    start_s = time.perf_counter() - start
    return Start(start_s, median_ms({name: engine}, image, rounds=9)[name], depth_difference(found, expected))


def integers(request: Request) -> Iterator[Row]:
    """Yield how far 8-bit integers are off, calibrated on a drive: too far, and they are not written."""
    loaded = load_checkpoint(request.checkpoint, pose=False)
    size = loaded.info.image_height, loaded.info.image_width
    pixels = [torch.from_numpy(frame.image).permute(2, 0, 1)[None] / 255 for frame in open_source(CALIBRATION)]
    images = [F.interpolate(one, size=size, mode='bilinear', antialias=True) for one in pixels]
    with tempfile.TemporaryDirectory(prefix='sidepth-bench-') as folder:
        file = Path(folder) / 'int8.onnx'
        nothing = float('nan')
        figures = dict.fromkeys(('start s', 'again s', 'build MiB', 'difference %'), nothing)
        what = 'onnxruntime int8, exported and not one of the engines'
        try:
            parity = export(loaded.depth_net, loaded.info, file, 'onnx', 'int8', size, images)
        except ConfigError as error:
            yield Row(what, nothing, 'ms', note=str(error), wanted='difference at most 10%', met=False, figures=figures)
            return
        figures.update({'build MiB': file.stat().st_size / 2**20, 'difference %': 100 * parity.most})
        yield Row(what, nothing, 'ms', wanted='difference at most 10%', met=True, figures=figures)


def _main() -> None:
    parser = argparse.ArgumentParser(description='Print what the start of an engine took and gave, as JSON.')
    parser.add_argument('name', choices=tuple(FACTORIES))
    parser.add_argument('precision', choices=PRECISIONS)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--threads', type=int, required=True)
    parser.add_argument('--checkpoint')
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    answer = measured(options.name, options.precision, torch.device(options.device), options.checkpoint)
    print(json.dumps(answer))  # noqa: T201  # what was asked for


if __name__ == '__main__':
    _main()
