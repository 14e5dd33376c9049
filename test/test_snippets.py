"""Every command and snippet of README, docs and training: shell lines are parsed, Python lines run."""

from __future__ import annotations

from pathlib import Path

import pytest
from snippets import ROOT, Block, blocks, commands, fault

PAGES = sorted(page for pattern in ('*.md', 'docs/*.md', 'training/*.md') for page in ROOT.glob(pattern))
BLOCKS = [block for page in PAGES for block in blocks(page)]
SHELL = [block for block in BLOCKS if block.language == 'sh']
PYTHON = sorted({block.page for block in BLOCKS if block.language == 'python'})


def block_id(block: Block) -> str:
    return f'{block.page.relative_to(ROOT)}-{" ".join(block.text.split()[:4])}'


@pytest.mark.parametrize('block', SHELL, ids=block_id)
def test_every_shell_line_is_understood(block: Block) -> None:
    faults = [found for words in commands(block.text) if (found := fault(words))]
    assert faults == []


@pytest.mark.parametrize('page', PYTHON, ids=lambda page: page.name)
def test_the_python_lines_of_a_page_run_from_top_to_bottom(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    for block in blocks(page):
        if block.language == 'python':
            exec(compile(block.text, str(page), 'exec'), names)  # noqa: S102 - our own pages


@pytest.mark.parametrize(
    'line',
    [
        'sidepth predict images --out depth --fow 70',
        'sidepth predikt images --out depth',
        'sidepth train --recipe no_such_recipe',
        'sidepth train --stepps 3',
        'make demonstration',
        'ros2 launch sidepth_ros depth.launch.py camera:=front',
        'ros2 launch sidepth_ros deep.launch.py',
        'ros2 run sidepth_ros no_such_executable',
        'ros2 param set /depth no_such_parameter 3',
        'ros2 param set /depth output_size huge',
        'ros2 service call /depth/no_such_service std_srvs/srv/Trigger',
        "pip install '.[no_such_extra]'",
        'frobnicate everything',
    ],
)
def test_a_line_that_cannot_work_is_found(line: str) -> None:
    (words,) = commands(line)
    assert fault(words)
