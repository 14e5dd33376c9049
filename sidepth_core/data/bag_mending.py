"""Half-written recordings: a robot that lost power leaves storage files that a normal reader refuses.

An mcap file without its footer is read up to its last complete record, in place. An sqlite3 file with an unfinished
journal is completed in a temporary copy; one that is cut short is copied row by row up to the damage.
"""

from __future__ import annotations

import io
import shutil
import sqlite3
import struct
from contextlib import closing, suppress
from pathlib import Path

MAGIC = b'\x89MCAP0\r\n'
DATA_END, FOOTER = 0x0F, 0x02
LAST_OPCODE = 0x0F
# A footer of zeros says: no summary, so that a reader scans the records.
EMPTY_FOOTER = bytes([FOOTER]) + struct.pack('<QQQI', 20, 0, 0, 0) + MAGIC


class MendedMcap:
    """The complete records of an mcap file, closed by a footer: what rosbags takes for a path.

    Attributes:
        path: The damaged file.
        length: How many bytes of it hold complete records.
    """

    suffix = '.mcap'

    def __init__(self, path: Path, length: int) -> None:
        self.path = path
        self.length = length

    def exists(self) -> bool:
        """Return whether the file is there."""
        return self.path.exists()

    def is_dir(self) -> bool:
        """Return False: it is one file."""
        return False

    def open(self, mode: str = 'rb') -> io.BufferedReader:
        """Open the mended bytes for reading."""
        if mode != 'rb':
            raise ValueError(f'mode {mode!r}: a mended file can only be read')
        return io.BufferedReader(_Closed(self.path, self.length))

    def __str__(self) -> str:
        return str(self.path)


class _Closed(io.RawIOBase):
    """The first bytes of a file, followed by an empty mcap footer."""

    def __init__(self, path: Path, length: int) -> None:
        self._file = path.open('rb')
        self._length = length
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length + len(EMPTY_FOOTER)}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # typeshed's WriteableBuffer has no len
        if self._position < self._length:
            self._file.seek(self._position)
            data = self._file.read(min(len(buffer), self._length - self._position))
        else:
            start = self._position - self._length
            data = EMPTY_FOOTER[start : start + len(buffer)]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def mcap_record_ends(path: Path) -> list[int]:
    """Return where each complete record of an mcap file's data section ends; empty if the file is not mcap at all."""
    size = path.stat().st_size
    ends = []
    with path.open('rb') as file:
        if file.read(len(MAGIC)) != MAGIC:
            return []
        position = len(MAGIC)
        while position + 9 <= size:
            opcode, length = struct.unpack('<BQ', file.read(9))
            position += 9 + length
            if not 0 < opcode <= LAST_OPCODE or opcode in {DATA_END, FOOTER} or position > size:
                break
            ends.append(position)
            file.seek(position)
    return ends


def has_journal(path: Path) -> bool:
    """Return whether an sqlite3 file lies beside a journal that was never folded in: it was not closed properly."""
    beside = (path.with_name(f'{path.name}{suffix}') for suffix in ('-wal', '-journal'))
    return any(journal.is_file() and journal.stat().st_size > 0 for journal in beside)


def fold_journal(path: Path, folder: Path) -> Path:
    """Return a copy of an sqlite3 file in `folder` with its journal folded in; the original stays as it is.

    Raises:
        sqlite3.Error: If file and journal do not fit together.
    """
    copy = folder / path.name
    for suffix in ('', '-wal', '-journal'):
        source = path.with_name(f'{path.name}{suffix}')
        if source.is_file():
            shutil.copy2(source, folder / source.name)
            (folder / source.name).chmod(0o600)
    with closing(sqlite3.connect(copy)) as database:
        database.execute('PRAGMA wal_checkpoint(TRUNCATE)')
        database.execute('PRAGMA journal_mode=DELETE')
        database.execute('SELECT count(*) FROM topics').fetchone()
    return copy


def copy_readable_rows(path: Path, folder: Path) -> Path:
    """Return a new sqlite3 file in `folder` with every message of a damaged one up to the damage.

    Raises:
        sqlite3.Error: If not even the table of topics can be read.
    """
    copy = folder / path.name
    copy.unlink(missing_ok=True)
    with (
        closing(sqlite3.connect(f'{path.resolve().as_uri()}?mode=ro&immutable=1', uri=True)) as damaged,
        closing(sqlite3.connect(copy)) as whole,
    ):
        # SQLite refuses a file shorter than its header says, unless one is about to repair it.
        damaged.execute('PRAGMA writable_schema=ON')
        topics = damaged.execute('SELECT id, name, type, serialization_format FROM topics').fetchall()
        whole.execute('CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT)')
        whole.execute(
            'CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB)'
        )
        whole.executemany('INSERT INTO topics VALUES(?, ?, ?, ?)', topics)
        with suppress(sqlite3.DatabaseError):
            # Row by row: all that came before the damage is in the copy when the read fails.
            for row in damaged.execute('SELECT id, topic_id, timestamp, data FROM messages ORDER BY id'):
                whole.execute('INSERT INTO messages VALUES(?, ?, ?, ?)', row)
        whole.commit()
    return copy
