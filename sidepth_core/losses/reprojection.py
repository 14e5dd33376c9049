"""How differently two images look, and the view-synthesis loss built on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sidepth_core.errors import ConfigError
from sidepth_core.geometry import Warped
from sidepth_core.losses.box import box_mean
from sidepth_core.precision import check_shape, full_precision

SSIM_SHARE = 0.85
CHARBONNIER_EPSILON = 1e-6
C1, C2 = 0.01**2, 0.03**2
IDENTITY_OFFSET = 1e-5
"""Added to the un-warped sources' error, so that where nothing moves the warp, which has a gradient, wins the tie."""


class Reprojection(NamedTuple):
    """What view synthesis costs, and where.

    Attributes:
        loss: Mean of `error` over the `counted` pixels; scalar, zero where no pixel counts.
        error: Smallest photometric error over the sources, (B, 1, H, W); zero outside `counted`.
        counted: Pixels seen by at least one source and kept by the mask, (B, 1, H, W) bool.
        explained: Counted pixels that a warped source explains better than any un-warped one does, (B, 1, H, W)
            bool: where depth and pose are learned from (Monodepth2's auto-mask).
    """

    loss: Tensor
    error: Tensor
    counted: Tensor
    explained: Tensor


class _Statistics(NamedTuple):
    """An image with its local means, computed once for all images that are compared with it."""

    image: Tensor
    mean: Tensor
    square: Tensor
    variance: Tensor


def _statistics(image: Tensor) -> _Statistics:
    mean = box_mean(image)
    square = mean.square()
    return _Statistics(image, mean, square, box_mean(image.square()) - square)


def _ssim_term(first: _Statistics, second: _Statistics) -> Tensor:
    product = first.mean * second.mean
    covariance = box_mean(first.image * second.image) - product
    brightness = (2 * product + C1) / (first.square + second.square + C1)
    similarity = brightness * (2 * covariance + C2) / (first.variance + second.variance + C2)
    return ((1 - similarity) / 2).clamp(0, 1)


def _photometric(first: _Statistics, second: _Statistics) -> Tensor:
    charbonnier = ((first.image - second.image).square() + CHARBONNIER_EPSILON).sqrt()
    error = SSIM_SHARE * _ssim_term(first, second) + (1 - SSIM_SHARE) * charbonnier
    return error.mean(1, keepdim=True)


def _check_pair(prediction: Tensor, target: Tensor) -> None:
    check_shape('target', target, None, None, None, None)
    check_shape('prediction', prediction, *target.shape)
    if min(target.shape[-2:]) < 2:
        raise ConfigError(f'images are {tuple(target.shape[-2:])!r} pixels, expected at least (2, 2) for SSIM')


@full_precision
def ssim_term(prediction: Tensor, target: Tensor) -> Tensor:
    """Return (1 - SSIM) / 2 in 0..1 per channel over 3x3 windows; zero where the images agree. Symmetric.

    Args:
        prediction: (B, C, H, W), values 0..1.
        target: The same shape.

    Returns:
        (B, C, H, W).

    Raises:
        ConfigError: If the shapes differ or the images are smaller than 2x2.
    """
    _check_pair(prediction, target)
    return _ssim_term(_statistics(prediction), _statistics(target))


@full_precision
def photometric(prediction: Tensor, target: Tensor) -> Tensor:
    """Return 0.85 SSIM-term + 0.15 Charbonnier, mean over channels; 1.5e-4 (the Charbonnier's floor) where equal.

    Args:
        prediction: (B, C, H, W), values 0..1.
        target: The same shape.

    Returns:
        Error per pixel, (B, 1, H, W).

    Raises:
        ConfigError: If the shapes differ or the images are smaller than 2x2.
    """
    _check_pair(prediction, target)
    return _photometric(_statistics(prediction), _statistics(target))


@full_precision
def minimum_reprojection(
    target: Tensor,
    warped: Sequence[Warped],
    identities: Sequence[Tensor] = (),
    keep: Tensor | None = None,
) -> Reprojection:
    """Return the photometric error of the best source per pixel (Godard et al., Monodepth2, ICCV 2019).

    A source counts only where its warp is valid. A pixel that an un-warped source explains best stands still or moves
    with the camera: it enters the mean with that error, which has no gradient. A pixel that no source sees is left out.

    Args:
        target: Clean target image, (B, 3, H, W), values 0..1.
        warped: Each source as warped into the target's view.
        identities: Each source un-warped in the target's view, (B, 3, H, W); empty switches the auto-mask off.
        keep: Pixels that may count, (B, 1, H, W) bool, e.g. `motion_mask`; None keeps all.

    Raises:
        ConfigError: If there is no source or a shape differs.
    """
    if not warped:
        raise ConfigError('warped is empty, expected at least one source')
    for image in (*(source.image for source in warped), *identities):
        _check_pair(image, target)
    reference = _statistics(target.float() if target.dtype is not torch.float64 else target)
    errors, counted = _best_warp(reference, warped)
    explained = counted
    if identities:
        with torch.no_grad():
            still = [_photometric(_statistics(image.to(reference.image.dtype)), reference) for image in identities]
            unwarped = torch.stack(still).amin(0) + IDENTITY_OFFSET
        explained = counted & (errors <= unwarped)
        errors = torch.minimum(errors, unwarped)
    if keep is not None:
        check_shape('keep', keep, *errors.shape)
        counted, explained = counted & keep, explained & keep
    errors = torch.where(counted, errors, 0)
    return Reprojection(errors.sum() / counted.sum().clamp(min=1), errors, counted, explained)


def _best_warp(reference: _Statistics, warped: Sequence[Warped]) -> tuple[Tensor, Tensor]:
    """Return the smallest error over the valid sources, and where there is one."""
    errors = [
        _photometric(_statistics(image.to(reference.image.dtype)), reference).masked_fill(~valid, torch.inf)
        for image, valid in warped
    ]
    best, counted = errors[0], warped[0].valid
    for error, source in zip(errors[1:], warped[1:], strict=True):
        best, counted = torch.minimum(best, error), counted | source.valid
    return best, counted
