"""Model cards: what the Hugging Face Hub shows of a checkpoint, and what a stranger reads before using it."""

from __future__ import annotations

import re
from typing import Any

import yaml

from sidepth_core.checkpoint.info import CheckpointInfo

HUB_LICENCES = (
    'apache-2.0', 'mit', 'bsd-2-clause', 'bsd-3-clause', 'gpl-3.0', 'cc0-1.0', 'cc-by-3.0', 'cc-by-4.0', 'cc-by-sa-3.0',
    'cc-by-sa-4.0', 'cc-by-nc-3.0', 'cc-by-nc-4.0', 'cc-by-nc-sa-3.0', 'cc-by-nc-sa-4.0', 'cc-by-nc-nd-4.0',
)  # fmt: skip
"""Identifiers that the Hub knows, of licences that depth checkpoints and driving data have."""
TAGS = ['depth-estimation', 'monocular-depth', 'self-supervised', 'robotics', 'ros2']
FENCE = '---\n'


def hub_licence(licence: str) -> dict[str, str]:
    """Return a licence as the Hub's metadata take it: by its identifier, or as `other` with a name."""
    identifier = re.sub(r'[\s_]+', '-', licence.strip().lower())
    if identifier in HUB_LICENCES:
        return {'license': identifier}
    return {'license': 'other', 'license_name': re.sub(r'[^a-z0-9.]+', '-', licence.lower()).strip('-')[:80]}


def model_card(info: CheckpointInfo, repository: str, text: str = '') -> str:
    """Return a model card in Markdown, with the metadata of the Hub at its head.

    Args:
        info: The checkpoint; its licence is known.
        repository: ORGANISATION/NAME on the Hub.
        text: The card that the checkpoint brings; empty writes one from the info. One with metadata stays as it is.
    """
    if text.startswith(FENCE):
        return text
    head: dict[str, Any] = {
        **hub_licence(info.licence), 'library_name': 'sidepth', 'pipeline_tag': 'depth-estimation', 'tags': TAGS,
    }  # fmt: skip
    return f'{FENCE}{yaml.safe_dump(head, sort_keys=False)}{FENCE}\n{text or _written(info, repository)}'


def _written(info: CheckpointInfo, repository: str) -> str:
    focal = f', canonical focal length {info.focal_px:g} px' if info.focal_px else ''
    scale = ': '.join(filter(None, (info.scale, info.scale_note)))
    facts = {
        'depth network': f'{info.backbone}, trained at {info.image_width}x{info.image_height}',
        'depth': f'{info.min_depth_m:g} to {info.max_depth_m:g}' + (' m' if info.scale == 'metric' else ', no unit'),
        'scale': scale,
        'cameras': info.zoom_convention + focal,
        'licence': info.licence,
        'encoder started from': info.pretrained or 'random weights',
        'made with': ', '.join(f'{name} {version}' for name, version in info.versions.items()) or 'unknown',
    }
    lines = [f'| {name} | {_cell(value)} |' for name, value in facts.items()]
    data = [f'- {line}' for line in info.training_data] or ['- unknown']
    scores = [f'| {_cell(name)} | {value:.4g} |' for name, value in info.metrics.items()]
    return '\n'.join(
        [
            f'# {repository.rpartition("/")[2]}',
            '',
            'Depth from a single camera: a checkpoint of sidepth, a ROS 2 package.',
            '',
            '```sh',
            f'sidepth predict street.jpg --fov 70 --out depth --checkpoint hf://{repository}',
            f'ros2 param set /depth checkpoint hf://{repository}',
            '```',
            '',
            '| | |',
            '|---|---|',
            *lines,
            '',
            '## Training data',
            '',
            *data,
            *(['', '## Measured while training', '', '| | |', '|---|---|', *scores] if scores else []),
            '',
        ]
    )


def _cell(text: str) -> str:
    """Return a text as a cell of a table takes it."""
    return ' '.join(text.replace('|', r'\|').split())
