"""Every encoding decodes to the colours that were put in, by hand and through OpenCV's own conversions."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from sidepth_core.errors import ImageFormatError, ImageSizeError
from sidepth_core.image_headers import size_in_header
from sidepth_core.images import FORMATS, check_layout, decode, decode_compressed

RED, GREEN, BLUE = (200, 30, 10), (20, 180, 40), (15, 25, 210)


@pytest.fixture
def image() -> npt.NDArray[np.uint8]:
    """Return an image whose left half is red, whose right half is blue, with a green band below: (8, 12, 3)."""
    image = np.zeros((8, 12, 3), np.uint8)
    image[:, :6], image[:, 6:], image[6:] = RED, BLUE, GREEN
    return image


def encoded(image: npt.NDArray[np.uint8], encoding: str) -> npt.NDArray[np.generic]:
    """Return an image as a driver would send it, rows without padding."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    by_code = {
        'rgb8': None, 'bgr8': cv2.COLOR_RGB2BGR, 'rgba8': cv2.COLOR_RGB2RGBA, 'bgra8': cv2.COLOR_RGB2BGRA,
        '8UC3': cv2.COLOR_RGB2BGR, '8UC4': cv2.COLOR_RGB2BGRA,
        'rgb16': None, 'bgr16': cv2.COLOR_RGB2BGR, 'rgba16': cv2.COLOR_RGB2RGBA, 'bgra16': cv2.COLOR_RGB2BGRA,
        '16UC3': cv2.COLOR_RGB2BGR,
    }  # fmt: skip
    if encoding in by_code:
        code = by_code[encoding]
        values = image if code is None else cv2.cvtColor(image, code)
        return values.astype(np.uint16) * 257 if '16' in encoding else values
    if encoding in {'mono8', '8UC1'}:
        return grey
    if encoding in {'mono16', '16UC1'}:
        return grey.astype(np.uint16) * 257
    if encoding.startswith('bayer'):
        return mosaic(image, encoding)
    return yuv(image, encoding)


def mosaic(image: npt.NDArray[np.uint8], encoding: str) -> npt.NDArray[np.generic]:
    """Return the colour filter's image: the four letters are the top left square, row by row."""
    channel = {'r': 0, 'g': 1, 'b': 2}
    letters, bits = encoding[6:10], encoding[10:]
    values = np.zeros(image.shape[:2], np.uint8)
    for index, letter in enumerate(letters):
        row, column = divmod(index, 2)
        values[row::2, column::2] = image[row::2, column::2, channel[letter]]
    return values.astype(np.uint16) * 257 if bits == '16' else values


