"""A recipe's sources: prepared once, split by time, ready to be drawn from."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.progress import Progress

from sidepth_core.checkpoint import CheckpointInfo, load_info
from sidepth_core.data.frames import Frame
from sidepth_core.data.prepare import (
    PreparedDataset,
    PrepareSettings,
    describe_origins,
    estimate_two_view_depth,
    estimate_two_view_poses,
    prepare,
)
from sidepth_core.data.sources import open_weighted
from sidepth_core.errors import ConfigError, DatasetError
from sidepth_core.models import size_of_shape
from sidepth_core.old_names import earlier_fields, earlier_source
from sidepth_core.training.settings import DataSettings, Recipe
from sidepth_core.training.split import Source, Split, split_by_time
from sidepth_core.training.teacher import Teacher, teacher_of

log = logging.getLogger(__name__)

Estimate = Callable[[Path, Callable[[int, int], object]], None]
"""Writes something into a cache, and tells how many clips are done, of how many."""
CHECK_ODOMETRY = "check the camera's mounting in /tf_static, its stamps and its calibration; depth learns nothing there"


class Place(NamedTuple):
    """Where a source's prepared clips lie.

    Attributes:
        text: The source as the recipe names it.
        cache: The folder of the cache.
    """

    text: str
    cache: Path


def open_sources(recipe: Recipe) -> list[Source]:
    """Prepare what is not prepared yet, and open everything.

    Raises:
        ConfigError: If the recipe names no source, or a source has an option that it does not know.
        DatasetError: If a source cannot be used.
    """
    places = prepare_sources(recipe)
    teacher = teacher_of(recipe.objective, recipe.device)
    key = teacher.key if teacher else ''
    return [source for place in places for source in _opened(place, recipe, key)]


def prepare_sources(recipe: Recipe) -> list[Place]:
    """Prepare what is not prepared yet, with a progress bar, and return where everything lies.

    Raises:
        ConfigError: If the recipe names no source, a source has an option that it does not know, or data.cache is a
            prepared cache where a folder of caches belongs.
        DatasetError: If a source cannot be used.
    """
    if not recipe.data.sources:
        raise ConfigError('the recipe names nothing to learn from: add data.sources, or --bag DIR')
    folder = recipe.data.cache
    if folder and _is_cache(Path(folder)):
        raise ConfigError(
            f'data.cache is {folder!r}, which is a prepared cache itself, and everything would be prepared again '
            f'inside it: name it as a source (--bag {folder}, or data.sources), and leave data.cache out'
        )
    places = [_place(text, recipe) for text in recipe.data.sources]
    teacher = teacher_of(recipe.objective, recipe.device)
    with Progress(transient=True) as bars:
        for place in places:
            if not _names_cache(place.text):
                _prepare(place, prepare_settings(recipe, place.text), bars)
            objective = recipe.objective
            sees_poses = objective.weights.two_view_pose and objective.pose_source != 'odometry'
            if sees_poses or objective.two_view_depth:
                _estimate(place, 'two-view poses', estimate_two_view_poses, bars)
            if objective.two_view_depth:
                _estimate(place, 'two-view depth', estimate_two_view_depth, bars)
            if teacher is not None:
                _teach(place, teacher, bars)
    return places


def starting_info(recipe: Recipe) -> CheckpointInfo | None:
    """Return what the checkpoint is that a recipe starts from; None where it starts from scratch."""
    if not recipe.checkpoint:
        return None
    return load_info(recipe.checkpoint)


def at_camera_shape(recipe: Recipe) -> Recipe:
    """Return the recipe with the size at which pixels of its first recording are square, where no size is given.

    Only a run that starts from a checkpoint leaves the size open: it keeps that one's area, as the node does. A cache
    keeps the shape that it was prepared at.

    Raises:
        ConfigError: If the source has an option that it does not know.
        DatasetError: If it cannot be read.
    """
    model, start = recipe.model, starting_info(recipe)
    if start is None or model.width or model.height or recipe.augment.shapes or not recipe.data.sources:
        return recipe
    text = recipe.data.sources[0]
    if _names_cache(text):
        height, width = PreparedDataset(text).size
        shape = width / height
    else:
        frame = next(iter(open_weighted(text)[0].source), None)
        if frame is None:
            raise DatasetError(f'{text!r} has no image that could be read')
        shape = _shape(frame)
    height, width = size_of_shape(start.image_width * start.image_height, shape)
    log.info('trained at %dx%d, the shape of %s', width, height, text)
    return replace(recipe, model=replace(model, width=width, height=height))


def _shape(frame: Frame) -> float:
    """Return width over height as square pixels would have it."""
    camera = frame.camera
    if camera is None:
        return float(frame.image.shape[1] / frame.image.shape[0])
    return (camera.width / camera.fx) / (camera.height / camera.fy)


def prepare_settings(recipe: Recipe, text: str) -> PrepareSettings:
    """Return how a source is prepared for a recipe."""
    data = recipe.data
    info = recipe.model.describe(starting_info(recipe))
    return PrepareSettings(
        width=info.image_width,
        height=info.image_height,
        margin=data.margin,
        clip_frames=data.clip_frames,
        stride=data.stride,
        codec=data.codec,
        unknown_camera='learned' if 'camera=learned' in text else 'refuse',
        frame_selection=data.frame_selection,
    )


def _is_cache(path: Path) -> bool:
    return (path / 'cache.json').is_file()


def _names_cache(text: str) -> bool:
    """Return whether a source is a prepared cache, and refuse options, which are for what has yet to be prepared."""
    folder, mark, options = text.partition('?')
    if mark and _is_cache(Path(folder)):
        raise ConfigError(f'{folder} is prepared already, with options of its own: name it without ?{options}')
    return _is_cache(Path(text))


def _place(text: str, recipe: Recipe) -> Place:
    """Return the cache of a source: a name that a person recognises, and a digest of what decides its content.

    The digest is of JSON, which is the same on every machine and version of Python; joblib's is of pickles.
    """
    if _names_cache(text):
        return Place(text, Path(text))
    folder = Path(recipe.data.cache) if recipe.data.cache else Path(recipe.out) / 'cache'
    settings = asdict(prepare_settings(recipe, text))
    cache = folder / _cache_name(text, settings)
    earlier = folder / _cache_name(earlier_source(text), earlier_fields(settings))
    return Place(text, earlier if _is_cache(earlier) and not _is_cache(cache) else cache)


def _cache_name(text: str, settings: dict[str, object]) -> str:
    readable = re.sub(r'[^A-Za-z0-9]+', '-', text.rstrip('/').split('/')[-1]).strip('-')[:40]
    decides = json.dumps([text, settings], sort_keys=True)
    return f'{readable}-{hashlib.sha256(decides.encode()).hexdigest()[:10]}'


def _prepare(place: Place, settings: PrepareSettings, bars: Progress) -> None:
    task = bars.add_task(place.text, total=None)
    sources = open_weighted(place.text)
    prepare(
        sources,
        place.cache,
        settings,
        progress=lambda step: bars.update(
            task,
            description=f'preparing {step.source}, {step.number + 1} of {step.sources}',
            completed=step.seen,
            total=step.claimed,
        ),
    )
    bars.remove_task(task)


def _estimate(place: Place, what: str, estimate: Estimate, bars: Progress) -> None:
    task = bars.add_task(f'{place.text}: {what}', total=None)
    estimate(place.cache, lambda done, of: bars.update(task, completed=done, total=of))
    bars.remove_task(task)


def _teach(place: Place, teacher: Teacher, bars: Progress) -> None:
    task = bars.add_task(f'{place.text}: what {teacher.name} says', total=None)
    teacher.teach(place.cache, lambda done, of: bars.update(task, completed=done, total=of))
    bars.remove_task(task)


def _opened(place: Place, recipe: Recipe, teacher: str) -> Iterable[Source]:
    """Yield the sources of a cache: its drives, those of one folder together."""
    data, source = recipe.data, recipe.objective.pose_source
    clips = PreparedDataset(
        place.cache,
        'two_view' if source == 'network' else source,
        teacher,
        two_view_depth=bool(recipe.objective.two_view_depth),
    )
    if recipe.objective.weights.two_view_pose:
        origins = Counter(name for index in range(len(clips)) for name in clips.chosen_poses(index)[1])
        log.info('%s: poses between frames: %s', place.text, describe_origins(origins))
        if 2 * origins['contradicting'] > origins.total():
            log.warning('%s: odometry contradicts what two views show: %s', place.text, CHECK_ODOMETRY)
    found = clips.clips.frames.shape[1]
    if found != data.clip_frames:
        raise DatasetError(f'{place.text} has clips of {found} frames, data.clip_frames asks for {data.clip_frames}')
    groups: dict[str, list[int]] = {}
    for number, summary in enumerate(clips.report.sources):
        groups.setdefault(summary.group or summary.name, []).append(number)
    for name, numbers in groups.items():
        splits = [_split(clips, number, data) for number in numbers]
        together = Split(*(list(chain(*columns)) for columns in zip(*splits, strict=True)))
        summaries = [clips.report.sources[number] for number in numbers]
        yield Source(
            name=name,
            weight=summaries[0].weight,
            clips=clips,
            split=together,
            distance_share=float(np.mean([summary.metric_share for summary in summaries])),
            depth_share=float(np.mean([summary.depth_share for summary in summaries])),
            camera_known=all(_camera_known(clips, split) for split in splits),
            size=clips.size,
            recorded=(summaries[0].height, summaries[0].width) if summaries[0].height else clips.size,
        )


def _split(clips: PreparedDataset, number: int, data: DataSettings) -> Split:
    """Split one drive by time."""
    table = clips.clips
    own = np.flatnonzero(table.source == number)
    own = own[np.argsort(table.stamp_ns[own], kind='stable')]
    reach = int((table.frames[own, -1] - table.frames[own, 0]).max(initial=0))
    try:
        split = split_by_time(len(own), data.validation_share, data.test_share, reach)
    except DatasetError as error:
        raise DatasetError(f'{clips.report.sources[number].name}: {error}') from None
    return Split(*(own[part].tolist() for part in split))


def _camera_known(clips: PreparedDataset, split: Split) -> bool:
    return not split.train or not bool(clips[split.train[0]].intrinsics.isnan().any())
