"""The engines that torch itself brings: eager, channels-last, compiled; on a GPU the last two as CUDA graphs."""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch
from torch import Tensor, nn

from sidepth_core.engines.engine import DTYPES, Engine, Target
from sidepth_core.engines.folding import fold_batch_norms
from sidepth_core.models import DepthNetwork


def eager(depth_net: DepthNetwork, target: Target) -> Engine:
    """Run the network as it is written: the numbers that every other engine is compared with."""
    return NetworkEngine(_converted(depth_net, target), target, torch.contiguous_format)


def channels_last(depth_net: DepthNetwork, target: Target) -> Engine:
    """Fold batch norms into convolutions and lay out memory with channels innermost, as fast kernels want it."""
    network = _converted(fold_batch_norms(depth_net), target).to(memory_format=torch.channels_last)
    return _graphed(NetworkEngine(network, target, torch.channels_last), target)


def compiled(depth_net: DepthNetwork, target: Target) -> Engine:
    """Like channels_last, with the kernels that torch.compile writes; making it takes a minute or more."""
    network = _converted(fold_batch_norms(depth_net), target).to(memory_format=torch.channels_last)
    return _graphed(NetworkEngine(torch.compile(network, dynamic=False), target, torch.channels_last), target)


class NetworkEngine:
    """A depth network, or what torch.compile makes of one, as an engine."""

    def __init__(
        self, network: Callable[[Tensor], tuple[Tensor]], target: Target, memory_format: torch.memory_format
    ) -> None:
        self._network = network
        self._dtype = DTYPES[target.precision]
        self._memory_format = memory_format

    def __call__(self, images: Tensor) -> Tensor:
        """Return disparity (see Engine)."""
        # In inference mode whatever mode the caller is in, and on a copy: a compiled network would compile again for
        # tensors of another kind.
        with torch.inference_mode():
            (disparity,) = self._network(_copied(images, self._dtype, self._memory_format))
        return _ordinary(disparity)


class GraphedEngine:
    """An engine whose hundreds of kernels are recorded once for each batch size and replayed with one launch.

    Threads take turns, since a recording has one place for its input and its output.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._recordings: dict[torch.Size, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}
        self._lock = threading.Lock()

    def __call__(self, images: Tensor) -> Tensor:
        """Return disparity (see Engine)."""
        with self._lock, torch.inference_mode(), torch.cuda.device(images.device):
            if images.shape not in self._recordings:
                self._recordings[images.shape] = self._record(images)
            graph, source, result = self._recordings[images.shape]
            source.copy_(images)
            graph.replay()
            disparity = result.clone()
        return _ordinary(disparity)

    def _record(self, images: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
        source = torch.empty_like(images).copy_(images)
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch has not annotated it
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):  # compilation, choice of kernels and their workspaces must be done before recording
                self._engine(source)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Another model may run in another thread meanwhile: its calls are none of this recording's business.
        with torch.cuda.graph(graph, capture_error_mode='thread_local'):
            result = self._engine(source)
        return graph, source, result


def _graphed(engine: Engine, target: Target) -> Engine:
    return GraphedEngine(engine) if target.device.type == 'cuda' else engine


def _converted(depth_net: DepthNetwork, target: Target) -> nn.Module:
    """Bring a network to its device and number format; what needs float32 keeps it."""
    network = depth_net.to(device=target.device, dtype=DTYPES[target.precision])
    network.keep_float32()
    return network


def _copied(images: Tensor, dtype: torch.dtype, memory_format: torch.memory_format) -> Tensor:
    return images.to(dtype=dtype, memory_format=memory_format, copy=True)


def _ordinary(disparity: Tensor) -> Tensor:
    """Return a tensor that the caller may change in place, which one made in inference mode is not."""
    with torch.no_grad():
        return disparity.clone()
