"""What a folder of `transformers` holds, read from its JSON files and its model card alone.

Nothing here imports `transformers`, which takes seconds: a node asks for these facts between two images.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sidepth_core.errors import CheckpointError, ConfigError
from sidepth_core.models.foundation.description import FoundationInfo
from sidepth_core.structured_text import read_json, read_yaml

CONFIG_FILE = 'config.json'
PROCESSOR_FILES = ('preprocessor_config.json', 'processor_config.json')
CARD_FILE = 'README.md'

RELATIVE_RANGE = (0.1, 200.0)
"""Depths in which a relative model's are laid out, in units of 1/25 of what it sees at first (see network.py)."""
CANONICAL_RANGE = (0.02, 1000.0)
"""Depths that Depth Pro says for a focal length of the image's width, metres."""
NEAREST_M = 0.1

FRONT_MATTER = re.compile(r'\A---\s*\n(.*?)\n---\s*(\n|\Z)', re.DOTALL)
RESTRICTED = re.compile(r'(^|[-_ ])(nc|non-?commercial|research|amlr)([-_ ]|$)', re.IGNORECASE)
"""Names of licences that allow no commercial use: cc-by-nc-4.0, apple-amlr, ..."""


class Family(NamedTuple):
    """What is known of a kind of network beforehand.

    Attributes:
        convention: Of its output, by its configuration.
        farthest_m: Largest depth it says, by its configuration.
        multiple: What its input's sides are multiples of, by its configuration.
        size: Height and width where the processor says none.
        sizing: How the size follows an image where the processor keeps its shape.
        keeps_shape: Whether it does where the processor does not say.
        exact: Whether it takes one size only, by its configuration.
    """

    convention: Callable[[Mapping[str, Any]], str]
    farthest_m: Callable[[Mapping[str, Any]], float]
    multiple: Callable[[Mapping[str, Any]], int]
    size: tuple[int, int]
    sizing: str = 'shape'
    keeps_shape: bool = False
    exact: Callable[[Mapping[str, Any]], bool] = lambda _config: False


def _backbone(config: Mapping[str, Any]) -> Mapping[str, Any]:
    backbone = config.get('backbone_config')
    return backbone if isinstance(backbone, Mapping) else {}


def _farthest_bin_m(config: Mapping[str, Any]) -> float:
    return max(float(bins['max_depth']) for bins in config.get('bin_configurations') or [{'max_depth': 10.0}])


def _depth_pro_side(config: Mapping[str, Any]) -> int:
    ratio = min(float(one) for one in config.get('scaled_images_ratios', (0.25,)))
    return round(int(config.get('patch_size', 384)) / ratio)


FAMILIES = {
    'depth_anything': Family(
        convention=lambda config: str(config.get('depth_estimation_type', 'relative')),
        farthest_m=lambda config: float(config.get('max_depth') or 80.0),
        multiple=lambda config: int(config.get('patch_size', 14)),
        size=(518, 518),
    ),
    'dpt': Family(
        convention=lambda _config: 'relative',
        farthest_m=lambda _config: RELATIVE_RANGE[1],
        multiple=lambda config: int(_backbone(config).get('patch_size') or config.get('patch_size') or 16),
        size=(384, 384),
        # With a ViT of its own it takes squares only.
        exact=lambda config: bool(config.get('is_hybrid')) or not _backbone(config),
    ),
    'zoedepth': Family(
        convention=lambda _config: 'metric',
        farthest_m=_farthest_bin_m,
        multiple=lambda _config: 32,
        size=(384, 512),
        keeps_shape=True,
    ),
    'glpn': Family(
        convention=lambda _config: 'metric',
        farthest_m=lambda config: float(config.get('max_depth') or 10.0),
        multiple=lambda _config: 32,
        size=(480, 640),
        sizing='area',
    ),
    'tipsv2_dpt': Family(
        convention=lambda _config: 'metric',
        farthest_m=lambda config: float(config.get('max_depth') or 10.0),
        multiple=lambda config: int(_backbone(config).get('patch_size') or 14),
        size=(448, 448),
    ),
    'depth_pro': Family(
        convention=lambda _config: 'field_of_view',
        farthest_m=lambda _config: CANONICAL_RANGE[1],
        multiple=_depth_pro_side,
        size=(1536, 1536),
        exact=lambda _config: True,
    ),
}
"""The kinds of networks whose convention is known, by the model_type of config.json."""


class FoundationFolder(NamedTuple):
    """What a folder says about its network.

    Attributes:
        network: What must be known to run it.
        depth_range: Nearest and farthest depth that are said.
        licence: As its model card has it; empty where it says nothing.
        is_restricted: Whether that licence allows no commercial use.
    """

    network: FoundationInfo
    depth_range: tuple[float, float]
    licence: str
    is_restricted: bool


