"""Frame selection: threads decode, rectify, measure and resize a source's frames; shards get those worth learning."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from sidepth_core.camera import Camera
from sidepth_core.data.deferred import DeferredSource
from sidepth_core.data.depth_truth import without_hidden
from sidepth_core.data.frames import DepthMap, Frame, FrameSource, SourceReport
from sidepth_core.data.prepare.motion import (
    ImageStatistics,
    Motion,
    exposure_fault,
    image_statistics,
    measure_motion,
    motion_fault,
)
from sidepth_core.data.prepare.settings import PrepareSettings
from sidepth_core.data.prepare.shards import Codec, FrameRow, ShardWriter, encode, inverse_depth
from sidepth_core.data.rectified import rectified
from sidepth_core.errors import DatasetError

In = TypeVar('In')
Out = TypeVar('Out')

SHARD_FRAMES = 128
SHARD_S = 10.0
"""A shard is complete after so many frames or so long, seconds: no more is lost when the process is killed."""
NAN_POSE = np.full((4, 4), np.nan)
SPARSE_SHARE = 0.5


@dataclass
class SelectionState:
    """How far the selection of a source's frames is; stored with each shard, so that an interrupted run can go on.

    Attributes:
        report: The source's own report.
        dropped: Images that were read but are not fit to learn from, by reason.
        kept: Images in the cache.
        source_width: Width of the source's images, pixels.
        source_height: Their height, pixels.
        last_kept: Position of the last image in the cache; -1 before the first.
        last_seen: Position of the last image that was looked at.
        step_s: Longest step since the last image kept, seconds.
    """

    report: SourceReport
    dropped: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    source_width: int = 0
    source_height: int = 0
    last_kept: int = -1
    last_seen: int = -1
    step_s: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON takes them."""
        # asdict would rebuild the counters from pairs, and count the pairs.
        report = {**vars(self.report), 'skipped': dict(self.report.skipped)}
        return {**vars(self), 'report': report, 'dropped': dict(self.dropped)}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> SelectionState:
        """Return what to_dict described."""
        report = fields.pop('report')
        report['skipped'] = Counter(report['skipped'])
        return cls(SourceReport(**report), Counter(fields.pop('dropped')), **fields)


class Ready(NamedTuple):
    """One image as it will be stored, and what is needed to decide whether it will.

    Attributes:
        position: Place among the images of its source.
        frame: The frame, its image and depth taken out.
        camera: Camera of the cached image; None where not known.
        image: Encoded image.
        depth: (h, w) float16 inverse depth; None where not known.
        statistics: Its sharpness, brightness and contrast.
        size: Width and height of the source's image, pixels.
    """

    position: int
    frame: Frame
    camera: Camera | None
    image: bytes
    depth: npt.NDArray[np.float16] | None
    statistics: ImageStatistics
    size: tuple[int, int]


def select_frames(
    source: FrameSource,
    state: SelectionState,
    settings: PrepareSettings,
    codec: Codec,
    pool: Executor,
    open_shard: Callable[[], ShardWriter],
    progress: Callable[[SelectionState], None],
) -> None:
    """Write the images of a source that are fit to learn from into shards, and keep `state` up to date.

    Raises:
        DatasetError: If the source cannot be read, or has no camera and none is to be learned.
        OSError: If a shard cannot be written; complete ones stay.
    """
    writer: ShardWriter | None = None
    last: Ready | None = None
    opened_s = 0.0
    try:
        for before, ready, adjacent in _measured(source, state, settings, codec, pool):
            if ready.position == state.last_kept:
                last = ready
            if ready.position <= state.last_seen:
                continue
            _advance(state, before, ready)
            motion = adjacent if last is before else measure_motion(last.statistics, ready.statistics) if last else None
            reason = _fault(ready, motion, settings)
            state.report = source.report
            if reason:
                state.dropped[reason] += 1
            else:
                if writer is None:
                    writer, opened_s = open_shard(), time.monotonic()
                writer.add(_row(ready, motion, state.step_s), ready.image, ready.depth)
                last, state.last_kept, state.kept, state.step_s = ready, ready.position, state.kept + 1, 0.0
                if len(writer.rows) == SHARD_FRAMES or time.monotonic() - opened_s > SHARD_S:
                    writer.close(state.to_dict())
                    writer = None
            progress(state)
        if writer:
            writer.close(state.to_dict())
            writer = None
    finally:
        if writer:
            writer.discard()


def _advance(state: SelectionState, before: Ready | None, ready: Ready) -> None:
    state.last_seen = ready.position
    state.source_width, state.source_height = ready.size
    if before:
        step_s = (ready.frame.stamp_ns - before.frame.stamp_ns) / 1e9
        # A clock that is set back makes a gap of unknown length.
        state.step_s = max(state.step_s, step_s if step_s > 0 else float('inf'))


def _fault(ready: Ready, motion: Motion | None, settings: PrepareSettings) -> str | None:
    fault = exposure_fault(ready.statistics, settings.frame_selection)
    if fault or motion is None:
        return fault
    return motion_fault(motion, ready.size[0], settings.frame_selection)


