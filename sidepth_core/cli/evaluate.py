"""`sidepth evaluate`: tables, JSON, CSV and figures of how good a checkpoint is on drives."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from sidepth_core.cli import terminal
from sidepth_core.cli.reports import add_evaluation
from sidepth_core.cli.terminal import JSON_HELP, add_camera, add_network, command_parser, print_json
from sidepth_core.data.assumed_camera import AssumedCamera
from sidepth_core.data.frames import FrameSource
from sidepth_core.data.share import Share
from sidepth_core.data.sources import open_sources
from sidepth_core.errors import ConfigError, DatasetError, ScaleError
from sidepth_core.evaluation.depth_metrics import CROPS, DepthProtocol
from sidepth_core.evaluation.evaluated_model import POST_PROCESSING, EvaluatedModel, load_model
from sidepth_core.evaluation.pose_metrics import ALIGNMENTS
from sidepth_core.evaluation.report import (
    SCORES_CSV,
    SCORES_JSON,
    print_drive,
    scores_document,
    write_csv,
    write_figures,
    write_json,
)
from sidepth_core.evaluation.run import METRICS, DriveEvaluation, EvaluationSettings, evaluate
from sidepth_core.evaluation.shares import join_shares, share_folder
from sidepth_core.outputs import Page

EXAMPLES = """\
sources with true depth: synthetic:street?seed=3&frames=50, KITTI raw, a bag with LiDAR and /tf_static or with aligned
depth images (depth=image), or a folder with image/, depth/ (16-bit PNG, or .npy in metres) and camera.json. Without,
view synthesis is measured.

  sidepth evaluate 'synthetic:street?seed=3&frames=50'
  sidepth evaluate --checkpoint runs/mine --depth --crop eigen --cap 80 --out scores drive/
  sidepth evaluate --pose --zoom drive.mcap
  sidepth evaluate --depth 'rgbd_bag/?depth_topic=/camera/aligned_depth_to_color/image_raw'
