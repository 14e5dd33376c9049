"""Where a checkpoint lies: in a folder, a training run, the package, or on the Hugging Face Hub."""

from __future__ import annotations

import re
from pathlib import Path

from sidepth_core.checkpoint.files import INFO_FILE, POSE_FILE, WEIGHTS_FILE, is_staged
from sidepth_core.errors import CheckpointError
from sidepth_core.hub import hub_answers
from sidepth_core.models.foundation import is_foundation
from sidepth_core.models.foundation.folder import CARD_FILE, CONFIG_FILE, PROCESSOR_FILES
from sidepth_core.models.foundation.loading import WEIGHTS_PATTERN

BUILT_IN = Path(__file__).parents[1] / 'weights'
"""Where the checkpoints are that come with the package, each in a folder of its name."""
DEFAULT_CHECKPOINT = BUILT_IN / 'small'
"""The one that is taken where none is named."""

HUB = 'hf://'
SHARDED = (WEIGHTS_PATTERN, 'model.safetensors.index.json')
"""Files of large models of `transformers`."""
RUN_FOLDERS = ('best', 'last')
"""Where a training run keeps its checkpoints; the first that is there is taken."""
NAME = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_.\-]*')
"""What a part of an address on the Hub may be: nothing that leads out of a folder."""


def holds_foundation(directory: Path) -> bool:
    """Return whether a directory holds a network of `transformers` as they save it, and no checkpoint of ours."""
    return not (directory / INFO_FILE).exists() and is_foundation(directory)


def locate_checkpoint(path: str | Path | None = None) -> Path:
    """Return the directory of a checkpoint, downloading one named hf://...

    Raises:
        CheckpointError: If there is nothing there.
    """
    if str(path).startswith(HUB):
        return _download(str(path))
    path = _built_in(path)
    if path.name in {INFO_FILE, WEIGHTS_FILE, POSE_FILE, CONFIG_FILE}:
        path = path.parent
    elif path.is_file():
        hint = 'import it with `sidepth import-weights`' if path.suffix in {'.pth', '.pt'} else 'name its directory'
        raise CheckpointError(f'{str(path)!r} is no checkpoint of sidepth ({WEIGHTS_FILE} and {INFO_FILE}): {hint}')
    if not path.is_dir():
        # Whoever names it, `ros2 param set` say, can stand in another folder than the process that reads it.
        where = '' if path.is_absolute() else f' in {str(Path.cwd())!r}'
        raise CheckpointError(
            f'no checkpoint at {str(path)!r}{where}: expected a folder with {WEIGHTS_FILE} and {INFO_FILE}'
        )
    if holds_foundation(path):
        return path
    missing = [name for name in (INFO_FILE, WEIGHTS_FILE) if not (path / name).exists()]
    if len(missing) == 2:
        for name in RUN_FOLDERS:
            if (path / name / INFO_FILE).exists():
                return path / name
    if missing and not is_staged(path):
        raise CheckpointError(f'checkpoint {str(path)!r} is not complete: missing {" and ".join(missing)}')
    return path


def _built_in(path: str | Path | None) -> Path:
    """Return the folder of a checkpoint that comes with the package, or the path as it is."""
    if path is None or str(path) == 'default':
        return DEFAULT_CHECKPOINT
    path = Path(path).expanduser()
    named = BUILT_IN / path
    return named if len(path.parts) == 1 and not path.exists() and (named / INFO_FILE).is_file() else path


def _download(address: str) -> Path:
    """Return the local folder of hf://ORGANISATION/REPOSITORY[/FOLDER][@REVISION]."""
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - a second to import, and most weights are here

    place, _, revision = address.removeprefix(HUB).partition('@')
    parts = place.strip('/').split('/')
    if len(parts) < 2 or not all(parts):
        raise CheckpointError(
            f'{address!r} names no repository: expected hf://ORGANISATION/REPOSITORY[/FOLDER][@REVISION]'
        )
    strange = [part for part in (*parts, *revision.split('/')) if part and not NAME.fullmatch(part)]
    if strange:
        raise CheckpointError(f'{address!r} has a part {strange[0]!r}: expected letters, digits, and . _ - in between')
    folder = '/'.join(parts[2:])
    names = (INFO_FILE, WEIGHTS_FILE, POSE_FILE, CONFIG_FILE, *PROCESSOR_FILES, CARD_FILE, *SHARDED)
    wanted = [f'{folder}/{name}' if folder else name for name in names]
    online = hub_answers()
    try:
        root = snapshot_download(
            '/'.join(parts[:2]), revision=revision or None, allow_patterns=wanted, local_files_only=not online
        )
    except (OSError, ValueError) as error:  # the Hub's own errors derive from these two
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        offline = (
            'the Hub does not answer, and the cache does not hold it. Without a network connection: `hf download '
            f'{"/".join(parts[:2])} --local-dir FOLDER` where there is one, then name the copied FOLDER instead, or '
            'take the one of the package (default)'
        )
        raise CheckpointError(f'{address!r} cannot be downloaded: {reason if online else offline}') from error
    directory = Path(root) / folder
    if holds_foundation(directory):
        return directory
    missing = [name for name in wanted[:2] if not (Path(root) / name).is_file()]
    if missing:
        raise CheckpointError(
            f'{address!r} holds no checkpoint: missing {" and ".join(missing)}, or {CONFIG_FILE} of transformers'
        )
    return directory


def source_of(path: str | Path | None) -> str:
    """Return the address that a folder of `transformers` came from; empty for one that lies here."""
    return str(path) if str(path).startswith(HUB) else ''
