"""The storage files of a rosbag2 recording, whole or damaged, as one stream of serialized messages.

`rosbags` reads sqlite3 files; mcap_index and mcap_scan read mcap files, within limits. The reader of whole directories
that `rosbags` has is not used: it drops in silence each topic whose QoS text differs between metadata.yaml and the
file. What metadata.yaml claims is compared with what is there.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from rosbags.interfaces import MessageDefinitionFormat
from rosbags.rosbag2 import Reader, ReaderError

from sidepth_core.data.bags.mcap_index import IndexedMcap, open_indexed
from sidepth_core.data.bags.mcap_records import qos_of
from sidepth_core.data.bags.mcap_scan import ScannedMcap
from sidepth_core.data.bags.repair import copy_readable_rows, fold_journal, has_journal
from sidepth_core.errors import BagError
from sidepth_core.structured_text import read_yaml

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from typing_extensions import Self

STORAGE_SUFFIXES = ('.mcap', '.db3')
ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'
LARGEST_MESSAGE = 1 << 28
"""A compressed message that expands to more bytes is damaged, or a bomb."""
ROOM_LEFT = 1 << 30
"""Bytes, or a twentieth of a small disk, that are left free where a compressed file is expanded to."""


class Topic(NamedTuple):
    """One topic of a recording.

    Attributes:
        name: Its name.
        type: Message type, always spelled with `/msg/`.
        messages: How many the storage files hold.
    """

    name: str
    type: str
    messages: int


class Message(NamedTuple):
    """One serialized message.

    Attributes:
        topic: Name of its topic.
        type: Message type, spelled with `/msg/`.
        log_ns: When the recorder wrote it, nanoseconds.
        data: CDR bytes.
    """

    topic: str
    type: str
    log_ns: int
    data: bytes


def is_bag(path: Path) -> bool:
    """Return whether a path looks like a rosbag2 recording: its directory, or one of its storage files."""
    if path.is_dir():
        return (path / 'metadata.yaml').is_file() or bool(_storage_files(path))
    return _is_storage(path)


class BagFiles:
    """A recording, opened as a context manager; temporary copies are removed on leaving.

    Attributes:
        path: Directory or storage file.
        topics: The topics by name.
        claimed: How many messages metadata.yaml claims for each topic; empty where there is none.
        notes: What was found to be wrong, a sentence each.
        whole: Whether nothing of it was found to be cut off, damaged or missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.topics: dict[str, Topic] = {}
        self.claimed: dict[str, int] = {}
        self.notes: list[str] = []
        self.whole = True
        self._readers: list[Reader | IndexedMcap | ScannedMcap] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Open every storage file.

        Raises:
            BagError: If no file can be read, or its messages are not serialized as CDR.
        """
        with ExitStack() as stack:
            metadata = self._metadata()
            self._readers = [
                reader for file in self._files(metadata) if (reader := self._opened(file, stack)) is not None
            ]
            if not self._readers:
                raise BagError(f'bag {str(self.path)!r} cannot be read: {"; ".join(self.notes)}')
            self._readers.sort(key=lambda reader: reader.start_time)
            self._collect_topics()
            self._compare(metadata)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files."""
        self._stack.close()

    def messages(self, topics: Iterable[str]) -> Iterator[Message]:
        """Yield the messages of some topics as the recorder wrote them.

        Damage costs a chunk of an mcap file, or ends a file early: that is noted, and the next one goes on.
        """
        wanted = set(topics)
        for reader in self._readers:
            connections = [connection for connection in reader.connections if connection.topic in wanted]
            if not connections:
                continue
            messages = reader.messages(connections)
            count = 0
            while True:
                try:
                    connection, log_ns, data = next(messages)
                except StopIteration:
                    if isinstance(reader, IndexedMcap):
                        self._note_missing(reader, sum(each.msgcount for each in connections) - count)
                    break
                except Exception as error:  # noqa: BLE001 - each storage of rosbags has errors of its own for damage
                    self._lost(f'{reader.path} is damaged, the rest of it is lost: {error}')
                    break
                count += 1
                yield Message(connection.topic, _spelled(connection.msgtype), log_ns, _expanded(data))

    def _lost(self, note: str) -> None:
        """Note a fault that cost messages, once."""
        self.whole = False
        if note not in self.notes:
            self.notes.append(note)

    def _note_missing(self, reader: IndexedMcap, count: int) -> None:
        """Say what an index promises and its chunks do not hold."""
        if reader.lost_chunks:
            self._lost(f'{reader.path.name}: {reader.lost_chunks} chunks are damaged, their messages are lost')
        elif count > 0:
            self._lost(f'{reader.path.name}: {count} messages that its index promises are not there')

    def definition(self, topic: str) -> str:
        """Return the definition of a topic's messages as .msg text; '' where the recorder stored none."""
        connections = (connection for reader in self._readers for connection in reader.connections)
        found = (connection.msgdef for connection in connections if connection.topic == topic)
        return next((each.data for each in found if each.format == MessageDefinitionFormat.MSG), '')

    def _metadata(self) -> dict[str, Any]:
        """Return what metadata.yaml says; nothing where it is absent or damaged."""
        path = self.path / 'metadata.yaml'
        if not path.is_file():
            if self.path.is_dir():
                self.notes.append('there is no metadata.yaml: the recording may have been cut off')
            return {}
        try:
            return dict(read_yaml(path.read_text(encoding='utf-8'))['rosbag2_bagfile_information'])
        except (KeyError, TypeError, ValueError) as error:
            self.notes.append(f'metadata.yaml cannot be read and is ignored: {error!r}')
            return {}

    def _files(self, metadata: dict[str, Any]) -> list[Path]:
        """Return the storage files that are there."""
        if not self.path.exists():
            raise BagError(f'bag {str(self.path)!r} does not exist')
        if not self.path.is_dir():
            return [self.path]
        found = _storage_files(self.path)
        listed = [self.path / Path(str(name)).name for name in _listed(metadata, 'relative_file_paths')]
        # A compressed bag that somebody decompressed still lists its .zstd names.
        missing = [file.name for file in listed if not file.is_file() and file.with_suffix('') not in found]
        if missing:
            self._lost(f'files that metadata.yaml lists are missing: {", ".join(missing)}')
        unlisted = [file.name for file in found if listed and file not in listed]
        if unlisted:
            self.notes.append(f'files that metadata.yaml does not list are read too: {", ".join(unlisted)}')
        if not found:
            raise BagError(
                f'bag {str(self.path)!r} holds no storage file: expected {" or ".join(STORAGE_SUFFIXES)}. '
                + '; '.join(self.notes)
            )
        return found

    def _opened(self, file: Path, stack: ExitStack) -> Reader | IndexedMcap | ScannedMcap | None:
        """Return a reader of one file, mended where needed, or None and a note."""
        if file.suffix == '.zstd':
            file = _decompressed(file, Path(stack.enter_context(TemporaryDirectory(prefix='sidepth-'))))
        if file.suffix == '.mcap':
            return open_indexed(file) or self._scanned(file)
        file.open('rb').close()  # SQLite would not say why it cannot
        try:
            if has_journal(file):
                file = fold_journal(file, Path(stack.enter_context(TemporaryDirectory(prefix='sidepth-'))))
                self.notes.append(f'{file.name} was not closed properly: its journal is folded in')
            return stack.enter_context(Reader(file))
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - each storage of rosbags has errors of its own for damage
            mended = _mended(file, stack)
            if mended is None:
                self._lost(f'{file.name} cannot be read: {error}')
            else:
                self._lost(f'{file.name} was cut off ({error}): it is read up to the damage')
            return mended

    def _scanned(self, file: Path) -> ScannedMcap | None:
        """Return a reader of an mcap file without an index, and say what is wrong with the file."""
        scan = ScannedMcap(file)
        if not scan.connections and not scan.is_closed:
            self._lost(f'{file.name} cannot be read: it is cut off before its first message, or no mcap file')
            return None
        if not scan.is_closed:
            self._lost(f'{file.name} was cut off: it is read up to the damage')
        if scan.lost_chunks:
            self._lost(f'{file.name}: {scan.lost_chunks} chunks are damaged, their messages are lost')
        return scan

    def _collect_topics(self) -> None:
        """Add up the topics of all files; topics that are not CDR are noted and left out."""
        counts: Counter[tuple[str, str]] = Counter()
        foreign: set[str] = set()
        for connection in (connection for reader in self._readers for connection in reader.connections):
            if connection.ext.serialization_format == 'cdr':
                counts[connection.topic, _spelled(connection.msgtype)] += connection.msgcount
            else:
                foreign.add(f'{connection.topic} ({connection.ext.serialization_format!r})')
        self.topics = {name: Topic(name, kind, count) for (name, kind), count in sorted(counts.items())}
        if foreign:
            note = f'topics whose messages are not serialized as cdr cannot be read: {", ".join(sorted(foreign))}'
            if not counts:
                raise BagError(f'bag {str(self.path)!r}: {note}. Convert it with `ros2 bag convert`')
            self.notes.append(note)

    def _compare(self, metadata: dict[str, Any]) -> None:
        """Hold metadata.yaml's claims against the files, and say where rosbags would have dropped a topic."""
        stored = {c.topic: c.ext.offered_qos_profiles for reader in self._readers for c in reader.connections}
        differing = []
        for entry in _listed(metadata, 'topics_with_message_count'):
            try:
                name, claimed = str(entry['topic_metadata']['name']), int(entry['message_count'])
            except (KeyError, TypeError, ValueError, OverflowError):
                continue
            self.claimed[name] = claimed
            there = self.topics[name].messages if name in self.topics else 0
            if there != claimed:
                self.notes.append(f'metadata.yaml claims {claimed} messages of {name}, the files hold {there}')
            if name in stored and stored[name] != qos_of(entry['topic_metadata'].get('offered_qos_profiles')):
                differing.append(name)
        if differing:
            self.notes.append(
                'QoS differs between metadata.yaml and the files, which are read themselves so that no message is '
                f'lost: {", ".join(sorted(differing))}'
            )


