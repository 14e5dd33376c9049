"""Prepare recordings for training, once: decode, rectify, select, resize and store frames, so that loading is fast.

The cache folder holds `cache.json` (what it was made of and how), a folder of shards for each source, and at the end
`clips.npz`, `report.json` and `report.png`. Interrupted at any point, the next call goes on after the last shard.
"""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from filelock import FileLock, Timeout

from sidepth_core.data.deferred import DeferredSource
from sidepth_core.data.frames import FrameSource, SourceReport, WeightedSource
from sidepth_core.data.prepare.clip_table import ClipTable, Stretches, find_clips
from sidepth_core.data.prepare.frame_selection import SelectionState, select_frames
from sidepth_core.data.prepare.report import PrepareReport, SourceSummary, draw_motion, median, total
from sidepth_core.data.prepare.settings import PrepareSettings
from sidepth_core.data.prepare.shards import Codec, FrameTable, ShardWriter, shard_folders
from sidepth_core.data.share import Share
from sidepth_core.errors import DatasetError
from sidepth_core.old_names import cache_file, current_manifest

FORMAT = 1
SELECTION_FILE = 'selection.json'
RAW_LIMIT_BYTES = 8 << 30
GUESSED_FRAMES = 20_000
SQUEEZE = 1.5
"""Images whose proportions change more than this are worth a note."""

FINISHING_S = 600.0
"""How long a task waits for another one that finishes the cache at the same moment."""

DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


class Progress(NamedTuple):
    """How far `prepare` is.

    Attributes:
        source: Name of the source at work.
        number: Its number, from 0.
        sources: How many sources there are.
        seen: Images looked at.
        claimed: Images the source says it holds; None where it says nothing.
        kept: Images in the cache.
    """

    source: str
    number: int
    sources: int
    seen: int
    claimed: int | None
    kept: int


def prepare(
    sources: Sequence[FrameSource | WeightedSource],
    out: Path,
    settings: PrepareSettings | None = None,
    *,
    progress: Callable[[Progress], None] | None = None,
) -> PrepareReport:
    """Prepare sources into a cache folder, or finish one that an earlier call began; a finished one is left as it is.

    Args:
        sources: The drives.
        out: The cache folder.
        settings: How to prepare.
        progress: Called after each image.

    Raises:
        DatasetError: If a source cannot be read or gives no clip, if the folder holds another cache, or if the disk is
            full; complete shards stay, and the next call goes on from there.
    """
    settings = settings or PrepareSettings()
    weighted, manifest = _described(sources, settings)
    out.mkdir(parents=True, exist_ok=True)
    with _locked(out), _full_disk_named(out):
        if _is_complete(out, manifest):
            return PrepareReport.load(out / 'report.json')
        _write_json(out / 'cache.json', {**manifest, 'complete': False})
        _fill_all(weighted, range(len(weighted)), out, settings, progress)
        return _finish(weighted, out, settings, manifest)


def prepare_share(
    sources: Sequence[FrameSource | WeightedSource],
    out: Path,
    share: Share,
    settings: PrepareSettings | None = None,
    *,
    progress: Callable[[Progress], None] | None = None,
) -> PrepareReport | None:
    """Prepare one task's share of some sources; the task that is the last to be done finishes the cache.

    The cache is the one that `prepare` makes of all of them, in a folder that all tasks can write to. A task that was
    killed is started once more, in any order.

    Args:
        sources: All drives, the same in every task.
        out: The cache folder.
        share: Which of them are this task's.
        settings: How to prepare.
        progress: Called after each image.

    Returns:
        The report of the whole cache; None while shares of other tasks are missing.

    Raises:
        DatasetError: As `prepare` does, of this share; and of the whole, from the task that finishes it.
    """
    settings = settings or PrepareSettings()
    weighted, manifest = _described(sources, settings)
    out.mkdir(parents=True, exist_ok=True)
    with _full_disk_named(out):
        if _is_complete(out, manifest):
            return PrepareReport.load(out / 'report.json')
        _write_json(out / 'cache.json', {**manifest, 'complete': False})
        _fill_all(weighted, share.of(len(weighted)), out, settings, progress)
        if missing_sources(out, len(weighted)):
            return None
        with _locked(out, FINISHING_S):
            if _is_complete(out, manifest):
                return PrepareReport.load(out / 'report.json')
            return _finish(weighted, out, settings, manifest)


def missing_sources(out: Path, count: int) -> list[int]:
    """Return the numbers of the sources, from 0, whose frames are not all in a cache of so many."""
    return [number for number in range(count) if not cache_file(source_folder(out, number) / SELECTION_FILE).is_file()]


