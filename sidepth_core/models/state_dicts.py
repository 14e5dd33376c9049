"""Strict comparison of tensors from a file with what a network expects."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from sidepth_core.errors import CheckpointError

LISTED = 100


def shapes_of(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a network's state dict."""
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


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
    unknown = [f'unknown {name}' for name in found if name not in expected]
    misshapen = [
        f'{name} has shape {tuple(tensor.shape)}, expected {expected[name]}'
        for name, tensor in found.items()
        if name in expected and tuple(tensor.shape) != expected[name]
    ]
    faults = [*_listed(missing), *_listed(unknown), *_listed(misshapen)]
    if faults:
        count = len(missing) + len(unknown) + len(misshapen)
        raise CheckpointError(f'{what} do not fit the network ({count} faults):\n  ' + '\n  '.join(faults))


def _listed(faults: list[str]) -> list[str]:
    """Return all of them, but of another network's thousands only the first ones and their number."""
    return faults if len(faults) <= LISTED else [*faults[:LISTED], f'... and {len(faults) - LISTED} more like these']
