"""Terms that compare a prediction with another prediction."""

from __future__ import annotations

import torch
from torch import Tensor

from sidepth_core.losses.reprojection import SSIM_SHARE, ssim_term
from sidepth_core.precision import check_shape, full_precision


@full_precision
def zoom_consistency(zoomed: Tensor, full: Tensor) -> Tensor:
    """Return 0.85 SSIM-term + 0.15 L1 between two disparities of one view (He et al., RA-Depth, ECCV 2022, eq. 8).

    Both are divided by the mean of the full one first, so that the term weighs the same for near and far scenes and
    still sees a difference of scale between the two, which is what it is for.

    Args:
        zoomed: Disparity predicted for the zoomed image, (B, 1, H, W), positive.
        full: Disparity predicted for the un-zoomed image and sampled into the zoomed view
            (`sidepth_core.zoom.full_to_zoomed`), the same shape.

    Returns:
        Scalar; zero where they agree. Both get a gradient.

    Raises:
        ConfigError: If the shapes differ.
    """
    check_shape('zoomed', zoomed, None, 1, None, None)
    check_shape('full', full, *zoomed.shape)
    unit = full.detach().mean((2, 3), keepdim=True) + 1e-7
    zoomed, full = zoomed / unit, full / unit
    return SSIM_SHARE * ssim_term(zoomed, full).mean() + (1 - SSIM_SHARE) * (zoomed - full).abs().mean()


SKY_SHARE = 0.5
"""What a network says is farther than this share of its farthest depth counts as sky, which has no scale."""


@full_precision
def log_scale(depth_m: Tensor, start_depth_m: Tensor, farthest_m: Tensor | float) -> Tensor:
    """Return ln of the factor between depth and what the starting weights say, of each image.

    The nearer half of an image counts: what is far may change its depth much, and would take that of the road along.
    It is the geometric mean of the middle half of these pixels' ratios: as robust as their median, with a gradient that
    half of them share.

    Args:
        depth_m: Predicted depth, (B, 1, H, W), metres, positive.
        start_depth_m: Depth by the starting weights of the same view, the same shape. It gets no gradient.
        farthest_m: The farthest depth that they can say, metres: a number, or (B, 1, 1, 1).

    Returns:
        (B,); NaN where all is sky.

    Raises:
        ConfigError: If a shape differs.
    """
    check_shape('depth_m', depth_m, None, 1, None, None)
    check_shape('start_depth_m', start_depth_m, *depth_m.shape)
    start = start_depth_m.detach()
    ratio = (depth_m.log() - start.log()).flatten(1)
    ground = torch.where(start < SKY_SHARE * farthest_m, start, torch.nan).flatten(1)
    near = ground <= ground.nanmedian(1, keepdim=True).values  # false where it is sky
    known = torch.where(near, ratio.detach(), torch.nan)
    off = (known - known.nanmedian(1, keepdim=True).values).abs()
    middle = off <= off.nanmedian(1, keepdim=True).values
    factors = torch.where(middle, ratio, 0).sum(1) / middle.sum(1).clamp(min=1)
    return torch.where(middle.any(1), factors, torch.nan)


def scale_drift(depth_m: Tensor, start_depth_m: Tensor, farthest_m: Tensor | float, held: Tensor) -> Tensor:
    """Return |ln| of the factor between depth and what the starting weights say, one for all held images together.

    Single images may change theirs: starting weights err from image to image. Arguments and errors are those of
    log_scale.

    Args:
        depth_m: Predicted depth.
        start_depth_m: Depth by the starting weights.
        farthest_m: The farthest depth that they can say.
        held: Which images count, (B,) bool.

    Returns:
        Scalar; 0.1 means about 10 % off. Zero where no image counts.
    """
    check_shape('held', held, len(depth_m))
    factors = log_scale(depth_m, start_depth_m, farthest_m)
    counts = held & factors.isfinite()
    return (torch.where(counts, factors, 0).sum() / counts.sum().clamp(min=1)).abs()


@full_precision
def sky_drift(depth_m: Tensor, start_depth_m: Tensor, farthest_m: Tensor | float) -> Tensor:
    """Return how much nearer the sky of the starting weights has come: the mean of ln(start depth / depth), 0 or more.

    Warped views show nothing of the sky, which moves with no camera, and let it come down like a wall.

    Args:
        depth_m: Predicted depth, (B, 1, H, W), metres, positive.
        start_depth_m: Depth by the starting weights of the same view, the same shape. It gets no gradient.
        farthest_m: The farthest depth that they can say, metres: a number, or (B, 1, 1, 1).

    Returns:
        Scalar; zero where there is no sky.

    Raises:
        ConfigError: If a shape differs.
    """
    check_shape('depth_m', depth_m, None, 1, None, None)
    check_shape('start_depth_m', start_depth_m, *depth_m.shape)
    start = start_depth_m.detach()
    sky = start >= SKY_SHARE * farthest_m
    nearer = torch.where(sky, start.log() - depth_m.log(), 0).clamp(min=0)
    return nearer.sum() / sky.sum().clamp(min=1)


@full_precision
def self_distillation(depth_m: Tensor, teacher_depth_m: Tensor, keep: Tensor | None = None) -> Tensor:
    """Return the mean of |log depth - log teacher's depth|; the teacher (EMA weights, say) gets no gradient.

    Args:
        depth_m: The student's depth, (B, 1, H, W), metres, positive.
        teacher_depth_m: The teacher's depth for the same view, the same shape.
        keep: Pixels where the teacher is trusted, (B, 1, H, W) bool; None trusts it everywhere.

    Raises:
        ConfigError: If the shapes differ.
    """
    check_shape('depth_m', depth_m, None, 1, None, None)
    check_shape('teacher_depth_m', teacher_depth_m, *depth_m.shape)
    error = (depth_m.log() - teacher_depth_m.detach().log()).abs()
    if keep is None:
        return error.mean()
    check_shape('keep', keep, *depth_m.shape)
    return torch.where(keep, error, 0).sum() / keep.sum().clamp(min=1)
