"""An mcap file read record by record, without its index: cut off, never closed, or written without one.

It needs nothing but whole records, takes two topics side by side, minds no recorder whose clock steps back, and takes
the records of a last chunk that is cut in the middle.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from rosbags.interfaces import Connection

from sidepth_core.data.bags.mcap_records import (
    CHUNK,
    DATA_END,
    FOOTER,
    MAGIC,
    Record,
    Topics,
    inside,
    message_of,
    messages_of,
    records,
)


class ScannedMcap:
    """An mcap file without an index; its attributes are those that a reader of rosbags has.

    Attributes:
        path: The file.
        connections: Its channels.
        start_time: When its first message was recorded, nanoseconds.
        is_closed: Whether its recorder closed it.
        lost_chunks: How many chunks are damaged: their messages are lost.
    """

    def __init__(self, path: Path) -> None:
        """Read through the file once.

        Raises:
            OSError: If it cannot be read.
        """
        self.path = path
        self.start_time = sys.maxsize
        self.is_closed = False
        self.lost_chunks = 0
        topics = Topics()
        counts: Counter[int] = Counter()
        for record in (record for group in self._groups() for record in group):
            topics.take(record)
            if message := message_of(record):
                counts[message.channel] += 1
                self.start_time = min(self.start_time, message.log_ns)
        self.connections = topics.with_counts(counts)

    def messages(self, connections: Collection[Connection]) -> Iterator[tuple[Connection, int, bytes]]:
        """Yield channel, time of recording (nanoseconds) and bytes of each message, chunk by chunk."""
        wanted = {connection.id: connection for connection in connections}
        for group in self._groups():
            for channel, log_ns, data in messages_of(group, wanted):
                yield wanted[channel], log_ns, data

    def _groups(self) -> Iterator[list[Record]]:
        """Yield the whole records of each chunk, and every record outside of chunks by itself."""
        self.lost_chunks = 0
        with self.path.open('rb') as file:
            if file.read(len(MAGIC)) != MAGIC:
                return
            for record in records(file):
                if record.opcode in {DATA_END, FOOTER}:
                    self.is_closed = True
                    return
                if record.opcode == CHUNK:
                    found = inside(record)
                    self.lost_chunks += found is None
                    yield found or []
                elif record.is_whole:
                    yield [record]
