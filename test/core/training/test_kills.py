"""SIGKILL at random instants of saving: there is always a whole state, and a whole checkpoint `last`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from soak_cases import few_or_many

pytest.importorskip('lightning', reason='Lightning is not installed: `make setup` brings it')

SAVER = Path(__file__).with_name('killed_saver.py')
KILLS = few_or_many(10, 200)


def test_killed_while_saving_a_run_has_a_whole_state_and_checkpoint(tmp_path: Path) -> None:
    command = [sys.executable, str(SAVER), str(tmp_path / 'run'), str(KILLS), '0']
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == KILLS
    # Some were killed after a whole save, or the kills would all have come too early to mean anything.
    assert found[-1]['last'] > 1
    assert [row['last'] for row in found] == sorted(row['last'] for row in found)
    print(f'{KILLS} kills, {found[-1]["last"]} whole saves between them')
