"""Peak memory of a training step at 1024x320, with fused attention and with attention maps made as DaB-Net makes them.

Each step runs in a process of its own, whose memory the operating system (or CUDA) counts: weights, gradients, Adam's
state and everything that forward and backward pass keep, but not the libraries. The attention maps of the published
network take 412 MiB an image in float32.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import torch

from sidepth_core.benchmarks.plain_form import attention_maps_made
from sidepth_core.benchmarks.row import Request, Row
from sidepth_core.models import DepthNet

SIZE = (320, 1024)
BATCH = 2
LIMIT = 0.6
STATUS = Path('/proc/self/status')


def rows(request: Request) -> Iterator[Row]:
    """Yield fused and materialised attention, with blocks recomputed and with blocks kept."""
    for recompute in (True,) if request.quick else (True, False):
        how = 'blocks recomputed' if recompute else 'blocks kept'
        materialised = _measured(request, '--materialised', *['--recompute'] * recompute)
        fused = _measured(request, *['--recompute'] * recompute)
        step = f'training step {SIZE[1]}x{SIZE[0]}, batch {BATCH}, bf16, {how}'
        ratio = fused / materialised
        yield Row(f'{step}, attention maps materialised', materialised, 'MiB')
        wanted = f'at most {LIMIT:.0%}' if recompute else ''
        met = ratio <= LIMIT if recompute else None
        yield Row(f'{step}, attention fused', fused, 'MiB', 'materialised', ratio, wanted, met)


def peak_mib(device: torch.device, *, materialised: bool, recompute: bool) -> float:
    """Return by how much memory grew for one training step, MiB; alters this process, which should end then."""
    with attention_maps_made() if materialised else nullcontext():
        return _peak_mib(device, recompute=recompute)


def _peak_mib(device: torch.device, *, recompute: bool) -> float:
    _step(DepthNet('tf_efficientnet_lite0'), device, (64, 64))  # what libraries allocate once
    before = reset_peak(device)
    network = DepthNet('hrnet18', recompute=recompute)
    _step(network, device, (64, 64))  # gradients and Adam's state exist from the second step on
    reset_peak(device)
    _step(network, device, SIZE)
    return peak(device) - before


def _step(network: DepthNet, device: torch.device, size: tuple[int, int]) -> None:
    network.to(device).train()
    optimizer = torch.optim.Adam(network.parameters())
    images = torch.rand(BATCH, 3, *size, device=device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        disparity = network(images).disparity
    disparity.mean().backward()
    optimizer.step()


def _measured(request: Request, *flags: str) -> float:
    command = [sys.executable, '-m', __name__, '--device', str(request.device), *flags]
    result = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  # this very module
    return float(result.stdout)


def reset_peak(device: torch.device) -> float:
    """Start to count the peak anew, and return what is in use now, MiB."""
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device) / 2**20
    Path('/proc/self/clear_refs').write_text('5', encoding='ascii')
    return _status_mib('VmRSS')


def peak(device: torch.device) -> float:
    """Return the most that was in use since reset_peak, MiB."""
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == 'cuda' else _status_mib('VmHWM')


def _status_mib(field: str) -> float:
    """Return a field of what Linux says about this process, MiB."""
    lines = STATUS.read_text(encoding='ascii').splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(f'{field}:'))


def _main() -> None:
    parser = argparse.ArgumentParser(description='Print the peak memory of one training step, MiB.')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--materialised', action='store_true')
    parser.add_argument('--recompute', action='store_true')
    options = parser.parse_args()
    device = torch.device(options.device)
    print(peak_mib(device, materialised=options.materialised, recompute=options.recompute))  # noqa: T201  # the answer


if __name__ == '__main__':
    _main()
