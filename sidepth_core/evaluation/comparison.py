"""Two checkpoints on the same frames: the table and the figure that end a fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from sidepth_core.data.frames import Frame
from sidepth_core.data.rectified import rectified
from sidepth_core.errors import ConfigError, DatasetError
from sidepth_core.evaluation.evaluated_model import EvaluatedModel
from sidepth_core.evaluation.figures import Sample
from sidepth_core.evaluation.run import DriveEvaluation, EvaluationSettings, evaluate_frames
from sidepth_core.evaluation.shared_poses import DepthFit, fit_with_shared_poses
from sidepth_core.visualisation import (
    Image,
    Panel,
    depth_span,
    draw_depth,
    draw_sparse_depth,
    save_image,
    side_by_side,
    with_colour_bar,
)

LEAST_GAIN = 0.01
"""A smaller gain in the figure that decides, as a share of it, is no reason to change weights."""
SCALE_TOLERANCE = 0.05
"""How much worse the error of metres may get: on a few held-out frames it is not known more exactly."""
SCALE_ROW = 'scale error with true poses, |ln|'
METRES = ('AbsRel, unscaled', SCALE_ROW)
"""Rows that measure the error of depth in metres, relative to depth; the more reliable one first."""


class Row(NamedTuple):
    """One figure of both checkpoints.

    Attributes:
        name: What it is, with its unit.
        before: Of the first checkpoint; NaN where it could not be measured.
        after: Of the second one.
        lower_is_better: Which way is up.
    """

    name: str
    before: float
    after: float
    lower_is_better: bool = True

    @property
    def gain(self) -> float:
        """How much of the figure was gained, as a share of it; negative where it got worse; NaN where unknown."""
        change = self.before - self.after if self.lower_is_better else self.after - self.before
        return change / abs(self.before) if self.before else math.nan


@dataclass(frozen=True)
class Comparison:
    """Two checkpoints on the same frames.

    Attributes:
        rows: The figures, the one that decides first.
        before: Everything about the first checkpoint.
        after: Everything about the second one.
        is_metric: Whether both say that their depth is in metres.
    """

    rows: tuple[Row, ...]
    before: DriveEvaluation
    after: DriveEvaluation
    is_metric: bool = False

    @property
    def is_better(self) -> bool:
        """Whether the second checkpoint may take the place of the first.

        It must gain LEAST_GAIN in median-scaled AbsRel where depth is known, else in view synthesis error with
        shared poses; and where both are metric, its scale error must not rise by more than SCALE_TOLERANCE.
        """
        return self.rows[0].gain >= LEAST_GAIN and self._lost_metres is None

    @property
    def verdict(self) -> str:
        """In one sentence, whether the second checkpoint is better, and why not."""
        first, lost = self.rows[0], self._lost_metres
        gain = f'{first.name} ({first.gain:+.1%})'
        if first.gain < LEAST_GAIN:
            return f'the new checkpoint is not better: {gain} gains less than {LEAST_GAIN:.0%}'
        if lost is not None:
            change = f'{lost.before:.3f} to {lost.after:.3f}, more than {SCALE_TOLERANCE:g} worse'
            return f'the new checkpoint is not better: it gains in {gain}, but loses its scale: {lost.name} {change}'
        return f'the new checkpoint is better in {gain}'

    @property
    def _lost_metres(self) -> Row | None:
        """The figure by which metres got worse; None where they did not, or never were."""
        known = (row for name in METRES for row in self.rows if row.name == name and math.isfinite(row.before))
        row = next(known, None) if self.is_metric else None
        return row if row is not None and not row.after - row.before <= SCALE_TOLERANCE else None

    def to_dict(self) -> dict[str, object]:
        """Return the figures as JSON takes them; unknown ones are null."""
        rows = [
            {'name': row.name, 'before': _or_none(row.before), 'after': _or_none(row.after), 'gain': _or_none(row.gain)}
            for row in self.rows
        ]
        return {'frames': self.before.frames, 'is_better': self.is_better, 'verdict': self.verdict, 'rows': rows}


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def compare(
    before: EvaluatedModel, after: EvaluatedModel, frames: Iterable[Frame], settings: EvaluationSettings
) -> Comparison:
    """Return how two checkpoints do on the same frames; the frames are read once and kept in memory.

    Args:
        before: The checkpoint that was there.
        after: The one that may replace it.
        frames: Held-out frames in order of time; neighbours in time are needed for view synthesis.
        settings: What is measured.

    Raises:
        DatasetError: If no metric can be computed on these frames with both checkpoints.
    """
    kept = list(frames)
    first, second = (evaluate_frames(model, kept, settings, model.name) for model in (before, after))
    fits = fit_with_shared_poses(before, after, [rectified(frame) for frame in kept])
    rows = tuple(row for row in _rows(first, second, fits) if not (math.isnan(row.before) and math.isnan(row.after)))
    if not rows or math.isnan(rows[0].before) or math.isnan(rows[0].after):
        notes = '; '.join({*first.notes, *second.notes})
        raise DatasetError(f'{len(kept)} held-out frames give no metric to compare the checkpoints by: {notes}')
    return Comparison(rows, first, second, before.is_metric and after.is_metric)


def _rows(before: DriveEvaluation, after: DriveEvaluation, fits: tuple[DepthFit, DepthFit]) -> list[Row]:
    """Return every figure, what knows the truth before what does not."""

    def row(name: str, figure: Callable[[DriveEvaluation], float], *, lower: bool = True) -> Row:
        return Row(name, figure(before), figure(after), lower)

    return [
        row('AbsRel, median-scaled', lambda drive: _figure(drive, 'depth', 'scaled', 'abs_rel')),
        row('d1, median-scaled', lambda drive: _figure(drive, 'depth', 'scaled', 'd1'), lower=False),
        row('RMSE in m, median-scaled', lambda drive: _figure(drive, 'depth', 'scaled', 'rmse')),
        row('AbsRel, unscaled', lambda drive: _figure(drive, 'depth', 'unscaled', 'abs_rel')),
        Row('view synthesis error, shared poses', fits[0].error, fits[1].error),
        Row(SCALE_ROW, abs(math.log(fits[0].factor)), abs(math.log(fits[1].factor))),
        row('view synthesis error, predicted poses', lambda drive: _figure(drive, 'synthesis', 'error')),
        row('pixels explained by motion', lambda drive: _figure(drive, 'synthesis', 'explained'), lower=False),
        row('flicker', lambda drive: _figure(drive, 'flicker', 'total')),
        row('zoom drift, std at 2x', _zoom_drift),
        row('ATE in m', lambda drive: _figure(drive, 'pose', 'ate_m')),
        row('scale error of the pose network, |ln|', _scale_error),
    ]


def _figure(drive: DriveEvaluation, *path: str) -> float:
    value: object = drive
    for name in path:
        value = getattr(value, name, None)
    return value if isinstance(value, float) else math.nan


def _zoom_drift(drive: DriveEvaluation) -> float:
    return drive.zoom[-1].drift_std if drive.zoom else math.nan


def _scale_error(drive: DriveEvaluation) -> float:
    ratio = _figure(drive, 'pose', 'scale_ratio')
    return abs(math.log(ratio)) if ratio > 0 else math.nan


def before_after(comparison: Comparison) -> Table:
    """Return the table of a comparison for rich's console: every figure, and how much it gained."""
    table = Table(title=f'before and after, {comparison.before.frames} held-out frames', title_justify='left')
    table.add_column('', no_wrap=True)
    for head in ('before', 'after', 'gain'):
        table.add_column(head, justify='right')
    for row in comparison.rows:
        style = '' if math.isnan(row.gain) or abs(row.gain) < 0.005 else 'green' if row.gain > 0 else 'red'
        gain = '' if math.isnan(row.gain) else f'[{style}]{row.gain:+.1%}[/{style}]' if style else f'{row.gain:+.1%}'
        table.add_row(row.name, f'{row.before:.4f}', f'{row.after:.4f}', gain)
    table.caption = comparison.verdict
    table.caption_justify = 'left'
    return table


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print the table of a comparison."""
    console.print(before_after(comparison))


def draw_comparison(comparison: Comparison, count: int = 3) -> Image:
    """Return frames with the depth of both checkpoints, and the truth where it is known, side by side.

    Raises:
        ConfigError: If the comparison kept no figures.
    """
    pairs = list(zip(comparison.before.samples, comparison.after.samples, strict=False))
    pairs = [(first, second) for first, second in pairs if first.place == second.place][:count]
    if not pairs:
        raise ConfigError('the comparison kept no frames: evaluate with figures of 1 or more')
    return side_by_side([_comparison_row(first, second) for first, second in pairs])


def _comparison_row(before: Sample, after: Sample) -> list[Panel]:
    truth = before.truth_m
    known = truth is not None and bool(((truth > 0) & (truth < float('inf'))).any())
    span = depth_span(truth) if truth is not None and known else depth_span(before.depth_m, after.depth_m)
    panels = [Panel(before.image, f'frame {before.place}'), Panel(draw_depth(before.depth_m, span), 'before')]
    if truth is not None and known:
        panels.append(Panel(draw_depth(after.depth_m, span), 'after'))
        panels.append(Panel(with_colour_bar(draw_sparse_depth(truth, before.image, span), span), 'true depth'))
    else:
        panels.append(Panel(with_colour_bar(draw_depth(after.depth_m, span), span, unit=after.unit), 'after'))
    return panels


def save_comparison_figure(path: Path, comparison: Comparison) -> Path:
    """Write the comparison's figure and return its path.

    Raises:
        ConfigError: If the comparison kept no figures or the path is no image file name.
        OSError: If it cannot be written.
    """
    return save_image(path, draw_comparison(comparison))
