"""What commands put into pages: a drive, a training run, a checkpoint, an evaluation."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from sidepth_core.checkpoint import Checkpoint, load_info
from sidepth_core.data.frames import Image, SourceReport
from sidepth_core.data.prepare import TARGET_SHARE, Judgement, PrepareReport, total
from sidepth_core.data.synthetic import SyntheticSource
from sidepth_core.errors import CheckpointError
from sidepth_core.evaluation.comparison import Comparison
from sidepth_core.evaluation.figures import Sample, draw_sample
from sidepth_core.evaluation.report import DEPTH_HEADS, depth_cells
from sidepth_core.evaluation.run import DriveEvaluation
from sidepth_core.images import decode_compressed
from sidepth_core.inference import DepthEstimator
from sidepth_core.outputs import Page, cloud_of, worth_showing
from sidepth_core.outputs.page import View
from sidepth_core.visualisation import Panel, depth_span, draw_depth, side_by_side, with_colour_bar

CONFIG_FILE, ENVIRONMENT_FILE, METRICS_FILE = 'config.yaml', 'environment.json', 'metrics.csv'
"""What training calls the files of a run (run_folder.py, whose packages evaluation does without)."""
COMPARISON = 'comparison.json'
THUMBNAIL_WIDTH = 400
LEAST_FALL = 0.02
"""Share by which a score must have fallen from the first validation to the best one to count as learning."""
CURVES = {
    'what is minimised': ('train/loss', 'train/photometric', 'train/depth', 'train/two_view_pose', 'train/speed'),
    'view synthesis error on validation clips': ('val/photometric',),
    'AbsRel on validation clips, median-scaled and in metres': ('val/abs_rel', 'val/abs_rel_unscaled'),
    'learning rate': ('train/learning_rate',),
    'clips a second, and share of the time that waits for them': ('speed/clips_per_s', 'speed/waiting_share'),
    'signs of collapse: spread of depth, share of holes': ('collapse/depth_spread', 'collapse/hole_share'),
}
"""The plots of a run by title; those without values are left out."""


class RunSummary(NamedTuple):
    """What a run's folder says of it.

    Attributes:
        level: 'good', 'doubtful' or 'bad'.
        verdict: In one sentence, how it went.
        facts: Names and values.
        curves: Steps and values by name of the metric.
    """

    level: str
    verdict: str
    facts: list[tuple[str, str]]
    curves: dict[str, tuple[list[int], list[float]]]


class FramePictures:
    """Small copies of the frames of a drive, so that any can be shown when it is known which."""

    def __init__(self) -> None:
        self._kept: list[bytes] = []

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._kept)

    def add(self, image: Image) -> None:
        """Keep one, (H, W, 3) uint8 RGB."""
        size = THUMBNAIL_WIDTH, max(1, round(image.shape[0] * THUMBNAIL_WIDTH / image.shape[1]))
        small = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
        self._kept.append(cv2.imencode('.jpg', small)[1].tobytes())

    def __getitem__(self, place: int) -> Image:
        """Return one."""
        return decode_compressed(self._kept[place])


def add_drive(
    page: Page,
    report: SourceReport,
    facts: Sequence[tuple[str, str]],
    judgement: Judgement,
    pictures: FramePictures,
) -> None:
    """Add what a recording holds, whether it is good to train on, its curves and some of its images."""
    page.heading(report.name)
    page.text(f'{judgement.verdict.capitalize()}.')
    page.table(('topic', '', 'found', 'what to do'), judgement.findings)
    time_s = judgement.time_s.tolist()
    wanted = TARGET_SHARE * judgement.width
    page.curves(
        'motion from image to image',
        {
            'motion': (time_s, judgement.motion_px.tolist()),
            'wanted between the images of a clip': ([time_s[0], time_s[-1]], [wanted, wanted]),
        },
        ('time, s', f'pixels of {judgement.width}'),
    )
    relative = judgement.sharpness / max(float(np.median(judgement.sharpness)), 1e-9)
    page.curves('sharpness, 1 is the median', {'sharpness': (time_s, relative.tolist())}, ('time, s', 'ratio'))
    if judgement.faults:
        page.text(f'Not fit to learn from: {total(judgement.faults)}.')
    if len(pictures):
        spread = np.unique(np.linspace(0, len(pictures) - 1, 4).round().astype(int))
        blurriest, fastest = judgement.worst
        rows = [
            [Panel(pictures[place], f'image {place}') for place in spread],
            [
                Panel(pictures[blurriest], f'least sharp: image {blurriest}'),
                Panel(pictures[fastest], f'moves most: image {fastest}'),
            ],
        ]
        page.image(side_by_side(rows, width=1280), 'images of the drive')
    page.table((), facts)
    page.notes(report.notes)


def add_cache(page: Page, report: PrepareReport) -> None:
    """Add what became of the sources of a prepared cache, and its plot of the motion."""
    head = ('source', 'read', 'kept', 'dropped', 'motion px', 'stride', 'clips', 'motion in clips')
    page.table(head, [
        (one.name, one.read, one.kept, total({**one.skipped, **one.dropped}), one.frame_motion_px, one.stride,
         one.clips, one.clip_motion_px)
        for one in report.sources
    ])  # fmt: skip
    _add_file(page, Path(report.folder) / 'report.png', 'motion of each source')
    page.notes(f'{one.name}: {note}' for one in report.sources for note in one.notes)


def _add_file(page: Page, path: Path, caption: str) -> None:
    if path.is_file() and (found := cv2.imread(str(path))) is not None:
        page.image(np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB), np.uint8), caption)


def summarise_run(folder: Path) -> RunSummary:
    """Return what a run's folder says of it.

    Raises:
        ConfigError: If its recipe cannot be read.
    """
    from sidepth_core.training.metrics import read_rows  # noqa: PLC0415 - evaluation does without training's packages
    from sidepth_core.training.recipes import load_recipe  # noqa: PLC0415

    recipe = load_recipe(folder / CONFIG_FILE)
    curves: dict[str, tuple[list[int], list[float]]] = {}
    for step, name, value in read_rows(folder / METRICS_FILE):
        steps, values = curves.setdefault(name, ([], []))
        steps.append(int(step) + 1)
        values.append(float(value))
    done = max((steps[-1] for steps, _ in curves.values()), default=0)
    judged = recipe.watch.select_by if f'val/{recipe.watch.select_by}' in curves else 'photometric'
    scores = curves.get(f'val/{judged}', ([], []))
    comparison = folder / COMPARISON
    verdict = json.loads(comparison.read_text(encoding='utf-8')) if comparison.is_file() else None
    facts = [
        ('learned from', '\n'.join(recipe.data.sources)),
        ('started from', recipe.checkpoint or 'random weights'),
        ('steps', f'{done} of {recipe.steps}'),
        ('validation', _scores_line(judged, *scores)),
        ('loss', _ends(curves.get('train/loss', ([], []))[1])),
        ('speed', _speed_line(curves)),
        ('best', _checkpoint_line(folder / 'best')),
    ]
    level, said = _run_verdict(done, recipe.steps, scores[1], verdict)
    return RunSummary(level, said, facts, curves)


def _scores_line(name: str, steps: Sequence[int], values: Sequence[float]) -> str:
    if not values:
        return 'none yet'
    best = int(np.nanargmin(values)) if np.isfinite(values).any() else 0
    places = (('at first', 0), ('best', best), ('last', -1))
    return f'{name}: ' + ', '.join(f'{when} {values[place]:.4f} (step {steps[place]})' for when, place in places)


def _ends(values: Sequence[float]) -> str:
    if not values:
        return 'none yet'
    part = max(1, len(values) // 10)
    return f'{np.mean(values[:part]):.4f} at first, {np.mean(values[-part:]):.4f} at last'


def _speed_line(curves: dict[str, tuple[list[int], list[float]]]) -> str:
    clips, waiting = (curves.get(f'speed/{name}', ([], []))[1] for name in ('clips_per_s', 'waiting_share'))
    if not clips or not waiting:
        return 'unknown'
    return f'{np.median(clips):.3g} clips a second, {np.median(waiting):.0%} of the time waiting for data'


def _checkpoint_line(folder: Path) -> str:
    try:
        info = load_info(folder)
    except CheckpointError as error:
        return str(error)
    return f'{folder}, {info.image_width}x{info.image_height}, {info.scale}: {info.scale_note}'


def _run_verdict(
    done: int, steps: int, scores: Sequence[float], comparison: dict[str, object] | None
) -> tuple[str, str]:
    """Return how a run went: by its comparison with what it started from, else by its validation scores."""
    unfinished = '' if done >= steps else f'; it ended after {done} of {steps} steps: --resume goes on'
    if comparison is not None:
        return 'good' if comparison['is_better'] else 'doubtful', f'{comparison["verdict"]}{unfinished}'
    if len(scores) < 2:
        return 'doubtful', f'too few validations to say whether it learned{unfinished}'
    fall = 1 - min(scores) / scores[0] if scores[0] else 0.0
    if fall < LEAST_FALL:
        return 'bad', f'it did not learn: the validation score fell by {fall:.1%}{unfinished}'
    return 'good' if not unfinished else 'doubtful', f'it learned: the validation score fell by {fall:.1%}{unfinished}'


def add_run(page: Page, folder: Path, summary: RunSummary, comparison: Comparison | None = None) -> None:
    """Add a run: what it was, its curves, and before and after on frames that it never saw."""
    page.heading(f'Run {folder}')
    page.text(f'{summary.verdict[:1].upper()}{summary.verdict[1:]}.')
    page.table((), summary.facts)
    if comparison is not None:
        add_comparison(page, comparison)
    else:
        _add_file(page, folder / 'comparison.png', 'before and after, on frames that the run never saw')
    page.heading('Curves')
    for title, names in CURVES.items():
        found = {name.partition('/')[2]: summary.curves[name] for name in names if name in summary.curves}
        if found:
            page.curves(title, found, ('step', ''))
    figures = sorted((folder / 'figures').glob('step-*.png'))
    if figures:
        _add_file(page, figures[-1], f'validation clip after step {int(figures[-1].stem.partition("-")[2])}')


def add_comparison(page: Page, comparison: Comparison) -> None:
    """Add both checkpoints' figures, and frames with a slider from the depth of one to that of the other."""
    page.heading(f'Before and after, {comparison.before.frames} held-out frames')
    page.table(('', 'before', 'after', 'gain'), [
        (row.name, f'{row.before:.4f}', f'{row.after:.4f}', '' if math.isnan(row.gain) else f'{row.gain:+.1%}')
        for row in comparison.rows
    ])  # fmt: skip
    for before, after in zip(comparison.before.samples, comparison.after.samples, strict=False):
        if before.place != after.place:
            continue
        span = depth_span(before.depth_m, after.depth_m)
        first, second = (
            with_colour_bar(draw_depth(one.depth_m, span), span, unit=one.unit) for one in (before, after)
        )
        page.image(before.image, f'frame {before.place}')
        page.slider(first, second, (f'before  {before.caption}', f'after  {after.caption}'))


