"""The files of a checkpoint: read whole and checked, replaced in one step.

New weights are first written beside the old ones under the name of their digest; replacing model.json, which holds the
digests, is the moment when the new checkpoint takes the place of the old one; then the weights move to their own names.
Whenever the power fails or another process reads, it finds one of the two complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from sidepth_core.checkpoint.info import CheckpointInfo
from sidepth_core.errors import CheckpointError, ConfigError
from sidepth_core.structured_text import read_json

INFO_FILE = 'model.json'
WEIGHTS_FILE = 'model.safetensors'
POSE_FILE = 'pose.safetensors'
DIGEST_FIELDS = {WEIGHTS_FILE: 'weights_sha256', POSE_FILE: 'pose_sha256'}
"""Fields of model.json that hold the SHA-256 of the files with weights."""

LARGEST_WEIGHTS = 2**32
"""Bytes of a file of weights that is read."""
ATTEMPTS = 3
"""How often a checkpoint is read again when another process replaces it meanwhile."""


def write_files(directory: Path, info: CheckpointInfo, contents: Mapping[str, bytes]) -> None:
    """Replace the checkpoint in a directory, which is made if missing.

    Args:
        directory: Where to.
        info: What the networks are.
        contents: Bytes of WEIGHTS_FILE, and of POSE_FILE where there is a pose network.

    Raises:
        OSError: If the directory cannot be written; a checkpoint that was there is still complete.
    """
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    fields = {**info.to_dict(), **{DIGEST_FIELDS[name]: digest for name, digest in digests.items()}}
    directory.mkdir(parents=True, exist_ok=True)
    stale = list(directory.glob('.model-*'))
    for name, content in contents.items():
        _write(_staged(directory, digests[name]), content)
    _write(directory / INFO_FILE, (json.dumps(fields, indent=2, ensure_ascii=False) + '\n').encode())
    for name, digest in digests.items():
        _staged(directory, digest).replace(directory / name)
    if POSE_FILE not in contents:
        (directory / POSE_FILE).unlink(missing_ok=True)
    _sync(directory)
    for path in stale:
        path.unlink(missing_ok=True)


def is_staged(directory: Path) -> bool:
    """Return whether weights lie there under the name of their digest: their writer was killed before the last step."""
    return any(directory.glob('.model-*.safetensors'))


def read_files(directory: Path, *, pose: bool) -> tuple[CheckpointInfo, dict[str, Tensor]]:
    """Return info and tensors that belong together, even while another process replaces them."""
    path = directory / WEIGHTS_FILE
    for _ in range(ATTEMPTS):
        info, digests = read_info(directory / INFO_FILE)
        tensors: dict[str, Tensor] = {}
        for name, digest in digests.items():
            if name == POSE_FILE and not (pose and _places(directory, name, digest)):
                continue  # not wanted, or not shipped
            path = directory / name
            content = _with_digest(directory, name, digest)
            if content is None:
                break
            tensors |= _parse(content, path)
        else:
            if read_info(directory / INFO_FILE)[1] == digests:
                return info, tensors
    size = f'has {path.stat().st_size} bytes' if path.exists() else 'is missing'
    raise CheckpointError(
        f'{str(path)!r} {size} and is not what {INFO_FILE} describes (sha256 {digests[path.name][:12]}...): it is '
        f'truncated, damaged or of another checkpoint; copy the files again'
    )


def _with_digest(directory: Path, name: str, digest: str) -> bytes | None:
    """Return the content of weights with that digest, wherever they lie by now; None where there are none."""
    for path in _places(directory, name, digest):
        content = _content(path) if path.exists() else b''
        if hashlib.sha256(content).hexdigest() == digest:
            return content
    return None


def _places(directory: Path, name: str, digest: str) -> list[Path]:
    """Return where weights lie: under their name, or still under that of their digest."""
    return [path for path in (directory / name, _staged(directory, digest)) if path.exists()]


def _content(path: Path) -> bytes:
    """Return what a file of weights holds; no network here has as many as LARGEST_WEIGHTS."""
    size = path.stat().st_size
    if size > LARGEST_WEIGHTS:
        raise CheckpointError(f'{str(path)!r} has {size} bytes, expected weights of at most {LARGEST_WEIGHTS}')
    return path.read_bytes()


def read_info(path: Path) -> tuple[CheckpointInfo, dict[str, str]]:
    """Return the info, and the digests of the files with the weights."""
    try:
        fields: Any = read_json(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f'{str(path)!r} is missing: expected the description of {WEIGHTS_FILE}') from None
    except ValueError as error:
        raise CheckpointError(f'{str(path)!r} is not JSON, is it truncated? {error}') from error
    required = DIGEST_FIELDS[WEIGHTS_FILE]
    if not isinstance(fields, dict) or not isinstance(fields.get(required), str):
        raise CheckpointError(f'{str(path)!r} describes no checkpoint of sidepth: expected its field "{required}"')
    digests = {name: str(fields.pop(field)) for name, field in DIGEST_FIELDS.items() if field in fields}
    try:
        return CheckpointInfo.from_dict(fields), digests
    except ConfigError as error:
        raise CheckpointError(f'{str(path)!r} cannot be used: {error}') from error


def _parse(weights: bytes, path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(weights)
    except SafetensorError as error:
        raise CheckpointError(f'{str(path)!r} is no safetensors file: {error}') from error
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor.float()).all()]
    if broken:
        raise CheckpointError(
            f'{str(path)!r} has {len(broken)} tensors with weights that are NaN or infinite, such as {broken[0]!r}: '
            'expected numbers. A training run that diverged has an earlier checkpoint in `best`'
        )
    return tensors


def _staged(directory: Path, digest: str) -> Path:
    """Return where weights lie between being written and being renamed."""
    return directory / f'.model-{digest}.safetensors'


def _write(path: Path, content: bytes) -> None:
    """Replace a file in one step, after its content has reached the disk; a failure leaves the old one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix='.model-', suffix='.tmp')
    try:
        with os.fdopen(handle, 'wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _sync(directory: Path) -> None:
    """Have the renames in a directory reach the disk."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
