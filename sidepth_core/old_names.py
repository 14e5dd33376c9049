"""What recipes, sources and caches of earlier versions call things, and what these are called now."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

RECIPE_KEYS = {
    'data.gate': 'data.frame_selection',
    'objective.seen_motion': 'objective.two_view_pose',
    'watch.picture_every': 'watch.figure_every',
}
SOURCE_OPTIONS = {'take': 'sequence'}
CACHE_FIELDS = {'gate': 'frame_selection', 'take_frames': 'sequence_frames'}
CACHE_FILES = {'selection.json': 'sifted.json', 'two_view_poses.npz': 'seen_motions.npz'}
"""Today's name first: the other one is read where only that is there."""


def current_recipe(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a recipe under today's keys; a warning names each key that has changed."""
    recipe = {key: dict(value) if isinstance(value, Mapping) else value for key, value in content.items()}
    for old, new in RECIPE_KEYS.items():
        group, key = old.split('.')
        settings = recipe.get(group)
        if isinstance(settings, dict) and key in settings:
            log.warning('recipe key %s is called %s now', old, new)
            settings[new.split('.')[1]] = settings.pop(key)
    data = recipe.get('data')
    if isinstance(data, dict) and isinstance(data.get('sources'), list):
        data['sources'] = [current_source(text) if isinstance(text, str) else text for text in data['sources']]
    return recipe


def current_option(option: str) -> str:
    """Return today's name of a command-line option, such as --objective.two_view_pose for --objective.seen_motion."""
    for old, new in RECIPE_KEYS.items():
        if re.fullmatch(rf'--{re.escape(old)}(\..*)?', option):
            log.warning('option --%s is called --%s now', old, new)
            return option.replace(old, new, 1)
    return option


def current_source(text: str) -> str:
    """Return a source's text with today's options, such as sequence=30 for take=30."""
    for old, new in SOURCE_OPTIONS.items():
        text = re.sub(rf'(?<=[?&]){old}=', f'{new}=', text)
    return text


def earlier_source(text: str) -> str:
    """Return a source's text with the options of earlier versions."""
    for old, new in SOURCE_OPTIONS.items():
        text = re.sub(rf'(?<=[?&]){new}=', f'{old}=', text)
    return text


def current_manifest(manifest: str) -> str:
    """Return a cache's manifest (JSON) with today's field names."""
    for old, new in CACHE_FIELDS.items():
        manifest = re.sub(rf'(["\']){old}\1:', rf'\g<1>{new}\g<1>:', manifest)
    return manifest


def earlier_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Return settings of a cache under the names of earlier versions."""
    earlier = {new: old for old, new in CACHE_FIELDS.items()}
    return {earlier.get(name, name): value for name, value in fields.items()}


def cache_file(path: Path) -> Path:
    """Return a cache's file, under its earlier name where only that is there."""
    earlier = path.with_name(CACHE_FILES[path.name])
    return earlier if earlier.is_file() and not path.is_file() else path
