"""What an mcap file is made of: records, chunks of records, and the topics that they describe.

Nothing that a file claims is believed before it is allocated: neither the length of a record nor what a chunk expands
to. Facts from the specification of the format, mcap.dev/spec.
"""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, BinaryIO, NamedTuple
from zlib import crc32

from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped] # it ships no types
from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinition, MessageDefinitionFormat, Qos
from rosbags.rosbag2.metadata import parse_qos

from sidepth_core.structured_text import read_yaml

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAGIC = b'\x89MCAP0\r\n'
FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, CHUNK_INDEX = 0x02, 0x03, 0x04, 0x05, 0x06, 0x08
STATISTICS, DATA_END = 0x0B, 0x0F
HEAD = struct.Struct('<BQ')
FORMATS = {'ros2msg': MessageDefinitionFormat.MSG, 'ros2idl': MessageDefinitionFormat.IDL}
"""Names that the format has for the languages of message definitions."""
LARGEST_CHUNK = 1 << 30
"""A longer chunk is a length that was overwritten; one that expands to more is a bomb."""
MALFORMED = (struct.error, ValueError)
"""What taking apart a record raises that is whole and still holds something else than it should."""


class Record(NamedTuple):
    """One record; `data` is shorter than it should be where the file ends in the middle."""

    opcode: int
    data: bytes
    is_whole: bool


class McapMessage(NamedTuple):
    """One message: its channel, when it was recorded (nanoseconds), and its bytes."""

    channel: int
    log_ns: int
    data: bytes


def records(file: BinaryIO) -> Iterator[Record]:
    """Yield the records from a file's place on, until it ends or holds what is no record."""
    while len(head := file.read(HEAD.size)) == HEAD.size:
        opcode, length = HEAD.unpack(head)
        if not 0 < opcode <= DATA_END or length > LARGEST_CHUNK:
            return
        data = file.read(length)
        yield Record(opcode, data, len(data) == length)


def inside(chunk: Record) -> list[Record] | None:
    """Return the whole records in a chunk, up to where it is cut; None for a whole one that is damaged."""
    try:
        size, crc = struct.unpack_from('<QI', chunk.data, 16)
        if chunk.is_whole and size > LARGEST_CHUNK:
            return None
        (compression,) = islice(texts(chunk.data, 28), 1)
        content = expanded(compression, chunk.data[28 + 4 + len(compression) + 8 :], min(size, LARGEST_CHUNK) + 1)
    except (*MALFORMED, zstd.ZstdError, RuntimeError):
        return None if chunk.is_whole else []
    if chunk.is_whole and (len(content) != size or (crc and crc32(content) != crc)):
        return None
    return [record for record in records(io.BytesIO(content)) if record.is_whole]


def expanded(compression: str, data: bytes, most: int) -> bytes:
    """Return as much of a chunk's content as its bytes hold, which may end in the middle, and `most` bytes at most."""
    if compression == 'zstd':
        return bytes(zstd.ZstdDecompressor().decompress(data, max_length=most))
    if compression == 'lz4':
        return bytes(LZ4FrameDecompressor().decompress(data, max_length=most))
    return data


def message_of(record: Record) -> McapMessage | None:
    """Return the message in a record; None for one of another kind, or too short for a message."""
    if record.opcode != MESSAGE or len(record.data) < 22:
        return None
    channel, _, log_ns = struct.unpack_from('<HIQ', record.data)
    return McapMessage(channel, log_ns, record.data[22:])


def messages_of(found: Iterable[Record], wanted: Mapping[int, Connection]) -> list[McapMessage]:
    """Return the messages of some channels, in the order of their times."""
    messages = (message for record in found if (message := message_of(record)))
    return sorted((each for each in messages if each.channel in wanted), key=lambda message: message.log_ns)


class Topics:
    """The channels that records describe; those that are malformed are passed over."""

    def __init__(self) -> None:
        self._schemas: dict[int, tuple[str, MessageDefinition]] = {}
        self._found: dict[int, Connection] = {}

    def take(self, record: Record) -> None:
        """Remember what a record says, if it describes a channel or its type."""
        try:
            if record.opcode == SCHEMA:
                name, encoding, text = islice(texts(record.data, 2), 3)
                definition = MessageDefinition(FORMATS.get(encoding, MessageDefinitionFormat.NONE), text)
                self._schemas[struct.unpack_from('<H', record.data)[0]] = (name, definition)
            elif record.opcode == CHANNEL:
                channel = self._channel(record.data)
                self._found[channel.id] = channel
        except MALFORMED:
            return

    def _channel(self, data: bytes) -> Connection:
        number, schema = struct.unpack_from('<HH', data)
        topic, serialization = islice(texts(data, 4), 2)
        name, definition = self._schemas.get(schema, ('', MessageDefinition(MessageDefinitionFormat.NONE, '')))
        strings = 4 + 4 + len(topic.encode()) + 4 + len(serialization.encode())
        pairs = list(texts(data, strings + 4))
        offered = dict(zip(pairs[::2], pairs[1::2], strict=False)).get('offered_qos_profiles', '')
        extra = ConnectionExtRosbag2(serialization, qos_of(offered))
        return Connection(number, topic, name, definition, '', 0, extra, None)

    def with_counts(self, counts: Mapping[int, int]) -> list[Connection]:
        """Return the channels, each with how many messages it has."""
        return [channel._replace(msgcount=counts.get(number, 0)) for number, channel in self._found.items()]


def qos_of(offered: Any) -> list[Qos]:  # noqa: ANN401 - YAML that somebody wrote
    """Return the QoS that a recorder stored, as YAML or parsed already; nothing where it is none."""
    try:
        found: list[Qos] = parse_qos(read_yaml(offered) if isinstance(offered, str) else offered)
    except (ValueError, KeyError, TypeError, AttributeError):
        return []
    return found


def texts(data: bytes, place: int) -> Iterator[str]:
    """Yield the strings, each behind its length, that follow one another from a place on.

    Raises:
        struct.error: If the bytes end within a length.
        ValueError: If they end within a string, or it is not UTF-8.
    """
    while place < len(data):
        (length,) = struct.unpack_from('<I', data, place)
        place += 4
        if length > len(data) - place:
            raise ValueError(f'a string of {length} bytes where {len(data) - place} are left')
        yield data[place : place + length].decode()
        place += length
