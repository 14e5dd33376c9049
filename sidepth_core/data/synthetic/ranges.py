"""Many synthetic drives from one line: ranges and lists, from which each drive draws values by its seed.

`synthetic:mixed?seeds=1000..1400&fov=40..110&camera_height=0.3..3&sizes=416x312,640x224&moving=0,1&frames=9` is
401 drives. `seeds=FIRST..LAST` makes one drive for each seed, both ends included. Of the other keys, LOW..HIGH draws a
number evenly between both (whole where the key takes whole ones), a list A,B,C draws one of its items, and a single
value holds for all. The scene is drawn too: `mixed` draws one of all, `street,highway` one of these.

What a drive draws for a key follows from its seed, the key and its range alone: another key, or another last seed,
changes nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sidepth_core.data.synthetic.drive import SCENES
from sidepth_core.data.synthetic.source import SyntheticSource, options_of
from sidepth_core.errors import ConfigError

MOST_SEEDS = 100_000
WHOLE = ('width', 'height', 'frames', 'sequence')
RANGED = (*WHOLE, 'fov', 'fps', 'camera_height', 'pitch', 'roll')
"""Keys that take LOW..HIGH; those of WHOLE draw whole numbers."""


class Choices(NamedTuple):
    """What the values of a key are drawn from: a range, or the items of a list (one item: the same for all drives)."""

    key: str
    text: str
    ends: tuple[float, float] | None
    items: tuple[str, ...]

    def draw(self, seed: int) -> str:
        """Return the value that the drive of a seed gets."""
        rng = np.random.default_rng([seed, *self.key.encode()])
        if self.ends is None:
            return self.items[int(rng.integers(len(self.items)))]
        low, high = self.ends
        if self.key in WHOLE:
            return str(int(rng.integers(int(low), int(high) + 1)))
        return f'{rng.uniform(low, high):.4f}'


def expand(text: str) -> list[str]:
    """Return the texts of the single drives that a text names; without `seeds` it is the only one.

    Raises:
        ConfigError: If a range or a list cannot be drawn from, or one of its values cannot work in a drive.
    """
    scene, values = options_of(text)
    if 'seeds' not in values:
        _refuse_ranges(text, scene, values)
        return [text]
    if 'seed' in values:
        raise ConfigError(f'{text!r} has both seed and seeds: seed=N is one drive, seeds=FIRST..LAST are many')
    if 'sizes' in values and {'width', 'height'} & values.keys():
        raise ConfigError(f'{text!r} has sizes, and width or height beside them: leave these out')
    seeds = _seeds(text, values.pop('seeds'))
    scenes = _scenes(text, scene)
    choices = [_choices(text, key, value) for key, value in values.items()]
    _try_ends(text, choices)
    return [_spelled(scenes.draw(seed), seed, {each.key: each.draw(seed) for each in choices}) for seed in seeds]


def _refuse_ranges(text: str, scene: str, values: dict[str, str]) -> None:
    many = [f'{key}={value}' for key, value in values.items() if key == 'sizes' or (key in RANGED and '..' in value)]
    many += [scene] if ',' in scene else []
    if many:
        raise ConfigError(f'{text!r}: {many[0]} names many drives: add seeds=FIRST..LAST, one drive for each seed')


def _seeds(text: str, value: str) -> range:
    if not re.fullmatch(r'\d+\.\.\d+', value):
        raise ConfigError(f'{text!r}: seeds={value} is no range of whole numbers: write seeds=FIRST..LAST')
    first, last = (int(end) for end in value.split('..'))
    if not 0 <= last - first < MOST_SEEDS:
        raise ConfigError(f'{text!r}: seeds={value} are {last - first + 1} drives: it takes 1 to {MOST_SEEDS}')
    return range(first, last + 1)


def _scenes(text: str, value: str) -> Choices:
    scenes = tuple(SCENES) if value == 'mixed' else tuple(value.split(','))
    for scene in scenes:
        _try(text, f'scene {scene}', scene, {})
    return Choices('scene', value, None, scenes)


def _choices(text: str, key: str, value: str) -> Choices:
    if '..' not in value:
        return Choices(key, value, None, tuple(value.split(',')))
    if key not in RANGED:
        raise ConfigError(f'{text!r}: {key}={value} is a range: only seeds, {", ".join(RANGED)} take one')
    try:
        low, high = (int(end) if key in WHOLE else float(end) for end in value.split('..'))
    except ValueError:
        kind = 'whole numbers' if key in WHOLE else 'numbers'
        hint = f"; {key} is the image's, in pixels: the camera's is camera_height" if key == 'height' else ''
        raise ConfigError(f'{text!r}: {key}={value} is no range of {kind}: write {key}=LOW..HIGH{hint}') from None
    if not low <= high:
        raise ConfigError(f'{text!r}: {key}={value} runs downwards: write the lower end first')
    return Choices(key, value, (low, high), ())


def _try_ends(text: str, choices: Sequence[Choices]) -> None:
    """Refuse what some drive could not take, whether or not a seed happens to draw it."""
    for each in choices:
        for value in each.items if each.ends is None else (str(end) for end in each.ends):
            _try(text, f'{each.key}={each.text}', 'street', {each.key: value})


def _try(text: str, part: str, scene: str, values: dict[str, str]) -> None:
    try:
        SyntheticSource.from_text(_spelled(scene, 0, values))
    except ConfigError as error:
        raise ConfigError(f'{text!r}: {part}: {error}') from None


def _spelled(scene: str, seed: int, values: dict[str, str]) -> str:
    values = dict(values)
    if 'sizes' in values:
        size = values.pop('sizes')
        values['width'], _, values['height'] = size.partition('x')
    return f'synthetic:{scene}?' + '&'.join(f'{key}={value}' for key, value in {'seed': seed, **values}.items())
