"""Processes that are ended with what started them."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from sidepth_core.errors import SidepthError
from sidepth_ros.demo import processes
from sidepth_ros.demo.processes import Process, process


def module(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> list[str]:
    """Write a module and return the command that runs it."""
    (folder / 'some_module.py').write_text(text)
    monkeypatch.setenv('PYTHONPATH', str(folder))
    return ['some_module', 'argument']


def wait_for_words(running: Process, words: str) -> None:
    """Wait until the process has said something."""
    deadline = time.monotonic() + 60
    while words not in running.log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_output_is_kept_and_status_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = module(tmp_path, monkeypatch, 'import sys; print(sys.argv[1]); sys.exit(3)')
    with process('thing', command, tmp_path) as running:
        while running.status is None:
            time.sleep(0.02)
    assert running.status == 3
    assert (tmp_path / 'thing.log').read_text() == 'argument\n'


def test_failure_quotes_the_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = module(tmp_path, monkeypatch, 'print("error: no camera"); raise SystemExit(2)')
    running = Process('thing', command, tmp_path)
    while running.status is None:
        time.sleep(0.02)
    with pytest.raises(SidepthError, match=r'thing ended with status 2, see .*thing\.log:\n  error: no camera'):
        running.fail()


def test_process_ends_with_its_block_even_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = module(tmp_path, monkeypatch, 'import time; print("up", flush=True); time.sleep(600)')
    started: list[Process] = []

    def fail() -> None:
        with process('thing', command, tmp_path) as running:
            started.append(running)
            wait_for_words(running, 'up')
            raise KeyError('something')

    with pytest.raises(KeyError, match='something'):
        fail()
    assert started[0].status is not None


def test_process_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, 'END_SECONDS', 0.2)
    text = 'import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print("up", flush=True); time.sleep(600)'
    with process('thing', module(tmp_path, monkeypatch, text), tmp_path) as running:
        wait_for_words(running, 'up')
    assert running.status == -9


def test_signal_that_comes_while_a_process_starts_ends_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Process] = []

    class Interrupted(Process):
        def __init__(self, name: str, command: Sequence[str], folder: Path) -> None:
            super().__init__(name, command, folder)
            started.append(self)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(processes, 'Process', Interrupted)
    command = module(tmp_path, monkeypatch, 'import time; time.sleep(600)')
    with pytest.raises(KeyboardInterrupt), process('thing', command, tmp_path):
        pytest.fail('the block was entered')
    assert started[0].status is not None
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
