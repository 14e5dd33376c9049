"""`sidepth calibrate-scale`: the scale of a checkpoint on a drive with odometry, ranges or a known camera height."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import islice

from rich.console import Console
from rich.table import Table

from sidepth_core.cli import terminal
from sidepth_core.cli.terminal import add_json, command_parser, print_json
from sidepth_core.data.sources import open_sources
from sidepth_core.errors import ConfigError, ScaleError
from sidepth_core.evaluation.evaluated_model import load_model
from sidepth_core.evaluation.scale_calibration import SourceScale, calibrate_scale
from sidepth_core.scale import mount_of

EXAMPLES = """\
  sidepth calibrate-scale drive.mcap                        odometry of the bag against what the images say
  sidepth calibrate-scale --height 1.65 drive.mcap          and the camera's height over the ground
  sidepth calibrate-scale 'drive.mcap?lidar_topic=/points'  and a LiDAR, along /tf_static
"""


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    arguments = command_parser(
        'calibrate-scale',
        'Measure the scale of a checkpoint on a drive with odometry, known depth or a known camera height.',
        EXAMPLES,
    )
    add = arguments.add_argument
    add('source', metavar='SOURCE', help='the drive: a bag, a folder, KITTI, synthetic:...')
    add('--checkpoint', help='directory, file or hf://org/repo; by default the built-in one')
    add('--height', type=float, metavar='M', help='height of the camera over the ground')
    add('--pitch', type=float, default=0.0, metavar='DEG', help='how far it looks down (0)')
    add('--roll', type=float, default=0.0, metavar='DEG', help='how far it leans to the right (0)')
    add('--every', type=int, default=1, metavar='N', help='look at every N-th frame only')
    add('--limit', type=int, default=0, metavar='N', help='look at N frames at most (all)')
    add('--device', default='auto', help='auto, cpu, cuda, cuda:1, ...')
    add('--engine', default='eager', help='how the network runs; see sidepth benchmark')
    add('--camera', default='', metavar='FILE', help='calibration of a drive that brings none, YAML or JSON')
    add_json(arguments)
    return arguments


def main(argv: Sequence[str]) -> int:
    """Run the command; exit status 1 says that nothing could be measured."""
    options = parser().parse_args(argv)
    if options.every < 1 or options.limit < 0:
        raise ConfigError(f'--every {options.every} must be 1 or more, --limit {options.limit} 0 or more')
    mount = None if options.height is None else mount_of(options.height, options.pitch, options.roll)
    model = load_model(options.checkpoint, device=options.device, engine=options.engine)
    console = terminal.console(stderr=options.json)
    found: dict[str, SourceScale] = {}
    for weighted in open_sources([options.source], with_depth=True, camera=options.camera):
        source = weighted.source
        chosen = islice(islice(source, 0, None, options.every), options.limit or None)
        with console.status(source.report.name):
            found = calibrate_scale(model, chosen, mount)
        show(source.report.name, found, console)
        for note in source.report.notes:
            console.print(note, style='dim', markup=False, highlight=False)
    if options.json:
        print_json({source: {'metres_a_unit': one.factor, **one._asdict()} for source, one in found.items()})
    return 0 if any(one.measurements for one in found.values()) else 1


def show(name: str, found: Mapping[str, SourceScale], console: Console) -> None:
    """Print what each source says, and what to put into the parameters.

    Raises:
        ScaleError: If the drive says nothing that gives a scale.
    """
    if not found:
        raise ScaleError(
            f'{name!r} has neither poses, speeds nor known depth: give --height, or a drive with odometry or ranges'
        )
    table = Table(title=f'scale on {name}', title_justify='left')
    for heading in ('source', 'metres a unit', 'spread', 'std', 'measured', 'refused'):
        table.add_column(heading, justify='left' if heading in {'source', 'refused'} else 'right')
    for source, one in found.items():
        refused = '\n'.join(f'{count}: {reason}' for reason, count in one.refused.items())
        numbers = (f'{one.factor:.3f}', f'{one.spread:.1%}', f'{one.std:.1%}') if one.measurements else ('-', '-', '-')
        table.add_row(source, *numbers, str(one.measurements), refused)
    console.print(table)
    best = min((one for one in found.values() if one.measurements), key=lambda one: one.std, default=None)
    if best is not None:
        console.print('for the parameters of depth_node, by the surest of them:', highlight=False)
        console.print(f'    scale_source: fixed\n    scale_factor: {best.factor:.4g}', highlight=False)
