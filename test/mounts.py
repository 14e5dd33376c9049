"""Disks that are read-only or small: mounts in a namespace of one command, which end with it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RUNNER = Path(__file__).with_name('commands_in_a_row.py')
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
SMALL = 'mount -t tmpfs -o size=32m tmpfs "$0" && exec "$@"'


def run_commands(folder: Path, mount: str, commands: list[list[str]], **environment: str) -> list[dict[str, Any]]:
    """Run commands of `sidepth` with something mounted at a folder, and return `command`, `status` and `said` of each.

    The test is skipped where this user may not mount.
    """
    namespace = ['unshare', '--mount', *([] if os.geteuid() == 0 else ['--map-root-user'])]
    start = [*namespace, 'sh', '-c', mount, str(folder)]
    if shutil.which('unshare') is None or subprocess.run([*start, 'true'], check=False, capture_output=True).returncode:
        pytest.skip('mounting needs unshare and a kernel that lets this user make mount namespaces')
    done = subprocess.run(
        [*start, sys.executable, str(RUNNER), json.dumps(commands)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return rows
