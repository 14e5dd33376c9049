from __future__ import annotations

import importlib
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.table import Table

from sidepth_core import __version__, cli
from sidepth_core.cli import terminal
from sidepth_core.errors import ConfigError


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(['--help']) == 0
    printed = capsys.readouterr().out
    assert all(name in printed and line in printed for name, line in cli.COMMANDS.items())


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(['--version']) == 0
    assert __version__ in capsys.readouterr().out


def test_an_unknown_command_names_its_nearest_neighbour(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(['tarin']) == 2
    assert "did you mean 'train'?" in capsys.readouterr().err


def test_an_error_of_ours_is_one_line_and_status_two(capsys: pytest.CaptureFixture[str]) -> None:
    def fails(_: Sequence[str]) -> int:
        raise ConfigError('the sky is too low')

    assert cli.run(fails, []) == 2
    assert capsys.readouterr().err == 'error: the sky is too low\n'


def test_an_interruption_ends_a_command_that_is_being_imported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = []

    def imported(_: str) -> SimpleNamespace:
        handlers.append(signal.getsignal(signal.SIGINT))
        return SimpleNamespace(main=lambda _: handlers.append(signal.getsignal(signal.SIGINT)) or 0)

    monkeypatch.setattr(importlib, 'import_module', imported)
    assert cli.main(['train']) == 0
    assert handlers == [signal.SIG_DFL, signal.default_int_handler]


def test_what_the_disk_refuses_is_one_line_and_status_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'file').write_text('')

    def fails(_: Sequence[str]) -> int:
        (tmp_path / 'file' / 'below').mkdir()
        return 0

    assert cli.run(fails, []) == 2
    assert capsys.readouterr().err == f"error: '{tmp_path}/file/below': Not a directory\n"


def test_under_the_name_of_a_command_main_is_that_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr('sys.argv', ['/opt/ros/lib/sidepth_ros/train', '--help'])
    with pytest.raises(SystemExit, match='0'):
        cli.main()
    assert '--recipe' in capsys.readouterr().out


def test_a_table_that_is_piped_is_cut_nowhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv('COLUMNS', raising=False)
    table = Table('x' * 150, 'y' * 150)
    table.add_row('a' * 150, 'b' * 150)
    terminal.console().print(table)
    assert 'a' * 150 + ' │ ' + 'b' * 150 in capsys.readouterr().out


def test_numbers_that_json_does_not_know_are_null(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_json({'a': float('nan'), 'b': (1.5, float('inf'))})
    assert json.loads(capsys.readouterr().out) == {'a': None, 'b': [1.5, None]}


@pytest.mark.skipif(shutil.which('bash') is None, reason='bash is not installed')
def test_the_shell_completes_commands_options_and_choices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(['completion', 'bash']) == 0
    (tmp_path / 'script').write_text(capsys.readouterr().out)

    def completed(*words: str) -> set[str]:
        line = ' '.join(f"'{word}'" for word in ('sidepth', *words))
        call = f'source {tmp_path}/script; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _shtab_sidepth'
        script = f'{call}; printf "%s\\n" "${{COMPREPLY[@]}}"'
        return set(subprocess.run(['bash', '-c', script], check=True, capture_output=True, text=True).stdout.split())

    assert completed('pre') == {'predict', 'prepare'}
    assert completed('train', '--check') == {'--checkpoint'}
    assert completed('predict', '--format', '') == {'mm', 'kitti', 'npy', 'none'}


@pytest.mark.parametrize('command', cli.COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(f'sidepth_core.cli.{command.replace("-", "_")}')
    with pytest.raises(SystemExit, match='0'):
        module.main(['--help'])
    assert f'sidepth {command}' in capsys.readouterr().out


def test_a_command_whose_packages_are_missing_names_them_and_the_way_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, 'sidepth_core.cli.train', raising=False)
    monkeypatch.delitem(sys.modules, 'sidepth_core.training.fit', raising=False)
    monkeypatch.setitem(sys.modules, 'lightning', None)
    assert cli.main(['train', '--recipe', 'debug']) == 2
    assert re.search(r"needs the Python package 'lightning'.*pip install", capsys.readouterr().err)
