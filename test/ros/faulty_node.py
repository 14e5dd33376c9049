"""A depth node whose engines fail on images of one colour: as on CUDA without memory, in a broken driver, and so on.

`python -m faulty_node ENGINE[,ENGINE] --ros-args ...`. Everything but these engines is the node's own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from typing import NoReturn

import torch
from torch import Tensor

from sidepth_core import engines
from sidepth_core.engines import Engine, Factory
from sidepth_ros.node.main import main

HANG_S = 3600.0


def fails(_: Tensor) -> NoReturn:
    raise RuntimeError('an injected fault')


def is_out_of_memory(_: Tensor) -> NoReturn:
    raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB, injected')


def dies(_: Tensor) -> NoReturn:
    sys.exit()


def is_not_finite(images: Tensor) -> Tensor:
    return torch.full_like(images[:, :1], float('nan'))


def hangs(images: Tensor) -> Tensor:
    time.sleep(HANG_S)
    return images[:, :1]


FAULTS: dict[str, tuple[tuple[int, int, int], Callable[[Tensor], Tensor]]] = {
    'raises': ((255, 0, 0), fails),
    'nan': ((0, 255, 0), is_not_finite),
    'memory': ((0, 0, 255), is_out_of_memory),
    'dies': ((255, 255, 0), dies),
    'hangs': ((255, 0, 255), hangs),
}
"""What an image of one colour, RGB, does to the engine."""


def faulty(factory: Factory) -> Factory:
    """Return a factory whose engines fail on the colours of FAULTS."""

    def make(*arguments: object) -> Engine:
        engine = factory(*arguments)

        def run(images: Tensor) -> Tensor:
            colours = images.float().mean((2, 3))
            for colour, fail in FAULTS.values():
                if (colours - torch.tensor(colour) / 255).abs().amax(1).min() < 0.01:
                    return fail(images)
            return engine(images)

        return run

    return make


def inject(names: Iterable[str]) -> None:
    """Replace engines of these names by ones that fail."""
    for name in names:
        engines.FACTORIES[name] = faulty(engines.FACTORIES[name])
        if name == 'eager':
            engines.eager = engines.FACTORIES[name]


if __name__ == '__main__':
    inject(sys.argv[1].split(','))
    main([sys.argv[0], *sys.argv[2:]])
