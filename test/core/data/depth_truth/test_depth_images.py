"""Depth images as drivers send them, in metres."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from sidepth_core.data.depth_truth.depth_images import decode_compressed_depth, decode_depth, fitted_depth
from sidepth_core.errors import DatasetError, ImageFormatError


def png(values: npt.NDArray[np.uint16]) -> bytes:
    return cv2.imencode('.png', values)[1].tobytes()


@pytest.mark.parametrize('order', ['<', '>'])
def test_convention_millimetres_become_metres_and_zero_is_not_measured(order: str) -> None:
    rows = np.array([[0, 1500, 99], [65535, 1, 99]], f'{order}u2')  # the last column is padding
    depth = decode_depth(rows.tobytes(), '16UC1', 2, 2, 6, is_bigendian=order == '>')
    np.testing.assert_array_equal(depth, np.array([[np.nan, 1.5], [65.535, 0.001]], np.float32))
    assert depth.dtype == np.float32


def test_convention_metres_stay_and_what_is_not_positive_was_not_measured() -> None:
    rows = np.array([[2.5, np.nan, np.inf], [-np.inf, 0, -1]], '<f4')
    depth = decode_depth(rows.tobytes(), '32FC1', 3, 2)
    np.testing.assert_array_equal(depth, [[2.5, np.nan, np.inf], [np.nan] * 3])


def test_what_is_no_depth_is_refused() -> None:
    with pytest.raises(ImageFormatError, match="encoding 'rgb8' is no depth, expected one of 16UC1"):
        decode_depth(b'\0' * 12, 'rgb8', 2, 2)
    for width, height, step in ((2, 3, 4), (2, 2, 3), (0, 0, 0)):
        with pytest.raises(ImageFormatError, match=f'no depth image of {width}x{height}'):
            decode_depth(b'\0' * 8, '16UC1', width, height, step)


def test_compressed_millimetres_are_read_with_and_without_a_header() -> None:
    values = np.array([[0, 1500], [3000, 40]], np.uint16)
    expected = np.array([[np.nan, 1.5], [3.0, 0.04]], np.float32)
    header = struct.pack('<iff', 0, 0.0, 0.0)
    np.testing.assert_array_equal(decode_compressed_depth(header + png(values), '16UC1; compressedDepth png'), expected)
    np.testing.assert_array_equal(decode_compressed_depth(png(values), '16UC1; png compressed '), expected)


def test_convention_compressed_metres_are_quantised_inverses() -> None:
    # The plugin stores 100 / depth + 7: 2 m as 57, 4 m as 32.
    data = struct.pack('<iff', 0, 100.0, 7.0) + png(np.array([[57, 32, 0, 7]], np.uint16))
    depth = decode_compressed_depth(data, '32FC1; compressedDepth')
    np.testing.assert_array_equal(depth, np.array([[2.0, 4.0, np.nan, np.inf]], np.float32))


@pytest.mark.parametrize(
    ('data', 'form', 'fault'),
    [
        (struct.pack('<iff', 0, 0, 0) + b'\1\2\3\4', '16UC1; compressedDepth rvl', 'is no PNG, the only codec'),
        (b'', '16UC1; compressedDepth png', 'is no PNG'),
        (png(np.zeros((4, 4), np.uint16))[:40], '16UC1; png compressed', 'no whole 16-bit grey PNG'),
        (cv2.imencode('.png', np.zeros((4, 4), np.uint8))[1].tobytes(), '16UC1; png', 'no whole 16-bit grey PNG'),
        (png(np.ones((4, 4), np.uint16)), '32FC1; compressedDepth png', 'lacks the header'),
    ],
)
def test_damaged_compressed_depth_is_refused(data: bytes, form: str, fault: str) -> None:
    with pytest.raises(ImageFormatError, match=fault):
        decode_compressed_depth(data, form)


def test_convention_depth_of_another_size_is_sampled_at_pixel_centres_and_never_mixed() -> None:
    depth = np.array([[1, np.nan], [3, 4]], np.float32)
    np.testing.assert_array_equal(
        fitted_depth(depth, 4, 4), np.kron(depth, np.ones((2, 2), np.float32))
    )
    wide = np.arange(36, dtype=np.float32).reshape(6, 6)
    np.testing.assert_array_equal(fitted_depth(wide, 2, 2), wide[[1, 4]][:, [1, 4]])  # each the middle of its 3x3
    with pytest.raises(DatasetError, match='depth images are 2x2, the images 8x4'):
        fitted_depth(depth, 8, 4)