def _described(
    sources: Sequence[FrameSource | WeightedSource], settings: PrepareSettings
) -> tuple[list[WeightedSource], dict[str, Any]]:
    """Return sources with their weights, and what tells a cache of them from any other."""
    weighted = [item if isinstance(item, WeightedSource) else WeightedSource(item) for item in sources]
    if not weighted:
        raise DatasetError('there is nothing to prepare: name at least one source')
    described = [{'identity': _identity(item.source), 'weight': item.weight, 'group': item.group} for item in weighted]
    return weighted, {'format': FORMAT, 'settings': settings.describe(), 'sources': described}


def source_folder(out: Path, number: int) -> Path:
    """Return the folder of one source's shards."""
    return out / f'source-{number:03d}'


def _fill_all(
    weighted: Sequence[WeightedSource],
    numbers: Iterable[int],
    out: Path,
    settings: PrepareSettings,
    progress: Callable[[Progress], None] | None,
) -> None:
    """Write the shards of some sources that are missing."""
    with ThreadPoolExecutor(settings.threads, thread_name_prefix='prepare') as pool, _one_thread_each():
        for number in numbers:
            folder = source_folder(out, number)
            folder.mkdir(exist_ok=True)
            with _locked(folder):
                _fill(weighted[number], number, len(weighted), out, settings, pool, progress)


def _fill(
    item: WeightedSource,
    number: int,
    count: int,
    out: Path,
    settings: PrepareSettings,
    pool: ThreadPoolExecutor,
    progress: Callable[[Progress], None] | None,
) -> None:
    """Write the shards of one source that are missing."""
    folder = source_folder(out, number)
    if cache_file(folder / SELECTION_FILE).is_file():
        return
    state = _state(folder, item.source)
    codec = _codec(folder, item.source, settings)

    def open_shard() -> ShardWriter:
        name = folder / f'shard-{len(shard_folders(folder)):05d}'
        return ShardWriter(name, settings.cached_size, codec)

    def tell(state: SelectionState) -> None:
        if progress:
            report = item.source.report
            progress(Progress(report.name, number, count, state.last_seen + 1, report.claimed, state.kept))

    select_frames(item.source, state, settings, codec, pool, open_shard, tell)
    state.report = item.source.report
    if not state.kept:
        raise DatasetError(f'{item.source.report.name} has no image fit to learn from: dropped {dict(state.dropped)}')
    _write_json(folder / SELECTION_FILE, {**state.to_dict(), 'codec': codec})


def _state(folder: Path, source: FrameSource) -> SelectionState:
    """Return what became of the source's images in the shards that are complete."""
    shards = shard_folders(folder)
    if not shards:
        return SelectionState(SourceReport(source.report.name))
    return SelectionState.from_dict(json.loads((shards[-1] / 'report.json').read_text(encoding='utf-8')))


