"""`sidepth synth`: a drive through the synthetic world as a video, a folder or a rosbag2."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sidepth_core.cli import terminal
from sidepth_core.data.calibration import read_calibration
from sidepth_core.data.frames import Frame
from sidepth_core.data.synthetic import CAMERA, SCENES, Sensor, SyntheticSource
from sidepth_core.data.synthetic.export import write_bag, write_folder, write_video

FORMATS = ('video', 'folder', 'mcap', 'sqlite3')
EPILOG = """\
examples:
  sidepth synth --out drive.mp4
  sidepth synth --scene highway --seed 4 --frames 600 --moving --out highway_bag
  sidepth synth --scene corridor --camera robot.yaml --format folder --out corridor
"""


def parser() -> argparse.ArgumentParser:
    """Return the command line of `sidepth synth`."""
    result = argparse.ArgumentParser(
        prog='sidepth synth',
        description='Render a procedural drive whose depth, poses, speed and camera are known exactly.',
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    add('--out', type=Path, required=True, metavar='PATH', help='what to write; it must not exist')
    add('--format', choices=FORMATS, help='video where PATH ends in .mp4, else mcap (a rosbag2)')
    add('--scene', choices=(*SCENES, 'mixed'), default='street', help='where to drive (%(default)s)')
    add('--seed', type=int, default=0, help='another number is another world (%(default)s)')
    add('--frames', type=int, default=300, help='how many (%(default)s)')
    add('--fps', type=float, default=10.0, help='frames a second (%(default)s)')
    add('--width', type=int, default=640, help='pixels (%(default)s)')
    add('--height', type=int, default=360, help='pixels (%(default)s)')
    add('--fov', type=float, default=70.0, metavar='DEG', help='horizontal field of view, degrees (%(default)s)')
    add('--camera', type=Path, metavar='FILE', help='calibration (YAML or JSON) to look through, lens distortion and '
        'all; replaces --width, --height, --fov')  # fmt: skip
    add('--moving', action='store_true', help='let traffic and people move')
    add('--perfect', action='store_true', help='leave out exposure changes, colour cast, vignetting, blur and noise')
    add('--compressed', choices=('raw', 'jpeg'), default='raw', help='how a bag or a folder holds images (%(default)s)')
    add('--depth', action='store_true', help='also write the exact depth into a bag, on /camera/depth/image')
    add('--device', default='cpu', help='where to render: cpu or cuda (%(default)s)')
    return result


def main(argv: Sequence[str]) -> int:
    """Write the drive, say what it is and what to do with it, and return the exit status."""
    arguments = parser().parse_args(argv)
    source = SyntheticSource(
        scene=arguments.scene,
        seed=arguments.seed,
        frames=arguments.frames,
        width=arguments.width,
        height=arguments.height,
        camera=read_calibration(arguments.camera) if arguments.camera else None,
        fov_deg=arguments.fov,
        fps=arguments.fps,
        moving_objects=arguments.moving,
        sensor=Sensor() if arguments.perfect else CAMERA,
        device=arguments.device,
    )
    out: Path = arguments.out
    kind = arguments.format or ('video' if out.suffix.lower() == '.mp4' else 'mcap')
    console = terminal.console()
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        frames = _written(kind, source, out, arguments)
        for _ in progress.track(frames, total=source.frames, description=f'{arguments.scene} {arguments.seed}'):
            pass
    camera = source.camera_or_default
    what = f'{out}: {source.frames} frames of {camera.width}x{camera.height}, {kind}'
    for line in (what, *_next_steps(kind, out)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return 0


def _written(kind: str, source: SyntheticSource, out: Path, arguments: argparse.Namespace) -> Iterator[Frame]:
    if kind == 'video':
        return write_video(source, out)
    if kind == 'folder':
        return write_folder(source, out, arguments.compressed)
    return write_bag(source, out, kind, arguments.compressed, depth=arguments.depth)


def _next_steps(kind: str, out: Path) -> tuple[str, ...]:
    """Return how to look at what was written, and how to train on it."""
    drive = f"'{out}?camera={out.with_suffix('.json')}'" if kind == 'video' else str(out)
    train = f'  train on it:  sidepth train --bag {drive} --out runs/{out.stem}'
    look = {
        'video': f'  look at it:   any video player; its camera is in {out.with_suffix(".json")}',
        'folder': f'  look at it:   {out / "image"}; depth, poses and times lie beside',
    }.get(kind, f'  look at it:   ros2 bag play {out}    (what it holds: sidepth inspect {out})')
    return look, train
