"""Full precision for geometry and losses, whatever precision the networks around them run in."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch

from sidepth_core.errors import ConfigError

Function = TypeVar('Function', bound=Callable[..., Any])


def full_precision(function: Function) -> Function:
    """Run a tensor function outside autocast, with float16 and bfloat16 tensor arguments widened to float32.

    Geometry and SSIM lose pixels, and then the loss its value, in half precision. float64 stays, for gradcheck.
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - passes through whatever the function takes
        devices = {value.device.type for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)}
        device = next(iter(devices - {'cpu'}), 'cpu')
        with torch.autocast(device, enabled=False):
            return function(*map(_widen, args), **{name: _widen(value) for name, value in kwargs.items()})

    return cast('Function', wrapped)


def _widen(value: Any) -> Any:  # noqa: ANN401 - as above
    if isinstance(value, torch.Tensor) and value.dtype in {torch.float16, torch.bfloat16}:
        return value.float()
    return value


def check_shape(name: str, tensor: torch.Tensor, *sizes: int | None) -> None:
    """Check a tensor's shape; None takes any size.

    Raises:
        ConfigError: If the number of dimensions or one of the sizes differs.
    """
    if tensor.dim() != len(sizes) or any(
        size not in {None, actual} for size, actual in zip(sizes, tensor.shape, strict=True)
    ):
        expected = ', '.join('any' if size is None else str(size) for size in sizes)
        raise ConfigError(f'{name} has shape {tuple(tensor.shape)!r}, expected ({expected})')
