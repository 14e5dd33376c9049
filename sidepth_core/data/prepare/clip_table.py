"""Which cached frames make a clip: neighbours at the right distance, with nothing missing between them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sidepth_core.data.prepare.motion import blurred, choose_stride
from sidepth_core.data.prepare.settings import PrepareSettings
from sidepth_core.data.prepare.shards import FrameTable

STANDING_S = 1.0
"""After standing longer than this the world has moved on, and the frames around make no clip."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ClipTable:
    """Clips as columns, each with a first dimension M; N frames a clip.

    Attributes:
        source: (M,) number of the source.
        sequence: (M,) number of the stretch without a gap, counted through all sources.
        frames: (M, N) rows in the table of all frames of the source.
        stamp_ns: (M,) time of the middle frame.
        dt_s: (M, N-1) seconds from each frame to the next.
        distance_m: (M, N-1) metres from each frame to the next; NaN where not measured.
        motion_px: (M,) mean motion from frame to frame, pixels of the source's width; NaN where not known.
    """

    source: Ints
    sequence: Ints
    frames: Ints
    stamp_ns: Ints
    dt_s: Floats
    distance_m: Floats
    motion_px: Floats

    @classmethod
    def joined(cls, tables: list[ClipTable]) -> ClipTable:
        """Return the clips of several tables, in order."""
        return cls(*(np.concatenate([getattr(table, field.name) for table in tables]) for field in fields(cls)))

    def save(self, path: Path) -> None:
        """Write the table."""
        with path.open('wb') as file:
            np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> ClipTable:
        """Read a table that `save` wrote."""
        with np.load(path) as columns:
            return cls(**{field.name: columns[field.name] for field in fields(cls)})


class Stretches(NamedTuple):
    """How a source's frames hang together.

    Attributes:
        clips: Its clips.
        stride: Frames from one image of a clip to the next.
        dropped: Frames that are no clip's target, by reason.
        sequences: How many stretches without a gap there are.
    """

    clips: ClipTable
    stride: int
    dropped: Counter[str]
    sequences: int


def find_clips(
    frames: FrameTable, settings: PrepareSettings, source_width: int, source: int, first_sequence: int
) -> Stretches:
    """Return every clip that the frames of one source make."""
    steps = frames.step_s[np.isfinite(frames.step_s) & (frames.step_s > 0)]
    period_s = float(np.median(steps)) if len(steps) else 0.0
    dim = blurred(frames.sharpness, settings.frame_selection)
    cut = _cuts(frames, settings, period_s, dim)
    sequence = np.cumsum(cut) - (1 if len(cut) else 0)
    motion = np.where(cut, np.nan, frames.motion_px)
    stride = settings.stride or choose_stride(motion, source_width, period_s)
    reach = settings.clip_frames // 2 * stride
    members = np.arange(len(cut))[:, None] + np.arange(-reach, reach + 1, stride)
    inside = (members >= 0) & (members < len(cut))
    clamped = np.clip(members, 0, max(len(cut) - 1, 0))
    together = (inside & (sequence[clamped] == sequence[:, None])).all(axis=1)
    sharp = ~dim[clamped].any(axis=1)
    chosen = members[together & sharp]
    dropped = Counter({'a neighbour is missing': int((~together & ~dim).sum()), 'blurred': int(dim.sum())})
    dropped['a neighbour is blurred'] = int((together & ~sharp & ~dim).sum())
    clips = ClipTable(
        source=np.full(len(chosen), source, dtype=np.int64),
        sequence=sequence[chosen[:, chosen.shape[1] // 2]] + first_sequence,
        frames=chosen,
        stamp_ns=frames.stamp_ns[chosen[:, chosen.shape[1] // 2]],
        dt_s=np.diff(frames.stamp_ns[chosen], axis=1) / 1e9,
        distance_m=distances(frames, chosen),
        motion_px=_summed(motion, chosen).mean(axis=1) if len(chosen) else np.empty(0),
    )
    return Stretches(clips, stride, +dropped, int(sequence[-1] + 1) if len(sequence) else 0)


def distances(frames: FrameTable, members: Ints) -> Floats:
    """Return how far the camera moved between the frames of each clip, (M, N-1) metres.

    Where poses are known it is the straight line between two of them, which is what a pose network predicts;
    elsewhere the speed, integrated over the frames between.
    """
    places = frames.pose[:, :3, 3][members]
    straight = np.linalg.norm(np.diff(places, axis=1), axis=-1)
    seconds = np.diff(frames.stamp_ns, prepend=frames.stamp_ns[:1]) / 1e9
    travelled = 0.5 * (frames.speed_mps + np.roll(frames.speed_mps, 1)) * seconds
    return np.where(np.isfinite(straight), straight, _summed(travelled, members))


def _cuts(
    frames: FrameTable, settings: PrepareSettings, period_s: float, dim: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Return before which frames a new stretch begins: the first, after a gap in time, where the scene changes."""
    longest_s = settings.frame_selection.gap_ratio * period_s
    since_last_s = np.diff(frames.stamp_ns, prepend=frames.stamp_ns[:1]) / 1e9
    # A blurred image cannot be tracked, and is no other scene for that.
    unclear = dim | np.concatenate([dim[:1], dim[:-1]])
    cut = (frames.step_s > longest_s) | ((frames.tracked_share < settings.frame_selection.min_tracked_share) & ~unclear)
    cut |= since_last_s > max(STANDING_S, longest_s)
    cut |= since_last_s < 0
    cut[:1] = True
    return np.asarray(cut)


def _summed(per_frame: Floats, members: Ints) -> Floats:
    """Return the sum of a per-frame step over each interval between the members of a clip."""
    total = np.concatenate([[0.0], np.cumsum(np.nan_to_num(per_frame))])
    unknown = np.concatenate([[0], np.cumsum(np.isnan(per_frame))])
    first, last = members[:, :-1] + 1, members[:, 1:] + 1
    return np.where(unknown[last] > unknown[first], np.nan, total[last] - total[first])
