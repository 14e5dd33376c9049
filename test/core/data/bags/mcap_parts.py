"""The parts of mcap files, put together by hand."""

from __future__ import annotations

import struct
from collections import Counter
from zlib import crc32

import lz4.frame
import numpy as np

from sidepth_core.data.bags.mcap_records import MAGIC, zstd

CDR = b'\0\1\0\0'


def record(opcode: int, data: bytes) -> bytes:
    return struct.pack('<BQ', opcode, len(data)) + data


def text(value: str) -> bytes:
    return struct.pack('<I', len(value)) + value.encode()


def message(channel: int, log_ns: int, size: int = 8) -> bytes:
    noise = np.random.default_rng(log_ns).bytes(size)
    return record(5, struct.pack('<HIQQ', channel, 0, log_ns, log_ns) + CDR + noise)


def packed(content: bytes, compression: str) -> bytes:
    if compression == 'lz4':
        return bytes(lz4.frame.compress(content, block_size=lz4.frame.BLOCKSIZE_MAX64KB))
    return bytes(zstd.compress(content)) if compression == 'zstd' else content


def chunk(content: bytes, compression: str = '', *, crc: int = 0, claimed: int | None = None) -> bytes:
    """Return a chunk; `claimed` is the size that it says its content has."""
    data = packed(content, compression)
    head = struct.pack('<QQQI', 0, 0, len(content) if claimed is None else claimed, crc)
    return record(6, head + text(compression) + struct.pack('<Q', len(data)) + data)


HEADER = MAGIC + record(1, text('ros2') + text('test'))
SCHEMA = record(3, struct.pack('<H', 1) + text('std_msgs/msg/String') + text('ros2msg') + text('string data'))
CHANNELS = SCHEMA + b''.join(
    record(4, struct.pack('<HH', number, 1) + text(topic) + text('cdr') + text(''))
    for number, topic in ((1, '/a'), (2, '/b'))
)
CLOSE = record(15, bytes(4)) + record(2, bytes(20)) + MAGIC


def indexed(*chunks: tuple[int, dict[int, int], bytes], crc: int | None = None) -> bytes:
    """Return a file of chunks with an index of them.

    Args:
        chunks: Of each, the time of its first message, how many messages of each channel the index says that it has,
            and its record.
        crc: Check sum of the summary; None is the true one.
    """
    content = HEADER + CHANNELS
    entries, counts = b'', Counter[int]()
    for start_ns, channels, data in chunks:
        table = b''.join(struct.pack('<HQ', number, 0) for number in channels)
        place = struct.pack('<QQQQI', start_ns, start_ns, len(content), len(data), len(table))
        entries += record(8, place + table + bytes(8) + text('') + bytes(16))
        counts.update(channels)
        content += data
    content += record(15, bytes(4))
    table = b''.join(struct.pack('<HQ', *item) for item in counts.items())
    starts = min(start for start, _, _ in chunks)
    head = struct.pack('<QHIIIIQQI', counts.total(), 1, 2, 0, 0, len(chunks), starts, starts, len(table))
    summary = CHANNELS + entries + record(11, head + table)
    footer = struct.pack('<BQQQ', 2, 20, len(content), 0)
    return content + summary + footer + struct.pack('<I', crc32(summary + footer) if crc is None else crc) + MAGIC
