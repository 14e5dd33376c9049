"""`sidepth inspect`: what a checkpoint, a drive or a prepared cache holds."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
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
from sidepth_core.cli.prepare import show
from sidepth_core.data.bags import BagFiles, BagSource
from sidepth_core.data.frames import Frame, FrameSource
from sidepth_core.data.prepare import PreparedDataset
from sidepth_core.data.sources import open_sources


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog='sidepth inspect',
        description='Show what a checkpoint, a bag, a video, a folder or a prepared cache holds.',
    )
    parser.add_argument('path', nargs='?', help='what to look at; by default the checkpoint of the package')
    parser.add_argument(
        '--frames', type=int, default=100, metavar='N', help='how many frames of a drive to read (100); 0 for all'
    )
    options = parser.parse_args(argv)
    console = Console()
    if options.path is None or is_checkpoint(options.path):
        directory = locate_checkpoint(options.path)
        console.print(checkpoint_table(load_checkpoint(directory), directory))
    elif (Path(options.path) / 'clips.npz').is_file():
        show(PreparedDataset(options.path).report, console)
    else:
        for weighted in open_sources([options.path]):
            inspect_source(weighted.source, options.frames, console)
    return 0


def is_checkpoint(path: str) -> bool:
    """Return whether a text names a checkpoint rather than a drive."""
    place = Path(path)
    folders = [place, *(place / name for name in RUN_FOLDERS)]
    inside = any((folder / name).exists() for folder in folders for name in (INFO_FILE, WEIGHTS_FILE))
    return path.startswith(HUB) or place.name in {INFO_FILE, WEIGHTS_FILE} or place.suffix in {'.pth', '.pt'} or inside


def checkpoint_table(checkpoint: Checkpoint, directory: Path) -> Table:
    """Return everything that is known about a checkpoint."""
    info = checkpoint.info
    table = Facts(f'checkpoint {directory}')
    size_mb = checkpoint_bytes(directory) / 1e6
    parameters = sum(parameter.numel() for parameter in checkpoint.depth_net.parameters()) / 1e6
    table.fact('depth network', f'{info.backbone}, {parameters:.2f} M parameters')
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


def inspect_source(source: FrameSource, limit: int, console: Console) -> None:
    """Print what a drive holds, judged by its first frames (all for a limit of 0).

    Raises:
        DatasetError: If it cannot be read.
    """
    if isinstance(source, BagSource):
        console.print(topic_table(source.path))
    frames = [_seen(frame) for frame in islice(source, limit or None)]
    report = source.report
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
    for note in report.notes:
        console.print(note, style='dim', markup=False, highlight=False)


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
        self.add_column(style='bold', no_wrap=True)
        self.add_column()

    def fact(self, name: str, value: str) -> None:
        """Add a line."""
        self.add_row(name, Text(value))


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
