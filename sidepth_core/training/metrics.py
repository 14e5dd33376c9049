"""metrics.csv: every logged number of a run, one line each, whole after a crash and continued by a resumed run.

Lightning's CSVLogger writes a column a metric and the whole file anew when one appears, and a resumed run deletes it.
"""

from __future__ import annotations

import csv
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

COLUMNS = ('step', 'name', 'value')


class MetricsTable(Logger):
    """Appends to a table with the columns step, name, value.

    Args:
        path: The file.
        first_step: Lines from this step on are dropped: a resumed run writes them again.
    """

    def __init__(self, path: Path, first_step: int = 0) -> None:
        super().__init__()
        self._path = path
        self._first_step = first_step
        self._started = False

    @property
    def name(self) -> str:
        """Name of the logger."""
        return 'metrics'

    @property
    def version(self) -> str:
        """A run has one table."""
        return ''

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:  # noqa: ANN401 - Lightning's signature
        """Do nothing: config.yaml has them."""

    @rank_zero_only  # type: ignore[untyped-decorator] # Lightning counts as untyped
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append the metrics of a step."""
        if not self._started:
            self._start()
        rows = [(step, name, f'{float(value):.9g}') for name, value in metrics.items() if name != 'epoch']
        with self._path.open('a', newline='') as file:
            csv.writer(file).writerows(rows)

    def _start(self) -> None:
        kept = [row for row in read_rows(self._path) if int(row[0]) < self._first_step]
        with self._path.open('w', newline='') as file:
            csv.writer(file).writerows([COLUMNS, *kept])
        self._started = True


def read_rows(path: Path) -> list[list[str]]:
    """Return the complete lines of a table without its heading; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline='') as file:
        return [row for row in csv.reader(file) if len(row) == len(COLUMNS) and row[0].isdigit()]


def read_metric(path: Path, name: str) -> list[tuple[int, float]]:
    """Return one metric of a run's table as (step, value), in order."""
    return [(int(step), float(value)) for step, found, value in read_rows(path) if found == name]
