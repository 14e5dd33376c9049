"""Built engines on disk: what a runtime made of the weights once is loaded the next time.

A build lies in $XDG_CACHE_HOME/sidepth/engines (~/.cache/sidepth/engines), named by all that it depends on. It begins
with its own SHA-256: what is damaged is built anew. The oldest go when there are more than MOST.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from sidepth_core import __version__

MOST = 24
"""How many builds are kept: some sizes and precisions of the last few weights."""

DIGEST_BYTES = 32

Loaded = TypeVar('Loaded')

logger = logging.getLogger(__name__)


class BuildKey(NamedTuple):
    """What a build depends on.

    Attributes:
        weights: SHA-256 of the weights.
        engine: Name of the engine.
        precision: Number format inside.
        shape: Number of images, height and width.
        versions: Of the runtime and of what converts for it.
        device: Name of the processor that it was built for.
    """

    weights: str
    engine: str
    precision: str
    shape: tuple[int, int, int]
    versions: str
    device: str

    @property
    def file_name(self) -> str:
        """Name of its file: what a person wants to see, and a digest of everything."""
        digest = hashlib.sha256(repr((__version__, *self)).encode()).hexdigest()[:24]
        batch, height, width = self.shape
        return f'{self.engine}-{self.precision}-{batch}x{width}x{height}-{digest}.build'


def folder() -> Path:
    """Return where builds are kept."""
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'sidepth' / 'engines'


def kept_or_built(key: BuildKey, build: Callable[[], bytes], load: Callable[[bytes], Loaded]) -> Loaded:
    """Load the build of that key, making and keeping it where there is none that can be loaded.

    Args:
        key: What it depends on.
        build: Makes it.
        load: Makes something that runs of it; raises where it cannot.
    """
    path = folder() / key.file_name
    if (content := _read(path)) is not None:
        try:
            return load(content)
        except Exception as error:  # noqa: BLE001  # a runtime can refuse its own file in any way
            logger.warning('%s cannot be loaded (%s): it is built anew', path, error)
    content = build()
    _write(path, content)
    return load(content)


def _read(path: Path) -> bytes | None:
    """Return what a file holds; None where it is missing or damaged."""
    try:
        whole = path.read_bytes()
        os.utime(path)  # used now: the others are older
    except OSError:
        return None
    digest, content = whole[:DIGEST_BYTES], whole[DIGEST_BYTES:]
    if hashlib.sha256(content).digest() == digest:
        return content
    logger.warning('%s is damaged: it is built anew', path)
    return None


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; a disk that takes none costs the next start some seconds, no more."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(hashlib.sha256(content).digest() + content)
        Path(file.name).replace(path)
        newest = sorted(path.parent.glob('*.build'), key=lambda one: one.stat().st_mtime, reverse=True)
        for old in newest[MOST:]:
            old.unlink(missing_ok=True)
    except OSError as error:
        logger.warning('the built engine is not kept in %s: %s', path.parent, error)