def is_foundation(directory: Path) -> bool:
    """Return whether a folder holds a model of `transformers`."""
    return (directory / CONFIG_FILE).is_file()


def read_folder(directory: Path, source: str = '') -> FoundationFolder:
    """Read what a folder of `transformers` says about its depth network.

    Args:
        directory: With config.json and preprocessor_config.json.
        source: What the network is said to come from; empty for the folder.

    Raises:
        CheckpointError: If a file is missing or damaged, or it is no depth network whose convention is known.
    """
    config = _read(directory / CONFIG_FILE)
    kind = config.get('model_type')
    family = FAMILIES.get(str(kind))
    if family is None:
        raise CheckpointError(
            f'{str(directory / CONFIG_FILE)!r} says model_type {kind!r}: expected a depth network whose convention is '
            f'known, one of {", ".join(FAMILIES)}'
        )
    processor = _processor(directory)
    try:
        convention = family.convention(config)
        multiple = family.multiple(config)
        height, width = (max(1, round(side / multiple)) * multiple for side in _size(processor, family, config))
        network = FoundationInfo(
            source=source or str(directory.resolve()),
            config=config,
            convention=convention,
            size=(height, width),
            multiple=multiple,
            sizing=_sizing(processor, family, config),
            **_normalisation(processor),
        )
        nearest, farthest = _depth_range(convention, family.farthest_m(config))
    except (ConfigError, KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise CheckpointError(f'{str(directory)!r} describes no depth network that can be run: {error!r}') from error
    licence = card_licence(directory)
    return FoundationFolder(network, (nearest, farthest), licence, bool(RESTRICTED.search(licence)))


def card_licence(directory: Path) -> str:
    """Return the licence that a model card names in its front matter; empty where it names none."""
    try:
        text = (directory / CARD_FILE).read_text(encoding='utf-8', errors='replace')
        found = FRONT_MATTER.match(text)
        facts = read_yaml(found[1]) if found else None
    except (OSError, ValueError):
        return ''
    if not isinstance(facts, Mapping):
        return ''
    named = [str(facts[name]) for name in ('license', 'license_name') if facts.get(name)]
    return ' '.join(name for name in named if name != 'other')


def _read(path: Path) -> dict[str, Any]:
    try:
        values: Any = read_json(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f'{str(path)!r} is missing: copy the whole folder of the model') from None
    except ValueError as error:
        raise CheckpointError(f'{str(path)!r} is not JSON, is it truncated? {error}') from error
    if not isinstance(values, dict):
        raise CheckpointError(f'{str(path)!r} holds no fields: expected a JSON object')
    return values


def _processor(directory: Path) -> dict[str, Any]:
    """Return how the model's own processor prepares images."""
    path = next((directory / name for name in PROCESSOR_FILES if (directory / name).is_file()), None)
    if path is None:
        raise CheckpointError(
            f'{str(directory)!r} has no {PROCESSOR_FILES[0]}, which says how the model wants its images: copy it '
            'there, or save it with the save_pretrained of its image processor'
        )
    values = _read(path)
    inner = values.get('image_processor')
    return inner if isinstance(inner, dict) else values


def _size(processor: Mapping[str, Any], family: Family, config: Mapping[str, Any]) -> tuple[int, int]:
    if config.get('model_type') == 'depth_pro':
        side = family.multiple(config)
        return side, side
    said = processor.get('size') or family.size
    if isinstance(said, Mapping):
        height, width = said['height'], said['width']
    else:
        height, width = (said, said) if isinstance(said, int) else said
    if min(int(height), int(width)) < 1:
        raise ConfigError(f'size {height!r} x {width!r} is empty')
    return int(height), int(width)


def _sizing(processor: Mapping[str, Any], family: Family, config: Mapping[str, Any]) -> str:
    if family.exact(config):
        return 'exact'
    if family.sizing == 'area':
        return family.sizing
    return family.sizing if processor.get('keep_aspect_ratio', family.keeps_shape) else 'fixed'


def _normalisation(processor: Mapping[str, Any]) -> dict[str, Any]:
    """Return mean and std of images in 0..1."""
    if not processor.get('do_rescale', True) or abs(float(processor.get('rescale_factor', 1 / 255)) * 255 - 1) > 1e-3:
        raise ConfigError('its processor scales images otherwise than by 1/255')
    if not processor.get('do_normalize', 'image_mean' in processor):
        return {}
    return {name: tuple(float(one) for one in processor[f'image_{name}']) for name in ('mean', 'std')}


def _depth_range(convention: str, farthest_m: float) -> tuple[float, float]:
    if convention == 'metric':
        return NEAREST_M, farthest_m
    return RELATIVE_RANGE if convention == 'relative' else CANONICAL_RANGE