def yuv(image: npt.NDArray[np.uint8], encoding: str) -> npt.NDArray[np.uint8]:
    """Return BT.601 limited-range YUV, computed by hand."""
    matrix = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
    y, u, v = np.round(image @ matrix.T + [16, 128, 128]).astype(np.uint8).transpose(2, 0, 1)
    if encoding in {'nv12', 'nv21'}:
        pair = (u, v) if encoding == 'nv12' else (v, u)
        colour = np.stack([plane[::2, ::2] for plane in pair], axis=-1).reshape(image.shape[0] // 2, -1)
        return np.concatenate([y, colour])
    packed = np.zeros((*y.shape, 2), np.uint8)
    luma, chroma = (1, 0) if encoding in {'yuv422', 'uyvy'} else (0, 1)
    packed[..., luma] = y
    packed[:, ::2, chroma], packed[:, 1::2, chroma] = u[:, ::2], v[:, ::2]
    return packed.reshape(y.shape[0], -1)


@pytest.mark.parametrize('padding', [0, 6])
@pytest.mark.parametrize('encoding', FORMATS)
def test_every_encoding_gives_the_colours_back(
    image: npt.NDArray[np.uint8], encoding: str, padding: int
) -> None:
    rows = np.ascontiguousarray(encoded(image, encoding)).view(np.uint8)
    rows = rows.reshape(rows.shape[0], -1)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    found = decode(padded.tobytes(), encoding, 12, 8, padded.shape[1])
    expected = image
    if encoding in {'mono8', 'mono16', '8UC1', '16UC1'}:
        expected = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    # A colour filter mixes neighbours, so look where there is one colour around.
    for row, column in ((3, 2), (3, 9)):
        np.testing.assert_allclose(found[row, column].astype(int), expected[row, column].astype(int), atol=3)
    assert (found.shape, found.dtype) == ((8, 12, 3), np.uint8)


def test_big_endian_16_bit_is_swapped() -> None:
    wide = np.repeat(np.arange(0, 65536, 683, dtype=np.uint16)[None, :96], 2, axis=0)
    little = decode(wide.astype('<u2').tobytes(), 'mono16', 96, 2)
    big = decode(wide.astype('>u2').tobytes(), 'mono16', 96, 2, is_bigendian=True)
    np.testing.assert_array_equal(little, big)
    np.testing.assert_allclose(little[0, :, 0], wide[0] * (255 / 65535), atol=0.51)


def test_rgb8_without_padding_is_not_copied(image: npt.NDArray[np.uint8]) -> None:
    data = image.tobytes()
    assert np.shares_memory(decode(data, 'rgb8', 12, 8), np.frombuffer(data, np.uint8))


@pytest.mark.parametrize(
    ('encoding', 'width', 'height', 'step', 'length', 'words'),
    [
        ('rgb9', 4, 4, 0, 48, "'rgb9' is not known.*rgb8"),
        ('rgb8', 0, 4, 0, 0, '0x4 is empty'),
        ('rgb8', 4, 4, 11, 44, 'step 11 is shorter.*12 bytes'),
        ('rgb8', 4, 4, 0, 47, '47 bytes of data, expected 48'),
        ('rgb8', 4, 4, 16, 48, 'expected 64'),
        ('nv12', 4, 4, 0, 16, 'expected 24'),
        ('nv12', 4, 3, 0, 18, 'even size, got 4x3'),
        ('yuv422', 3, 4, 0, 24, 'even size, got 3x4'),
    ],
)
def test_contradiction_is_named(encoding: str, width: int, height: int, step: int, length: int, words: str) -> None:
    with pytest.raises(ImageFormatError, match=words):
        check_layout(encoding, width, height, step, length)


@pytest.mark.parametrize('extension', ['.jpg', '.png'])
def test_compressed_image_gives_the_colours_back(image: npt.NDArray[np.uint8], extension: str) -> None:
    large = image.repeat(8, 0).repeat(8, 1)
    _, data = cv2.imencode(extension, large[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])
    found = decode_compressed(data.tobytes())
    assert found.shape == large.shape
    np.testing.assert_allclose(found[24, [16, 72]].astype(int), [RED, BLUE], atol=4)


def bomb(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and holds next to nothing."""
    header = b'IHDR' + struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    content = b'IDAT' + zlib.compress(bytes(64))
    chunks = [struct.pack('>I', len(text) - 4) + text + struct.pack('>I', zlib.crc32(text))
              for text in (header, content, b'IEND')]  # fmt: skip
    return b'\x89PNG\r\n\x1a\n' + b''.join(chunks)


@pytest.mark.parametrize('size', [(60000, 60000), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1)])
def test_a_header_that_claims_more_than_the_limit_is_refused_before_anything_is_decoded(size: tuple[int, int]) -> None:
    with pytest.raises(ImageSizeError, match=f'{size[0]}x{size[1]} has more than 134217728 pixels'):
        decode_compressed(bomb(*size))


def test_the_limit_of_pixels_is_the_callers(image: npt.NDArray[np.uint8]) -> None:
    _, data = cv2.imencode('.png', image)
    assert decode_compressed(data.tobytes(), largest=96).shape == (8, 12, 3)
    with pytest.raises(ImageSizeError, match='12x8 has more than 95 pixels'):
        decode_compressed(data.tobytes(), largest=95)


def test_what_opencv_refuses_is_an_error_of_ours() -> None:
    # Beyond what OpenCV takes at all, it raises cv2.error.
    with pytest.raises(ImageFormatError, match='cannot be decoded'):
        decode_compressed(bomb(60000, 60000), largest=2**40)


@pytest.mark.parametrize(
    ('extension', 'options'),
    [
        ('.jpg', []), ('.jpg', [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]), ('.png', []), ('.bmp', []), ('.tif', []),
        ('.webp', []), ('.webp', [cv2.IMWRITE_WEBP_QUALITY, 60]), ('.ppm', []), ('.pgm', []),
    ],
)  # fmt: skip
def test_the_size_in_the_header_is_that_of_the_image(extension: str, options: list[int]) -> None:
    _, data = cv2.imencode(extension, np.zeros((37, 53) if extension == '.pgm' else (37, 53, 3), np.uint8), options)
    content = data.tobytes()
    assert size_in_header(content) == (53, 37)
    assert decode_compressed(content).shape == (37, 53, 3)
    assert [size_in_header(content[:length]) for length in range(8)] == [None] * 8


def test_the_thumbnail_in_a_photo_does_not_tell_its_size() -> None:
    photo, thumbnail = (cv2.imencode('.jpg', np.zeros((side, side, 3), np.uint8))[1].tobytes() for side in (40, 8))
    exif = b'\xff\xe1' + struct.pack('>H', len(thumbnail) + 2) + thumbnail
    assert size_in_header(photo[:2] + exif + photo[2:]) == (40, 40)


def test_jpeg_padded_with_zeros_is_whole(image: npt.NDArray[np.uint8]) -> None:
    _, data = cv2.imencode('.jpg', image)
    assert decode_compressed(data.tobytes() + bytes(500)).shape == image.shape


@pytest.mark.parametrize(
    ('damage', 'words'),
    [
        (lambda _: b'', 'no data'),
        (lambda data: data[: len(data) // 2], 'cut short'),
        (lambda _: b'hello, this is no image', 'start with 68 65 6c 6c'),
        (lambda _: bomb(60, 40), 'damaged behind the header'),
    ],
)
def test_damaged_compressed_image_is_named(
    image: npt.NDArray[np.uint8], damage: Callable[[bytes], bytes], words: str
) -> None:
    _, data = cv2.imencode('.jpg', image.repeat(8, 0))
    with pytest.raises(ImageFormatError, match=words):
        decode_compressed(damage(data.tobytes()))
