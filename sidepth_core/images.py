"""Pixels as cameras send them, turned into RGB: every encoding of sensor_msgs/Image that a driver uses.

Convention: encoding names are those of sensor_msgs/image_encodings; `8UC1` is taken for grey, `8UC3` for blue, green,
red (OpenCV's order), `16UC1` for grey of 16 bits. 16 bits become 8 by 255/65535, as cv_bridge does.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sidepth_core.errors import ImageFormatError, ImageSizeError
from sidepth_core.image_headers import KINDS, size_in_header

Buffer = bytes | bytearray | memoryview | npt.NDArray[np.uint8]
"""Raw bytes; array.array('B') comes as a memoryview of itself."""

RGB = npt.NDArray[np.uint8]
"""(H, W, 3) uint8, red first."""

LARGEST_IMAGE = 2**27
"""Pixels of the largest image that is decoded where nobody says otherwise: 134 million, 400 MB as RGB."""


@dataclass(frozen=True)
class PixelFormat:
    """How one encoding lies in memory.

    Attributes:
        channels: Values a pixel has in a row (2 for the packed YUV formats).
        bits: 8 or 16.
        code: OpenCV's conversion to RGB; None when it is RGB.
        rows: Rows in memory for each image row: 1.5 where a plane of colour follows.
        even: Whether width and height must be even.
    """

    channels: int
    bits: int = 8
    code: int | None = None
    rows: float = 1.0
    even: bool = False

    @property
    def pixel_bytes(self) -> int:
        """Bytes from one pixel of a row to the next."""
        return self.channels * self.bits // 8


_BAYER = {
    'rggb': cv2.COLOR_BayerRGGB2RGB,
    'bggr': cv2.COLOR_BayerBGGR2RGB,
    'gbrg': cv2.COLOR_BayerGBRG2RGB,
    'grbg': cv2.COLOR_BayerGRBG2RGB,
}

FORMATS: dict[str, PixelFormat] = {
    'rgb8': PixelFormat(3),
    'bgr8': PixelFormat(3, code=cv2.COLOR_BGR2RGB),
    'rgba8': PixelFormat(4, code=cv2.COLOR_RGBA2RGB),
    'bgra8': PixelFormat(4, code=cv2.COLOR_BGRA2RGB),
    'mono8': PixelFormat(1, code=cv2.COLOR_GRAY2RGB),
    'rgb16': PixelFormat(3, 16),
    'bgr16': PixelFormat(3, 16, cv2.COLOR_BGR2RGB),
    'rgba16': PixelFormat(4, 16, cv2.COLOR_RGBA2RGB),
    'bgra16': PixelFormat(4, 16, cv2.COLOR_BGRA2RGB),
    'mono16': PixelFormat(1, 16, cv2.COLOR_GRAY2RGB),
    **{f'bayer_{name}8': PixelFormat(1, code=code, even=True) for name, code in _BAYER.items()},
    **{f'bayer_{name}16': PixelFormat(1, 16, code, even=True) for name, code in _BAYER.items()},
    'yuv422': PixelFormat(2, code=cv2.COLOR_YUV2RGB_UYVY, even=True),
    'uyvy': PixelFormat(2, code=cv2.COLOR_YUV2RGB_UYVY, even=True),
    'yuv422_yuy2': PixelFormat(2, code=cv2.COLOR_YUV2RGB_YUY2, even=True),
    'yuyv': PixelFormat(2, code=cv2.COLOR_YUV2RGB_YUY2, even=True),
    'nv12': PixelFormat(1, code=cv2.COLOR_YUV2RGB_NV12, rows=1.5, even=True),
    'nv21': PixelFormat(1, code=cv2.COLOR_YUV2RGB_NV21, rows=1.5, even=True),
    '8UC1': PixelFormat(1, code=cv2.COLOR_GRAY2RGB),
    '8UC3': PixelFormat(3, code=cv2.COLOR_BGR2RGB),
    '8UC4': PixelFormat(4, code=cv2.COLOR_BGRA2RGB),
    '16UC1': PixelFormat(1, 16, cv2.COLOR_GRAY2RGB),
    '16UC3': PixelFormat(3, 16, cv2.COLOR_BGR2RGB),
}
"""Every encoding that `decode` takes."""


def check_layout(encoding: str, width: int, height: int, step: int, length: int) -> PixelFormat:
    """Check that an image's numbers agree with each other, and return its pixel format.

    Args:
        encoding: A name of FORMATS.
        width: Image width, pixels.
        height: Image height, pixels.
        step: Bytes from one row to the next; 0 for rows without padding.
        length: Bytes of data.

    Raises:
        ImageFormatError: If the encoding is unknown, the size empty, odd where the encoding has colour for pairs of
            pixels, the step shorter than a row, or the data too short or too long.
    """
    layout = FORMATS.get(encoding)
    if layout is None:
        raise ImageFormatError(f'encoding {encoding!r} is not known, expected one of {", ".join(FORMATS)}')
    if width < 1 or height < 1:
        raise ImageFormatError(f'image size {width}x{height} is empty')
    if layout.even and (width % 2 or (height % 2 and encoding.startswith(('bayer', 'nv')))):
        raise ImageFormatError(f'encoding {encoding!r} needs an even size, got {width}x{height}')
    row = width * layout.pixel_bytes
    if step and step < row:
        raise ImageFormatError(f'step {step} is shorter than a row: {width} pixels of {encoding} take {row} bytes')
    expected = int((step or row) * height * layout.rows)
    if length != expected:
        raise ImageFormatError(
            f'{length} bytes of data, expected {expected} for {width}x{height} {encoding} with step {step or row}'
        )
    return layout


def decode(data: Buffer, encoding: str, width: int, height: int, step: int = 0, *, is_bigendian: bool = False) -> RGB:
    """Return raw pixels as RGB, (H, W, 3) uint8. It shares the memory of `data` where that is rgb8 already.

    Raises:
        ImageFormatError: As `check_layout` does.
    """
    flat = np.frombuffer(data, np.uint8)
    layout = check_layout(encoding, width, height, step, flat.size)
    row = width * layout.pixel_bytes
    pixels = flat.reshape(int(height * layout.rows), step or row)[:, :row]
    if layout.bits == 16:
        wide = np.ascontiguousarray(pixels).view('>u2' if is_bigendian else '<u2').astype(np.uint16, copy=False)
        pixels = np.asarray(cv2.convertScaleAbs(wide, alpha=255 / 65535), np.uint8)
    pixels = pixels.reshape(-1, width, layout.channels) if layout.channels > 1 else pixels
    if layout.code is None:
        return pixels
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), layout.code), np.uint8)


def check_size(width: int, height: int, largest: int = LARGEST_IMAGE) -> None:
    """Refuse an image of more than `largest` pixels.

    Raises:
        ImageSizeError: If it has more.
    """
    if width * height > largest:
        raise ImageSizeError(f'image of {width}x{height} has more than {largest} pixels: it is not decoded')


def check_compressed(data: Buffer, largest: int = LARGEST_IMAGE) -> npt.NDArray[np.uint8]:
    """Check that compressed data is whole and of a size to decode, as far as its bytes tell, and return them.

    Args:
        data: The file's bytes.
        largest: Pixels that the image may have.

    Raises:
        ImageFormatError: If there is none, it is of no kind that is read, or a JPEG lacks its end.
        ImageSizeError: If its header claims more than `largest` pixels.
    """
    flat = np.frombuffer(data, np.uint8)
    if not flat.size:
        raise ImageFormatError('compressed image has no data')
    content = flat.tobytes()
    size = size_in_header(content)
    if size is None:
        raise ImageFormatError(
            f'{flat.size} bytes that start with {content[:8].hex(" ")} are no {", ".join(KINDS[:-1])} or {KINDS[-1]} '
            'image, or are cut in its header'
        )
    check_size(*size, largest)
    # A decoder would fill the missing rows with grey; some cameras pad with zeros after the marker.
    if content.startswith(b'\xff\xd8\xff') and b'\xff\xd9' not in content.rstrip(b'\0')[-64:]:
        raise ImageFormatError(f'JPEG of {flat.size} bytes is cut short: its end marker is missing')
    return flat


def decode_compressed(data: Buffer, *, upright: bool = False, largest: int = LARGEST_IMAGE) -> RGB:
    """Return an image file (JPEG, PNG, BMP, TIFF, WebP, PNM) as RGB, (H, W, 3) uint8.

    Args:
        data: The file's bytes.
        upright: Turn it as its EXIF orientation says; otherwise it stays as the sensor read it, which is what K is of.
        largest: Pixels that the image may have.

    Raises:
        ImageFormatError: If the data is empty, cut short, damaged, or of another kind.
        ImageSizeError: If its header claims more than `largest` pixels; nothing is allocated for it.
    """
    flat = check_compressed(data, largest)
    image = read_pixels(flat, cv2.IMREAD_COLOR | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION))
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def read_pixels(data: npt.NDArray[np.uint8], flags: int) -> npt.NDArray[np.uint8]:
    """Return what cv2.imdecode makes of bytes that `check_compressed` let pass.

    Raises:
        ImageFormatError: If it cannot decode them.
    """
    try:
        image = cv2.imdecode(data, flags)
    except cv2.error as error:  # a header that contradicts itself
        raise ImageFormatError(f'{data.size} bytes cannot be decoded: {error.err}') from None
    if image is None:
        start = data[:8].tobytes().hex(' ')
        raise ImageFormatError(f'{data.size} bytes that start with {start} are damaged behind the header')
    return np.asarray(image)
