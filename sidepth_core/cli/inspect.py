"""`sidepth inspect`: what a checkpoint, a drive or a prepared cache holds."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from sidepth_core.camera import Camera
from sidepth_core.checkpoint import (
    HUB,
    INFO_FILE,
    RUN_FOLDERS,
    WEIGHTS_FILE,
    Checkpoint,
    checkpoint_bytes,
    load_checkpoint,
    locate_checkpoint,
)
from sidepth_core.cli import terminal
from sidepth_core.cli.prepare import show
from sidepth_core.cli.reports import (
    CONFIG_FILE,
    ENVIRONMENT_FILE,
    FramePictures,
    add_cache,
    add_checkpoint,
    add_drive,
    add_run,
    summarise_run,
)
from sidepth_core.cli.terminal import add_json, command_parser, print_json
from sidepth_core.data.bags import BagFiles, BagSource
from sidepth_core.data.frames import Frame, FrameSource
from sidepth_core.data.prepare import Judge, Judgement, PreparedDataset
from sidepth_core.data.sources import open_sources
from sidepth_core.models.foundation.folder import CONFIG_FILE as FOUNDATION_FILE
from sidepth_core.outputs import Page

STYLES = {'good': 'green', 'doubtful': 'yellow', 'bad': 'red'}
WIDEST_FACT = 110
"""Characters in a line of a fact; longer ones go on in the next line."""

DESCRIPTION = """\
Look at a recording, a training run, a checkpoint or a prepared cache. Of a recording it says whether it is good to
train on and why not: length, motion, blur, calibration, odometry, gaps. Of a run, how far it came and whether it was
worth it. --out NAME.html writes a page with pictures and curves.
"""
EXAMPLES = """\
  sidepth inspect drive/                         a rosbag2: topics, camera, and is it good to train on?
  sidepth inspect runs/mine --out run.html       curves, before and after
  sidepth inspect runs/mine/best                 a checkpoint: network, scale, training data, licence
  sidepth inspect drive/ --json | jq .verdict
