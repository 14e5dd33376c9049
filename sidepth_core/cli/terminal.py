"""What commands share in how they speak: tables as wide as they need where nobody watches, JSON for scripts."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console

PIPED_WIDTH = 1000
"""Characters of a line that goes into a file or another program: a table is cut nowhere."""


JSON_HELP = 'print one JSON document instead of tables, for scripts'


def console(*, stderr: bool = False) -> Console:
    """Return rich's console; piped, it is as wide as any table, unless COLUMNS says otherwise."""
    found = Console(stderr=stderr)
    if found.is_terminal or 'COLUMNS' in os.environ:
        return found
    return Console(stderr=stderr, width=PIPED_WIDTH)


def command_parser(name: str, description: str, epilog: str = '') -> argparse.ArgumentParser:
    """Return the parser of `sidepth NAME`; the lines of description and epilog stay as they are written."""
    return argparse.ArgumentParser(
        prog=f'sidepth {name}',
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_network(parser: argparse.ArgumentParser) -> Callable[..., argparse.Action]:
    """Give a command the options that choose a network and where it runs; returns what adds more to their group."""
    add = parser.add_argument_group('the network').add_argument
    add('--checkpoint', help='directory, file or hf://org/repo; by default the built-in one')
    add('--device', default='auto', help='auto, cpu, cuda, cuda:1, ...')
    return add


def add_camera(add: Callable[..., argparse.Action], without_fov: str = '') -> None:
    """Add the options for images that bring no calibration: --camera and, with what holds without it, --fov."""
    add('--camera', default='', metavar='FILE', help='calibration of images that come without one, YAML or JSON')
    fov = 'horizontal field of view of images without calibration, degrees'
    add('--fov', type=float, metavar='DEG', help=f'{fov}; {without_fov}' if without_fov else fov)


def counted(number: int, noun: str) -> str:
    """Return how many there are: 1 frame, 2 frames."""
    return f'{number} {noun}' if number == 1 else f'{number} {noun}s'


def add_json(parser: argparse.ArgumentParser) -> None:
    """Give a command the option --json: one JSON document on stdout instead of tables, for scripts."""
    parser.add_argument('--json', action='store_true', help=JSON_HELP)


def print_json(content: Any) -> None:  # noqa: ANN401 - whatever JSON takes
    """Print a JSON document on stdout; numbers that are not finite become null, which JSON knows."""
    sys.stdout.write(json.dumps(_finite(content), indent=2, ensure_ascii=False, default=str) + '\n')


def _finite(value: Any) -> Any:  # noqa: ANN401 - as above
    if isinstance(value, float):
        return value if abs(value) < float('inf') else None
    if isinstance(value, dict):
        return {str(name): _finite(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item) for item in value]
    return value
