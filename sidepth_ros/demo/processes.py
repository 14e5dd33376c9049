"""Child processes: started together, ended together, their output kept in files.

Plain subprocess, since launch and its actions are no wheels on PyPI, and the demo runs without a ROS install.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from sidepth_core.errors import SidepthError

END_SECONDS = 5.0
"""How long a process may take to end when asked to."""
LINES_SHOWN = 12


class Process:
    """A Python module, run as a process.

    Args:
        name: What it is called, here and in error messages.
        command: The module and its arguments.
        folder: Where its output goes, to a file NAME.log.
    """

    def __init__(self, name: str, command: Sequence[str], folder: Path) -> None:
        self.name = name
        self.log = folder / f'{name}.log'
        with self.log.open('w', encoding='utf-8') as output:
            self._process = subprocess.Popen(  # noqa: S603 - modules of ours
                [sys.executable, '-m', *command], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Exit status; None while it runs."""
        return self._process.poll()

    def fail(self) -> NoReturn:
        """Raise an error with the last lines it wrote.

        Raises:
            SidepthError: Always.
        """
        lines = self.log.read_text(encoding='utf-8', errors='replace').splitlines()
        said = '\n  '.join(lines[-LINES_SHOWN:]) or 'nothing'
        raise SidepthError(f'the {self.name} ended with status {self.status}, see {self.log}:\n  {said}')

    def end(self) -> int:
        """Ask it to end as Ctrl-C does, insist where that does not help, and return its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


@contextlib.contextmanager
def process(name: str, command: Sequence[str], folder: Path) -> Iterator[Process]:
    """Run a process for as long as the block lasts; arguments are those of Process."""
    with contextlib.ExitStack() as ends:
        # Interrupted between the two, the process would be left behind.
        with signals_held():
            running = Process(name, command, folder)
            ends.callback(running.end)
        yield running


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Have SIGINT and SIGTERM wait until the block has ended. For the main thread."""
    came: list[int] = []
    handlers = {
        number: signal.signal(number, lambda came_now, _: came.append(came_now))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for arrived in came:
            signal.raise_signal(arrived)
