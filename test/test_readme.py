"""What the README shows must run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sidepth_core.checkpoint import DEFAULT_CHECKPOINT
from sidepth_core.cli import COMMANDS

ROOT = Path(__file__).parents[1]
README = (ROOT / 'README.md').read_text(encoding='utf-8')


def test_the_python_lines_run(monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r'```python\n(.*?)```', README, re.DOTALL)
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    exec(code, names)  # noqa: S102 - our own README
    depth_m = names['depth_m']
    assert depth_m.shape == names['image'].shape[:2]  # type: ignore[attr-defined]
    assert names['estimator'].info.scale == 'metric'  # type: ignore[attr-defined]


def test_every_file_it_points_to_is_there() -> None:
    links = [link for link in re.findall(r'\]\(([^)]+)\)', README) if not link.startswith('http')]
    assert len(links) > 3
    assert [link for link in links if not (ROOT / link.partition('#')[0]).exists()] == []


def test_every_launch_file_and_command_it_names_exists() -> None:
    launched = set(re.findall(r'ros2 launch sidepth_ros (\S+\.launch\.py)', README))
    assert launched
    assert all((ROOT / 'launch' / name).is_file() for name in launched)
    assert set(re.findall(r'sidepth ([a-z-]+)[ `]', README)) & set(COMMANDS)


def test_every_launch_argument_it_names_is_declared() -> None:
    lines = re.findall(r'ros2 launch sidepth_ros (\S+\.launch\.py)(.*)', README)
    given = [(name, argument) for name, rest in lines for argument in re.findall(r'(\w+):=', rest)]
    assert len(given) > 3
    sources = {name: (ROOT / 'launch' / name).read_text(encoding='utf-8') for name, _ in given}
    assert [(name, argument) for name, argument in given if f"'{argument}'," not in sources[name]] == []


def test_every_make_target_it_names_exists() -> None:
    makefile = (ROOT / 'Makefile').read_text(encoding='utf-8')
    targets = set(re.findall(r'make ([a-z-]+)', README))
    assert {'demo', 'test', 'setup'} <= targets
    assert all(re.search(rf'^{target}:', makefile, re.MULTILINE) for target in targets)


def test_the_built_in_checkpoint_is_in_the_package() -> None:
    assert (DEFAULT_CHECKPOINT / 'model.safetensors').stat().st_size <= 40 * 2**20
