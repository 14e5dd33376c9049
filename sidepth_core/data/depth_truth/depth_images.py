"""Depth as cameras of colour and depth send it: sensor_msgs images of a depth topic, turned into metres.

Convention (REP 118): 16UC1 counts millimetres and 0 is not measured; 32FC1 is metres, NaN is not measured and +inf is
farther than could be measured. Pixels hold depth along Z.
"""

from __future__ import annotations

import struct

import cv2
import numpy as np
import numpy.typing as npt

from sidepth_core.data.frames import DepthMap
from sidepth_core.errors import DatasetError, ImageFormatError
from sidepth_core.images import LARGEST_IMAGE, Buffer, check_compressed, read_pixels

DEPTH_ENCODINGS = {'16UC1': 'u2', 'mono16': 'u2', '32FC1': 'f4'}
"""What a value of each encoding is; older drivers say mono16 for 16UC1."""

MILLIMETRES = 1000.0
PNG_MAGIC = b'\x89PNG'

# What compressed_depth_image_transport puts before its PNG: an enum, and the two numbers of its quantisation.
_HEADER = struct.Struct('<iff')


def decode_depth(
    data: Buffer, encoding: str, width: int, height: int, step: int = 0, *, is_bigendian: bool = False
) -> DepthMap:
    """Return the depth of a raw image, (H, W) float32 metres; NaN where not measured.

    Raises:
        ImageFormatError: If the encoding is none of DEPTH_ENCODINGS, or the lengths do not fit.
    """
    if encoding not in DEPTH_ENCODINGS:
        raise ImageFormatError(f'encoding {encoding!r} is no depth, expected one of {", ".join(DEPTH_ENCODINGS)}')
    dtype = np.dtype(('>' if is_bigendian else '<') + DEPTH_ENCODINGS[encoding])
    flat = np.frombuffer(data, np.uint8)
    row = width * dtype.itemsize
    step = step or row
    if not row or step < row or flat.size != step * height or not height:
        raise ImageFormatError(f'{flat.size} bytes are no depth image of {width}x{height} {encoding} with step {step}')
    return _metres(np.ascontiguousarray(flat.reshape(height, step)[:, :row]).view(dtype))


def decode_compressed_depth(data: Buffer, form: str, largest: int = LARGEST_IMAGE) -> DepthMap:
    """Return the depth of a compressed image: a 16-bit PNG, with or without compressedDepth's header.

    Args:
        data: The message's bytes.
        form: The message's format: '16UC1; compressedDepth png', '32FC1; compressedDepth png', '16UC1; png compressed'.
        largest: Pixels that the image may have.

    Returns:
        (H, W) float32, metres; NaN where not measured.

    Raises:
        ImageFormatError: If it is no such PNG; compressedDepth's other codec, RVL, is not read.
    """
    flat = np.frombuffer(data, np.uint8)
    start = 0 if flat[:4].tobytes() == PNG_MAGIC else _HEADER.size
    if flat[start : start + 4].tobytes() != PNG_MAGIC:
        raise ImageFormatError(f'compressed depth of format {form!r} is no PNG, the only codec of depth that is read')
    try:
        values = read_pixels(check_compressed(flat[start:], largest), cv2.IMREAD_UNCHANGED)
    except ImageFormatError as error:
        raise type(error)(f'compressed depth of format {form!r} is no whole 16-bit grey PNG: {error}') from error
    if values.dtype != np.uint16 or values.ndim != 2:
        raise ImageFormatError(f'compressed depth of format {form!r} is no whole 16-bit grey PNG')
    if not form.startswith('32FC1'):
        return _metres(values.astype(np.uint16, copy=False))
    if not start:
        raise ImageFormatError(f'compressed depth of format {form!r} lacks the header that says what its values mean')
    _, scale, offset = _HEADER.unpack(flat[:start].tobytes())
    # The plugin stores scale / depth + offset; 0 is not measured.
    with np.errstate(divide='ignore'):
        return _metres(np.where(values > 0, scale / (values.astype(np.float32) - offset), 0).astype(np.float32))


def fitted_depth(depth_m: DepthMap, width: int, height: int) -> DepthMap:
    """Return depth at the size of its image: each pixel the nearest measured one, none of them mixed.

    Raises:
        DatasetError: If the proportions differ by more than 1 %: then it shows another view.
    """
    rows, columns = depth_m.shape
    if (columns, rows) == (width, height):
        return depth_m
    if not 0.99 < (width / columns) / (height / rows) < 1.01:
        raise DatasetError(
            f'depth images are {columns}x{rows}, the images {width}x{height}: the proportions differ, so they show '
            'different views. Give depth that is registered to the image'
        )
    return np.asarray(cv2.resize(depth_m, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), np.float32)


def _metres(values: npt.NDArray[np.uint16] | npt.NDArray[np.float32]) -> DepthMap:
    """Return values as metres; what is not positive was not measured."""
    scale = MILLIMETRES if values.dtype.kind == 'u' else 1.0
    with np.errstate(invalid='ignore'):
        return np.asarray(np.where(values > 0, values / np.float32(scale), np.nan), np.float32)
