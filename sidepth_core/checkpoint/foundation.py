"""Checkpoints that hold a network of `transformers`: a folder of theirs as it is, or one of ours after fine-tuning."""

from __future__ import annotations

import logging
from pathlib import Path

from sidepth_core.checkpoint.info import FORMAT, CheckpointInfo
from sidepth_core.errors import CheckpointError
from sidepth_core.models.foundation import FoundationFolder, FoundationInfo, read_folder
from sidepth_core.models.foundation.loading import load_model, make_model
from sidepth_core.models.foundation.network import FoundationNet

SCALE_NOTES = {
    'relative': 'inverse depth up to an unknown scale and shift, as its authors trained it',
    'metric': 'metres as its authors trained it, not measured on your camera',
    'field_of_view': 'metres by the focal length over the width of the image, as its authors trained it',
}

logger = logging.getLogger(__name__)


def describe_folder(directory: Path, source: str = '') -> CheckpointInfo:
    """Return what is known about a folder of `transformers`, without importing it.

    Raises:
        CheckpointError: If a file is missing or damaged, or it is no depth network whose convention is known.
    """
    return _described(read_folder(directory, source))


def load_folder(directory: Path, source: str = '') -> tuple[FoundationNet, CheckpointInfo]:
    """Load the network of a folder of `transformers`, in evaluation mode on the CPU, float32.

    A licence that allows no commercial use is warned of.

    Args:
        directory: With config.json, preprocessor_config.json and weights as safetensors.
        source: What it is said to come from; empty for the folder.

    Raises:
        CheckpointError: If `transformers` is missing, or the folder cannot be used.
    """
    folder = read_folder(directory, source)
    info = _described(folder)
    network = FoundationNet(load_model(directory), folder.network, folder.depth_range)
    network.eval()
    if folder.network.convention == 'relative':
        try:
            network.choose_scale()
        except Exception as error:  # a configuration can be loadable and still not run
            raise CheckpointError(f'{str(directory)!r} cannot be run: {type(error).__name__}: {error}') from error
    if folder.is_restricted:
        logger.warning('%s: licence %s allows no commercial use', folder.network.source, folder.licence)
    elif not folder.licence:
        logger.warning('%s: its model card names no licence: look it up before you use it', folder.network.source)
    return network, info


def empty_network(foundation: FoundationInfo, info: CheckpointInfo) -> FoundationNet:
    """Return a network of that description, to be filled with weights.

    Raises:
        CheckpointError: If `transformers` is missing, or knows no such network.
    """
    return FoundationNet(make_model(foundation.config), foundation, (info.min_depth_m, info.max_depth_m))


def _described(folder: FoundationFolder) -> CheckpointInfo:
    network = folder.network
    return CheckpointInfo(
        network.family,
        image_width=network.size[1],
        image_height=network.size[0],
        min_depth_m=folder.depth_range[0],
        max_depth_m=folder.depth_range[1],
        scale='relative' if network.convention == 'relative' else 'metric',
        scale_note=SCALE_NOTES[network.convention],
        zoom_convention='field_of_view' if network.convention == 'field_of_view' else 'invariant',
        pretrained=network.source,
        licence=folder.licence,
        foundation=network,
        format=FORMAT,
    )
