"""PreparedDataset: the clips of a prepared cache, at memory speed."""

from __future__ import annotations

import bisect
import json
from collections import Counter
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sidepth_core.data.clips import Clip
from sidepth_core.data.prepare.cache import FORMAT, source_folder
from sidepth_core.data.prepare.clip_table import ClipTable
from sidepth_core.data.prepare.maps import missing_maps, read_map
from sidepth_core.data.prepare.pose_choice import PoseSource, choose_poses, odometry_poses
from sidepth_core.data.prepare.report import PrepareReport
from sidepth_core.data.prepare.shards import Codec, Shard, shard_folders
from sidepth_core.errors import DatasetError
from sidepth_core.old_names import cache_file

TWO_VIEW_POSES_FILE = 'two_view_poses.npz'
"""Written by estimate_two_view_poses, for training that asks for it."""
STANDING_MPS = 0.05
"""Slower than this by odometry, a camera stands, whatever passes it."""
TWO_VIEW_POINTS = 64
"""So many corners of a motion are kept: enough for a median."""
TWO_VIEW_DEPTH_FOLDER = 'two_view_depth-1'
"""Maps by estimate_two_view_depth; the number counts the rules of what is believed."""


class PreparedDataset(Dataset[Clip]):
    """The clips of a cache that `prepare` made.

    A raw cache is read straight into the clip, from memory once the system has the files in its cache.

    Attributes:
        size: Height and width of the images.
        clips: The table of clips: source, sequence, stamp and motion of each; split by these.
        report: What `prepare` reported.
        weights: (M,) float64, how often each clip is to be drawn so that the sources' weights hold; sums to 1.
    """

    def __init__(
        self, folder: Path | str, poses: PoseSource = 'two_view', teacher: str = '', *, two_view_depth: bool = False
    ) -> None:
        """Open a cache.

        Args:
            folder: The cache.
            poses: Whose poses the clips bring as two_view_pose.
            teacher: Key of the teacher whose maps the clips bring as teacher_inverse; empty brings none.
            two_view_depth: Whether the clips bring triangulated depth.

        Raises:
            DatasetError: If the folder is no complete cache of this version, or maps that are asked for are not all
                there.
        """
        self.folder = Path(folder)
        self._check_manifest()
        self.report = PrepareReport.load(self.folder / 'report.json')
        self.size = self.report.height, self.report.width
        self.clips = ClipTable.load(self.folder / 'clips.npz')
        seen = cache_file(self.folder / TWO_VIEW_POSES_FILE)
        self._seen = dict(np.load(seen)) if seen.is_file() else {}
        self._pose_source = poses
        self.weights = self._weights()
        self._shards = self._shards_of_sources()
        self._starts = [
            list(accumulate((len(shard.frames.position) for shard in shards), initial=0)) for shards in self._shards
        ]
        self._teacher = teacher_folder(self.folder, teacher) if teacher else None
        if self._teacher and not (self._teacher / 'teacher.json').is_file():
            raise DatasetError(f"{str(self._teacher)!r} has no complete set of a teacher's maps: expected teacher.json")
        self._two_view_depth = self.folder / TWO_VIEW_DEPTH_FOLDER if two_view_depth else None
        if self._two_view_depth and any(missing_maps(self._two_view_depth, len(self))):
            raise DatasetError(f'{str(self._two_view_depth)!r} has not the triangulated depth of every clip')

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.clips.source)

    def __getitem__(self, index: int) -> Clip:
        """Return one clip."""
        clips = self.clips
        if not -len(self) <= index < len(self):
            raise IndexError(f'clip {index} of {len(self)}')
        places = [self._place(int(clips.source[index]), int(row)) for row in clips.frames[index]]
        images = torch.empty(len(places), 3, *self.size, dtype=torch.uint8)
        for (shard, row), out in zip(places, images.numpy(), strict=True):
            shard.read_image(row, out)
        shard, row = places[len(places) // 2]
        return Clip(
            images,
            _intrinsics(shard, row),
            torch.from_numpy(clips.dt_s[index].astype(np.float32)),
            torch.from_numpy(clips.distance_m[index].astype(np.float32)),
            self._depth(shard, row),
            torch.from_numpy(self.chosen_poses(index)[0].astype(np.float32)),
            self._seen_or_nan('points', index, (TWO_VIEW_POINTS, 3)),
            self._map(self._teacher, index),
            self._map(self._two_view_depth, index),
        )

    def pose(self, index: int) -> npt.NDArray[np.float64]:
        """Return T_world_camera of each frame of a clip, (N, 4, 4); NaN where not known."""
        places = [self._place(int(self.clips.source[index]), int(row)) for row in self.clips.frames[index]]
        return np.stack([shard.frames.pose[row] for shard, row in places])

    def chosen_poses(self, index: int) -> tuple[npt.NDArray[np.float64], list[str]]:
        """Return the poses that count for a clip, and where each has them from; see choose_poses."""
        seen = self._seen_or_nan('motions', index, (4, 4)).double().numpy()
        if self._pose_source == 'two_view':
            return choose_poses(seen, np.full_like(seen, np.nan), 'two_view')
        seconds = np.concatenate([[0.0], np.cumsum(self.clips.dt_s[index])])
        middle = len(seconds) // 2
        least_m = STANDING_MPS * np.abs(np.delete(seconds, middle) - seconds[middle])
        return choose_poses(seen, odometry_poses(self.pose(index), least_m), self._pose_source)

    def _shards_of_sources(self) -> list[list[Shard]]:
        shards = []
        for number, source in enumerate(self.report.sources):
            codec: Codec = 'raw' if source.codec == 'raw' else 'jpeg'
            folders = shard_folders(source_folder(self.folder, number))
            shards.append([Shard(folder, self.size, codec) for folder in folders])
        return shards

    def _check_manifest(self) -> None:
        path = self.folder / 'cache.json'
        if not path.is_file():
            raise DatasetError(f'{str(self.folder)!r} is no prepared cache: expected cache.json in it')
        manifest: dict[str, Any] = json.loads(path.read_text(encoding='utf-8'))
        if manifest.get('format') != FORMAT:
            raise DatasetError(f'cache {str(self.folder)!r} has format {manifest.get("format")!r}, expected {FORMAT}')
        if not manifest.get('complete'):
            raise DatasetError(f'cache {str(self.folder)!r} is not complete: run `sidepth prepare` again to finish it')

    def _weights(self) -> npt.NDArray[np.float64]:
        sharing: Counter[str] = Counter()
        for number, source in enumerate(self.report.sources):
            sharing[source.group or f'#{number}'] += source.clips
        per_source = np.array(
            [
                source.weight / max(sharing[source.group or f'#{number}'], 1)
                for number, source in enumerate(self.report.sources)
            ]
        )
        weights = per_source[self.clips.source]
        return np.asarray(weights / weights.sum())

    def _place(self, source: int, row: int) -> tuple[Shard, int]:
        """Return the shard that holds a source's row, and the row in it."""
        number = bisect.bisect_right(self._starts[source], row) - 1
        return self._shards[source][number], row - self._starts[source][number]

    def _seen_or_nan(self, what: str, index: int, shape: tuple[int, int]) -> Tensor:
        if what not in self._seen:
            return torch.full((self.clips.frames.shape[1] - 1, *shape), float('nan'))
        return torch.from_numpy(self._seen[what][index].copy())

    def _map(self, folder: Path | None, index: int) -> Tensor:
        return torch.full((1, *self.size), float('nan')) if folder is None else read_map(folder, index % len(self))

    def _depth(self, shard: Shard, row: int) -> Tensor:
        depth_m = shard.depth_m(row)
        if depth_m is None:
            return torch.full((1, *self.size), float('nan'))
        return torch.from_numpy(depth_m)[None]


def teacher_folder(cache: Path, key: str) -> Path:
    """Return the folder of a cache that holds the maps of the teacher with that key."""
    return cache / f'teacher-{key}'


def _intrinsics(shard: Shard, row: int) -> Tensor:
    frames = shard.frames
    K = torch.zeros(3, 3)
    K[0, 0], K[0, 2] = float(frames.fx[row]), float(frames.cx[row])
    K[1, 1], K[1, 2] = float(frames.fy[row]), float(frames.cy[row])
    K[2, 2] = 1
    return K
