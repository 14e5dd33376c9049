"""How many cases a test tries: few in `make test`, many in `make soak`, which sets SIDEPTH_SOAK."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

T = TypeVar('T')


def few_or_many(few: T, many: T) -> T:
    """Return what this run tries."""
    return many if os.environ.get('SIDEPTH_SOAK') else few


def resident_mib(pid: int) -> float:
    """Return the memory that a process keeps, MiB."""
    return int(Path(f'/proc/{pid}/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2**20
