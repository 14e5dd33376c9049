"""Starts the depth node again and again, and stops it at random instants.

`python node_stopper.py COUNT SEED LONGEST_S --ros-args ...` prints a line of JSON for each: the signal, when it came,
the exit status, and how long the end took. What takes seconds to import is imported once, and each node is a fork, so
that the instants fall into what the node does: making itself, loading, warming up, working.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time

from sidepth_ros.node import main as node_main

PATIENCE_S = 120.0


def wait(child: int) -> tuple[int, float]:
    """Return a child's exit status, and how long that took, seconds; -SIGKILL of one that had to be killed."""
    start = time.monotonic()
    while time.monotonic() - start < PATIENCE_S:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status), time.monotonic() - start
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), time.monotonic() - start


def main(count: int, seed: int, longest_s: float, arguments: list[str]) -> None:
    """Start and stop."""
    import sidepth_ros.node.depth_node  # noqa: F401, PLC0415 - once, before the forks

    chance = random.Random(seed)  # noqa: S311 - not for secrets
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, node_main._on_signal)  # from its first moment on, a fork is a node
    for turn in range(count):
        number = chance.choice([signal.SIGINT, signal.SIGTERM])
        after_s = chance.uniform(0, longest_s)
        child = os.fork()
        if not child:
            node_main.main(['depth_node', *arguments])
        time.sleep(after_s)
        os.kill(child, number)
        status, seconds = wait(child)
        row = {'turn': turn, 'signal': number.name, 'after_s': after_s, 'status': status, 'seconds': seconds}
        print(json.dumps(row), flush=True)


if __name__ == '__main__':
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])
