"""ROS domains for those who must not meet: each is held by a lock, for a process number says nothing of others."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sidepth_core.errors import SidepthError

DOMAINS = range(1, 100)
"""ROS_DOMAIN_IDs whose ports are free on every system."""


@contextmanager
def free_domain() -> Iterator[int]:
    """Hold a ROS domain that no other process of this user holds.

    Raises:
        SidepthError: If all are taken.
    """
    first = os.getpid() % len(DOMAINS)  # where to look first: what has just ended may still be on the graph
    for domain in (*DOMAINS[first:], *DOMAINS[:first]):
        path = Path(tempfile.gettempdir(), f'sidepth_{os.getuid()}_domain_{domain}.lock')
        try:
            lock = FileLock(path, timeout=0).acquire()
        except Timeout:
            continue
        with lock:
            yield domain
        return
    raise SidepthError('every ROS domain from 1 to 99 is held by another run: end some, or set ROS_DOMAIN_ID')
