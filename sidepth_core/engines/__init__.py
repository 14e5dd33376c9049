"""Ways to run the depth network: the same weights, the same numbers, at different speeds.

An engine is a callable that turns images into disparity. Another one joins by a function like those of
`torch_engines` and a line in `FACTORIES`; whatever it does inside, it is compared with the plain network before use.
"""

from __future__ import annotations

import copy
import logging
from typing import NamedTuple

import torch

from sidepth_core.engines.engine import PRECISIONS, Engine, Factory, Target
from sidepth_core.engines.torch_engines import channels_last, compiled, eager
from sidepth_core.engines.verification import disagreement
from sidepth_core.errors import ConfigError, did_you_mean
from sidepth_core.models import DepthNet

__all__ = ['ENGINES', 'FACTORIES', 'PRECISIONS', 'Engine', 'Factory', 'Running', 'Target', 'make_engine']

FACTORIES: dict[str, Factory] = {'eager': eager, 'channels_last': channels_last, 'compiled': compiled}
"""What makes each engine, by name."""

ENGINES = tuple(FACTORIES)
"""Names of the engines, the plainest first."""

logger = logging.getLogger(__name__)


class Running(NamedTuple):
    """An engine that was made and agrees with the plain network.

    Attributes:
        engine: Turns images into disparity.
        name: Its name in ENGINES; 'eager' where the one asked for could not be used.
        precision: What it computes in, one of PRECISIONS.
        note: Why another engine runs than the one asked for; empty where it is the one.
    """

    engine: Engine
    name: str
    precision: str
    note: str = ''


def make_engine(name: str, depth_net: DepthNet, target: Target) -> Running:
    """Make an engine and compare it with the plain float32 network on a fixed image.

    One that fails, or whose numbers differ, is replaced by eager float32; the reason is logged and returned.

    Args:
        name: One of ENGINES.
        depth_net: The network, in evaluation mode; it belongs to the engine from now on.
        target: Device, precision and image size.

    Raises:
        ConfigError: If there is no such engine, or the device cannot compute in that precision.
    """
    if name not in FACTORIES:
        raise ConfigError(f'no engine {name!r}: {did_you_mean(name, ENGINES)}')
    _check(target)
    plain = eager(depth_net, target._replace(precision='float32'))
    if (name, target.precision) == ('eager', 'float32'):
        return Running(plain, name, 'float32')
    try:
        engine = FACTORIES[name](copy.deepcopy(depth_net), target)
        fault = disagreement(engine, plain, target)
    except Exception as error:  # noqa: BLE001  # a compiler or a driver can fail in any way, and eager still works
        fault = f'{type(error).__name__}: {(str(error).splitlines() or [""])[0]}'
    if not fault:
        return Running(engine, name, target.precision)
    note = f'engine {name} in {target.precision} on {target.device} is not used: {fault}; running eager in float32'
    logger.warning(note)
    return Running(plain, 'eager', 'float32', note)


def _check(target: Target) -> None:
    """Check that a device can compute in a precision.

    Raises:
        ConfigError: If it cannot, with the reason.
    """
    if target.precision not in PRECISIONS:
        raise ConfigError(f'precision {target.precision!r} is not one of {", ".join(PRECISIONS)}')
    if target.precision == 'fp16' and target.device.type == 'cpu':
        raise ConfigError('precision fp16 is for GPUs: a CPU computes it slower than float32; use bf16 or float32')
    if target.precision == 'bf16' and target.device.type == 'cuda' and not torch.cuda.is_bf16_supported():
        raise ConfigError(f'{torch.cuda.get_device_name(target.device)} has no bf16: use fp16 or float32')
