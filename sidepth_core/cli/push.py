"""`sidepth push`: publish a checkpoint on the Hugging Face Hub, with its model card."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from sidepth_core.checkpoint import (
    HUB,
    INFO_FILE,
    NAME,
    POSE_FILE,
    WEIGHTS_FILE,
    CheckpointInfo,
    holds_foundation,
    load_checkpoint,
    load_info,
    locate_checkpoint,
    model_card,
)
from sidepth_core.cli.terminal import add_json, command_parser, print_json
from sidepth_core.errors import CheckpointError, ConfigError
from sidepth_core.hub import upload

CARD_FILE = 'README.md'
FILES = (INFO_FILE, WEIGHTS_FILE, POSE_FILE)

DESCRIPTION = """\
Publish a checkpoint on the Hugging Face Hub, where `--checkpoint hf://ORGANISATION/NAME` and the node take it from. It
is loaded first, goes up in one commit, and gets a model card with its licence, scale, training data and scores: the
README.md beside it, or one that is written. Log in before with `hf auth login`, or set HF_TOKEN.
"""
EXAMPLES = """\
  sidepth push runs/monday hf://me/monday --dry-run              the model card, and nothing else
  sidepth push runs/monday hf://me/monday                        private: only you see it
  sidepth push runs/monday hf://me/monday --public --licence CC-BY-4.0
"""


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    arguments = command_parser('push', DESCRIPTION, EXAMPLES)
    add = arguments.add_argument
    add('checkpoint', help='directory of a checkpoint, or of a training run')
    add('repository', metavar='hf://ORGANISATION/NAME', help='where it goes; a new repository is made')
    add('--public', action='store_true', help='let everybody see a new repository')
    add('--licence', default='', help='licence of the weights, such as Apache-2.0, where the checkpoint names none')
    add('--message', default='', help='message of the commit')
    add('--dry-run', action='store_true', help='print the model card and upload nothing')
    add_json(arguments)
    return arguments


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    options = parser().parse_args(argv)
    repository = repository_of(options.repository)
    directory = locate_checkpoint(options.checkpoint)
    info = licensed(checked(directory), options.licence, directory)
    with TemporaryDirectory() as folder:
        # What goes up is a copy: a run that goes on may replace the files meanwhile.
        copy = copied(directory, Path(folder), info)
        card_file = directory / CARD_FILE
        own = card_file.read_text(encoding='utf-8') if card_file.is_file() else ''
        card = model_card(info, repository, own)
        if options.dry_run:
            sys.stdout.write(card)
            return 0
        files: dict[str, Path | bytes] = {name: copy / name for name in FILES if (copy / name).is_file()}
        files[CARD_FILE] = card.encode()
        message = options.message or f'Upload {info.backbone}, {info.scale}'
        done = upload(repository, files, frozenset(FILES), private=not options.public, message=message)
    seen = 'private' if done.private else 'public'
    if options.json:
        print_json({'url': done.url, 'commit': done.commit, 'visibility': seen, 'files': sorted(files)})
    else:
        print(f'{done.url} ({seen}): {", ".join(sorted(files))}')
        print(f'--checkpoint {HUB}{repository}@{done.commit} takes exactly these weights')
    return 0


def repository_of(text: str) -> str:
    """Return ORGANISATION/NAME of an address on the Hub.

    Raises:
        ConfigError: If it is none.
    """
    parts = text.removeprefix(HUB).split('/')
    if len(parts) != 2 or not all(NAME.fullmatch(part) for part in parts):
        raise ConfigError(
            f'{text!r} is no repository to push to: expected hf://ORGANISATION/NAME, of letters, digits, and . _ - in '
            'between; your own name on the Hub is an organisation too'
        )
    return '/'.join(parts)


def checked(directory: Path) -> CheckpointInfo:
    """Return what is known of a checkpoint that others can load from the Hub.

    Raises:
        CheckpointError: If they cannot.
    """
    if holds_foundation(directory):
        raise CheckpointError(
            f'{str(directory)!r} is a folder of transformers, as others published it, and `hf upload` copies such a '
            'folder; what was fine-tuned from it can be pushed'
        )
    info = load_info(directory)
    if info.foundation is not None and info.foundation.adapter_rank and not info.foundation.base.startswith(HUB):
        raise CheckpointError(
            f'{str(directory)!r} holds low-rank adapters only, of weights in {info.foundation.base!r}, which nobody '
            'else has: fine-tune from their address on the Hub (hf://...), then push'
        )
    return info


def licensed(info: CheckpointInfo, licence: str, directory: Path) -> CheckpointInfo:
    """Return the info with its licence.

    Raises:
        ConfigError: If nobody knows it, or another one is given than the checkpoint says.
    """
    if not (info.licence or licence):
        data = '; '.join(info.training_data) or 'unknown data'
        raise ConfigError(
            f'{str(directory)!r} names no licence, and others need one: give --licence, with what its training data '
            f'({data}) ask for'
        )
    if info.licence and licence not in {'', info.licence}:
        raise ConfigError(f'--licence {licence!r}, but {str(directory)!r} says {info.licence!r}: leave --licence out')
    return replace(info, licence=info.licence or licence)


def copied(directory: Path, folder: Path, info: CheckpointInfo) -> Path:
    """Copy a checkpoint into a folder, load it there, and return the folder; with the licence, where it had none.

    Raises:
        CheckpointError: If it is damaged.
    """
    for name in FILES:
        if (directory / name).is_file():
            shutil.copy(directory / name, folder / name)
    described = json.loads((folder / INFO_FILE).read_text(encoding='utf-8'))
    text = json.dumps({**described, 'licence': info.licence}, indent=2, ensure_ascii=False)
    (folder / INFO_FILE).write_text(f'{text}\n', encoding='utf-8')
    load_checkpoint(folder)
    return folder
