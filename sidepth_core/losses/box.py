"""The 3x3 mean filter that SSIM is made of: avg_pool2d's numbers at a third of its time on a CPU."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class _BoxMean(torch.autograd.Function):
    @staticmethod
    def forward(_context: Any, image: Tensor) -> Tensor:  # noqa: ANN401 - torch's context has no public type
        return _mean_of_nine(image)

    @staticmethod
    @once_differentiable
    def backward(_context: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401 - as above
        return _adjoint(gradient)


def _mean_of_nine(image: Tensor) -> Tensor:
    """Sum the nine neighbours in avg_pool2d's order: SSIM cancels, so that another order moves its fifth digit."""
    height, width = image.shape[-2:]
    padded = F.pad(image, (1, 1, 1, 1), mode='reflect')
    views = [padded[..., row : row + height, column : column + width] for row in range(3) for column in range(3)]
    total = views[0] + views[1]
    for view in views[2:]:
        total += view
    return total.div_(9)


def _adjoint(gradient: Tensor) -> Tensor:
    """Return the transposed filter, separably: line 0 counted line 1 twice, so line 1 gets line 0 once more."""
    across = gradient.clone()
    across[..., 1:] += gradient[..., :-1]
    across[..., :-1] += gradient[..., 1:]
    across[..., 1] += gradient[..., 0]
    across[..., -2] += gradient[..., -1]
    both = across.clone()
    both[..., 1:, :] += across[..., :-1, :]
    both[..., :-1, :] += across[..., 1:, :]
    both[..., 1, :] += across[..., 0, :]
    both[..., -2, :] += across[..., -1, :]
    return both.div_(9)


def box_mean(image: Tensor) -> Tensor:
    """Return the 3x3 mean of an image (B, C, H, W), H and W at least 2, the border reflected without its edge line."""
    return cast('Tensor', _BoxMean.apply(image))
