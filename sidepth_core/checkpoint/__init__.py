"""Checkpoints: a directory with model.safetensors (the weights) and model.json (everything else about them).

The pose network, which only training and evaluation need, lies in pose.safetensors beside them, or is left out.
A folder of the `transformers` library (config.json, preprocessor_config.json, model.safetensors) is read as one too.
"""

from sidepth_core.checkpoint.card import model_card
from sidepth_core.checkpoint.files import INFO_FILE, POSE_FILE, WEIGHTS_FILE
from sidepth_core.checkpoint.info import FORMAT, LARGEST_SIDE, CheckpointInfo
from sidepth_core.checkpoint.location import (
    BUILT_IN,
    DEFAULT_CHECKPOINT,
    HUB,
    NAME,
    RUN_FOLDERS,
    holds_foundation,
    locate_checkpoint,
)
from sidepth_core.checkpoint.networks import (
    Checkpoint,
    checkpoint_bytes,
    load_checkpoint,
    load_digest,
    load_info,
    make_depth_net,
    save_checkpoint,
    weights_digest,
)

__all__ = [
    'BUILT_IN',
    'DEFAULT_CHECKPOINT',
    'FORMAT',
    'HUB',
    'INFO_FILE',
    'LARGEST_SIDE',
    'NAME',
    'POSE_FILE',
    'RUN_FOLDERS',
    'WEIGHTS_FILE',
    'Checkpoint',
    'CheckpointInfo',
    'checkpoint_bytes',
    'holds_foundation',
    'load_checkpoint',
    'load_digest',
    'load_info',
    'locate_checkpoint',
    'make_depth_net',
    'model_card',
    'save_checkpoint',
    'weights_digest',
]
