"""How the network's CPU threads wait."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sidepth_core.threads import let_threads_sleep


def test_threads_sleep_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('GOMP_SPINCOUNT', raising=False)
    monkeypatch.setenv('OMP_WAIT_POLICY', 'ACTIVE')
    let_threads_sleep()
    assert os.environ['OMP_WAIT_POLICY'] == 'ACTIVE'
    monkeypatch.delenv('OMP_WAIT_POLICY')
    let_threads_sleep()
    assert os.environ['OMP_WAIT_POLICY'] == 'PASSIVE'
    monkeypatch.delenv('OMP_WAIT_POLICY')
    monkeypatch.setenv('GOMP_SPINCOUNT', '1000')
    let_threads_sleep()
    assert 'OMP_WAIT_POLICY' not in os.environ


def test_opencv_s_threads_sleep_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('OPENCV_THREAD_POOL_ACTIVE_WAIT_WORKER', '100')
    monkeypatch.delenv('OPENCV_THREAD_POOL_ACTIVE_WAIT_MAIN', raising=False)
    let_threads_sleep()
    assert os.environ['OPENCV_THREAD_POOL_ACTIVE_WAIT_WORKER'] == '100'
    assert os.environ['OPENCV_THREAD_POOL_ACTIVE_WAIT_MAIN'] == '0'


@pytest.mark.parametrize('module', ['sidepth_core.cli', 'sidepth_ros.node.main'])
def test_commands_are_there_before_torch_and_opencv_are(module: str) -> None:
    # OpenMP and OpenCV read their environment when they are brought in: set afterwards, it says nothing.
    code = f'import sys, {module}; sys.exit(not sys.modules.keys().isdisjoint(["torch", "cv2"]))'
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
