"""`sidepth predict`: depth of images, videos, bags and whole folders, saved as files."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.progress import Progress

from sidepth_core.cli import printable, terminal
from sidepth_core.cli.frames import ASSUMED_FOV_DEG, Named, describe, open_frames, view_of
from sidepth_core.cli.saved_depth import CLOUD, CLOUDS, TRAJECTORY, VALUES_PER_METRE, VIDEO, SavedDepth, check_unused
from sidepth_core.cli.terminal import JSON_HELP, add_camera, add_network, command_parser, counted, print_json
from sidepth_core.data.frames import FrameSource, SourceReport
from sidepth_core.engines import ENGINE_CHOICES, PRECISION_CHOICES
from sidepth_core.errors import ConfigError
from sidepth_core.inference import DepthEstimator

DESCRIPTION = """\
Estimate depth and save it: depth/NAME.png or .npy, colour/NAME.jpg, camera.json of the rectified images, and
prediction.json, which says what the numbers mean. Of a drive also depth.webm; of one whose poses are known
trajectory.txt (TUM format) and cloud.ply, all its points in one frame of reference; else cloud.ply of the first image.
"""
EXAMPLES = """\
  sidepth predict street.jpg --out depth
  sidepth predict drive.mp4 --out depth --format npy --every 5
  sidepth predict 'bag/?image_topic=/front/image' --out depth --checkpoint runs/mine

Exit status: 0; 1 where the source was cut off or damaged and depth of what is whole was saved; 2 for an error.
"""


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    arguments = command_parser('predict', DESCRIPTION, EXAMPLES)
    add = arguments.add_argument_group('what to look at').add_argument
    add('source', help='an image, a folder of images, a video, a bag, synthetic:...')
    add_camera(add, f'without it {ASSUMED_FOV_DEG:g} are assumed, and depth is known up to scale only')
    add('--every', type=int, default=1, metavar='N', help='take every N-th frame only')
    add('--limit', type=int, default=0, metavar='N', help='stop after N frames (all)')
    add = arguments.add_argument_group('what to write').add_argument
    add('--out', type=Path, required=True, metavar='DIR', help='where the files go')
    add('--format', choices=(*VALUES_PER_METRE, 'npy', 'none'), default='mm',
        help='depth as 16-bit PNG in millimetres, in 1/256 metres, or as float32 .npy in metres (mm)')  # fmt: skip
    add('--no-figures', action='store_true', help='write no colour figures and no video')
    add('--span', type=float, nargs=2, metavar=('NEAR', 'FAR'), help='depths of the first and last colour, metres')
    add('--clouds', choices=CLOUDS, default='fused', help='one cloud.ply of the drive where its poses are known, else '
        'of its first image (fused); clouds/NAME.ply of each image; or none')  # fmt: skip
    add('--reach', type=float, default=25.0, metavar='M', help='depth up to which points are fused (25 m)')
    add('--voxel', type=float, default=0.1, metavar='M', help='one fused point in a cube of this edge (0.1 m)')
    add('--json', action='store_true', help=JSON_HELP)
    add = add_network(arguments)
    add('--post', choices=('none', 'flip', 'zoom'), default='none', help='average with mirrored or zoomed passes')
    add('--size', metavar='WxH', help="size for the network, multiples of 32; by default of the image's aspect ratio")
    add('--engine', choices=ENGINE_CHOICES, default='eager', help='how the network runs (eager)')
    add('--precision', choices=PRECISION_CHOICES, default='float32', help='what it computes in (float32)')
    return arguments


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    options = parser().parse_args(argv)
    if options.every < 1 or options.limit < 0:
        raise ConfigError(f'--every {options.every} and --limit {options.limit} must be positive')
    check_unused(options.out)
    estimator = DepthEstimator.load(
        options.checkpoint,
        device=options.device,
        engine=options.engine,
        precision=options.precision,
        size=parse_size(options.size),
        flip=options.post == 'flip',
        zoom=options.post == 'zoom',
    )
    frames, source = open_frames(options.source, options.camera)
    console = terminal.console(stderr=options.json)
    total = source.report.claimed if source else 1
    with Progress(console=console, transient=True) as progress, SavedDepth(options, estimator) as saved:
        task = progress.add_task('predicting', total=total and min(total // options.every or 1, options.limit or total))
        predict(frames, estimator, options, saved, lambda: progress.advance(task))
    for reason, skipped in source.report.skipped.items() if source else ():
        console.print(f'{skipped} images not used: {reason}', markup=False)
    whole = source is None or report_losses(source.report)
    unit = 'metric' if saved.metric else 'relative: known up to scale'
    out = printable(options.out)
    maps = counted(saved.count, 'depth map')
    console.print(f'{maps}, {describe(estimator)}, {unit}: {out}', markup=False, highlight=False)
    beside = [name for name in (VIDEO, CLOUD, TRAJECTORY) if (options.out / name).exists()]
    if beside:
        console.print(f'beside them: {", ".join(beside)}', markup=False, highlight=False)
    if options.json:
        print_json(summary(options, saved, source, beside))
    return 0 if whole else 1


def summary(
    options: argparse.Namespace, saved: SavedDepth, source: FrameSource | None, beside: Sequence[str]
) -> dict[str, object]:
    """Return what a run did, for --json."""
    return {
        'out': printable(options.out),
        'depth_maps': saved.count,
        'scale': 'metric' if saved.metric else 'relative',
        'files': list(beside),
        'not_used': dict(source.report.skipped) if source else {},
        'whole': source is None or source.report.whole,
        'notes': list(source.report.notes) if source else [],
    }


def report_losses(report: SourceReport) -> bool:
    """Say what of a source was not there to be read, and return whether it was whole."""
    if not report.whole:
        console = terminal.console(stderr=True)
        for note in report.notes:
            console.print(printable(note), markup=False, highlight=False)
        console.print('not all of the source could be read: see above', markup=False, highlight=False)
    return report.whole


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Return height and width of a text like 640x192; None for None.

    Raises:
        ConfigError: If it is not of that form.
    """
    if text is None:
        return None
    width, cross, height = text.lower().partition('x')
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise ConfigError(f'--size {text!r} is not of the form WIDTHxHEIGHT, such as 640x192')
    return int(height), int(width)


def predict(
    frames: Iterator[Named],
    estimator: DepthEstimator,
    options: argparse.Namespace,
    saved: SavedDepth,
    done: Callable[[], None],
) -> None:
    """Write depth and figures of the frames."""
    for index, named in enumerate(frames):
        if index % options.every:
            continue
        view = view_of(named.frame, options.fov)
        saved.add(named, view, estimator(view.image, view.camera))
        done()
        if saved.count == options.limit:
            break
