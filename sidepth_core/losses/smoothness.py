"""Edge-aware smoothness of disparity, first and second order."""

from __future__ import annotations

import torch
from torch import Tensor

from sidepth_core.precision import check_shape, full_precision

EDGE_SHARPNESS = 0.5


def _along_x(image: Tensor) -> Tensor:
    return image[..., 1:] - image[..., :-1]


def _along_y(image: Tensor) -> Tensor:
    return image[..., 1:, :] - image[..., :-1, :]


def _weighted(difference: Tensor, image_difference: Tensor) -> Tensor:
    edges = image_difference.abs().mean(1, keepdim=True)
    return (difference.abs() * torch.exp(-EDGE_SHARPNESS * edges)).mean()


def _normalised(disparity: Tensor, image: Tensor) -> Tensor:
    check_shape('disparity', disparity, None, 1, None, None)
    batch, _, height, width = disparity.shape
    check_shape('image', image, batch, None, height, width)
    return disparity / (disparity.mean((2, 3), keepdim=True) + 1e-7)


@full_precision
def smoothness_first(disparity: Tensor, image: Tensor) -> Tensor:
    """Return mean |dD| exp(-0.5 mean_c |dI|) along x plus the same along y, D the disparity over its image mean.

    Args:
        disparity: Network output, (B, 1, H, W); its scale does not matter.
        image: The clean image that it was predicted for, (B, C, H, W), values 0..1.

    Returns:
        Scalar; zero for constant disparity.

    Raises:
        ConfigError: If a shape differs.
    """
    disparity = _normalised(disparity, image)
    return _weighted(_along_x(disparity), _along_x(image)) + _weighted(_along_y(disparity), _along_y(image))


@full_precision
def smoothness_second(disparity: Tensor, image: Tensor) -> Tensor:
    """Return the same of second differences: xx + xy + yx + yy (Shu et al., FeatDepth, ECCV 2020).

    Args:
        disparity: Network output, (B, 1, H, W); its scale does not matter.
        image: The clean image that it was predicted for, (B, C, H, W), values 0..1.

    Returns:
        Scalar; zero where disparity is a plane in the image, and a plane in space is one.

    Raises:
        ConfigError: If a shape differs.
    """
    disparity = _normalised(disparity, image)
    # Mixed differences commute, so the yx term is the xy term.
    terms = [
        weight * _weighted(second(first(disparity)), second(first(image)))
        for first, second, weight in ((_along_x, _along_x, 1), (_along_x, _along_y, 2), (_along_y, _along_y, 1))
    ]
    return torch.stack(terms).sum()
