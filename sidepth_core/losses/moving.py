"""Cars that move along with the camera look infinitely far to view synthesis: find the holes they tear into depth.

Two rounds of training: train; drop the clips whose prediction has holes (`hole_share`) or mask the holes
(`motion_mask`); train again from the start (Guizilini et al., "Semantically-guided representation learning for
self-supervised monocular depth", ICLR 2020).
"""

from __future__ import annotations

import torch
from torch import Tensor

from sidepth_core.precision import check_shape, full_precision

HOLE_RATIO = 4.0
"""A hole is this many times farther than the middle pixel of its row."""
HORIZON_MARGIN = 0.05
"""Rows count from this share of the image height below the horizon on: at the horizon the road itself is far."""


@full_precision
def infinite_depth_holes(depth_m: Tensor, K: Tensor) -> Tensor:
    """Return where depth below the horizon is implausibly far for its row.

    On any ground the points of one image row lie at similar depth, and things standing on it are nearer: a region
    several times beyond its row's median is a hole.

    Args:
        depth_m: Predicted depth, (B, 1, H, W), metres; its scale does not matter.
        K: Intrinsics of that image, (B, 3, 3): the horizon of a level camera is the row cy.

    Returns:
        (B, 1, H, W) bool.

    Raises:
        ConfigError: If a shape differs.
    """
    check_shape('depth_m', depth_m, None, 1, None, None)
    batch, _, height, _ = depth_m.shape
    check_shape('K', K, batch, 3, 3)
    rows = torch.arange(height, device=depth_m.device)[None, None, :, None]
    below = rows > (K[:, 1, 2] + HORIZON_MARGIN * height)[:, None, None, None]
    return below & (depth_m > HOLE_RATIO * depth_m.median(dim=3, keepdim=True).values)


def hole_share(depth_m: Tensor, K: Tensor) -> Tensor:
    """Return the share of each image's pixels that are infinite-depth holes, (B,), 0..1.

    Raises:
        ConfigError: If a shape differs.
    """
    return infinite_depth_holes(depth_m, K).float().mean((1, 2, 3))


@full_precision
def motion_mask(depth_m: Tensor, K: Tensor, grow_px: int = 3) -> Tensor:
    """Return the pixels to learn from: all but the holes and grow_px pixels around them.

    Args:
        depth_m: First-round or teacher's depth, (B, 1, H, W), metres.
        K: Intrinsics of that image, (B, 3, 3), pixels.
        grow_px: How far a hole's edge is distrusted, pixels.

    Returns:
        (B, 1, H, W) bool, for `keep` of minimum_reprojection.

    Raises:
        ConfigError: If a shape differs.
    """
    holes = infinite_depth_holes(depth_m, K).float()
    grown = torch.nn.functional.max_pool2d(holes, 2 * grow_px + 1, stride=1, padding=grow_px)
    return grown == 0
