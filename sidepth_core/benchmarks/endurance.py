"""Whether a long run ends as it began: memory after warm-up against the end, the slowest of the first minute and last.

`make soak` judges the node and a training run by it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

MEMORY_GROWTH = 0.01
"""By so much memory may grow after warm-up."""
TAIL_CHANGE = 0.2
"""By so much the 99th percentile of the last window may be above the first one's."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """A quantity over time.

    Attributes:
        times_s: When it was measured, seconds after the start, ascending.
        values: What it was.
    """

    times_s: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, time_s: float, value: float) -> None:
        """Add a measurement."""
        self.times_s.append(time_s)
        self.values.append(value)

    def within(self, start_s: float, end_s: float) -> Floats:
        """Return what was measured from a moment to before another."""
        times = np.asarray(self.times_s)
        return np.asarray(self.values, np.float64)[(times >= start_s) & (times < end_s)]

    def percentiles(self, window_s: float, end_s: float, share: float) -> Curve:
        """Return a percentile (0..100) of each whole window up to a moment, but of those without a measurement."""
        found = Curve()
        for start_s in np.arange(0.0, end_s - window_s + 1e-6, window_s):
            if len(values := self.within(start_s, start_s + window_s)):
                found.add(float(start_s), float(np.percentile(values, share)))
        return found


@dataclass(frozen=True)
class Verdict:
    """What a run promises and what it did.

    Attributes:
        memory_growth: Median memory of the last window over that of the first after warm-up, less one.
        tail_change: The same of the 99th percentile of durations.
        faults: What was not as promised, a sentence each.
    """

    memory_growth: float
    tail_change: float
    faults: list[str]


def judge(memory: Curve, durations: Curve, warm_up_s: float, end_s: float, window_s: float = 60.0) -> Verdict:
    """Compare the last window of a run with the first one after its warm-up.

    Args:
        memory: Of the process, in any unit.
        durations: Of what it does again and again, in any unit.
        warm_up_s: How long caches, allocators and pools may fill.
        end_s: When the run ended.
        window_s: Length of a window.
    """

    def change(curve: Curve, share: float) -> float:
        first = curve.within(warm_up_s, warm_up_s + window_s)
        last = curve.within(end_s - window_s, end_s + 1e-6)
        if not len(first) or not len(last):
            return float('nan')
        return float(np.percentile(last, share) / np.percentile(first, share) - 1)

    growth, tail = change(memory, 50), change(durations, 99)
    faults = []
    if not growth <= MEMORY_GROWTH:
        faults.append(f'memory grew by {growth:.1%} after warm-up, allowed is {MEMORY_GROWTH:.0%}')
    if not tail <= TAIL_CHANGE:
        faults.append(f'the 99th percentile changed by {tail:+.0%} from the first window, allowed is {TAIL_CHANGE:.0%}')
    return Verdict(growth, tail, faults)


def write(
    folder: Path,
    name: str,
    curves: Mapping[str, Curve],
    verdict: Verdict,
    facts: Mapping[str, object],
    panels: Sequence[tuple[str, Sequence[str]]],
) -> None:
    """Write NAME.json, all that was measured, and NAME.png, its curves.

    Args:
        folder: Where to; made where it is missing.
        name: Of the files.
        curves: What was measured, by a label that names quantity and unit.
        verdict: On them.
        facts: Counts and conditions.
        panels: The pictures, one below another: what the vertical axis is, and the labels of its curves.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - only soaks draw

    folder.mkdir(parents=True, exist_ok=True)
    measured = {label: asdict(curve) for label, curve in curves.items()}
    content = {'facts': dict(facts), 'verdict': asdict(verdict), 'curves': measured}
    (folder / f'{name}.json').write_text(json.dumps(content), encoding='utf-8')
    figure = Figure(figsize=(9, 2.2 * len(panels)), layout='constrained')
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (title, labels) in zip(axes, panels, strict=True):
        for label in labels:
            axis.plot([time / 60 for time in curves[label].times_s], curves[label].values, label=label, linewidth=1)
        # The start may be off the picture: it would flatten the rest.
        settled = [value for label in labels for value in curves[label].values[len(curves[label].values) // 6 :]]
        axis.set(ylabel=title, ylim=(0, 1.3 * max(settled, default=1.0)))
        axis.legend(frameon=False, loc='lower right')
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel('minutes')
    figure.savefig(folder / f'{name}.png', dpi=110)


def resident_mib(pid: int) -> float:
    """Return the memory that a process keeps, MiB (Linux)."""
    for line in Path(f'/proc/{pid}/status').read_text(encoding='ascii', errors='replace').splitlines():
        if line.startswith('VmRSS:'):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(f'process {pid} has ended')
