"""How the CPU threads of one network wait for each other."""

from __future__ import annotations

import os


def let_threads_sleep() -> None:
    """Have OpenMP's threads sleep instead of spin at the end of each layer; what the user has set stays.

    Spinning saves microseconds where every core is free. Where another process has one of them, which is always on a
    robot, the threads spin the time away that the last of them needs: a frame then takes several times as long. OpenMP
    reads its environment once, so this must be called before torch is imported.
    """
    if 'GOMP_SPINCOUNT' not in os.environ:
        os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
