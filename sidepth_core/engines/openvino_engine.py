"""The network on OpenVINO: Intel's runtime, on any x86 or ARM processor and on Intel's GPUs."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from sidepth_core.engines.builds import BuildKey, kept_or_built
from sidepth_core.engines.engine import Engine, Target
from sidepth_core.engines.graph import graph_of, record, weights_digest
from sidepth_core.engines.shaped import Shape, ShapedEngine
from sidepth_core.errors import ConfigError
from sidepth_core.models import DepthNetwork

HINTS = {'float32': 'f32', 'bf16': 'bf16', 'fp16': 'f16'}
"""OpenVINO's names of the precisions."""


def openvino(depth_net: DepthNetwork, target: Target, device: str = 'CPU') -> Engine:
    """Run the network on OpenVINO.

    Args:
        depth_net: The network.
        target: Its device must be the CPU, where images and disparity are, whatever computes.
        device: OpenVINO's name of what computes: 'CPU' or 'GPU', which is Intel's.

    Raises:
        ConfigError: If OpenVINO is missing, or has not that device or precision.
    """
    if target.device.type != 'cpu':
        raise ConfigError(f'OpenVINO takes images from the CPU, not from {target.device}: use device cpu')
    core = openvino_core()
    if device not in {name.partition('.')[0] for name in core.available_devices}:
        raise ConfigError(f'OpenVINO finds no {device} here, only {", ".join(core.available_devices)}')
    able = core.get_property(device, 'OPTIMIZATION_CAPABILITIES')
    if target.precision != 'float32' and target.precision.upper() not in able:
        raise ConfigError(f'{core.get_property(device, "FULL_DEVICE_NAME")} has no {target.precision}')
    weights = weights_digest(depth_net)
    graph = graph_of(depth_net)

    def build(shape: Shape) -> Request:
        key = BuildKey(
            weights,
            f'openvino_{device}',
            target.precision,
            shape,
            f'openvino {openvino_module().__version__}, torch {torch.__version__}',
            core.get_property(device, 'FULL_DEVICE_NAME'),
        )
        options = {
            'INFERENCE_PRECISION_HINT': HINTS[target.precision],
            'PERFORMANCE_HINT': 'LATENCY',
            **({'INFERENCE_NUM_THREADS': torch.get_num_threads()} if device == 'CPU' else {}),
        }
        return kept_or_built(
            key,
            build=lambda: bytes(
                core.compile_model(openvino_model(graph, shape), device, options).export_model().getvalue()
            ),
            load=lambda content: Request(core.import_model(content, device, options)),
        )

    return ShapedEngine(build)


openvino_gpu = functools.partial(openvino, device='GPU')
"""Run the network on OpenVINO on Intel's GPU; images stay on the CPU's side."""


class Request:
    """A model that OpenVINO has compiled, for images of one shape."""

    def __init__(self, compiled: Any) -> None:  # noqa: ANN401  # of a package without annotations
        self._request = compiled.create_infer_request()

    def __call__(self, images: Tensor) -> Tensor:
        """Return disparity (B, 1, h, w) of images (B, 3, h, w)."""
        self._request.infer({0: images.numpy()}, share_inputs=True)
        return torch.from_numpy(self._request.get_output_tensor(0).data).clone()


@functools.cache
def openvino_core() -> Any:  # noqa: ANN401  # as above
    """Return OpenVINO's entry, the only one of the process, which is never freed.

    An entry gives its thread a stack for signal handlers, and puts back the one before when it is freed. Of two that
    are freed in the order in which they were made, the second puts back that of the first, which is gone: the next
    signal, such as Ctrl-C, would end in a segmentation fault.

    Raises:
        ConfigError: If it is not installed.
    """
    return openvino_module().Core()


def openvino_model(graph: nn.Module, shape: Shape, output: str = 'disparity') -> Any:  # noqa: ANN401  # as above
    """Return the network as OpenVINO's model for images of one shape, its input named `image`, its output as given.

    OpenVINO's PyTorch front end is asked directly: `convert_model` does the same and reports its use to its makers.
    """
    from openvino.frontend import FrontEndManager  # noqa: PLC0415  # an extra
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder  # noqa: PLC0415

    front_end = FrontEndManager().load_by_framework('pytorch')
    decoder = TorchScriptPythonDecoder(record(graph, shape))
    model = front_end.convert(front_end.load(decoder))
    batch, height, width = shape
    model.reshape([batch, 3, height, width])
    model.inputs[0].get_tensor().set_names({'image'})
    model.outputs[0].get_tensor().set_names({output})
    return model


def openvino_module() -> Any:  # noqa: ANN401  # as above
    """Return the package.

    Raises:
        ConfigError: If OpenVINO is not installed.
    """
    try:
        import openvino as package  # noqa: PLC0415  # an extra, and half a second that others need not wait
    except ImportError as error:
        raise ConfigError(f'engine openvino needs the package openvino ({error}): pip install openvino') from error
    return package
