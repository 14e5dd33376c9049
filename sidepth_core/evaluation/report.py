"""An evaluation as tables on the screen, as JSON, as CSV and as figures."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sidepth_core.evaluation.depth_metrics import DepthProtocol, DepthScores
from sidepth_core.evaluation.figures import draw_sample
from sidepth_core.evaluation.flicker import FlickerScores
from sidepth_core.evaluation.metrics import DepthSummary, SynthesisScores
from sidepth_core.evaluation.pose_metrics import PoseScores
from sidepth_core.evaluation.run import DriveEvaluation
from sidepth_core.evaluation.zoom_metrics import ZoomRow
from sidepth_core.visualisation import save_image

SCORES_JSON, SCORES_CSV = 'scores.json', 'scores.csv'
DEPTH_HEADS = ('AbsRel', 'SqRel', 'RMSE', 'RMSElog', 'SILog', 'd1', 'd2', 'd3')
"""Column heads of DepthScores, in the order of its fields."""


def print_drive(console: Console, drive: DriveEvaluation, protocol: DepthProtocol) -> None:
    """Print every table that a drive's evaluation has, and its notes."""
    console.print(f'\n[bold]{escape(drive.name)}[/bold]: {drive.frames} frames', highlight=False)
    if drive.depth is not None:
        console.print(_depth_table(drive.depth, protocol))
    if drive.zoom:
        console.print(_zoom_table(drive.zoom))
    if drive.pose is not None:
        console.print(_pose_table(drive.pose))
    if drive.flicker is not None:
        console.print(_flicker_table(drive.flicker))
    if drive.synthesis is not None:
        console.print(_synthesis_table(drive.synthesis))
    for note in drive.notes:
        console.print(f'  note: {note}', style='yellow', markup=False, highlight=False)


def narrow_table(title: str, *, show_header: bool = True) -> Table:
    """Return a table without lines between columns: ten of them fit into the 80 characters that a log file has."""
    return Table(
        title=title, title_justify='left', show_header=show_header, box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False
    )


def _depth_table(depth: DepthSummary, protocol: DepthProtocol) -> Table:
    span = f'{protocol.min_depth_m:g}..{protocol.max_depth_m:g} m'
    table = narrow_table(f'depth, {len(depth.rows)} images, crop {protocol.crop}, {span}')
    table.add_column('', no_wrap=True)
    for head in DEPTH_HEADS:
        table.add_column(head, justify='right')
    table.add_row('median-scaled', *depth_cells(depth.scaled), style='bold')
    table.add_row('as published', *depth_cells(depth.unscaled))
    # Both median-scaled: every constant becomes the image's median.
    table.add_row('best constant', *depth_cells(depth.constant), style='dim')
    if depth.row_prior is not None:
        table.add_row('best by row', *depth_cells(depth.row_prior), style='dim')
    table.caption = (
        f'scale: true over predicted median {depth.ratio:.3f}, spread over images {depth.ratio_spread:.1%}, drift from '
        f'the first to the last third {_number(depth.ratio_drift, "+.1%", "")}'
    )
    table.caption_justify = 'left'
    return table


def depth_cells(scores: DepthScores) -> list[str]:
    """Return scores as a table prints them."""
    return [f'{value:.2f}' if name == 'silog' else f'{value:.3f}' for name, value in scores._asdict().items()]


def _zoom_table(rows: Sequence[ZoomRow]) -> Table:
    title = 'zoom: by own median scale, and by that of the full view; drift is its logarithm'
    table = narrow_table(title)
    heads = ('zoom', 'AbsRel', 'd1', 'AbsRel full', 'd1 full', 'drift', 'its std', 'images')
    for head in heads:
        table.add_column(head, justify='right')
    for row in rows:
        numbers = (row.own.abs_rel, row.own.d1, row.full.abs_rel, row.full.d1)
        drifts = (f'{row.drift_mean:+.3f}', f'{row.drift_std:.3f}', str(row.images))
        table.add_row(f'{1 / row.share:.2f}x', *(f'{value:.3f}' for value in numbers), *drifts)
    return table


def _pose_table(pose: PoseScores) -> Table:
    segments = pose.segments
    rows = [
        ('translation, 100..800 m segments', _number(segments.translation_percent, '.2f', ' %')),
        ('rotation, 100..800 m segments', _number(segments.rotation_deg_per_m * 100, '.3f', ' deg/100 m')),
        ('ATE, rms after alignment', _number(pose.ate_m, '.3f', ' m')),
        ('5-frame ATE as SfMLearner has it', f'{pose.snippet_ate_m:.4f} ± {pose.snippet_ate_std_m:.4f} m'),
        ('true over estimated step length', _number(pose.scale_ratio, '.3f', '')),
        ('scale drift from step to step', _number(pose.scale_drift, '.3f', '')),
    ]
    return _plain_table(f'pose, {pose.frames} frames over {pose.path_m:.1f} m', rows)


