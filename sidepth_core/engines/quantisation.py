"""A network in 8-bit integers: ONNX Runtime's static quantisation, with ranges measured on images."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from sidepth_core.errors import ConfigError


class Images:
    """Calibration images as ONNX Runtime asks for them: one after the other, then None."""

    def __init__(self, images: Sequence[Tensor]) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        """Return the next image by the name of the input."""
        image = next(self._images, None)
        return None if image is None else {'image': image.numpy()}


def quantised(model: bytes, images: Sequence[Tensor]) -> bytes:
    """Return an ONNX model whose convolutions compute in 8-bit integers, but for the first and the last.

    The first sees what differs most from place to place, the last says disparity in steps that would be seen.
    Attention, whose logits reach hundreds, stays in float32.

    Args:
        model: The model in float32.
        images: (1, 3, h, w) in 0..1, of where it will run.

    Raises:
        ConfigError: If ONNX Runtime or onnx is missing.
    """
    try:
        import onnx  # noqa: PLC0415  # extras
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(f'int8 needs the packages onnx and onnxruntime ({error})') from error
    convolutions = [node.name for node in onnx.load_from_string(model).graph.node if node.op_type == 'Conv']
    root = logging.getLogger()
    level = root.level
    with tempfile.TemporaryDirectory() as name:
        plain, small = Path(name) / 'plain.onnx', Path(name) / 'int8.onnx'
        plain.write_bytes(model)
        root.setLevel(logging.ERROR)  # it advises, on the root logger, a preparation that torch's exporter has done
        try:
            quantize_static(
                str(plain),
                str(small),
                Images(images),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=['Conv'],
                nodes_to_exclude=[convolutions[0], convolutions[-1]],
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        finally:
            root.setLevel(level)
        return small.read_bytes()
