"""An mcap file read record by record, without its index: cut off, never closed, or written without one.

rosbags finds messages by the index at a file's end. Where there is none, it cannot read two topics side by side, and
it stops where the recorder's clock steps back; this reader needs nothing but whole records, and takes those of a last
chunk that is cut in the middle. Facts from the specification of the format, mcap.dev/spec.
"""

from __future__ import annotations

import io
import struct
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple
from zlib import crc32

from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped] # it ships no types
from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAGIC = b'\x89MCAP0\r\n'
FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, CHUNK_INDEX, DATA_END = 0x02, 0x03, 0x04, 0x05, 0x06, 0x08, 0x0F
HEAD = struct.Struct('<BQ')
FOOTER_BYTES = HEAD.size + 20 + len(MAGIC)
FORMATS = {'ros2msg': MessageDefinitionFormat.MSG, 'ros2idl': MessageDefinitionFormat.IDL}
"""Names that the format has for the languages of message definitions."""
LARGEST_CHUNK = 1 << 30
"""A longer chunk is a length that was overwritten; one that expands to more is a bomb."""


class Extra(NamedTuple):
    """What rosbags keeps under `ext`: how messages are serialized."""

    serialization_format: str


class Channel(NamedTuple):
    """One channel, with the names that rosbags gives to a connection.

    Attributes:
        topic: Topic.
        msgtype: Message type as the file spells it.
        msgcount: How many messages there are.
        msgdef: The definition of its messages that the recorder stored.
        ext: Its serialization.
        id: Its number in the file.
    """

    topic: str
    msgtype: str
    msgcount: int
    msgdef: MessageDefinition
    ext: Extra
    id: int


class Schema(NamedTuple):
    """A message type, and its definition as the recorder stored it."""

    name: str = ''
    definition: MessageDefinition = MessageDefinition(MessageDefinitionFormat.NONE, '')


class _Record(NamedTuple):
    """One record; `data` is shorter than it should be where the file ends in the middle."""

    opcode: int
    data: bytes
    is_whole: bool


def has_index(path: Path) -> bool:
    """Return whether an mcap file was closed and says where its chunks are."""
    with path.open('rb') as file:
        if file.read(len(MAGIC)) != MAGIC or path.stat().st_size < FOOTER_BYTES + len(MAGIC):
            return False
        file.seek(-FOOTER_BYTES, io.SEEK_END)
        footer = file.read()
        opcode, length, start = struct.unpack_from('<BQQ', footer)
        if not footer.endswith(MAGIC) or (opcode, length) != (FOOTER, 20) or not start:
            return False
        file.seek(start)
        return any(record.opcode == CHUNK_INDEX for record in _records(file))


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
        schemas: dict[int, Schema] = {}
        channels: dict[int, Channel] = {}
        counts: Counter[int] = Counter()
        for record in (record for group in self._groups() for record in group):
            if record.opcode == SCHEMA:
                name, encoding, text = _texts(record.data[2:], 3)
                definition = MessageDefinition(FORMATS.get(encoding, MessageDefinitionFormat.NONE), text)
                schemas[struct.unpack_from('<H', record.data)[0]] = Schema(name, definition)
            elif record.opcode == CHANNEL:
                number, schema_number = struct.unpack_from('<HH', record.data)
                topic, serialization = _texts(record.data[4:], 2)
                schema = schemas.get(schema_number, Schema())
                channels[number] = Channel(topic, schema.name, 0, schema.definition, Extra(serialization), number)
            elif record.opcode == MESSAGE:
                number, _, log_ns = struct.unpack_from('<HIQ', record.data)
                counts[number] += 1
                self.start_time = min(self.start_time, log_ns)
        self.connections = [channel._replace(msgcount=counts[number]) for number, channel in channels.items()]

    def messages(self, connections: Collection[Channel]) -> Iterator[tuple[Channel, int, bytes]]:
        """Yield channel, time of recording (nanoseconds) and bytes of each message, chunk by chunk."""
        wanted = {channel.id: channel for channel in connections}
        for group in self._groups():
            found = [
                (struct.unpack_from('<Q', data, 6)[0], channel, data[22:])
                for opcode, data, _ in group
                if opcode == MESSAGE and (channel := wanted.get(struct.unpack_from('<H', data)[0]))
            ]
            for log_ns, channel, data in sorted(found, key=lambda message: message[0]):
                yield channel, log_ns, data

    def _groups(self) -> Iterator[list[_Record]]:
        """Yield the whole records of each chunk, and every record outside of chunks by itself."""
        self.lost_chunks = 0
        with self.path.open('rb') as file:
            if file.read(len(MAGIC)) != MAGIC:
                return
            for record in _records(file):
                if record.opcode in {DATA_END, FOOTER}:
                    self.is_closed = True
                    return
                if record.opcode == CHUNK:
                    inner = _inside(record)
                    self.lost_chunks += inner is None
                    yield inner or []
                elif record.is_whole:
                    yield [record]


def _records(file: BinaryIO) -> Iterator[_Record]:
    """Yield the records from a file's place on, until it ends or holds what is no record."""
    while len(head := file.read(HEAD.size)) == HEAD.size:
        opcode, length = HEAD.unpack(head)
        if not 0 < opcode <= DATA_END or length > LARGEST_CHUNK:
            return
        data = file.read(length)
        yield _Record(opcode, data, len(data) == length)


def _inside(chunk: _Record) -> list[_Record] | None:
    """Return the whole records in a chunk, up to where it is cut; None for a whole one that is damaged."""
    try:
        size, crc = struct.unpack_from('<QI', chunk.data, 16)
        if chunk.is_whole and size > LARGEST_CHUNK:
            return None
        compression = _texts(chunk.data[28:], 1)[0]
        content = _expanded(compression, chunk.data[28 + 4 + len(compression) + 8 :], min(size, LARGEST_CHUNK) + 1)
    except (struct.error, UnicodeDecodeError, zstd.ZstdError, RuntimeError):
        return None if chunk.is_whole else []
    if chunk.is_whole and (len(content) != size or (crc and crc32(content) != crc)):
        return None
    return [record for record in _records(io.BytesIO(content)) if record.is_whole]


def _expanded(compression: str, data: bytes, most: int) -> bytes:
    """Return as much of a chunk's content as its bytes hold, which may end in the middle, and `most` bytes at most."""
    if compression == 'zstd':
        return bytes(zstd.ZstdDecompressor().decompress(data, max_length=most))
    if compression == 'lz4':
        return bytes(LZ4FrameDecompressor().decompress(data, max_length=most))
    return data


def _texts(data: bytes, count: int) -> list[str]:
    """Return the strings, each behind its length, at the start of some bytes."""
    found, place = [], 0
    for _ in range(count):
        (length,) = struct.unpack_from('<I', data, place)
        found.append(data[place + 4 : place + 4 + length].decode())
        place += 4 + length
    return found