"""


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    arguments = command_parser('inspect', DESCRIPTION, EXAMPLES)
    add = arguments.add_argument
    add('path', nargs='?', help='what to look at; by default the built-in checkpoint')
    add('--frames', type=int, default=300, metavar='N', help='how many frames of a drive to read (%(default)s); 0: all')
    add('--camera', default='', metavar='FILE', help='calibration of a drive that brings none, YAML or JSON')
    add('--out', type=Path, metavar='FILE', help='write a page with pictures too (.html)')
    add_json(arguments)
    return arguments


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    options = parser().parse_args(argv)
    console = terminal.console(stderr=options.json)
    page = Page(f'Inspection of {options.path or "the built-in checkpoint"}') if options.out else None
    found: list[dict[str, object]]
    if options.path is not None and is_run(Path(options.path)):
        found = [inspect_run(Path(options.path), console, page)]
    elif options.path is None or is_checkpoint(options.path):
        directory = locate_checkpoint(options.path)
        checkpoint = load_checkpoint(directory)
        console.print(checkpoint_table(checkpoint, directory))
        found = [{'kind': 'checkpoint', 'path': str(directory), **checkpoint.info.to_dict()}]
        if page:
            add_checkpoint(page, checkpoint, checkpoint_table(checkpoint, directory).facts)
    elif (Path(options.path) / 'clips.npz').is_file():
        report = PreparedDataset(options.path).report
        show(report, console)
        found = [{'kind': 'cache', **report.to_dict()}]
        if page:
            add_cache(page, report)
    else:
        sources = open_sources([options.path], camera=options.camera)
        found = [inspect_source(weighted.source, options.frames, console, page) for weighted in sources]
    if page:
        console.print(f'{page.write(options.out)}', markup=False, highlight=False)
    if options.json:
        print_json(found[0] if len(found) == 1 else found)
    return 0


def is_run(path: Path) -> bool:
    """Return whether a path is the folder of a training run."""
    return (path / CONFIG_FILE).is_file() and (path / ENVIRONMENT_FILE).is_file()


def inspect_run(folder: Path, console: Console, page: Page | None) -> dict[str, object]:
    """Print how far a run came and what came of it, add it to a page, and return it as JSON takes it.

    Raises:
        ConfigError: If its recipe cannot be read.
    """
    summary = summarise_run(folder)
    table = Facts(f'run {folder}')
    for name, value in summary.facts:
        table.fact(name, value)
    console.print(table)
    console.print(summary.verdict, markup=False, highlight=False, style=STYLES[summary.level])
    if page:
        add_run(page, folder, summary)
    return {
        'kind': 'run', 'path': str(folder), 'level': summary.level, 'verdict': summary.verdict, **dict(summary.facts)
    }  # fmt: skip


def is_checkpoint(path: str) -> bool:
    """Return whether a text names a checkpoint rather than a drive."""
    place = Path(path)
    folders = [place, *(place / name for name in RUN_FOLDERS)]
    inside = any((folder / name).exists() for folder in folders for name in (INFO_FILE, WEIGHTS_FILE, FOUNDATION_FILE))
    return path.startswith(HUB) or place.name in {INFO_FILE, WEIGHTS_FILE} or place.suffix in {'.pth', '.pt'} or inside


def checkpoint_table(checkpoint: Checkpoint, directory: Path) -> Facts:
    """Return everything that is known about a checkpoint."""
    info = checkpoint.info
    table = Facts(f'checkpoint {directory}')
    size_mb = checkpoint_bytes(directory) / 1e6
    parameters = sum(parameter.numel() for parameter in checkpoint.depth_net.parameters()) / 1e6
    table.fact('depth network', f'{info.backbone}, {parameters:.2f} M parameters')
    if info.foundation is not None:
        table.fact('of transformers', f'{info.foundation.source}, which says {info.foundation.convention} depth')
    table.fact('pose network', f'{info.pose_width}x{info.pose_height}' if checkpoint.pose_net else 'none')
    table.fact('file', f'{size_mb:.1f} MB, format {info.format}')
    table.fact('image size', f'{info.image_width}x{info.image_height}')
    table.fact('depth', f'{info.min_depth_m:g} to {info.max_depth_m:g}')
    table.fact('scale', f'{info.scale}: {info.scale_note}' if info.scale_note else info.scale)
    focal = f', reference focal length {info.focal_px:g} px' if info.focal_px else ''
    table.fact('zoom convention', info.zoom_convention + focal)
    table.fact('camera', describe_camera(info.camera) if info.camera else 'any')
    table.fact('trained on', '\n'.join(info.training_data) or 'unknown')
    table.fact('licence', info.licence or 'unknown')
    table.fact('versions', _pairs(info.versions))
    table.fact('metrics', _pairs({name: f'{value:.4g}' for name, value in info.metrics.items()}))
    return table


def inspect_source(
    source: FrameSource, limit: int, console: Console, page: Page | None = None
) -> dict[str, object]:
    """Print what a drive holds and whether it is good to train on, judged by its first frames (all for a limit of 0).

    Raises:
        DatasetError: If it cannot be read.
    """
    if isinstance(source, BagSource):
        console.print(topic_table(source.path))
    judge, pictures = Judge(), FramePictures()
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(source.report.name, total=limit or None)
        frames = []
        for frame in judge.look(islice(source, limit or None)):
            frames.append(_seen(frame))
            if page:
                pictures.add(frame.image)
            progress.advance(task)
    report = source.report
    judgement = judge.result(report)
    table = Facts(report.name)
    seen = f'the first {limit} read' if limit and len(frames) == limit else f'{len(frames)} read to the end'
    table.fact('frames', seen if report.claimed is None else f'{report.claimed} claimed, {seen}')
    table.fact('image size', ', '.join(sorted({frame.size for frame in frames})))
    table.fact('rate', _rate([frame.stamp_ns for frame in frames]))
    cameras = list(dict.fromkeys(frame.camera for frame in frames))
    table.fact('camera', '\n'.join(describe_camera(camera) if camera else 'unknown' for camera in cameras))
    speeds = [frame.speed_mps for frame in frames if frame.speed_mps is not None]
    table.fact('speed', f'{min(speeds):.1f} to {max(speeds):.1f} m/s in {len(speeds)} frames' if speeds else 'none')
    table.fact('poses', f'in {sum(frame.has_pose for frame in frames)} frames')
    table.fact('depth', f'in {sum(frame.has_depth for frame in frames)} frames')
    table.fact('not used', _pairs({reason: str(count) for reason, count in report.skipped.items()}) or 'nothing')
    console.print(table)
    console.print(findings_table(judgement))
    console.print(judgement.verdict, markup=False, highlight=False, style=STYLES[judgement.level])
    for note in report.notes:
        console.print(f'note: {note}', style='yellow', markup=False, highlight=False)
    if page:
        add_drive(page, report, table.facts, judgement, pictures)
    return {
        'kind': 'drive',
        'name': report.name,
        'level': judgement.level,
        'verdict': judgement.verdict,
        'findings': [finding._asdict() for finding in judgement.findings],
        'stride': judgement.stride,
        'not_fit': judgement.faults,
        'notes': report.notes,
        **dict(table.facts),
    }


def findings_table(judgement: Judgement) -> Table:
    """Return what a judgement says of each topic, and what to do."""
    table = Table(title='to train on without labels', title_justify='left')
    for heading in ('', '', 'found', 'what to do'):
        table.add_column(heading, no_wrap=not heading, max_width=WIDEST_FACT)
    for topic, level, found, advice in judgement.findings:
        table.add_row(Text(topic), Text(level, style=STYLES[level]), Text(found), Text(advice))
    return table


def topic_table(path: Path) -> Table:
    """Return the topics of a recording with type and count."""
    table = Table(title='topics', title_justify='left')
    for heading in ('topic', 'type', 'messages'):
        table.add_column(heading, justify='right' if heading == 'messages' else 'left')
    with BagFiles(path) as files:
        for topic in sorted(files.topics.values()):
            table.add_row(*(Text(str(field)) for field in topic))
    return table


def describe_camera(camera: Camera) -> str:
    """Return a camera in a line, with what looks wrong about it below."""
    lens = camera.distortion_model if not camera.is_rectified else 'rectified'
    horizontal, vertical = camera.field_of_view_deg
    line = (
        f'{camera.width}x{camera.height}, fx {camera.fx:.1f}, fy {camera.fy:.1f}, cx {camera.cx:.1f}, '
        f'cy {camera.cy:.1f}, {horizontal:.0f} x {vertical:.0f} degrees, {lens}'
    )
    return '\n'.join([line, *(f'doubtful: {doubt}' for doubt in camera.doubts())])


class Facts(Table):
    """A table of names and values; brackets in them are brackets, not rich's markup."""

    def __init__(self, title: str) -> None:
        super().__init__(title=Text(title), show_header=False, title_justify='left')
        self.facts: list[tuple[str, str]] = []
        self.add_column(style='bold', no_wrap=True)
        self.add_column(max_width=WIDEST_FACT)

    def fact(self, name: str, value: str) -> None:
        """Add a line."""
        self.add_row(name, Text(value))
        self.facts.append((name, value))


class Seen(NamedTuple):
    """What is kept of a frame: all but its pixels."""

    stamp_ns: int
    size: str
    camera: Camera | None
    speed_mps: float | None
    has_pose: bool
    has_depth: bool


def _seen(frame: Frame) -> Seen:
    height, width = frame.image.shape[:2]
    pose, depth = frame.T_world_camera is not None, frame.depth_m is not None
    return Seen(frame.stamp_ns, f'{width}x{height}', frame.camera, frame.speed_mps, pose, depth)


def _rate(stamps_ns: Sequence[int]) -> str:
    steps = np.diff(np.array(stamps_ns)) / 1e9
    if not len(steps):
        return 'one frame'
    return f'{1 / np.median(steps):.1f} Hz, steps of {steps.min():.3f} to {steps.max():.3f} s'


def _pairs(values: Mapping[str, object]) -> str:
    return ', '.join(f'{name} {value}' for name, value in values.items())