def _measured(
    source: FrameSource, state: SelectionState, settings: PrepareSettings, codec: Codec, pool: Executor
) -> Iterator[tuple[Ready | None, Ready, Motion | None]]:
    """Yield each image with the one before it and the motion between them, from the last one kept on."""
    start = max(state.last_kept, 0)
    if isinstance(source, DeferredSource):
        earlier = state.report if state.last_seen >= 0 else None
        frames = source.frames(pool, settings.threads, start, state.last_seen + 1, earlier)
    else:
        frames = islice(enumerate(source), start, None)
    make_ready = partial(_made_ready, settings=settings, codec=codec, source=source)
    ready = ordered(pool, settings.threads, make_ready, frames)
    return ordered(pool, settings.threads, _with_motion, _with_previous(ready))


def _with_previous(items: Iterable[Ready]) -> Iterator[tuple[Ready | None, Ready]]:
    before: Ready | None = None
    for item in items:
        yield before, item
        before = item


def _with_motion(pair: tuple[Ready | None, Ready]) -> tuple[Ready | None, Ready, Motion | None]:
    before, ready = pair
    return before, ready, measure_motion(before.statistics, ready.statistics) if before else None


def _made_ready(item: tuple[int, Frame], settings: PrepareSettings, codec: Codec, source: FrameSource) -> Ready:
    """Rectify, measure and resize one image; called from many threads."""
    position, frame = item
    if frame.camera is None and settings.unknown_camera == 'refuse':
        why = ''.join(f'; {note}' for note in source.report.notes if 'calibrat' in note or 'camera_info' in note)
        raise DatasetError(
            f'{source.report.name}: the camera of these images is not calibrated. Give its calibration (camera=FILE, '
            f'the YAML of camera_calibration or a JSON), or camera=learned to let training find the intrinsics{why}'
        )
    height, width = settings.cached_size
    frame = rectified(frame)
    image, depth_m, camera = frame.image, frame.depth_m, frame.camera
    statistics = image_statistics(image)
    shrinks = image.shape[1] >= width and image.shape[0] >= height
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    inverse = None
    if depth_m is not None and settings.depth:
        inverse = inverse_depth(resized_depth(depth_m, height, width))
    bare = Frame(frame.stamp_ns, np.empty((0, 0, 3), np.uint8), None, frame.speed_mps, frame.T_world_camera)
    cached = camera.resized(width, height) if camera else None
    size = image.shape[1], image.shape[0]
    return Ready(position, bare, cached, encode(np.asarray(small, np.uint8), codec), inverse, statistics, size)


def resized_depth(depth_m: DepthMap, height: int, width: int) -> DepthMap:
    """Return depth at another size without ever averaging: sampled where dense, the nearest return where sparse.

    Sparse depth loses the returns that the camera cannot have seen (see `without_hidden`).
    """
    rows, columns = depth_m.shape
    known = ~np.isnan(depth_m)
    if known.mean() > SPARSE_SHARE:
        # The source pixel under each target pixel's centre (half-pixel rule).
        v = np.minimum(((np.arange(height) + 0.5) * rows / height).astype(int), rows - 1)
        u = np.minimum(((np.arange(width) + 0.5) * columns / width).astype(int), columns - 1)
        return np.ascontiguousarray(depth_m[np.ix_(v, u)])
    depth_m = without_hidden(depth_m)
    v, u = np.nonzero(~np.isnan(depth_m))
    z = depth_m[v, u]
    far_first = np.argsort(-z, kind='stable')
    sparse = np.full((height, width), np.nan, dtype=np.float32)
    target_v = ((v + 0.5) * height / rows).astype(int)[far_first]
    target_u = ((u + 0.5) * width / columns).astype(int)[far_first]
    sparse[target_v, target_u] = z[far_first]
    return sparse


def _row(ready: Ready, motion: Motion | None, step_s: float) -> FrameRow:
    camera, frame, nan = ready.camera, ready.frame, float('nan')
    return FrameRow(
        position=ready.position,
        stamp_ns=frame.stamp_ns,
        fx=camera.fx if camera else nan,
        fy=camera.fy if camera else nan,
        cx=camera.cx if camera else nan,
        cy=camera.cy if camera else nan,
        speed_mps=nan if frame.speed_mps is None else frame.speed_mps,
        pose=NAN_POSE if frame.T_world_camera is None else frame.T_world_camera,
        motion_px=motion.pixels if motion else nan,
        tracked_share=motion.tracked_share if motion else 0.0,
        step_s=step_s,
        sharpness=ready.statistics.sharpness,
        has_depth=ready.depth is not None,
    )


def ordered(pool: Executor, workers: int, work: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
    """Yield work(item) of each item in order, a few items ahead in the pool."""
    queue: deque[Future[Out]] = deque()
    try:
        for item in items:
            queue.append(pool.submit(work, item))
            if len(queue) > workers:
                yield queue.popleft().result()
        while queue:
            yield queue.popleft().result()
    finally:
        for future in queue:
            future.cancel()
