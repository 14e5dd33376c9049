"""Half-written sqlite3 recordings: a robot that lost power leaves files that a normal reader refuses.

A file with an unfinished journal is completed in a temporary copy; one that is cut short is copied row by row up to the
damage. For mcap see mcap_scan.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path


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
