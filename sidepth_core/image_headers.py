"""What an image file's first bytes say of its size, read before a decoder allocates anything for it.

A PNG of 60 bytes can claim 60000x60000 pixels, for which a decoder would ask 10 GB.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

Size = tuple[int, int]
"""Width and height, pixels."""

KINDS = ('JPEG', 'PNG', 'BMP', 'TIFF', 'WebP', 'PNM')
"""The kinds of files whose headers are understood."""

_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG's start-of-frame markers (ITU-T T.81, table B.1)."""
_BARE_MARKERS = frozenset((0x01, *range(0xD0, 0xD9)))
"""JPEG's markers without a length behind them."""
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_TIFF_TYPES = {3: 'H', 4: 'I'}
_PNM = re.compile(rb'P[1-6](?:\s+(?:#[^\n]*\n)?)+(\d{1,10})(?:\s+(?:#[^\n]*\n)?)+(\d{1,10})\s')


def size_in_header(data: bytes) -> Size | None:
    """Return width and height that an image file claims, pixels; None where it is of no kind in KINDS or is cut short.

    Args:
        data: The file, or its start.
    """
    try:
        return _png_or_jpeg_size(data) or _other_size(data)
    except struct.error:  # cut short
        return None


def _png_or_jpeg_size(data: bytes) -> Size | None:
    if data.startswith(b'\xff\xd8\xff'):
        return next(_jpeg_frames(data), None)
    if data.startswith(b'\x89PNG\r\n\x1a\n') and data[12:16] == b'IHDR':
        return _pair(struct.unpack_from('>II', data, 16))
    return None


def _other_size(data: bytes) -> Size | None:
    if data.startswith(b'BM'):
        width, height = struct.unpack_from('<ii', data, 18)
        return abs(width), abs(height)
    if data[:4] in {b'II*\0', b'MM\0*'}:
        return _tiff_size(data, '<' if data[:2] == b'II' else '>')
    if data[:4] == b'RIFF' and data[8:12] == b'WEBP':
        return _webp_size(data)
    match = _PNM.match(data[:4096])
    return (int(match[1]), int(match[2])) if match else None


def _jpeg_frames(data: bytes) -> Iterator[Size]:
    """Yield the size in each start-of-frame before the first scan."""
    place = 2
    while place < len(data):
        if data[place] != 0xFF:  # what lies between segments is skipped, as decoders do
            place = data.find(b'\xff', place)
            if place < 0:
                return
        while place < len(data) and data[place] == 0xFF:
            place += 1
        marker = data[place] if place < len(data) else _END_OF_IMAGE
        place += 1
        if marker in {_START_OF_SCAN, _END_OF_IMAGE}:
            return
        if marker in _BARE_MARKERS or marker == 0:
            continue
        if marker in _FRAME_MARKERS:
            height, width = struct.unpack_from('>HH', data, place + 3)
            yield width, height
        place += max(2, struct.unpack_from('>H', data, place)[0])


def _tiff_size(data: bytes, order: str) -> Size | None:
    """Return the size in the first directory: tags 256 and 257, as 16 or 32 bits (TIFF 6.0, section 2)."""
    (start,) = struct.unpack_from(f'{order}I', data, 4)
    (count,) = struct.unpack_from(f'{order}H', data, start)
    found: dict[int, int] = {}
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(f'{order}HH', data, entry)
        if tag in {256, 257} and kind in _TIFF_TYPES:
            (found[tag],) = struct.unpack_from(f'{order}{_TIFF_TYPES[kind]}', data, entry + 8)
    return (found[256], found[257]) if len(found) == 2 else None


def _webp_size(data: bytes) -> Size | None:
    """Return the size of a WebP file: extended, lossless, or lossy (RFC 9649)."""
    kind = data[12:16]
    if kind == b'VP8X':
        return 1 + int.from_bytes(data[24:27], 'little'), 1 + int.from_bytes(data[27:30], 'little')
    if kind == b'VP8L':
        (bits,) = struct.unpack_from('<I', data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b'VP8 ':
        width, height = struct.unpack_from('<HH', data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _pair(values: tuple[int, ...]) -> Size:
    return values[0], values[1]
