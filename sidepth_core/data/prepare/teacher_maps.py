"""What a teacher says of every clip of a prepared cache, made once and stored in it: training needs no teacher then.

A folder `teacher-KEY` of the cache holds `teacher.json` (who it is) and maps of inverse depth (see maps.py). KEY stands
for the teacher's weights and settings, so that maps of another teacher are never taken for its own.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sidepth_core.data.prepare.dataset import PreparedDataset, teacher_folder
from sidepth_core.data.prepare.maps import Maps, missing_maps, write_maps, write_whole
from sidepth_core.errors import DatasetError
from sidepth_core.losses.distillation import FLAT_SHARE

DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
MOST_FLAT = 0.5
"""A teacher that is flat on more than this share of the images of a file does not look at them."""

Say = Callable[[Tensor, Tensor], Tensor]
"""Images (B, 3, h, w) uint8 RGB and their intrinsics (B, 3, 3) -> inverse depth (B, 1, h, w), in any unit."""
Progress = Callable[[int, int], object]
"""Told how many clips are done, of how many."""


def make_teacher_maps(
    folder: Path,
    key: str,
    teacher: str,
    say: Say,
    *,
    about: Mapping[str, object],
    batch: int = 1,
    progress: Progress = lambda _done, _of: None,
) -> None:
    """Write what a teacher says of every clip into a cache, or what an earlier call has left out.

    Args:
        folder: The cache.
        key: Stands for the teacher; see above.
        teacher: Its name, for errors.
        say: What it says; not called where all maps are there.
        about: What teacher.json says of it.
        batch: Images that it is shown at once.
        progress: Called after each file.

    Raises:
        DatasetError: If the folder is no complete cache, the disk is full, or what the teacher says is not finite or
            flat: nothing could be learned from it.
    """
    cache = PreparedDataset(folder)
    maps = teacher_folder(folder, key)
    missing = list(missing_maps(maps, len(cache)))
    description = maps / 'teacher.json'
    if not missing and description.is_file():
        return
    maps.mkdir(exist_ok=True)
    try:
        for clips in missing:
            said = np.concatenate([
                _said(cache, range(first, min(first + batch, clips.stop)), say, teacher)
                for first in range(clips.start, clips.stop, batch)
            ])
            _check_not_flat(said, teacher, cache.report.folder)
            write_maps(maps, clips, said)
            progress(clips.stop, len(cache))
        text = json.dumps(about, indent=1).encode()
        write_whole(description, lambda file: file.write(text))
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise DatasetError(
            f"the disk of {str(folder)!r} is full: the teacher's maps need {2 * len(cache) * np.prod(cache.size):.1e} "
            'bytes. What is there stays; make room and start again: it goes on from there'
        ) from error


def _said(cache: PreparedDataset, clips: range, say: Say, teacher: str) -> Maps:
    """Return the teacher's maps of some clips, (M, h, w), as large as float16 takes them.

    Raises:
        DatasetError: If a map is not finite.
    """
    chosen = [cache[index] for index in clips]
    images = torch.stack([clip.images[len(clip.images) // 2] for clip in chosen])
    said = say(images, torch.stack([clip.intrinsics for clip in chosen]))[:, 0].cpu()
    for index, one in zip(clips, said, strict=True):
        if bad := int((~one.isfinite()).sum()):
            raise DatasetError(
                f'teacher {teacher!r} says NaN or infinite for {bad} of {one.numel()} pixels of clip {index} in '
                f'{str(cache.folder)!r}: expected finite inverse depth. Are its weights damaged? Try '
                f'`sidepth predict` with it on this recording'
            )
    # Only relative models say large numbers, and theirs are of any unit.
    largest = said.abs().flatten(1).amax(1)[:, None, None]
    fitting = torch.where(largest > torch.finfo(torch.float16).max / 2, said / largest.clamp(min=1), said)
    halved: Maps = fitting.numpy().astype(np.float16)
    return halved


def _check_not_flat(maps: Maps, teacher: str, where: str) -> None:
    wide = maps.astype(np.float32).reshape(len(maps), -1)
    flat = np.ptp(wide, axis=1) <= FLAT_SHARE * np.abs(wide).max(axis=1)
    if flat.mean() > MOST_FLAT:
        raise DatasetError(
            f'teacher {teacher!r} says one and the same depth for all pixels of {int(flat.sum())} of {len(maps)} '
            f'images of {where}, such as {float(wide[flat.argmax(), 0]):g} in inverse depth: no shape to learn from. '
            'Do its weights and its preprocessor_config.json belong to it? Look at it with `sidepth predict`'
        )
