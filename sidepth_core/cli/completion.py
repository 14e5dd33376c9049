"""`sidepth completion`: a script that lets the shell complete commands, options and files.

The script is complete in itself (shtab writes it): pressing Tab starts no Python, which would take seconds to import
torch.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sidepth_core.cli import COMMANDS
from sidepth_core.cli.terminal import command_parser
from sidepth_core.errors import ConfigError

SHELLS = ('bash', 'zsh', 'tcsh')
EPILOG = """\
  sidepth completion bash > ~/.local/share/bash-completion/completions/sidepth
  sidepth completion zsh > ~/.zfunc/_sidepth       (with fpath+=~/.zfunc before compinit)
  sidepth completion tcsh > ~/.sidepth.tcsh        (and `source ~/.sidepth.tcsh` in ~/.tcshrc)

Write it anew after an update.
"""
PATHS = ('source', 'sources', 'path', 'file', 'checkpoint', 'camera', 'bag', 'recipe', 'out')
"""Arguments that may be a path, though some may be other things too."""


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    result = command_parser(
        'completion', 'Print a script with which the Tab key completes commands, options and files.', EPILOG
    )
    result.add_argument('shell', choices=SHELLS, help='which shell it is for')
    return result


def main(argv: Sequence[str]) -> int:
    """Print the script.

    Raises:
        ConfigError: If shtab is not installed.
    """
    options = parser().parse_args(argv)
    try:
        import shtab  # noqa: PLC0415 - only this command needs it
    except ImportError:
        raise ConfigError('completion needs shtab, which is not installed: run `pip install shtab`') from None
    sys.stdout.write(shtab.complete(whole_parser(shtab.FILE), shell=options.shell))
    return 0


def whole_parser(files: Any) -> argparse.ArgumentParser:  # noqa: ANN401 - what shtab calls files
    """Return one parser with every command as a subcommand; arguments that may be paths complete as `files`."""
    whole = argparse.ArgumentParser(prog='sidepth', description='Metric depth from one camera.')
    commands = whole.add_subparsers()
    for name, line in COMMANDS.items():
        try:
            module = importlib.import_module(f'sidepth_core.cli.{name.replace("-", "_")}')
        except ImportError:  # `train` after a bare `pip install .`
            continue
        command = commands.add_parser(name, help=line, add_help=False)
        for action in module.parser()._actions:  # noqa: SLF001 - argparse lists them nowhere else
            if action.help == argparse.SUPPRESS:
                continue
            copied = command._add_action(_plain(action))  # noqa: SLF001 - jsonargparse's cannot be added again
            if (action.type is Path or action.dest in PATHS) and action.choices is None:
                copied.complete = files  # type: ignore[attr-defined] # shtab's way to say so
    return whole


def _plain(action: argparse.Action) -> argparse.Action:
    """Return an option or argument as argparse's own class has it, with what matters to completion."""
    takes_nothing = action.nargs == 0
    if takes_nothing:
        return argparse._StoreTrueAction(action.option_strings, action.dest, help=action.help)  # noqa: SLF001
    return argparse._StoreAction(  # noqa: SLF001
        action.option_strings, action.dest, nargs=action.nargs, choices=action.choices, help=action.help
    )