def add_checkpoint(page: Page, checkpoint: Checkpoint, facts: Sequence[tuple[str, str]]) -> None:
    """Add what is known of a checkpoint, and its depth of an image of the synthetic world beside the exact one."""
    page.table((), facts)
    estimator = DepthEstimator(checkpoint.depth_net.eval(), checkpoint.info, device='cpu')
    frame = next(iter(SyntheticSource('street', seed=3, frames=1, width=640, height=360)))
    if frame.camera is None or frame.depth_m is None:
        return  # the synthetic world knows both
    depth = estimator(frame.image, frame.camera)
    valid = np.isfinite(frame.depth_m) & (frame.depth_m < 80)
    ratio = float(np.median(frame.depth_m[valid]) / np.median(depth[valid]))
    metric = checkpoint.info.scale == 'metric'
    page.heading('A rendered street that no run has to know: depth, and the exact one')
    sample = Sample(0, frame.image, frame.camera, depth, frame.depth_m, f'true over predicted {ratio:.2f}')
    page.image(draw_sample(sample), 'the exact depth is known; no measure of how good it is on your camera')
    span = depth_span(depth)
    unit = 'm' if metric else ''
    bar = with_colour_bar(draw_depth(depth, span), span, unit=unit)
    cloud = cloud_of(depth, frame.camera, frame.image, stride=2, farthest_m=worth_showing(depth))
    page.viewer([View('0', with_colour_bar(frame.image, span, unit=unit), bar, cloud)], unit)


