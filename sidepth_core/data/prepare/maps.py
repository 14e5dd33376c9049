"""Maps of the middle frame of every clip, kept beside a cache: `maps-00000.npy`, ... in a folder of their own.

A file holds those of MAPS_A_FILE clips, (M, h, w) float16, and appears whole or not at all: what was interrupted goes
on after the last one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

MAPS_A_FILE = 32

Maps = npt.NDArray[np.float16]


def missing_maps(folder: Path, clips: int) -> Iterator[range]:
    """Yield those clips, of so many, whose maps are in no file yet: as many at once as go into one."""
    for first in range(0, clips, MAPS_A_FILE):
        if not _file(folder, first).is_file():
            yield range(first, min(first + MAPS_A_FILE, clips))


def write_maps(folder: Path, clips: range, maps: Maps) -> None:
    """Write the maps of clips that `missing_maps` gave, (M, h, w)."""
    write_whole(_file(folder, clips.start), partial(np.save, arr=maps))


def read_map(folder: Path, clip: int) -> Tensor:
    """Return the map of one clip, (1, h, w) float32."""
    maps = np.load(_file(folder, clip), mmap_mode='r')
    return torch.from_numpy(maps[clip % MAPS_A_FILE].astype(np.float32))[None]


def write_whole(path: Path, save: Callable[[BinaryIO], object]) -> None:
    """Write a file so that it is there whole or not at all, whoever else writes it."""
    staged = path.with_name(f'.{path.name}.{os.getpid()}.partial')
    try:
        with staged.open('wb') as file:
            save(file)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)


def _file(folder: Path, clip: int) -> Path:
    return folder / f'maps-{clip // MAPS_A_FILE:05d}.npy'
