"""Tensors of a file: reading them without running code, and strict comparison with what a network expects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from sidepth_core.errors import CheckpointError

LISTED = 100


def shapes_of(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a network's state dict."""
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def read_pth(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a .pth file without running any code that it may hold.

    Args:
        path: A state dict, or a training checkpoint that has one under 'state_dict'.

    Raises:
        CheckpointError: If the file is missing, damaged, holds more than plain data, or no state dict.
    """
    if not path.is_file():
        raise CheckpointError(f'no file {str(path)!r}: expected a .pth or .bin file of tensors')
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # torch raises a different class for each way a file can be broken
        # Only how torch's message begins: it goes on to advise loading the file with the code that it may hold.
        reason = str(error).partition('.')[0] or type(error).__name__
        raise CheckpointError(
            f'{str(path)!r} cannot be read as tensors and plain data only (weights_only): {reason}. '
            'Save its state dict alone'
        ) from error
    tensors = content.get('state_dict', content) if isinstance(content, Mapping) else None
    if not isinstance(tensors, Mapping) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise CheckpointError(f'{str(path)!r} holds no state dict: expected tensors by name, or those in "state_dict"')
    return dict(cast('Mapping[str, Tensor]', tensors))


def check_tensors(what: str, found: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Compare names and shapes of tensors with the expected ones.

    Args:
        what: Whose tensors these are, as the error names them.
        found: The tensors by name.
        expected: The shapes by name.

    Raises:
        CheckpointError: If any is missing, unknown or of another shape, naming each with its fault.
    """
    missing = [f'missing {name}' for name in expected if name not in found]
    unknown = [f'unknown {name}' for name in sorted(found) if name not in expected]  # files keep no order
    misshapen = [
        f'{name} has shape {tuple(found[name].shape)}, expected {shape}'
        for name, shape in expected.items()
        if name in found and tuple(found[name].shape) != shape
    ]
    faults = [*_listed(missing), *_listed(unknown), *_listed(misshapen)]
    if faults:
        count = len(missing) + len(unknown) + len(misshapen)
        raise CheckpointError(f'{what} do not fit the network ({count} faults):\n  ' + '\n  '.join(faults))


def _listed(faults: list[str]) -> list[str]:
    """Return all of them, but of another network's thousands only the first ones and their number."""
    return faults if len(faults) <= LISTED else [*faults[:LISTED], f'... and {len(faults) - LISTED} more like these']
