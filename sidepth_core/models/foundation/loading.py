"""Make networks of `transformers`, the one place that imports it, and only when one is asked for."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sidepth_core.errors import CheckpointError
from sidepth_core.models.foundation.folder import CONFIG_FILE

INSTALL = "pip install 'transformers>=4.56' 'peft>=0.17' (requirements/transformers.txt)"
WEIGHTS_PATTERN = 'model*.safetensors'
UNUSED = 'fusion_stage.layers.0.residual_layer1.'
"""Weights that published DPT models lack and the network never uses: the first fusion has nothing to add."""
LISTED = 5
CHUNK = 2**22


def load_model(directory: Path) -> nn.Module:
    """Load the depth network of a folder in evaluation mode, float32, on the CPU; no code from it runs.

    Raises:
        CheckpointError: If `transformers` is not installed, weights are missing, or they do not fit config.json.
    """
    if not weights_files(directory):
        others = sorted(path.name for path in directory.glob('*.bin'))
        hint = f' ({", ".join(others)} could run code when read: save it as safetensors)' if others else ''
        raise CheckpointError(f'{str(directory)!r} has no weights: expected {WEIGHTS_PATTERN}{hint}')
    auto = _transformers().AutoModelForDepthEstimation
    with _quiet(), torch.random.fork_rng(devices=[]):
        try:
            model, report = auto.from_pretrained(
                directory,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
        except Exception as error:  # whatever is wrong with a file shows itself in an exception of another class
            raise CheckpointError(f'{str(directory)!r} cannot be loaded: {_reason(error)}') from error
    missing = sorted(str(name) for name in report['missing_keys'] if UNUSED not in str(name))
    misshapen = sorted(str(row[0]) for row in report.get('mismatched_keys', ()))
    if missing or misshapen:
        listed = ', '.join([*missing, *misshapen][:LISTED])
        raise CheckpointError(
            f'weights in {str(directory)!r} do not fit its {CONFIG_FILE}: {len(missing)} tensors are missing and '
            f'{len(misshapen)} have another shape, such as {listed}. Copy both files from the same model'
        )
    broken = [name for name, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]
    if broken:
        raise CheckpointError(f'{str(directory)!r}: {len(broken)} tensors are not finite, such as {broken[0]!r}')
    loaded: nn.Module = model.eval()
    return loaded


def make_model(config: Mapping[str, Any]) -> nn.Module:
    """Make a network as a config.json says, with random weights.

    Raises:
        CheckpointError: If `transformers` is not installed, or it says nothing that can be.
    """
    library = _transformers()
    fields = {name: value for name, value in config.items() if name not in {'model_type', 'transformers_version'}}
    with _quiet():
        try:
            described = library.AutoConfig.for_model(str(config.get('model_type')), **fields)
            made: nn.Module = library.AutoModelForDepthEstimation.from_config(described).float().eval()
        except Exception as error:  # see load_model
            raise CheckpointError(f'no network can be made as its configuration says: {_reason(error)}') from error
    return made


def weights_files(directory: Path) -> list[Path]:
    """Return the files of weights of a folder of `transformers`, in order of their names."""
    return sorted(path for path in directory.glob(WEIGHTS_PATTERN) if path.is_file())


def weights_sha256(directory: Path) -> str:
    """Return the SHA-256 of all weights of a folder, one file after the other."""
    digest = hashlib.sha256()
    for path in weights_files(directory):
        with path.open('rb') as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def weights_stamp(directory: Path) -> str:
    """Return what tells a folder's weights from others that lay there before, without reading them."""
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in weights_files(directory)]
    return hashlib.sha256(repr(stats).encode()).hexdigest()


def _transformers() -> Any:  # noqa: ANN401 - its lazy module has no types to speak of
    try:
        import transformers  # noqa: PLC0415 - seconds to import, and most weights are ours
    except ImportError as error:
        raise CheckpointError(f'models of transformers need that library ({error}): {INSTALL}') from error
    return transformers


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep progress bars and reports of `transformers` out of a node's output; what they say is checked here."""
    from transformers.utils import logging  # noqa: PLC0415 - see _transformers

    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _reason(error: Exception) -> str:
    return f'{type(error).__name__}: {" ".join(str(error).split())[:400]}'
