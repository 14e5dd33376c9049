"""Weights that an encoder starts from: those of a file, matched by name, or by order and shape where names differ."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from sidepth_core.errors import CheckpointError
from sidepth_core.models.state_dicts import check_tensors, read_pth, shapes_of

COUNTER = 'num_batches_tracked'
"""What torch counts in batch norms, and files made by other software lack."""


def load_weights(encoder: nn.Module, path: str | Path) -> str:
    """Give an encoder the weights of a file, and return what they are, for the checkpoint's description.

    The file may hold more than the encoder has: the classifier and what leads to it are left out. Where it uses other
    names, its tensors must have the shapes of the encoder's, one after the other, from the first to the encoder's last;
    files that torch wrote keep that order, .safetensors files do not.

    Args:
        encoder: In it the weights are replaced.
        path: A .safetensors file, or one that torch wrote (.pth, .bin), of which only tensors are read.

    Returns:
        The file's name and the beginning of its SHA-256.

    Raises:
        CheckpointError: If the file is missing, damaged or not of this encoder.
    """
    path = Path(path).expanduser()
    found = read_tensors(path)
    fit_weights(encoder, found, f'weights in {str(path)!r}')
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f'{path.name} (sha256 {digest[:12]})'


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file by name, in their order; no code that it may hold is run.

    Raises:
        CheckpointError: If it is missing, damaged, or holds more than plain data.
    """
    if path.suffix != '.safetensors':
        return read_pth(path)
    try:
        return dict(safetensors.torch.load_file(path))
    except FileNotFoundError:
        raise CheckpointError(f'no file {str(path)!r}: expected weights (.safetensors, .pth, .bin)') from None
    except SafetensorError as error:
        raise CheckpointError(f'{str(path)!r} is no safetensors file: {error}') from error


def fit_weights(encoder: nn.Module, found: Mapping[str, Tensor], what: str) -> None:
    """Give an encoder weights, by name where the names are its own, else by order and shape.

    Args:
        encoder: In it the weights are replaced.
        found: The tensors by name, in their order.
        what: Whose tensors these are, as the error names them.

    Raises:
        CheckpointError: If they are not of this encoder.
    """
    expected = {name: shape for name, shape in shapes_of(encoder).items() if not name.endswith(COUNTER)}
    own = {name: tensor for name, tensor in found.items() if name in expected}
    if len(own) * 2 < len(expected):
        own = _in_order(found, expected, what)
    check_tensors(what, own, expected)
    encoder.load_state_dict(own, strict=False)  # all but the counters are there, as was just checked


def _in_order(found: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], what: str) -> dict[str, Tensor]:
    """Return tensors under the names that the encoder has at their places.

    Raises:
        CheckpointError: If the shapes differ, naming the first place where they do.
    """
    tensors = [(name, tensor) for name, tensor in found.items() if not name.endswith(COUNTER)]
    for place, (name, shape) in enumerate(expected.items()):
        theirs, tensor = tensors[place] if place < len(tensors) else ('nothing', None)
        if tensor is None or tuple(tensor.shape) != shape:
            has = 'and ends there' if tensor is None else f'of shape {tuple(tensor.shape)}'
            raise CheckpointError(
                f'{what} are of another network: they have neither its names nor its shapes in order; tensor '
                f'{place + 1} of {len(expected)} should be {name} {shape}, the file has {theirs} {has}'
            )
    return {name: tensor for name, (_, tensor) in zip(expected, tensors, strict=False)}
