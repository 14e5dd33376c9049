"""The page of benchmarks: one section each, replaced when measured again, tables that say what rows say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from sidepth_core.benchmarks.page import number, table, write_section
from sidepth_core.benchmarks.row import Row

ORDER = ('first', 'second', 'third')


def benchmark(about: str = '') -> ModuleType:
    module = ModuleType('benchmark')
    module.__dict__['ABOUT'] = about
    return module


def test_section_is_replaced_and_the_others_stay_in_order(tmp_path: Path) -> None:
    page = tmp_path / 'docs' / 'benchmarks.md'
    for name, value in (('third', 1.0), ('first', 2.0), ('third', 3.0)):
        module, rows = benchmark(f'About {name}.'), [Row(name, value, 'ms')]
        write_section(page, ORDER, name, f'the {name} one', module, 'A machine', rows)
    text = page.read_text()
    assert text.startswith('# Benchmarks\n')
    assert text.index('## first: the first one') < text.index('## third: the third one')
    assert 'About first.\n\nA machine.\n\n|  | ms |\n' in text
    assert text.count('## third') == 1
    assert '| third | 3 |' in text
    assert '| third | 1 |' not in text


def test_pictures_lie_beside_the_page(tmp_path: Path) -> None:
    module = benchmark()

    def pictures(rows: Sequence[Row], folder: Path) -> list[tuple[str, str]]:
        folder.mkdir(parents=True)
        (folder / 'curve.png').write_text(str(len(rows)))
        return [('curve.png', 'A curve')]

    module.__dict__['pictures'] = pictures
    page = tmp_path / 'page.md'
    write_section(page, ORDER, 'first', 'one', module, 'A machine', [Row('a', 1.0, 'ms')])
    assert '![A curve](benchmarks/curve.png)' in page.read_text()
    assert (tmp_path / 'benchmarks' / 'curve.png').read_text() == '1'


def test_table_has_a_column_for_each_figure_and_says_what_was_reached() -> None:
    rows = [
        Row('plain', 30.0, 'ms', note='2 cores', figures={'p95 ms': 34.567, 'drops': 0}),
        Row('ours', 12.0, 'ms', 'plain', 0.4, 'at most 0.5', True, figures={'p95 ms': math.nan, 'drops': 3}),
    ]
    assert table(rows).splitlines() == [
        '|  | ms | p95 ms | drops | ratio | wanted |',
        '| --- | ---: | ---: | ---: | ---: | ---: |',
        '| plain (2 cores) | 30 | 34.6 | 0 |  |  |',
        '| ours | 12 | - | 3 | 0.40 of plain | at most 0.5: reached |',
    ]


@pytest.mark.parametrize(('value', 'text'), [(1234.5, '1234'), (99.94, '99.9'), (0.01234, '0.0123'), (math.nan, '-')])
def test_figures_have_the_digits_that_they_are_good_for(value: float, text: str) -> None:
    assert number(value) == text
