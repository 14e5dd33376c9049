"""`sidepth prepare`: recordings into a cache, with a progress bar and a report."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from sidepth_core.cli import terminal
from sidepth_core.cli.terminal import add_json, print_json
from sidepth_core.data.prepare import PrepareReport, PrepareSettings, missing_sources, prepare, prepare_share, total
from sidepth_core.data.prepare import Progress as Step
from sidepth_core.data.share import Share
from sidepth_core.data.sources import open_sources
from sidepth_core.errors import ConfigError
from sidepth_core.training.teacher import Teacher

EPILOG = """\
a SOURCE is a rosbag2, a video, a folder of images, KITTI (raw, odometry), or synthetic:<scene>; options follow a
question mark:
  drive/                                     a rosbag2 whose topics are clear
  drive/?image_topic=/front/image_raw        one of its cameras
  drive.mp4?camera=front.yaml&fps=30         a video with the calibration of camera_calibration
  photos/?camera=learned&weight=2            a camera that training is to find, drawn twice as often
  kitti/?split=eigen_zhou                    KITTI raw, Eigen's 33 training drives
  synthetic:street?seed=3&frames=300         the synthetic world
"""


class Bars:
    """A progress bar for each source."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[int, TaskID] = {}

    def __call__(self, step: Step) -> None:
        """Show one step."""
        if step.number not in self._tasks:
            name = f'{step.number + 1}/{step.sources} {Path(step.source).name or step.source}'
            self._tasks[step.number] = self._progress.add_task(name, total=step.claimed, kept=0)
        self._progress.update(self._tasks[step.number], completed=step.seen, total=step.claimed, kept=step.kept)


def parser() -> argparse.ArgumentParser:
    """Return the command line of `sidepth prepare`."""
    defaults = PrepareSettings()
    result = argparse.ArgumentParser(
        prog='sidepth prepare',
        description='Decode, rectify, select and resize frames of recordings once, into a cache that training reads\n'
        'at memory speed. An interrupted run goes on where it was.',
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    add('sources', nargs='+', metavar='SOURCE', help='recordings, as below')
    add('--out', type=Path, required=True, metavar='DIR', help='the cache folder')
    add('--width', type=int, default=defaults.width, help='training width, pixels (%(default)s)')
    add('--height', type=int, default=defaults.height, help='training height, pixels (%(default)s)')
    add('--margin', type=float, default=defaults.margin, help='cached size over training size (%(default)s)')
    add('--clip-frames', type=int, default=defaults.clip_frames, help='images in a clip (%(default)s)')
    add('--stride', type=int, default=defaults.stride, help='images from one of a clip to the next; 0: by motion')
    add('--codec', choices=('auto', 'raw', 'jpeg'), default=defaults.codec,
        help='how images are stored; auto: raw up to 8 GiB')  # fmt: skip
    add('--camera', default='', metavar='FILE', help='calibration of sources that come without one, YAML '
        'or JSON; or `learned` to let training find it')  # fmt: skip
    add('--teacher', default='', metavar='CHECKPOINT', help='also store what this checkpoint says of '
        'each clip, for objective.teacher: hf://ORG/REPO, a folder, or a name')  # fmt: skip
    add('--device', default='auto', help='where the teacher runs: auto, cpu, cuda or cuda:1 (auto)')
    add_json(result)
    add('--workers', type=int, default=0, help='threads; 0: one per core')
    add('--shard', type=Share.parse, metavar='I/N', help='prepare every N-th of the recordings, from '
        'the I-th on, into the cache of all: one task of N, the last of which finishes it')  # fmt: skip
    return result


def main(argv: Sequence[str]) -> int:
    """Prepare the named sources and print the report; return the exit status."""
    arguments = parser().parse_intermixed_args(argv)
    settings = PrepareSettings(
        width=arguments.width,
        height=arguments.height,
        margin=arguments.margin,
        clip_frames=arguments.clip_frames,
        stride=arguments.stride,
        codec=arguments.codec,
        unknown_camera=unknown_camera(arguments),
        workers=arguments.workers,
    )
    if arguments.shard is not None and arguments.teacher:
        raise ConfigError('--teacher needs the whole cache: prepare all shards first, then name it without --shard')
    teacher = Teacher(arguments.teacher, arguments.device) if arguments.teacher else None
    console = terminal.console(stderr=arguments.json)
    kept = TextColumn('{task.fields[kept]} kept')
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), kept, TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        sources = open_sources(arguments.sources, camera=arguments.camera)
        if arguments.shard is None:
            report: PrepareReport | None = prepare(sources, arguments.out, settings, progress=Bars(progress))
        else:
            report = prepare_share(sources, arguments.out, arguments.shard, settings, progress=Bars(progress))
        if teacher is not None:
            task = progress.add_task(f'what {teacher.name} says', total=None, kept=0)
            teacher.teach(arguments.out, lambda done, of: progress.update(task, completed=done, total=of, kept=done))
    if report is None:
        return show_share(arguments, len(sources), console)
    show(report, console)
    if arguments.json:
        print_json(report.to_dict())
    return 0


def show_share(arguments: argparse.Namespace, count: int, console: Console) -> int:
    """Say that a share is done, and of the other tasks' recordings which are missing; return the exit status."""
    missing = missing_sources(arguments.out, count)
    console.print(
        f'shard {arguments.shard} is in {arguments.out}; of the other tasks, {len(missing)} of {count} recordings are '
        'missing: the task that is the last to be done finishes the cache',
        markup=False,
        highlight=False,
    )
    if arguments.json:
        print_json({'shard': str(arguments.shard), 'sources': count, 'missing': missing})
    return 0


def unknown_camera(arguments: argparse.Namespace) -> Literal['refuse', 'learned']:
    """Return what to do with images of an unknown camera: learn it where that was asked for, for all or for one."""
    asked = arguments.camera == 'learned' or any('camera=learned' in text for text in arguments.sources)
    return 'learned' if asked else 'refuse'


def show(report: PrepareReport, console: Console) -> None:
    """Print what became of each source."""
    table = Table(title=f'{report.clips} clips of {report.width}x{report.height} in {report.folder}')
    for heading in ('source', 'read', 'kept', 'dropped', 'motion px', 'stride', 'clips', 'motion in clips', 'metres'):
        table.add_column(heading, justify='left' if heading in {'source', 'dropped'} else 'right')
    for source in report.sources:
        claimed = '' if source.claimed in {None, source.read} else f' of {source.claimed}'
        motion, in_clips = (
            '?' if value is None else f'{value:.1f}' for value in (source.frame_motion_px, source.clip_motion_px)
        )
        table.add_row(
            source.name,
            f'{source.read}{claimed}',
            str(source.kept),
            total({**source.skipped, **source.dropped}),
            motion,
            str(source.stride),
            str(source.clips),
            in_clips,
            f'{100 * source.metric_share:.0f} %',
        )
    console.print(table)
    for source in report.sources:
        for note in source.notes:
            console.print(f'{source.name}: {note}', style='dim', markup=False, highlight=False)
    console.print(f'{Path(report.folder) / "report.png"}', markup=False)
