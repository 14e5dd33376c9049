"""An mcap file by the index at its end: the chunks that hold a topic, one after another, each within a limit.

rosbags reads such files too, but expands a chunk to whatever its bytes stand for, and holds as many at once as claim
the same time.
"""

from __future__ import annotations

import io
import struct
import sys
from bisect import bisect_left
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple
from zlib import crc32

from rosbags.interfaces import Connection

from sidepth_core.data.bags.mcap_records import (
    CHUNK,
    CHUNK_INDEX,
    FOOTER,
    HEAD,
    LARGEST_CHUNK,
    MAGIC,
    MALFORMED,
    STATISTICS,
    McapMessage,
    Record,
    Topics,
    inside,
    messages_of,
    records,
)

FOOTER_BYTES = HEAD.size + 20 + len(MAGIC)
MOST_WAITING = 1 << 28
"""Bytes of messages that wait for earlier ones where chunks overlap; beyond that they come chunk by chunk."""


class ChunkPlace(NamedTuple):
    """What the index says of a chunk.

    Attributes:
        start_ns: Time of its first message.
        offset: Where it lies in the file.
        channels: The channels that it has messages of; empty where the index does not say.
    """

    start_ns: int
    offset: int
    channels: frozenset[int]


class IndexedMcap:
    """An mcap file with an index; its attributes are those that a reader of rosbags has.

    Attributes:
        path: The file.
        connections: Its channels, with as many messages as the index says.
        start_time: When its first message was recorded, nanoseconds.
        lost_chunks: How many chunks turned out to be damaged: their messages are lost.
    """

    def __init__(self, path: Path, summary: list[Record]) -> None:
        """Take the index from the records that `read_summary` returns.

        Raises:
            struct.error: If one of them is too short.
            ValueError: If they do not say how many messages each channel has.
        """
        self.path = path
        self._size = path.stat().st_size
        topics = Topics()
        counts: dict[int, int] = {}
        places: dict[int, ChunkPlace] = {}
        for record in summary:
            topics.take(record)
            if record.opcode == CHUNK_INDEX:
                place = _chunk_place(record.data)
                places[place.offset] = place
            elif record.opcode == STATISTICS:
                self.start_time, counts = _statistics(record.data)
        self.connections = topics.with_counts(counts)
        self._chunks = sorted(places.values())
        self._lost: set[int] = set()

    @property
    def lost_chunks(self) -> int:
        """How many chunks turned out to be damaged so far."""
        return len(self._lost)

    def messages(self, connections: Collection[Connection]) -> Iterator[tuple[Connection, int, bytes]]:
        """Yield channel, time of recording (nanoseconds) and bytes of each message, in the order of their times."""
        wanted = {connection.id: connection for connection in connections}
        for channel, log_ns, data in self._in_order(wanted):
            yield wanted[channel], log_ns, data

    def _in_order(self, wanted: dict[int, Connection]) -> Iterator[McapMessage]:
        """Yield messages as soon as no later chunk can hold an earlier one."""
        waiting: list[McapMessage] = []
        with self.path.open('rb') as file:
            for chunk in self._chunks:
                if chunk.channels and chunk.channels.isdisjoint(wanted):
                    continue
                due = bisect_left(waiting, chunk.start_ns, key=lambda message: message.log_ns)
                if sum(len(message.data) for message in waiting[due:]) > MOST_WAITING:
                    due = len(waiting)
                yield from waiting[:due]
                waiting = [*waiting[due:], *messages_of(self._records(file, chunk), wanted)]
                waiting.sort(key=lambda message: message.log_ns)
        yield from waiting

    def _records(self, file: BinaryIO, chunk: ChunkPlace) -> list[Record]:
        """Return the records of a chunk; nothing of one that is damaged or not there."""
        found = None
        if chunk.offset < self._size:
            file.seek(chunk.offset)
            record = next(records(file), None)
            found = inside(record) if record and record.opcode == CHUNK and record.is_whole else None
        if found is None:
            self._lost.add(chunk.offset)
        return found or []


def read_summary(path: Path) -> list[Record] | None:
    """Return the records at the end of an mcap file that say where everything is.

    None where the file was not closed, has no such records, or they are damaged, as far as their check sum tells.
    """
    with path.open('rb') as file:
        size = path.stat().st_size
        if file.read(len(MAGIC)) != MAGIC or size < FOOTER_BYTES + len(MAGIC):
            return None
        file.seek(size - FOOTER_BYTES)
        footer = file.read()
        opcode, length, start, _, crc = struct.unpack_from('<BQQQI', footer)
        if not footer.endswith(MAGIC) or (opcode, length) != (FOOTER, 20):
            return None
        if not size - LARGEST_CHUNK < start < size - FOOTER_BYTES:
            return None
        file.seek(start)
        summary = file.read(size - FOOTER_BYTES - start)
        if crc and crc32(summary + footer[: HEAD.size + 16]) != crc:
            return None
    found = [record for record in records(io.BytesIO(summary)) if record.is_whole]
    return found if {CHUNK_INDEX, STATISTICS} <= {record.opcode for record in found} else None


def open_indexed(path: Path) -> IndexedMcap | None:
    """Return a reader of an mcap file by its index; None where it has none that can be used.

    Raises:
        OSError: If the file cannot be read.
    """
    summary = read_summary(path)
    if summary is None:
        return None
    try:
        return IndexedMcap(path, summary)
    except MALFORMED:
        return None


def _chunk_place(data: bytes) -> ChunkPlace:
    """Return what a chunk index says."""
    start_ns, _, offset, _, length = struct.unpack_from('<QQQQI', data)
    if length > len(data) - 36:
        raise struct.error('the table of channels is longer than its record')
    channels = frozenset(channel for channel, _ in struct.iter_unpack('<HQ', data[36 : 36 + length]))
    return ChunkPlace(start_ns, offset, channels)


def _statistics(data: bytes) -> tuple[int, dict[int, int]]:
    """Return the time of a file's first message, and how many each channel has."""
    (total,) = struct.unpack_from('<Q', data)
    start_ns, _, length = struct.unpack_from('<QQI', data, 26)
    counts = dict(struct.iter_unpack('<HQ', data[46 : 46 + length]))
    if sum(counts.values()) != total:
        raise ValueError(f'{total} messages, of which the channels have {sum(counts.values())}')
    return (start_ns if total else sys.maxsize), counts
