"""`sidepth benchmark`, which is `make bench`: speed and memory on this machine, in one table."""

from __future__ import annotations

import argparse
import json
import math
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from rich.table import Table

from sidepth_core import __version__
from sidepth_core.benchmarks import BENCHMARKS, ON_REQUEST, Request, Row, module_of, run
from sidepth_core.benchmarks.inference import cores
from sidepth_core.benchmarks.page import write_section
from sidepth_core.cli import terminal
from sidepth_core.cli.terminal import command_parser
from sidepth_core.errors import SidepthError
from sidepth_core.inference import choose_device

RUNTIMES = ('openvino', 'onnxruntime')
"""Packages whose versions are named with the machine, where they are installed."""


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    names = '\n'.join(f'  {name:16} {text}' for name, text in BENCHMARKS.items())
    result = command_parser('benchmark', 'Measure speed and memory on this machine.', f'benchmarks:\n{names}')
    named = f'which benchmarks to run (all but {", ".join(ON_REQUEST)})'
    result.add_argument('names', nargs='*', metavar='NAME', help=named)
    result.add_argument('--checkpoint', help='whose network to measure; by default the built-in one')
    result.add_argument('--device', default='auto', help='auto, cpu, cuda, cuda:1, ...')
    result.add_argument('--threads', type=int, help='CPU threads for torch (as many as it takes by itself)')
    result.add_argument('--quick', action='store_true', help='only the smallest case of each')
    result.add_argument('--compiled', action='store_true', help='include torch.compile, minutes a network on a CPU')
    result.add_argument('--json', type=Path, metavar='FILE', help='write the rows here too')
    result.add_argument('--page', type=Path, metavar='FILE', help='write tables and pictures into this Markdown page')
    return result


def main(argv: Sequence[str]) -> int:
    """Run the command; exit status 1 says that something promised was not reached."""
    commands = parser()
    options = commands.parse_args(argv)
    if unknown := [name for name in options.names if name not in BENCHMARKS]:
        commands.error(f'no benchmark {", ".join(map(repr, unknown))}: choose from {", ".join(BENCHMARKS)}')
    if options.threads:
        torch.set_num_threads(options.threads)
    device, threads = choose_device(options.device), options.threads or 0
    request = Request(device, options.quick, options.checkpoint, options.compiled, threads)
    chosen = options.names or [name for name in BENCHMARKS if name not in ON_REQUEST]
    rows = measure(chosen, request, options.page)
    if options.json:
        text = json.dumps({'machine': machine(request), 'rows': [asdict(row) for row in rows]}, indent=2)
        options.json.write_text(f'{text}\n', encoding='utf-8')
    return int(any(row.met is False for row in rows))


def measure(names: Sequence[str], request: Request, page: Path | None = None) -> list[Row]:
    """Run the benchmarks, printing each one's table, and writing its section of the page, when it is done."""
    console = terminal.console()
    console.print(machine(request), highlight=False)
    rows = []
    for name in names:
        try:
            with console.status(f'{name}: {BENCHMARKS[name]}'):
                found = list(run(name, request))
        except (SidepthError, OSError, subprocess.CalledProcessError) as error:
            if len(names) == 1:
                raise
            # A quarter of an hour of measuring must not end with the first node that does not start.
            said = error.stderr if isinstance(error, subprocess.CalledProcessError) else ''
            console.print(f'{name} failed: {error}\n{said or ""}'.rstrip(), style='red', markup=False)
            rows.append(Row(name, math.nan, '', wanted='to be measured', met=False, note=str(error)))
            continue
        console.print(table_of(name, found))
        if page is not None:
            write_section(page, tuple(BENCHMARKS), name, BENCHMARKS[name], module_of(name), machine(request), found)
        rows += found
    return rows


def machine(request: Request) -> str:
    """Return what the figures were measured on, in a line."""
    processor = torch.cuda.get_device_name(request.device) if request.device.type == 'cuda' else _cpu()
    threads = torch.get_num_threads()
    runtimes = [f', {name} {found}' for name in RUNTIMES if (found := _version(name))]
    return (
        f'{processor}, {cores()} cores, torch on {threads} unless said otherwise; Python {platform.python_version()}, '
        f'torch {torch.__version__}{"".join(runtimes)}, sidepth {__version__}'
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ''


def table_of(name: str, rows: Sequence[Row]) -> Table:
    """Return the rows of one benchmark as a table."""
    table = Table(title=f'{name}: {BENCHMARKS[name]}', title_justify='left')
    for heading in ('what', 'figure', 'ratio', 'wanted'):
        table.add_column(heading, justify='left' if heading == 'what' else 'right')
    for row in rows:
        ratio = '' if row.ratio is None else f'{row.ratio:.2f} of {row.against}'
        verdict = {None: '', True: ': reached', False: ': NOT reached'}[row.met]
        notes = [*filter(None, [row.note]), *(f'{name} {value:.4g}' for name, value in row.figures.items())]
        what = f'{row.what} ({", ".join(notes)})' if notes else row.what
        table.add_row(what, f'{row.value:.4g} {row.unit}', ratio, row.wanted + verdict)
    return table


def _cpu() -> str:
    """Return the name of the processor; Linux keeps it in a file, others in `platform`."""
    info = Path('/proc/cpuinfo')
    lines = info.read_text(encoding='utf-8').splitlines() if info.is_file() else []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor() or platform.machine()
