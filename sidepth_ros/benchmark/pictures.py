"""The curves of the node's benchmark: latency against pixels, throughput against cameras."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sidepth_core.benchmarks.row import Row
from sidepth_ros.benchmark.measure import LATENCY, THROUGHPUT


def pictures(rows: Sequence[Row], folder: Path) -> list[tuple[str, str]]:
    """Draw the curves that the rows have; return their file names and captions."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only the page needs it

    sizes = [(row, re.findall(r'(\d+)x(\d+)', row.what)[0]) for row in rows if row.what.startswith(LATENCY)]
    counts = [(row, int(re.findall(r'\d+', row.what)[0])) for row in rows if row.what.startswith(THROUGHPUT)]
    if not sizes or not counts:
        return []
    figure = Figure(figsize=(9, 3.4), layout='constrained')
    left, right = figure.subplots(1, 2)
    megapixels = [int(width) * int(height) / 1e6 for _, (width, height) in sizes]
    left.plot(megapixels, [row.value for row, _ in sizes], 'o-', label='p50')
    left.plot(megapixels, [row.figures['p95'] for row, _ in sizes], 'o--', label='p95')
    left.set(xlabel='megapixels', ylabel='stamp to depth, ms', ylim=(0, None))
    right.plot([count for _, count in counts], [row.figures['sent 1/s'] for row, _ in counts], 'k:', label='sent')
    right.plot([count for _, count in counts], [row.value for row, _ in counts], 'o-', label='answered')
    right.set(xlabel='cameras of 10 Hz in one process', ylabel='images a second', ylim=(0, None))
    for axes in (left, right):
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / 'node.png', dpi=110)
    return [('node.png', 'Latency against the size of the image, and images a second against cameras')]
