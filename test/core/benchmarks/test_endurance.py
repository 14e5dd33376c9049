"""What a soak is judged by, on curves whose answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidepth_core.benchmarks.endurance import Curve, judge, write
from sidepth_core.benchmarks.training_soak import step_durations


def curve(value_of: dict[int, float], seconds: int = 600) -> Curve:
    """Return one value a second: from each key's second on, its value."""
    found, value = Curve(), 0.0
    for second in range(seconds):
        value = value_of.get(second, value)
        found.add(float(second), value)
    return found


STEADY = curve({0: 10.0})


def test_what_fills_during_the_warm_up_is_no_growth() -> None:
    verdict = judge(curve({0: 300.0, 50: 500.0}), STEADY, 100.0, 600.0)
    assert verdict.memory_growth == 0
    assert verdict.faults == []


def test_memory_that_grows_afterwards_is_named() -> None:
    verdict = judge(curve({0: 500.0, 300: 510.0}), STEADY, 100.0, 600.0)
    assert verdict.memory_growth == pytest.approx(0.02)
    assert verdict.faults == ['memory grew by 2.0% after warm-up, allowed is 1%']


def test_one_slow_answer_in_a_hundred_at_the_end_is_not_overlooked() -> None:
    slow = curve({0: 10.0, 590: 15.0})
    verdict = judge(STEADY, slow, 100.0, 600.0)
    assert verdict.tail_change == pytest.approx(0.5)
    assert len(verdict.faults) == 1
    assert judge(STEADY, curve({0: 15.0, 590: 10.0}), 100.0, 600.0).faults == []


def test_a_run_that_measured_nothing_passes_nothing() -> None:
    assert len(judge(Curve(), Curve(), 100.0, 600.0).faults) == 2


def test_percentiles_are_those_of_whole_windows() -> None:
    found = curve({0: 1.0, 60: 2.0, 120: 3.0}, 150).percentiles(60.0, 150.0, 50)
    assert (found.times_s, found.values) == ([0.0, 60.0], [1.0, 2.0])


def test_files_hold_all_that_was_measured(tmp_path: Path) -> None:
    verdict = judge(STEADY, STEADY, 100.0, 600.0)
    write(tmp_path / 'new', 'run', {'memory, MiB': STEADY}, verdict, {'images': 3}, [('MiB', ['memory, MiB'])])
    content = json.loads((tmp_path / 'new' / 'run.json').read_text())
    assert content['facts'] == {'images': 3}
    assert content['verdict']['memory_growth'] == 0
    assert len(content['curves']['memory, MiB']['values']) == 600
    assert (tmp_path / 'new' / 'run.png').stat().st_size > 1000


def test_steps_are_timed_by_the_runs_own_table(tmp_path: Path) -> None:
    table = tmp_path / 'metrics.csv'
    table.write_text('step,name,value\n0,speed/clips_per_s,4\n0,train/loss,1\n1,speed/clips_per_s,2\n')
    durations = step_durations(table)
    assert durations.values == [250.0, 500.0]
    assert durations.times_s == [0.25, 0.75]