def _listed(metadata: dict[str, Any], name: str) -> list[Any]:
    """Return a list of metadata.yaml; nothing where it holds something else by that name."""
    found = metadata.get(name)
    return found if isinstance(found, list) else []


def _expanded(data: bytes, limit: int = LARGEST_MESSAGE) -> bytes:
    """Return a message without its compression; nothing of one that is damaged, which no reader takes for whole."""
    if data[:4] != ZSTD_MAGIC:
        return data
    frame = zstd.ZstdDecompressor()
    try:
        content = frame.decompress(data, max_length=limit)
    except zstd.ZstdError:
        return b''
    return bytes(content) if frame.eof else b''


def _mended(file: Path, stack: ExitStack) -> Reader | None:
    """Return a reader of what can be saved of a damaged sqlite3 file."""
    try:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix='sidepth-')))
        return stack.enter_context(Reader(copy_readable_rows(file, folder)))
    except (ReaderError, sqlite3.Error):
        return None


def _storage_files(folder: Path) -> list[Path]:
    """Return the storage files of a folder, _2 before _10; of a file that is also there decompressed, only that."""
    files = [path for path in folder.iterdir() if path.is_file() and _is_storage(path)]
    names = {path.name for path in files}
    kept = [path for path in files if path.suffix != '.zstd' or path.stem not in names]
    return sorted(kept, key=lambda path: [int(part) if part.isdigit() else 0 for part in re.split(r'(\d+)', path.name)])


def _is_storage(path: Path) -> bool:
    return path.name.removesuffix('.zstd').endswith(STORAGE_SUFFIXES)


def _decompressed(file: Path, folder: Path) -> Path:
    """Return a decompressed copy of a file in `folder`.

    Raises:
        BagError: If it does not fit there.
    """
    copy = folder / file.stem
    try:
        with zstd.open(file, 'rb') as source, copy.open('wb') as target:
            while block := source.read(1 << 20):
                disk = shutil.disk_usage(folder)
                if disk.free < min(ROOM_LEFT, disk.total // 20):
                    raise BagError(
                        f'bag {str(file)!r} is compressed, and {str(folder.parent)!r} has no room for what it holds: '
                        'make room, or set TMPDIR to a folder on a larger disk'
                    )
                target.write(block)
    except (zstd.ZstdError, EOFError):
        # Cut off in the middle: what came out so far is mended like any half-written file.
        return copy
    return copy


def _spelled(msgtype: str) -> str:
    """Return a message type as ROS 2 spells it now: old recorders wrote `sensor_msgs/Image`."""
    package, _, name = msgtype.rpartition('/')
    return msgtype if '/' in package else f'{package}/msg/{name}'
