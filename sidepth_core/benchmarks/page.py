"""docs/benchmarks.md: one section for each benchmark, replaced when that benchmark runs again."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from types import ModuleType

from sidepth_core.benchmarks.row import Row

HEAD = """\
# Benchmarks

`make bench` measures a machine and writes this page; `sidepth benchmark NAME --page docs/benchmarks.md` writes one
section anew. Each section says what it was measured on. Compare ratios, which are of one run; milliseconds are of that
machine, and of what else it did meanwhile. What is under test takes turns, so that this falls on all of it. A dash is
what was not measured; a section that names no GPU was measured on none.
"""


def write_section(
    page: Path, order: Sequence[str], name: str, title: str, module: ModuleType, machine: str, rows: Sequence[Row]
) -> None:
    """Write the section of a benchmark into a page, in place of its last one; make the page where it is missing.

    Args:
        page: The Markdown file; pictures go into the folder `benchmarks` beside it.
        order: Names of all benchmarks, as their sections are to follow each other.
        name: Of the benchmark.
        title: What it measures.
        module: The benchmark; ABOUT in it stands above the tables, and what its `pictures(rows, folder)` draws (file
            names with captions) below.
        machine: What the rows were measured on.
        rows: What was measured.

    Raises:
        OSError: If the page or a picture cannot be written.
    """
    folder = page.parent / 'benchmarks'
    draw: Callable[[Sequence[Row], Path], list[tuple[str, str]]] | None = getattr(module, 'pictures', None)
    pictures = draw(rows, folder) if draw and rows else []
    parts = [
        f'## {name}: {title}',
        getattr(module, 'ABOUT', '').strip(),
        f'{machine}.',
        *map(table, grouped(rows)),
        *(f'![{caption}](benchmarks/{file})' for file, caption in pictures),
    ]
    text = page.read_text(encoding='utf-8') if page.is_file() else HEAD
    sections = dict(re.findall(r'<!-- benchmark (\w+) -->\n(.*?)\n<!-- end -->', text, re.DOTALL))
    sections[name] = '\n\n'.join(filter(None, parts))
    known = [other for other in order if other in sections]
    body = ''.join(f'\n<!-- benchmark {other} -->\n{sections[other]}\n<!-- end -->\n' for other in known)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(HEAD + body, encoding='utf-8')


def grouped(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows in runs that have the same columns."""
    return [list(group) for _, group in groupby(rows, key=lambda row: (row.unit, tuple(row.figures)))]


def table(rows: Sequence[Row]) -> str:
    """Return rows with the same columns as a Markdown table."""
    figures = list(rows[0].figures)
    compared, promised = any(row.ratio is not None for row in rows), any(row.wanted for row in rows)
    heads = ['', rows[0].unit, *figures, *['ratio'] * compared, *['wanted'] * promised]
    lines = [heads, ['---', *['---:'] * (len(heads) - 1)]]
    for row in rows:
        what = f'{row.what} ({row.note})' if row.note else row.what
        cells = [what, number(row.value), *(number(row.figures[name]) for name in figures)]
        cells += [against(row)] * compared + [wanted(row)] * promised
        lines.append(cells)
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in lines)


def number(value: float) -> str:
    """Return a figure with as many digits as it is good for; a dash where there is none."""
    if value != value:  # noqa: PLR0124 - not a number
        return '-'
    return f'{value:.0f}' if abs(value) >= 100 else f'{value:.3g}'


def against(row: Row) -> str:
    """Return a row's ratio, and what it is a ratio of."""
    return '' if row.ratio is None else f'{row.ratio:.2f} of {row.against}'


def wanted(row: Row) -> str:
    """Return what was promised, and whether it was reached."""
    return row.wanted + {None: '', True: ': reached', False: ': **not reached**'}[row.met]