def _codec(folder: Path, source: FrameSource, settings: PrepareSettings) -> Codec:
    """Return how the images of a source are stored; once chosen, it stays."""
    chosen = folder / 'codec.json'
    if chosen.is_file():
        return 'raw' if json.loads(chosen.read_text(encoding='utf-8')) == 'raw' else 'jpeg'
    codec: Codec = 'jpeg' if settings.codec == 'jpeg' else 'raw'
    if settings.codec == 'auto':
        height, width = settings.cached_size
        images = source.expected() if isinstance(source, DeferredSource) else source.report.claimed
        needed = 3 * height * width * (images or GUESSED_FRAMES)
        codec = 'raw' if needed < min(RAW_LIMIT_BYTES, shutil.disk_usage(folder).free // 2) else 'jpeg'
    _write_json(chosen, codec)
    return codec


def _finish(
    weighted: Sequence[WeightedSource], out: Path, settings: PrepareSettings, manifest: dict[str, Any]
) -> PrepareReport:
    """Find the clips of all sources, write tables, report and figure, and call the cache complete."""
    found: list[Stretches] = []
    summaries = []
    motions = []
    sequence = 0
    for number, item in enumerate(weighted):
        folder = source_folder(out, number)
        stored = json.loads(cache_file(folder / SELECTION_FILE).read_text(encoding='utf-8'))
        codec = stored.pop('codec')
        state = SelectionState.from_dict(stored)
        frames = FrameTable.joined([FrameTable.load(path / 'frames.npz') for path in shard_folders(folder)])
        stretches = find_clips(frames, settings, state.source_width, number, sequence)
        sequence += stretches.sequences
        found.append(stretches)
        motions.append(frames.motion_px)
        summaries.append(_summary(item, state, frames, stretches, codec, settings))
    height, width = settings.cached_size
    report = PrepareReport(str(out), width, height, tuple(summaries))
    if not report.clips:
        raise DatasetError(f'no clip can be made: {"; ".join(_fate(source) for source in summaries)}')
    ClipTable.joined([stretches.clips for stretches in found]).save(out / 'clips.npz')
    draw_motion(out / 'report.png', report, motions, [stretches.clips.motion_px for stretches in found])
    _write_json(out / 'report.json', report.to_dict())
    _write_json(out / 'cache.json', {**manifest, 'complete': True})
    return report


def _fate(source: SourceSummary) -> str:
    """Return in words why a source gave no clip."""
    return (
        f'{source.name}: {source.read} images read, {source.kept} kept; dropped: '
        f'{total({**source.skipped, **source.dropped})}; of those kept, {total(source.no_clip)}'
    )


def _summary(
    item: WeightedSource,
    state: SelectionState,
    frames: FrameTable,
    stretches: Stretches,
    codec: str,
    settings: PrepareSettings,
) -> SourceSummary:
    clips, report = stretches.clips, state.report
    return SourceSummary(
        name=report.name,
        weight=item.weight,
        group=item.group,
        claimed=report.claimed,
        read=report.read,
        skipped=dict(report.skipped),
        dropped=dict(state.dropped),
        kept=state.kept,
        sequences=stretches.sequences,
        stride=stretches.stride,
        clips=len(clips.source),
        no_clip=dict(stretches.dropped),
        width=state.source_width,
        frame_motion_px=median(frames.motion_px),
        clip_motion_px=median(clips.motion_px),
        metric_share=float(np.isfinite(clips.distance_m).all(axis=1).mean()) if len(clips.source) else 0.0,
        depth_share=float(frames.has_depth.mean()),
        codec=codec,
        notes=(*report.notes, *_squeezed(state, settings)),
        height=state.source_height,
    )


def _squeezed(state: SelectionState, settings: PrepareSettings) -> tuple[str, ...]:
    """Say where images change their shape much: the network then sees what no camera at work will show it."""
    stretch = (settings.width / settings.height) / (state.source_width / state.source_height)
    if 1 / SQUEEZE < stretch < SQUEEZE:
        return ()
    height = round(settings.width * state.source_height / state.source_width / 32) * 32
    source, training = f'{state.source_width}x{state.source_height}', f'{settings.width}x{settings.height}'
    return (f'images of {source} are squeezed to {training}: a height of {height} would keep their shape',)


def _identity(source: FrameSource) -> str:
    """Return what tells this source, with its options, from any other."""
    if isinstance(source, DeferredSource):
        return source.identity
    if is_dataclass(source):
        settings = {each.name: getattr(source, each.name) for each in fields(source) if each.name != 'report'}
        return f'{type(source).__name__} {settings}'
    return source.report.name


def _is_complete(out: Path, manifest: dict[str, Any]) -> bool:
    """Return whether the folder holds this very cache, whole.

    Raises:
        DatasetError: If it holds another one.
    """
    path = out / 'cache.json'
    if not path.is_file():
        return False
    found = json.loads(current_manifest(path.read_text(encoding='utf-8')))
    complete = bool(found.pop('complete'))
    wanted = json.loads(json.dumps(manifest))
    if found != wanted:
        raise DatasetError(
            f'{str(out)!r} holds a cache of something else: {_difference(found, wanted)}. Name another folder, or '
            'remove this one'
        )
    return complete


def _difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Return the first difference between two manifests, in words."""
    if found.get('format') != wanted['format']:
        return f'format {found.get("format")!r} instead of {wanted["format"]!r}'
    for name, value in wanted['settings'].items():
        if found['settings'].get(name) != value:
            return f'{name} is {found["settings"].get(name)!r}, asked for is {value!r}'
    return f'sources are {found["sources"]!r}, asked for are {wanted["sources"]!r}'


def _write_json(path: Path, content: object) -> None:
    """Write a JSON file so that it is there whole or not at all, whoever else writes it."""
    with tempfile.NamedTemporaryFile(
        'w', encoding='utf-8', dir=path.parent, prefix=f'.{path.name}.', suffix='.partial', delete=False
    ) as partial_file:
        json.dump(content, partial_file, indent=1)
    Path(partial_file.name).replace(path)


@contextmanager
def _full_disk_named(out: Path) -> Iterator[None]:
    """Say what to do where the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise DatasetError(
            f'the disk of {str(out)!r} is full: what is complete stays. Make room, or choose a smaller size or '
            "codec='jpeg' in another folder, and start again: it goes on from there"
        ) from error


@contextmanager
def _locked(folder: Path, timeout_s: float = 0.0) -> Iterator[None]:
    """Keep other processes from preparing into the same folder; a killed process leaves no lock behind."""
    try:
        lock = FileLock(folder / '.lock', timeout=timeout_s).acquire()
    except Timeout as error:
        raise DatasetError(f'another process prepares {str(folder)!r}: wait, or name another folder') from error
    with lock:
        yield


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Keep OpenCV from starting threads of its own inside ours."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