def add_evaluation(page: Page, drive: DriveEvaluation) -> None:
    """Add the figures of a drive: scores, the error over the drive, the worst frame first, then others."""
    page.heading(f'{drive.name}: {drive.frames} frames')
    if drive.depth is not None:
        depth = drive.depth
        rows = [('median-scaled', depth.scaled), ('as published', depth.unscaled), ('best constant', depth.constant)]
        rows += [('best by row', depth.row_prior)] if depth.row_prior is not None else []
        page.table(('', *DEPTH_HEADS), [(name, *depth_cells(scores)) for name, scores in rows])
        page.text(f'True over predicted median {depth.ratio:.3f}, spread over images {depth.ratio_spread:.1%}.')
        error = [row.score.scaled.abs_rel for row in depth.rows]
        constant = [row.constant.scaled.abs_rel for row in depth.rows]
        places = [row.place for row in depth.rows]
        page.curves(
            'AbsRel of each frame, median-scaled',
            {'checkpoint': (places, error), 'best constant': (places, constant)},
            ('frame', 'AbsRel'),
        )
    page.table((), list(_other_scores(drive)))
    worst = [sample for sample in drive.samples if sample.is_worst]
    for sample in (*worst, *(sample for sample in drive.samples if not sample.is_worst)):
        name = f'worst frame, {sample.place}' if sample.is_worst else f'frame {sample.place}'
        page.image(draw_sample(sample), f'{name}  {sample.caption}')
    page.notes(drive.notes)


def _other_scores(drive: DriveEvaluation) -> list[tuple[str, str]]:
    found = []
    if drive.pose is not None:
        found.append(('ATE after alignment', f'{drive.pose.ate_m:.3f} m over {drive.pose.path_m:.1f} m'))
    if drive.flicker is not None:
        found.append(('flicker', f'{drive.flicker.total:.2%} in {drive.flicker.pairs} pairs'))
    if drive.synthesis is not None:
        found.append(('view synthesis error', f'{drive.synthesis.error:.4f}, unwarped {drive.synthesis.still:.4f}'))
    return found
