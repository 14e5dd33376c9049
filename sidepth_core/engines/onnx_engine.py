"""The network on ONNX Runtime: on any processor, and on NVIDIA's GPUs through its CUDA or TensorRT provider."""

from __future__ import annotations

import functools
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.onnx.errors import OnnxExporterError

from sidepth_core.engines.builds import BuildKey, kept_or_built
from sidepth_core.engines.engine import Engine, Target
from sidepth_core.engines.graph import graph_of, record, weights_digest
from sidepth_core.engines.shaped import Shape, ShapedEngine
from sidepth_core.errors import ConfigError
from sidepth_core.models import DepthNetwork

OPSET = 17
"""Of the ONNX files: runtimes have it since 2022."""


def onnxruntime(depth_net: DepthNetwork, target: Target, provider: str = '') -> Engine:
    """Run the network on ONNX Runtime.

    Args:
        depth_net: The network.
        target: On the CPU ONNX Runtime computes in float32 only, on a GPU in float32 and fp16.
        provider: 'CPU', 'CUDA' or 'Tensorrt'; empty for that of the target's device.

    Raises:
        ConfigError: If ONNX Runtime is missing, or cannot do that here.
    """
    package = onnxruntime_module()
    provider = provider or ('CUDA' if target.device.type == 'cuda' else 'CPU')
    name = f'{provider}ExecutionProvider'
    if name not in (there := package.get_available_providers()):
        wheel = 'pip install onnxruntime-gpu instead of onnxruntime, with the CUDA (and TensorRT) that it asks for'
        raise ConfigError(f'this ONNX Runtime has no {name}, only {", ".join(there)}: {wheel}')
    if (provider == 'CPU') != (target.device.type == 'cpu'):
        raise ConfigError(f'ONNX Runtime on {provider} cannot take images from {target.device}')
    allowed = ('float32',) if provider == 'CPU' else ('float32', 'fp16')
    if target.precision not in allowed:
        raise ConfigError(f'ONNX Runtime on {provider} computes in {" or ".join(allowed)}, not in {target.precision}')
    weights = weights_digest(depth_net)
    graph = graph_of(depth_net.to(target.device), target.precision)

    def build(shape: Shape) -> Session:
        key = BuildKey(
            weights,
            f'onnxruntime_{provider}',
            target.precision,
            shape,
            f'onnxruntime {package.__version__}, torch {torch.__version__}',
            'any',  # it is the plain graph, which the runtime adapts to the processor when it loads it
        )
        return kept_or_built(
            key, build=lambda: onnx_model(graph, shape), load=lambda content: Session(package, content, name, target)
        )

    return ShapedEngine(build)


onnxruntime_tensorrt = functools.partial(onnxruntime, provider='Tensorrt')
"""Run the network on ONNX Runtime's TensorRT provider."""


class Session:
    """A graph that ONNX Runtime has loaded, for images of one shape."""

    def __init__(self, package: Any, model: bytes, provider: str, target: Target) -> None:  # noqa: ANN401
        options = package.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')  # see threads.let_threads_sleep
        self._session = package.InferenceSession(model, options, providers=[provider])
        self._device = target.device

    def __call__(self, images: Tensor) -> Tensor:
        """Return disparity (B, 1, h, w) of images (B, 3, h, w), both on the engine's device."""
        if self._device.type == 'cpu':
            (disparity,) = self._session.run(None, {'image': images.numpy()})
            return torch.from_numpy(disparity)
        result = torch.empty(len(images), 1, *images.shape[-2:], device=images.device)
        binding = self._session.io_binding()
        torch.cuda.current_stream(images.device).synchronize()  # the runtime works on a stream of its own
        place = ('cuda', images.device.index or 0, 'float32')
        binding.bind_input('image', *place, tuple(images.shape), images.data_ptr())
        binding.bind_output('disparity', *place, tuple(result.shape), result.data_ptr())
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return result


def onnx_model(graph: nn.Module, shape: Shape, output: str = 'disparity') -> bytes:
    """Return the network as an ONNX file for images of one shape, its input named `image`, its output as given.

    Raises:
        ConfigError: If torch cannot write all of it as ONNX.
    """
    batch, height, width = shape
    example = torch.zeros(batch, 3, height, width, device=next(graph.parameters()).device)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad(), warnings.catch_warnings(), _concat_is_cat():
        file = Path(folder) / 'network.onnx'
        # torch calls this exporter deprecated: the new one needs further packages, and minutes instead of seconds.
        warnings.simplefilter('ignore')
        # Frozen, weights are constants of the record: torch's exporter loses their shapes otherwise.
        frozen = torch.jit.freeze(record(graph, shape).eval())
        try:
            torch.onnx.export(
                frozen,
                (example,),
                file,
                dynamo=False,
                opset_version=OPSET,
                input_names=['image'],
                output_names=[output],
            )
        except OnnxExporterError as error:
            reason = (str(error).splitlines() or [''])[0]
            raise ConfigError(f'torch {torch.__version__} cannot write this network as ONNX: {reason}') from error
        return file.read_bytes()


@contextmanager
def _concat_is_cat() -> Iterator[None]:
    """Let torch write `concat`, its other name of `cat`, which BEiT of `transformers` (in ZoeDepth) uses."""
    from torch.onnx import symbolic_opset9  # noqa: PLC0415  # only where a network is written

    name = 'aten::concat'
    torch.onnx.register_custom_op_symbolic(name, symbolic_opset9.cat, OPSET)  # type: ignore[attr-defined]  # documented
    try:
        yield
    finally:
        torch.onnx.unregister_custom_op_symbolic(name, OPSET)  # type: ignore[attr-defined]  # likewise


def onnxruntime_module() -> Any:  # noqa: ANN401  # of a package without annotations
    """Return the package.

    Raises:
        ConfigError: If ONNX Runtime is not installed.
    """
    try:
        import onnxruntime as package  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise ConfigError(
            f'engine onnxruntime needs the package onnxruntime ({error}): pip install onnxruntime'
        ) from error
    return package