"""

WHAT = {
    'depth': 'score depth against the truth',
    'pose': 'score the trajectory against true poses',
    'zoom': 'score depth of zoomed views, and how its scale drifts',
    'flicker': 'score changes of depth that the true motion does not explain',
    'synthesis': 'score view synthesis by depth and pose, which needs no truth',
}
"""What each flag metrics; the flags are those of METRICS."""


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    arguments = command_parser(
        'evaluate', 'Score depth, pose, zoom and flicker of a checkpoint on drives.', EXAMPLES
    )
    add = arguments.add_argument_group('what to look at').add_argument
    add('sources', nargs='+', metavar='SOURCE', help='drives: a bag, a video, a folder, KITTI, synthetic:...')
    add_camera(add)
    add('--every', type=int, default=1, metavar='N', help='look at every N-th frame only')
    add('--limit', type=int, default=0, metavar='N', help='look at N frames of a drive at most (all)')
    add('--shard', type=Share.parse, metavar='I/N', help='look at every N-th drive, from the I-th on: one task of N, '
        'the last of which joins the scores of all in --out')  # fmt: skip
    add = arguments.add_argument_group('what to measure').add_argument
    for measure, text in WHAT.items():
        add(f'--{measure}', action='store_true', help=f'{text} (everything when none is named)')
    add('--cap', type=float, default=80.0, metavar='M', help='true depth from here on is left out (80 m)')
    add('--min-depth', type=float, default=1e-3, metavar='M', help='true depth up to here is left out')
    add('--crop', choices=tuple(CROPS), default='none', help='part of the image that is scored')
    add('--align', choices=ALIGNMENTS, default='similarity', help='alignment for the absolute trajectory error')
    add('--zoom-every', type=int, default=5, metavar='N', help='measure zoom on every N-th of them (5)')
    add = arguments.add_argument_group('what to write').add_argument
    add('--figures', type=int, default=6, metavar='N', help='about how many figures of a drive (6)')
    add('--out', type=Path, metavar='DIR', help='write report.html, scores.json, scores.csv and figures here')
    add('--json', action='store_true', help=JSON_HELP)
    add = add_network(arguments)
    add('--post', choices=POST_PROCESSING, default='none', help='average with mirrored or zoomed passes')
    add('--engine', default='eager', help='how the network runs; see sidepth benchmark')
    return arguments


def main(argv: Sequence[str]) -> int:
    """Run `sidepth evaluate` and return its exit status."""
    options = parser().parse_args(argv)
    settings = settings_of(options)
    if options.shard is not None and options.out is None:
        raise ConfigError('--shard needs --out DIR, the same for all tasks: there the scores of all are joined')
    model = load_model(options.checkpoint, device=options.device, engine=options.engine, post=options.post)
    console = terminal.console(stderr=options.json)
    drives = []
    with_depth = bool({'depth', 'zoom', 'flicker'} & set(settings.metrics))
    named = open_sources(options.sources, with_depth=with_depth, camera=options.camera)
    own = [named[place] for place in options.shard.of(len(named))] if options.shard is not None else named
    out = share_folder(options.out, options.shard) if options.shard is not None else options.out
    try:
        for weighted in own:
            source = AssumedCamera(weighted.source, options.fov) if options.fov else weighted.source
            drives.append(evaluate_source(model, source, settings, console))
            print_drive(console, drives[-1], settings.protocol)
    finally:
        # What is done stays done, whatever ends the work on the next drive.
        if out is not None and drives:
            write(out, model, settings, drives, console)
    if options.shard is not None:
        show_joined(options, len(named), console)
    if options.json:
        print_json(scores_document(describe(model), asdict(settings), drives))
    return 0


def show_joined(options: argparse.Namespace, drives: int, console: Console) -> None:
    """Join the scores of all tasks, or say whose are missing.

    Raises:
        DatasetError: If they do not belong together.
    """
    missing = join_shares(options.out, options.shard.count, drives)
    if missing:
        tasks = ', '.join(f'{number}/{options.shard.count}' for number in missing)
        text = f'shards {tasks} are missing: the task that is the last to be done joins the scores'
    else:
        text = f'{SCORES_JSON} and {SCORES_CSV} of all {drives} drives are in {options.out}'
    console.print(text, markup=False, highlight=False)


def settings_of(options: argparse.Namespace) -> EvaluationSettings:
    """Return what the arguments ask for.

    Raises:
        ConfigError: If a value cannot be.
    """
    named = tuple(measure for measure in METRICS if getattr(options, measure))
    return EvaluationSettings(
        metrics=named or METRICS,
        protocol=DepthProtocol(options.crop, options.min_depth, options.cap),
        alignment=options.align,
        every=options.every,
        limit=options.limit,
        zoom_every=options.zoom_every,
        figures=options.figures if options.out is not None else 0,
    )


def evaluate_source(
    model: EvaluatedModel, source: FrameSource, settings: EvaluationSettings, console: Console
) -> DriveEvaluation:
    """Return the figures of one drive, with a progress bar while it runs.

    Raises:
        DatasetError: If the drive cannot be read or has no frame.
        ScaleError: If the checkpoint needs a camera and the drive has none; says how to give one.
    """
    name = source.report.name
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(name, total=source.report.claimed)
        try:
            drive = evaluate(model, source, settings, lambda frames: progress.update(task, completed=frames))
        except ScaleError as error:
            raise ScaleError(f'{name!r}: {error} (--fov DEG, --camera FILE, or {name}?camera=FILE)') from None
    if not drive.frames:
        reasons = '; '.join(drive.notes) or 'it says nothing about why'
        raise DatasetError(f'{name!r} has no frame that can be evaluated: {reasons}')
    return drive


def write(
    out: Path, model: EvaluatedModel, settings: EvaluationSettings, drives: Sequence[DriveEvaluation], console: Console
) -> None:
    """Write what was measured into a folder, and say where."""
    write_json(out / SCORES_JSON, describe(model), asdict(settings), drives)
    write_csv(out / SCORES_CSV, drives)
    page = Page(f'Evaluation of {model.name}')
    page.text(f'{model.estimator.info.scale}: {model.estimator.info.scale_note}'.rstrip(': '))
    for drive in drives:
        add_evaluation(page, drive)
    page.write(out / 'report.html')
    figures = [path for drive in drives for path in write_figures(out / 'figures' / _file_name(drive.name), drive)]
    console.print(f'\nreport.html, scores.json, scores.csv and {len(figures)} figures are in {out}', highlight=False)


def describe(model: EvaluatedModel) -> dict[str, object]:
    """Return what was measured, as scores.json has it."""
    estimator = model.estimator
    return {
        'name': model.name,
        'scale': estimator.info.scale,
        'image_size': list(estimator.size),
        'engine': estimator.engine_name,
        'flip': estimator.flip,
        'zoom': estimator.zoom,
    }


def _file_name(name: str) -> str:
    return re.sub(r'[^\w.-]+', '_', name).strip('._')[-80:] or 'drive'
