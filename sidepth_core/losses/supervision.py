"""Supervised terms: the distance driven, two-view poses, and depth where something measured it."""

from __future__ import annotations

import torch
from torch import Tensor

from sidepth_core.geometry import MAX_DEPTH_M
from sidepth_core.precision import check_shape, full_precision

TURN_ARM_M = 10.0
"""How far ahead things are whose shift makes a wrong turn comparable with a wrong translation."""


@full_precision
def speed_term(translation: Tensor, distance_m: Tensor) -> Tensor:
    """Return the mean of | ||t|| - distance |: what makes depth metric (Guizilini et al., PackNet-SfM, CVPR 2020).

    Args:
        translation: Predicted translation between two frames, (B, 3), metres.
        distance_m: Distance driven between them, (B,), metres; NaN where nobody measured it.

    Returns:
        Scalar, metres; zero where no distance is known.

    Raises:
        ConfigError: If a shape differs.
    """
    check_shape('translation', translation, None, 3)
    check_shape('distance_m', distance_m, len(translation))
    known = distance_m.isfinite()
    # The tiny term keeps the gradient finite at exactly zero translation.
    length = (translation.square().sum(1) + 1e-12).sqrt()
    error = torch.where(known, (length - distance_m.nan_to_num()).abs(), 0)
    return error.sum() / known.sum().clamp(min=1)


@full_precision
def motion_term(predicted: Tensor, known: Tensor) -> Tensor:
    """Return how far apart two motions put things TURN_ARM_M ahead: difference of translations plus that of turns.

    Args:
        predicted: Predicted rigid transforms, (B, 4, 4), metres.
        known: What they should be, the same shape; NaN where not known. It gets no gradient.

    Returns:
        Scalar, metres, mean over the known ones; zero where none is known.

    Raises:
        ConfigError: If a shape differs.
    """
    check_shape('predicted', predicted, None, 4, 4)
    check_shape('known', known, *predicted.shape)
    is_known = known.isfinite().all(2).all(1)
    change = (predicted - known.detach())[is_known]
    # Twice the sine of half the angle; the tiny term as above.
    turn = (change[:, :3, :3].square().sum((1, 2)) / 2 + 1e-12).sqrt()
    shift = (change[:, :3, 3].square().sum(1) + 1e-12).sqrt()
    return (TURN_ARM_M * turn + shift).sum() / is_known.sum().clamp(min=1)


@full_precision
def depth_supervision(depth_m: Tensor, known_depth_m: Tensor, max_depth_m: Tensor | float = MAX_DEPTH_M) -> Tensor:
    """Return the mean of |log depth - log known depth| where depth is known.

    Args:
        depth_m: Predicted depth, (B, 1, H, W), metres, positive.
        known_depth_m: Measured or rendered depth, the same shape; NaN or not positive where unknown, +inf in the sky.
        max_depth_m: Known depth beyond it, sky included, counts as this much: the network cannot say more. A number, or
            (B, 1, 1, 1) where cameras differ and the zoom convention is canonical.

    Returns:
        Scalar; 0.1 means about 10 % off. Zero where nothing is known.

    Raises:
        ConfigError: If the shapes differ.
    """
    error, known = _log_error(depth_m, known_depth_m, max_depth_m)
    return error.abs().sum() / known.sum().clamp(min=1)


@full_precision
def depth_shape(depth_m: Tensor, known_depth_m: Tensor, max_depth_m: Tensor | float = MAX_DEPTH_M) -> Tensor:
    """Return the same mean after each image's median of log depth - log known depth is taken off: shape, not scale.

    Sky takes no part, for it has no depth that could be scaled. Arguments and errors are those of depth_supervision;
    the idea is the scale-invariant loss of Eigen et al. (NIPS 2014), with absolute differences.
    """
    error, known = _log_error(depth_m, known_depth_m, max_depth_m)
    known = known & known_depth_m.isfinite()
    middle = torch.where(known, error.detach(), torch.nan).flatten(1).nanmedian(dim=1).values
    relative = torch.where(known, error - middle.nan_to_num()[:, None, None, None], 0)
    return relative.abs().sum() / known.sum().clamp(min=1)


GRADIENT_STEPS = (1, 2, 4, 8)
"""Distances, pixels, over which depth_gradient compares steps of depth."""


@full_precision
def depth_gradient(depth_m: Tensor, known_depth_m: Tensor, max_depth_m: Tensor | float = MAX_DEPTH_M) -> Tensor:
    """Return how far steps of log depth from pixel to pixel are from the known ones: what makes edges sharp.

    The mean over columns and rows, and over steps of GRADIENT_STEPS pixels on grids as coarse, of
    |change of (log depth - log known depth)| where both ends are known (Li and Snavely, MegaDepth, CVPR 2018).
    Arguments and errors are those of depth_supervision.
    """
    return steps_between_pixels(*_log_error(depth_m, known_depth_m, max_depth_m))


def steps_between_pixels(error: Tensor, known: Tensor) -> Tensor:
    """Return the mean of |change of an error from pixel to pixel| over columns, rows and steps of GRADIENT_STEPS.

    Args:
        error: Predicted - wanted, (B, 1, H, W).
        known: Where it is known, the same shape, bool; a change counts where both ends are.
    """
    total = error.new_zeros(())
    for step in GRADIENT_STEPS:
        coarse, certain = error[..., ::step, ::step], known[..., ::step, ::step]
        for axis in (2, 3):
            both = certain.narrow(axis, 1, certain.shape[axis] - 1) & certain.narrow(axis, 0, certain.shape[axis] - 1)
            total = total + torch.where(both, coarse.diff(dim=axis).abs(), 0).sum() / both.sum().clamp(min=1)
    return total / (2 * len(GRADIENT_STEPS))


def _log_error(depth_m: Tensor, known_depth_m: Tensor, max_depth_m: Tensor | float) -> tuple[Tensor, Tensor]:
    """Return log depth - log known depth, 0 where it is not known, and where it is known, both (B, 1, H, W)."""
    check_shape('depth_m', depth_m, None, 1, None, None)
    check_shape('known_depth_m', known_depth_m, *depth_m.shape)
    known = known_depth_m > 0  # false for NaN
    farthest = torch.as_tensor(max_depth_m, dtype=depth_m.dtype, device=depth_m.device)
    goal = torch.where(known, known_depth_m.minimum(farthest), 1)
    return torch.where(known, depth_m.log() - goal.log(), 0), known
