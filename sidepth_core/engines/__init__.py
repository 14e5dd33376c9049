"""Ways to run the depth network: the same weights, the same numbers, at different speeds.

An engine is a callable that turns images into disparity. Another one joins by a function like those of
`torch_engines` and a line in `FACTORIES`; whatever it does inside, it is compared with the plain network before use.
"""

from __future__ import annotations

import copy
import importlib.util
import logging
from typing import NamedTuple

import torch

from sidepth_core.engines.engine import PRECISIONS, Engine, Factory, Target
from sidepth_core.engines.onnx_engine import onnxruntime, onnxruntime_tensorrt
from sidepth_core.engines.openvino_engine import openvino, openvino_gpu
from sidepth_core.engines.torch_engines import channels_last, compiled, eager
from sidepth_core.engines.verification import disagreement, median_ms, probe
from sidepth_core.errors import ConfigError, did_you_mean
from sidepth_core.models import DepthNetwork

__all__ = [
    'AUTO',
    'BOUND_TO_SIZE',
    'ENGINES',
    'ENGINE_CHOICES',
    'FACTORIES',
    'PRECISIONS',
    'PRECISION_CHOICES',
    'Engine',
    'Factory',
    'Running',
    'Target',
    'candidates',
    'make_engine',
]

FACTORIES: dict[str, Factory] = {
    'eager': eager,
    'channels_last': channels_last,
    'compiled': compiled,
    'openvino': openvino,
    'openvino_gpu': openvino_gpu,
    'onnxruntime': onnxruntime,
    'onnxruntime_tensorrt': onnxruntime_tensorrt,
}
"""What makes each engine, by name."""

ENGINES = tuple(FACTORIES)
"""Names of the engines, the plainest first."""

AUTO = 'auto'
"""Measure what there is and take the fastest: as the name of an engine, of a precision, or of both."""

ENGINE_CHOICES = (*ENGINES, AUTO)
PRECISION_CHOICES = (*PRECISIONS, AUTO)

BOUND_TO_SIZE = frozenset({'openvino', 'openvino_gpu', 'onnxruntime', 'onnxruntime_tensorrt'})
"""Engines that are built for one size of image: another size needs, and gets, an engine of its own."""

PACKAGES = {'openvino': 'openvino', 'onnxruntime': 'onnxruntime'}
"""What must be installed for an engine to be worth a try."""

CPU_CANDIDATES = ('channels_last', 'openvino', 'onnxruntime')
CUDA_CANDIDATES = ('channels_last', 'onnxruntime', 'onnxruntime_tensorrt')

logger = logging.getLogger(__name__)


class Running(NamedTuple):
    """An engine that was made and agrees with the plain network.

    Attributes:
        engine: Turns images into disparity.
        name: Its name in ENGINES; 'eager' where the one asked for could not be used.
        precision: What it computes in, one of PRECISIONS.
        note: Why another engine runs than the one asked for; empty where it is the one.
        measured: What 'auto' chose from, with the time of an image each; empty without 'auto'.
    """

    engine: Engine
    name: str
    precision: str
    note: str = ''
    measured: str = ''


def make_engine(name: str, depth_net: DepthNetwork, target: Target) -> Running:
    """Make an engine and compare it with the plain float32 network on a fixed image.

    One that fails, or whose numbers differ, is replaced by eager float32; the reason is logged and returned. With
    'auto' for the name, the precision, or both, every candidate is made and measured, and the fastest one that agrees
    is taken.

    Args:
        name: One of ENGINES, or 'auto'.
        depth_net: The network, in evaluation mode; it belongs to the engine from now on.
        target: Device, precision (or 'auto') and image size.

    Raises:
        ConfigError: If there is no such engine, or the device cannot compute in that precision.
    """
    if name not in ENGINE_CHOICES:
        raise ConfigError(f'no engine {name!r}: {did_you_mean(name, ENGINE_CHOICES)}')
    plain = eager(depth_net, target._replace(precision='float32'))
    if AUTO in {name, target.precision}:
        return _fastest(candidates(name, target), depth_net, target, plain)
    _check(target)
    if (name, target.precision) == ('eager', 'float32'):
        return Running(plain, name, 'float32')
    made = _made(name, depth_net, target, plain)
    if not isinstance(made, str):
        return Running(made, name, target.precision)
    note = f'engine {name} in {target.precision} on {target.device} is not used: {made}; running eager in float32'
    logger.warning(note)
    return Running(plain, 'eager', 'float32', note)


def candidates(name: str, target: Target) -> list[tuple[str, str]]:
    """Return the engines and precisions that 'auto' measures on a device, beside eager float32.

    Args:
        name: One of ENGINES, or 'auto' for all whose packages are installed.
        target: With a precision or 'auto' for all that the device has.

    Raises:
        ConfigError: If the device cannot compute in the precision asked for.
    """
    names = CUDA_CANDIDATES if target.device.type == 'cuda' else CPU_CANDIDATES
    there = [one for one in names if one not in PACKAGES or importlib.util.find_spec(PACKAGES[one])]
    if target.precision != AUTO:
        _check(target)
        precisions = [target.precision]
    else:
        precisions = [one for one in PRECISIONS if not _fault(target._replace(precision=one))]
    return [(one, precision) for one in (there if name == AUTO else [name]) for precision in precisions]


def _fastest(pairs: list[tuple[str, str]], depth_net: DepthNetwork, target: Target, plain: Engine) -> Running:
    """Return the fastest of some engines and of eager float32 that agrees with it."""
    made: dict[tuple[str, str], Engine] = {('eager', 'float32'): plain}
    refused = []
    for name, precision in pairs:
        if (name, precision) in made:
            continue
        engine = _made(name, depth_net, target._replace(precision=precision), plain)
        if isinstance(engine, str):
            refused.append(f'{name} {precision}: {engine}')
        else:
            made[name, precision] = engine
    image = probe(*target.size).to(target.device)
    times = median_ms(made, image)
    best = min(times, key=times.__getitem__)
    ranked = sorted(times, key=times.__getitem__)
    measured = ', '.join(f'{" ".join(pair)} {times[pair]:.1f} ms' for pair in ranked)
    if refused:
        measured += f'; not used: {"; ".join(refused)}'
    logger.info('engine %s in %s is the fastest here: %s', *best, measured)
    return Running(made[best], *best, measured=measured)


def _made(name: str, depth_net: DepthNetwork, target: Target, plain: Engine) -> Engine | str:
    """Return an engine that agrees with the plain network, or what is wrong with it."""
    try:
        engine = FACTORIES[name](copy.deepcopy(depth_net), target)
        return disagreement(engine, plain, target) or engine
    except ConfigError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001  # a compiler or a driver can fail in any way, and eager still works
        return f'{type(error).__name__}: {(str(error).splitlines() or [""])[0]}'


def _check(target: Target) -> None:
    """Check that a device can compute in a precision.

    Raises:
        ConfigError: If it cannot, with the reason.
    """
    if fault := _fault(target):
        raise ConfigError(fault)


def _fault(target: Target) -> str:
    """Return why a device cannot compute in a precision; empty where it can."""
    if target.precision not in PRECISIONS:
        return f'precision {target.precision!r} is not one of {", ".join(PRECISION_CHOICES)}'
    if target.precision == 'fp16' and target.device.type == 'cpu':
        return 'precision fp16 is for GPUs: a CPU computes it slower than float32; use bf16 or float32'
    if target.precision == 'bf16' and target.device.type == 'cuda' and not torch.cuda.is_bf16_supported():
        return f'{torch.cuda.get_device_name(target.device)} has no bf16: use fp16 or float32'
    return ''
