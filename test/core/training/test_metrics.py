from __future__ import annotations

from pathlib import Path

from sidepth_core.training.metrics import MetricsTable, read_metric, read_rows


def test_a_table_holds_every_number_in_order(tmp_path: Path) -> None:
    table = MetricsTable(tmp_path / 'metrics.csv')
    table.log_metrics({'train/loss': 0.5, 'epoch': 0}, 0)
    table.log_metrics({'train/loss': 0.25}, 1)
    assert read_metric(tmp_path / 'metrics.csv', 'train/loss') == [(0, 0.5), (1, 0.25)]
    assert (tmp_path / 'metrics.csv').read_text().splitlines()[0] == 'step,name,value'


def test_a_resumed_run_replaces_the_steps_after_its_saved_one(tmp_path: Path) -> None:
    first = MetricsTable(tmp_path / 'metrics.csv')
    for step in range(4):
        first.log_metrics({'loss': float(step)}, step)
    MetricsTable(tmp_path / 'metrics.csv', first_step=2).log_metrics({'loss': 20.0}, 2)
    assert read_metric(tmp_path / 'metrics.csv', 'loss') == [(0, 0.0), (1, 1.0), (2, 20.0)]


def test_a_line_cut_short_by_a_crash_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / 'metrics.csv'
    path.write_text('step,name,value\n0,loss,1.0\n1,lo')
    assert read_rows(path) == [['0', 'loss', '1.0']]
