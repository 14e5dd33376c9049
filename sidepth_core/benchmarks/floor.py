"""The floor under a network's time: what its operations and its memory traffic cost a processor that does nothing else.

Roofline model (Williams, Waterman, Patterson, CACM 2009), layer by layer: a convolution, a matrix product or an
attention takes as long as its operations at the processor's fastest rate, or as its weights, input and output at the
memory's, whichever is longer. All else (norms, non-linearities, up-sampling) counts nothing: it could be done on the
way. Both rates are measured in the same run, with the same number of threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

PRODUCT = 2048
"""Rows and columns of the matrices whose product measures operations a second."""
COPIED_BYTES = 16 << 20
"""As much as the feature maps of a layer: too much for a core's own cache, and not for the last one of a server."""


class Rates(NamedTuple):
    """What a processor reaches.

    Attributes:
        flops: Operations a second, a multiplication and an addition being two.
        bytes: Bytes a second to and from memory.
    """

    flops: float
    bytes: float


class Layer(NamedTuple):
    """What one layer asks for: operations, and numbers read and written."""

    flops: int
    numbers: int


class _Layers(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has not annotated it
    """Notes the layers that have operations worth counting."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.found: list[Layer] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Any = (), named: Any = None  # noqa: ANN401 - torch's signature
    ) -> Any:  # noqa: ANN401 - as above
        named = named or {}
        result = function(*arguments, **named)
        count = flop_registry.get(function._overloadpacket)  # noqa: SLF001 - as torch's own counter does
        if count is not None:
            tensors = [one for one in tree_leaves((arguments, named, result)) if isinstance(one, Tensor)]
            self.found.append(Layer(count(*arguments, **named, out_val=result), sum(one.numel() for one in tensors)))
        return result


@torch.no_grad()
def layers(network: nn.Module, image: Tensor) -> list[Layer]:
    """Return what each layer of a network asks for with an image (B, 3, h, w)."""
    mode = _Layers()
    with mode:
        network(image)
    return mode.found


def floor_ms(found: list[Layer], rates: Rates, number_bytes: int) -> float:
    """Return the least time that layers can take, milliseconds.

    Args:
        found: The layers.
        rates: What the processor reaches in that number format.
        number_bytes: Bytes of a number.
    """
    return 1e3 * sum(max(one.flops / rates.flops, number_bytes * one.numbers / rates.bytes) for one in found)


def measured_rates(device: torch.device, dtype: torch.dtype) -> Rates:
    """Measure what a device reaches, with as many threads as torch has now."""
    first, second = (torch.rand(PRODUCT, PRODUCT, device=device).to(dtype) for _ in range(2))
    source = torch.ones(COPIED_BYTES // 4, device=device)
    target = torch.empty_like(source)
    product_s = _fastest(lambda: first @ second, device)
    copy_s = _fastest(lambda: target.copy_(source), device)
    return Rates(2 * PRODUCT**3 / product_s, 2 * COPIED_BYTES / copy_s)


def _fastest(work: Callable[[], object], device: torch.device, rounds: int = 5) -> float:
    """Return the shortest of some rounds, seconds: what others do meanwhile makes the longer ones."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times)
