"""What `prepare` did: numbers for people and programs, and a plot of the motion."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sidepth_core.data.prepare.motion import TARGET_SHARE

Floats = npt.NDArray[np.float64]

KITTI_BAND = (0.8, 1.2)
"""8 to 12 pixels at KITTI's width, as shares of the target."""


@dataclass(frozen=True)
class SourceSummary:
    """What became of one source.

    Attributes:
        name: The source.
        weight: How often its clips are drawn, relative to the others.
        group: Sources of one group share their weight by their clips; '' for none.
        claimed: Images it says it holds; None where it says nothing.
        read: Images read.
        skipped: Images that could not be used at all, by reason.
        dropped: Images not fit to learn from, by reason.
        kept: Images in the cache.
        sequences: Stretches without a gap.
        stride: Frames from one image of a clip to the next.
        clips: Clips.
        no_clip: Images in the cache that are no clip's target, by reason.
        width: Width of the source's images, pixels.
        frame_motion_px: Median motion from frame to frame, pixels of that width; None where not known.
        clip_motion_px: Median motion between the frames of a clip.
        metric_share: Share of clips whose distance in metres is known.
        depth_share: Share of the images whose depth is known.
        codec: How its images are stored.
        notes: Sentences a user should read.
        height: Height of the source's images, pixels; 0 where an older cache does not tell.
    """

    name: str
    weight: float
    group: str
    claimed: int | None
    read: int
    skipped: dict[str, int]
    dropped: dict[str, int]
    kept: int
    sequences: int
    stride: int
    clips: int
    no_clip: dict[str, int]
    width: int
    frame_motion_px: float | None
    clip_motion_px: float | None
    metric_share: float
    depth_share: float
    codec: str
    notes: tuple[str, ...] = ()
    height: int = 0


@dataclass(frozen=True)
class PrepareReport:
    """What became of all sources.

    Attributes:
        folder: The cache.
        width: Width of the cached images, pixels.
        height: Height of the cached images, pixels.
        sources: One summary each.
    """

    folder: str
    width: int
    height: int
    sources: tuple[SourceSummary, ...] = field(default_factory=tuple)

    @property
    def clips(self) -> int:
        """Clips of all sources."""
        return sum(source.clips for source in self.sources)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON takes them."""
        return {**asdict(self), 'clips': self.clips}

    @classmethod
    def load(cls, path: Path) -> PrepareReport:
        """Read a report.json."""
        fields = json.loads(path.read_text(encoding='utf-8'))
        fields.pop('clips')
        sources = tuple(
            SourceSummary(**{**source, 'notes': tuple(source['notes'])}) for source in fields.pop('sources')
        )
        return cls(**fields, sources=sources)


def median(values: Floats) -> float | None:
    """Return the median of the numbers among the values, rounded to a hundredth; None if there are none."""
    known = values[np.isfinite(values)]
    return round(float(np.median(known)), 2) if len(known) else None


def total(reasons: dict[str, int]) -> str:
    """Return counts by reason, most frequent first, as one line of text."""
    return ', '.join(f'{count} {reason}' for reason, count in Counter(reasons).most_common()) or 'none'


def draw_motion(
    path: Path, report: PrepareReport, frame_motion: Sequence[Floats], clip_motion: Sequence[Floats]
) -> None:
    """Draw, for each source, the motion from frame to frame and between the frames of its clips.

    Args:
        path: The PNG to write.
        report: The summaries.
        frame_motion: For each source (N,) pixels.
        clip_motion: For each source (M,) pixels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - half a second that readers need not wait
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(9, 2.6 * len(report.sources)))
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(report.sources), 1, squeeze=False)[:, 0]
    for axes, source, frames, clips in zip(rows, report.sources, frame_motion, clip_motion, strict=True):
        wanted = TARGET_SHARE * source.width
        top = max(3 * wanted, *(np.nanpercentile(m, 98) for m in (frames, clips) if np.isfinite(m).any()), 1.0)
        bins = np.linspace(0, top, 61)
        low, high = (share * wanted for share in KITTI_BAND)
        axes.axvspan(low, high, color='#cfe8cf', label="like KITTI's (8 to 12 px at a width of 1242)")
        label = f'frame to frame, median {source.frame_motion_px} px'
        axes.hist(np.clip(frames[np.isfinite(frames)], 0, top), bins, color='#9aa7b5', label=label)
        label = f'in clips (stride {source.stride}), median {source.clip_motion_px} px'
        shown = np.clip(clips[np.isfinite(clips)], 0, top)
        axes.hist(shown, bins, histtype='step', linewidth=1.8, color='#c0392b', label=label)
        counts = f'{source.read} read, {source.kept} kept, {source.clips} clips; dropped: {total(source.dropped)}'
        axes.set_title(f'{source.name}: {counts}', fontsize=8, loc='left')
        axes.set_xlabel(f'motion, pixels of a {source.width} wide image', fontsize=8)
        axes.set_ylabel('images', fontsize=8)
        axes.legend(fontsize=7, frameon=False)
    inch = 1 / figure.get_figheight()
    figure.subplots_adjust(left=0.07, right=0.99, top=1 - 0.3 * inch, bottom=0.45 * inch, hspace=0.45)
    figure.savefig(path, dpi=110)