def _flicker_table(flicker: FlickerScores) -> Table:
    rows = [
        ('scale jump from frame to frame, rms', f'{flicker.scale:.2%}'),
        ('change of single surfaces, mean', f'{flicker.shape:.2%}'),
        ('together', f'{flicker.total:.2%}'),
    ]
    return _plain_table(f'flicker, {flicker.pairs} pairs, motion taken out', rows)


def _synthesis_table(synthesis: SynthesisScores) -> Table:
    rows = [
        ('photometric error of the warped frame', f'{synthesis.error:.4f}'),
        ('of the frame before, unwarped', f'{synthesis.still:.4f}'),
        ('pixels that the warp explains better', f'{synthesis.explained:.1%}'),
    ]
    return _plain_table(f'view synthesis, {synthesis.pairs} pairs, no labels needed', rows)


def _number(value: float, form: str, unit: str) -> str:
    return 'path too short' if math.isnan(value) else f'{value:{form}}{unit}'


def _plain_table(title: str, rows: Iterable[tuple[str, str]]) -> Table:
    table = narrow_table(title, show_header=False)
    table.add_column('')
    table.add_column('', justify='right')
    for name, value in rows:
        table.add_row(name, value)
    return table


def drive_to_dict(drive: DriveEvaluation) -> dict[str, Any]:
    """Return a drive's figures as JSON takes them; figures that do not exist are null."""
    depth = drive.depth
    return {
        'name': drive.name,
        'frames': drive.frames,
        'depth': None
        if depth is None
        else {
            'images': len(depth.rows),
            'median_scaled': _plain(depth.scaled),
            'unscaled': _plain(depth.unscaled),
            'constant_median_scaled': _plain(depth.constant),
            'row_prior_median_scaled': _plain(depth.row_prior),
            'median_ratio': depth.ratio,
            'median_ratio_spread': depth.ratio_spread,
            'median_ratio_drift': _plain(depth.ratio_drift),
        },
        'pose': _plain(drive.pose),
        'zoom': [_plain(row) for row in drive.zoom],
        'flicker': _plain(drive.flicker),
        'synthesis': _plain(drive.synthesis),
        'notes': list(drive.notes),
    }


def _plain(value: Any) -> Any:  # noqa: ANN401 - any figure
    """Return NamedTuples as dicts, and numbers that are not finite as null, which JSON knows."""
    if isinstance(value, tuple) and hasattr(value, '_asdict'):
        return {name: _plain(item) for name, item in value._asdict().items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def write_json(
    path: Path, checkpoint: dict[str, object], settings: dict[str, object], drives: Sequence[DriveEvaluation]
) -> None:
    """Write everything that was measured, with what it was measured on and how."""
    content = scores_document(checkpoint, settings, drives)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + '\n', encoding='utf-8')


def scores_document(
    checkpoint: dict[str, object], settings: dict[str, object], drives: Sequence[DriveEvaluation]
) -> dict[str, Any]:
    """Return everything that was measured, with what it was measured on and how, as JSON takes it."""
    return {'checkpoint': checkpoint, 'settings': settings, 'drives': [drive_to_dict(drive) for drive in drives]}


def write_csv(path: Path, drives: Sequence[DriveEvaluation]) -> None:
    """Write one line per scored image: its scores, median-scaled and not, and those of the best constant."""
    fields = DepthScores._fields
    head = ['drive', 'frame', 'stamp_ns', 'pixels', 'median_ratio', *fields]
    head += [f'unscaled_{name}' for name in fields] + ['constant_abs_rel']
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(head)
        for drive in drives:
            for place, stamp_ns, score, constant in drive.depth.rows if drive.depth is not None else ():
                front = [drive.name, place, stamp_ns, score.pixels, score.ratio]
                writer.writerow([*front, *score.scaled, *score.unscaled, constant.scaled.abs_rel])


def write_figures(folder: Path, drive: DriveEvaluation) -> list[Path]:
    """Write the drive's figures into a folder and return their paths."""
    paths = []
    for sample in drive.samples:
        name = f'worst_{sample.place:06d}.png' if sample.is_worst else f'{sample.place:06d}.png'
        paths.append(save_image(folder / name, draw_sample(sample)))
    return paths
