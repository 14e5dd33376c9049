"""TensorRT plans: NVIDIA's compiler for its GPUs, where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sidepth_core.errors import ConfigError


def tensorrt_plan(onnx_model: Callable[[], bytes], *, half: bool) -> bytes:
    """Compile a network for the GPU of this machine; the plan runs on GPUs of that kind only.

    Args:
        onnx_model: Makes the network as an ONNX file.
        half: Let TensorRT compute in fp16 where that is faster.

    Raises:
        ConfigError: If TensorRT or a GPU is missing, or TensorRT refuses the network.
    """
    package = tensorrt_module()
    log = package.Logger(package.Logger.WARNING)
    builder = package.Builder(log)
    network = builder.create_network(0)
    parser = package.OnnxParser(network, log)
    if not parser.parse(onnx_model()):
        reasons = '; '.join(str(parser.get_error(index)) for index in range(parser.num_errors))
        raise ConfigError(f'TensorRT {package.__version__} does not take the network: {reasons}')
    config = builder.create_builder_config()
    if half:
        config.set_flag(package.BuilderFlag.FP16)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ConfigError(f'TensorRT {package.__version__} made no plan of the network: its log above says why')
    return bytes(plan)


def tensorrt_runner(path: Path, shape: tuple[int, int, int]) -> Callable[[Tensor], Tensor]:
    """Load a plan, and return what computes depth (B, 1, H, W) of images (B, 3, H, W).

    Args:
        path: The plan.
        shape: Number of images, height and width that it was made for.

    Raises:
        ConfigError: If TensorRT or a GPU is missing.
    """
    package = tensorrt_module()
    engine = package.Runtime(package.Logger(package.Logger.WARNING)).deserialize_cuda_engine(path.read_bytes())
    context = engine.create_execution_context()
    batch, height, width = shape

    def run(images: Tensor) -> Tensor:
        given = images.cuda().float().contiguous()
        depth = torch.empty(batch, 1, height, width, device='cuda')
        context.set_tensor_address('image', given.data_ptr())
        context.set_tensor_address('depth', depth.data_ptr())
        stream = torch.cuda.current_stream()
        context.execute_async_v3(stream.cuda_stream)
        stream.synchronize()
        return depth

    return run


def tensorrt_module() -> Any:  # noqa: ANN401  # of a package without annotations
    """Return the package.

    Raises:
        ConfigError: If it or a GPU is missing.
    """
    try:
        import tensorrt as package  # noqa: PLC0415  # where NVIDIA's GPUs are
    except ImportError as error:
        raise ConfigError(f'engine tensorrt needs the package tensorrt ({error}): pip install tensorrt') from error
    if not torch.cuda.is_available():
        raise ConfigError('engine tensorrt compiles for the GPU of this machine, and torch finds none')
    return package
