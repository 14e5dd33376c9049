"""How the CPU threads of one network, and those of one image operation, wait for each other."""

from __future__ import annotations

import os


def let_threads_sleep() -> None:
    """Have the threads of OpenMP and of OpenCV sleep instead of spin while they wait; what the user has set stays.

    Spinning saves microseconds where every core is free. Where another process has one of them, which is always on a
    robot, OpenMP's threads spin the time away that the last of them needs: a frame then takes several times as long.
    OpenCV's spin after each operation, for longer than most operations on one image take. Both read their environment
    once, so this must be called before torch and cv2 are imported.
    """
    if 'GOMP_SPINCOUNT' not in os.environ:
        os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
    for who in ('WORKER', 'MAIN'):
        os.environ.setdefault(f'OPENCV_THREAD_POOL_ACTIVE_WAIT_{who}', '0')
