"""Shards: a few hundred prepared frames in one folder, written whole or not at all, read at memory speed.

A shard folder holds `images.bin` (uint8 planes, or JPEG files end to end), `depth.bin` (float16 inverse depth, where
any is known), `frames.npz` (one row a frame, see FrameTable) and `report.json`. It is written under a temporary name
and renamed when complete, so that whatever bears its name is whole.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from sidepth_core.errors import DatasetError
from sidepth_core.images import decode_compressed

Codec = Literal['raw', 'jpeg']
Planes = npt.NDArray[np.uint8]
"""(3, h, w) uint8 RGB."""

JPEG_QUALITY = 95


class FrameRow(NamedTuple):
    """What is kept of one frame besides its pixels.

    Attributes:
        position: Place among the images of its source, good and bad alike.
        stamp_ns: Time of exposure.
        fx, fy, cx, cy: Intrinsics at the cached size, pixels; NaN where not known.
        speed_mps: NaN where not known.
        pose: T_world_camera, (4, 4); NaN where not known.
        motion_px: Motion since the frame before, pixels of the source's width; NaN where not known.
        tracked_share: Share of corners found again, 0..1.
        step_s: Longest step between images since the frame before, those not kept included, seconds.
        sharpness: See motion.ImageStatistics.
        has_depth: Whether depth.bin holds its depth.
    """

    position: int
    stamp_ns: int
    fx: float
    fy: float
    cx: float
    cy: float
    speed_mps: float
    pose: npt.NDArray[np.float64]
    motion_px: float
    tracked_share: float
    step_s: float
    sharpness: float
    has_depth: bool


@dataclass(frozen=True)
class FrameTable:
    """Rows of many frames as columns; attributes as those of FrameRow, each with a first dimension N."""

    position: npt.NDArray[np.int64]
    stamp_ns: npt.NDArray[np.int64]
    fx: npt.NDArray[np.float64]
    fy: npt.NDArray[np.float64]
    cx: npt.NDArray[np.float64]
    cy: npt.NDArray[np.float64]
    speed_mps: npt.NDArray[np.float64]
    pose: npt.NDArray[np.float64]
    motion_px: npt.NDArray[np.float64]
    tracked_share: npt.NDArray[np.float64]
    step_s: npt.NDArray[np.float64]
    sharpness: npt.NDArray[np.float64]
    has_depth: npt.NDArray[np.bool_]

    @classmethod
    def from_rows(cls, rows: list[FrameRow]) -> FrameTable:
        """Turn rows into columns."""
        return cls(*(np.array(column) for column in zip(*rows, strict=True)))

    @classmethod
    def load(cls, path: Path) -> FrameTable:
        """Read a table that `save` wrote."""
        with np.load(path) as columns:
            return cls(**{field.name: columns[field.name] for field in fields(cls)})

    def save(self, path: Path) -> None:
        """Write the table."""
        with path.open('wb') as file:
            np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def joined(cls, tables: list[FrameTable]) -> FrameTable:
        """Return the rows of several tables, in order."""
        return cls(*(np.concatenate([getattr(table, field.name) for table in tables]) for field in fields(cls)))


def inverse_depth(depth_m: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
    """Return 1/depth as float16: 0 for the sky, NaN where not known; relative error below 0.05 % up to 16 km."""
    with np.errstate(divide='ignore'):
        return (1 / depth_m).astype(np.float16)


def depth_of_inverse(inverse: npt.NDArray[np.float16]) -> npt.NDArray[np.float32]:
    """Undo inverse_depth."""
    with np.errstate(divide='ignore'):
        return np.asarray(1 / inverse.astype(np.float32), dtype=np.float32)


class ShardWriter:
    """Collects frames of one shard on disk; `close` makes them appear under the shard's name.

    Args:
        folder: The shard's final name.
        size: Height and width of its images.
        codec: How its images are stored.
    """

    def __init__(self, folder: Path, size: tuple[int, int], codec: Codec) -> None:
        self.folder = folder
        self.rows: list[FrameRow] = []
        self._size = size
        self._codec = codec
        self._offsets = [0]
        self._partial = folder.with_name(f'.{folder.name}.partial')
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)
        self._images = (self._partial / 'images.bin').open('wb')
        self._depth = (self._partial / 'depth.bin').open('wb')

    def add(self, row: FrameRow, image: bytes, depth: npt.NDArray[np.float16] | None) -> None:
        """Add a frame: its row, its image as `encode` returned it, its inverse depth (h, w)."""
        self._images.write(image)
        self._offsets.append(self._offsets[-1] + len(image))
        if depth is not None:
            self._depth.write(np.ascontiguousarray(depth).tobytes())
        self.rows.append(row)

    def close(self, report: Mapping[str, Any]) -> None:
        """Write what is missing and give the folder its name: from here on it is there after any crash."""
        FrameTable.from_rows(self.rows).save(self._partial / 'frames.npz')
        if self._codec == 'jpeg':
            np.save(self._partial / 'offsets.npy', np.array(self._offsets, dtype=np.int64))
        (self._partial / 'report.json').write_text(json.dumps(report), encoding='utf-8')
        for file in (self._images, self._depth):
            file.flush()
            os.fsync(file.fileno())
            file.close()
        self._partial.replace(self.folder)

    def discard(self) -> None:
        """Remove what was written so far."""
        self._images.close()
        self._depth.close()
        shutil.rmtree(self._partial, ignore_errors=True)


class Shard:
    """A complete shard. No file stays open: caches have more shards than a process may open files.

    Attributes:
        frames: Its table.
    """

    def __init__(self, folder: Path, size: tuple[int, int], codec: Codec) -> None:
        self.folder = folder
        self.frames = FrameTable.load(folder / 'frames.npz')
        self._size = size
        height, width = size
        count = len(self.frames.position)
        self._codec = codec
        if codec == 'jpeg':
            self._offsets = np.load(folder / 'offsets.npy')
        else:
            self._offsets = np.arange(count + 1) * (3 * height * width)
        self._depth_row = np.cumsum(self.frames.has_depth) - 1
        _check_length(folder / 'images.bin', int(self._offsets[-1]))
        _check_length(folder / 'depth.bin', int(self.frames.has_depth.sum()) * height * width * 2)

    def read_image(self, index: int, out: Planes) -> None:
        """Read one image into (3, h, w) uint8, straight from the system's cache of the file where it is raw."""
        start, end = int(self._offsets[index]), int(self._offsets[index + 1])
        with (self.folder / 'images.bin').open('rb', buffering=0) as file:
            file.seek(start)
            if self._codec == 'raw':
                file.readinto(out.data)
            else:
                out[...] = decode_compressed(file.read(end - start)).transpose(2, 0, 1)

    def depth_m(self, index: int) -> npt.NDArray[np.float32] | None:
        """Return the depth of one frame, (h, w) metres; None where it has none."""
        if not self.frames.has_depth[index]:
            return None
        height, width = self._size
        start = int(self._depth_row[index]) * height * width * 2
        values = np.fromfile(self.folder / 'depth.bin', np.float16, height * width, offset=start)
        return depth_of_inverse(values.reshape(height, width))


def encode(image: npt.NDArray[np.uint8], codec: Codec) -> bytes:
    """Return an RGB image (h, w, 3) as a shard stores it."""
    if codec == 'raw':
        return np.ascontiguousarray(image.transpose(2, 0, 1)).tobytes()
    _, blob = cv2.imencode('.jpg', cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return bytes(blob)


def shard_folders(source_folder: Path) -> list[Path]:
    """Return the complete shards of a source, in order."""
    return sorted(path for path in source_folder.glob('shard-*') if path.is_dir())


def _check_length(path: Path, length: int) -> None:
    found = path.stat().st_size
    if found != length:
        raise DatasetError(f'{str(path)!r} has {found} bytes, expected {length}: prepare the cache again')
