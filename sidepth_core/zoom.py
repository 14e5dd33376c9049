"""Zoomed views of an image: the cut, its exact camera, and zoomed or mirrored passes at test time.

Camera-zoom data augmentation (CZDA, Jiang et al., RA-L 2022) shows the depth network a part of the image, resized back.
A view here is an affine map that grid_sample evaluates once, on the original image: nothing is rounded to whole pixels,
so the intrinsics are exact, and nothing is resampled twice.

Convention: relative image coordinates are r = (u + 0.5) / W, 0 and 1 at the image's outer edges, so they do not depend
on its size. A view first mirrors the scene, when it does, and then zooms: `centre` is in the mirrored image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sidepth_core.precision import check_shape, full_precision

Size = tuple[int, int]
"""Height and width, pixels."""

POST_PROCESSING_SHARES = (0.5, 0.75)
"""Shares of the zoomed passes, in the order in which they are mixed in."""
FEATHER = 0.1
"""Width of the seam between a zoomed prediction and its surroundings, as a share of its box."""


class View(NamedTuple):
    """What part of an image each sample of a batch shows.

    Attributes:
        share: Shown share of the width and of the height, (B, 2), in (0, 1]; 1 is the full image.
        centre: Middle of the shown part in relative coordinates, (B, 2); 0.5 is the middle of the image.
        mirrored: Whether left and right are exchanged, (B,) bool.
    """

    share: Tensor
    centre: Tensor
    mirrored: Tensor

    def to(self, device: torch.device | str) -> View:
        """Return the view on another device."""
        return View(*(field.to(device) for field in self))

    def unzoomed(self) -> View:
        """Return the view of the full image, mirrored as this one is."""
        return View(torch.ones_like(self.share), torch.full_like(self.centre, 0.5), self.mirrored)


    def inside(self, outer: View) -> View:
        """Return what this view shows of the original when its own original is the view `outer`, mirrored alike."""
        corner = outer.centre - outer.share / 2
        return View(self.share * outer.share, corner + self.centre * outer.share, self.mirrored)


def full_view(batch: int) -> View:
    """Return the view of the whole image as it is."""
    return View(torch.ones(batch, 2), torch.full((batch, 2), 0.5), torch.zeros(batch, dtype=torch.bool))


def centred_view(share: float, batch: int) -> View:
    """Return the view of the middle of the image, the same share of width and height; above 1 it repeats the edge."""
    return full_view(batch)._replace(share=torch.full((batch, 2), share))


def view_grid(view: View, size: Size) -> Tensor:
    """Return where each pixel of the view lies in the original image, (B, h, w, 2) for grid_sample.

    Args:
        view: The view of each sample.
        size: Height and width of the view, pixels. The original's size does not matter.
    """
    offset = 2 * view.centre - 1
    sign = torch.where(view.mirrored, -1.0, 1.0).to(offset)
    # No shear: columns and rows are computed once each, and only spread over the grid.
    x, y = ((2 * torch.arange(n, device=sign.device, dtype=sign.dtype) + 1) / n - 1 for n in (size[1], size[0]))
    columns = sign[:, None] * (view.share[:, :1] * x + offset[:, :1])
    rows = view.share[:, 1:] * y + offset[:, 1:]
    grid = sign.new_empty(len(sign), *size, 2)
    grid[..., 0] = columns[:, None, :]
    grid[..., 1] = rows[:, :, None]
    return grid


def sample_view(images: Tensor, view: View, size: Size, mode: str = 'bilinear') -> Tensor:
    """Return what the view shows of images (B, C, H, W), as (B, C, h, w); pixels beyond the edge repeat it.

    Args:
        images: Original images or maps.
        view: The view of each sample.
        size: Height and width of the result, pixels.
        mode: 'bilinear', or 'nearest' for depth, which must not be mixed across edges.

    Raises:
        ConfigError: If the view is for another number of samples.
    """
    check_shape('view.share', view.share, len(images), 2)
    return F.grid_sample(images, view_grid(view, size), mode=mode, padding_mode='border', align_corners=False)


@full_precision
def view_intrinsics(K: Tensor, view: View, original: Size, size: Size) -> Tensor:
    """Return the intrinsics of a view, (B, 3, 3): f' = f W_view / (W share), c by the half-pixel rule.

    A mirrored view mirrors the principal point: cx' = W - 1 - cx.

    Args:
        K: Intrinsics of the original images, (B, 3, 3), pixels; gets a gradient.
        view: The view of each sample.
        original: Height and width of the original images, pixels.
        size: Height and width of the view, pixels.

    Raises:
        ConfigError: If a shape differs.
    """
    check_shape('K', K, None, 3, 3)
    check_shape('view.share', view.share, len(K), 2)
    extent = K.new_tensor([original[1], original[0]])
    target = K.new_tensor([size[1], size[0]])
    share, centre = view.share.to(K), view.centre.to(K)
    middle = (K[:, :2, 2] + 0.5) / extent
    mirrored = torch.stack([view.mirrored, torch.zeros_like(view.mirrored)], dim=1)
    middle = torch.where(mirrored, 1 - middle, middle)
    focal = torch.diagonal(K[:, :2, :2], dim1=1, dim2=2) * target / (extent * share)
    principal = ((middle - centre) / share + 0.5) * target - 0.5
    last = K.new_tensor([0.0, 0.0, 1.0]).expand(len(K), 1, 3)
    return torch.cat([torch.cat([torch.diag_embed(focal), principal.unsqueeze(2)], dim=2), last], dim=1)


@full_precision
def square_share(K: Tensor, original: Size, size: Size) -> Tensor:
    """Return the largest share of width and height, (B, 2), that fills `size` with square pixels: fx' = fy'.

    Args:
        K: Intrinsics of the original images, (B, 3, 3), pixels; whatever their aspect, the scene's angles count.
        original: Height and width of the original images, pixels.
        size: Height and width of the view, pixels.

    Raises:
        ConfigError: If a shape differs.
    """
    check_shape('K', K, None, 3, 3)
    seen = (original[1] / K[:, 0, 0]) / (original[0] / K[:, 1, 1])
    relative = size[1] / size[0] / seen
    return torch.stack([relative, 1 / relative], dim=1).clamp(max=1)


@full_precision
def full_to_zoomed(full: Tensor, view: View) -> Tensor:
    """Return a map of the un-zoomed view as the zoomed view sees it, the same shape (B, C, h, w).

    Both are mirrored or neither is, as `View.unzoomed` does it: what a network says of the full image becomes
    comparable, pixel by pixel, with what it says of the zoomed one.

    Raises:
        ConfigError: If the view is for another number of samples.
    """
    return sample_view(full, view._replace(mirrored=torch.zeros_like(view.mirrored)), (full.shape[2], full.shape[3]))


def focal_length(K: Tensor) -> Tensor:
    """Return one focal length for intrinsics (B, 3, 3), the geometric mean of fx and fy, (B,), pixels."""
    return (K[:, 0, 0] * K[:, 1, 1]).sqrt()


def canonical_to_metric(depth: Tensor, focal_px: Tensor, reference_focal_px: float) -> Tensor:
    """Return depth in metres for the canonical zoom convention: depth grows with the focal length.

    A network that sees one camera only cannot tell twice as far from half the focal length; in the canonical
    convention it says what depth would be at reference_focal_px, and this puts the camera back (Yin et al., Metric3D).
    In the invariant convention (the paper's) the network's depth is already the depth: do not call this.

    Args:
        depth: Network depth, (B, 1, H, W), metres at the reference focal length.
        focal_px: Focal length of the image that the network saw, at its size, (B,), pixels.
        reference_focal_px: The checkpoint's reference, pixels.
    """
    return depth * (focal_px / reference_focal_px)[:, None, None, None]


Predict = Callable[[Tensor, float], Tensor]
"""Images (B, 3, H, W), and the share of the original that they show -> disparity (B, 1, H, W).

The share lets a canonical checkpoint make disparities of different focal lengths comparable."""


def flip_average(predict: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Return the mean of the prediction and of the mirrored prediction of the mirrored images; two passes.

    Args:
        predict: Images (B, 3, H, W) -> disparity (B, 1, H, W).
        images: (B, 3, H, W).
    """
    return (predict(images) + predict(images.flip(-1)).flip(-1)) / 2


def zoom_average(predict: Predict, images: Tensor, feather: float = FEATHER) -> Tensor:
    """Return disparity refined by two zoomed passes (the paper's post-processing), without its hard seams.

    In the middle half box it is ((d + d_half) / 2 + d_three_quarters) / 2, in the ring up to the three-quarter box
    (d + d_three_quarters) / 2, and d outside. Three passes.

    Args:
        predict: See Predict.
        images: (B, 3, H, W).
        feather: Width of the seam inside each box as a share of the box; 0 gives the paper's hard seams.
    """
    batch, _, height, width = images.shape
    disparity = predict(images, 1.0)
    for share in POST_PROCESSING_SHARES:
        view = centred_view(share, batch).to(images.device)
        zoomed = predict(sample_view(images, view, (height, width)), share)
        alpha = 0.5 * _box_weight(share, (height, width), feather).to(disparity)
        disparity = torch.lerp(disparity, _shrunk(zoomed, share), alpha)
    return disparity


def _shrunk(zoomed: Tensor, share: float) -> Tensor:
    """Return a zoomed prediction bilinearly back in its box of the full image, surrounded by its repeated edge."""
    batch, _, height, width = zoomed.shape
    return sample_view(zoomed, centred_view(1 / share, batch).to(zoomed.device), (height, width))


def _box_weight(share: float, size: Size, feather: float) -> Tensor:
    """Return 1 in the centred box, falling to 0 at its edge over `feather` of the box, (1, 1, H, W)."""

    def ramp(length: int) -> Tensor:
        relative = (torch.arange(length) + 0.5) / length
        inside = share / 2 - (relative - 0.5).abs()  # distance to the box's edge, negative outside
        if feather == 0:
            return (inside > 0).float()
        return (inside / (feather * share)).clamp(0, 1)

    rows, columns = ramp(size[0]), ramp(size[1])
    weight = torch.minimum(rows[:, None], columns[None, :])
    return 0.5 - 0.5 * torch.cos(math.pi * weight[None, None])
