"""Terms that compare depth with the maps of a teacher, which knows neither its scale nor, often, its shift.

Scale and shift are aligned by median and mean absolute deviation, the robust one of the two ways of MiDaS (Ranftl et
al., TPAMI 2022, arXiv 1907.01341, eq. 5 and 6): a least-squares fit in inverse depth is decided by the few nearest
pixels, which is where a teacher of another camera errs most. What is learned is brought to the teacher, never the
teacher to it: otherwise a constant map would explain every teacher.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sidepth_core.losses.supervision import steps_between_pixels
from sidepth_core.precision import check_shape, full_precision

FLAT_SHARE = 1 / 256
"""A map that varies by less than this share of its largest value says nothing of the image's shape."""
LEAST_SPREAD = 1e-3
"""Mean absolute deviation that a prediction counts with at least, as a share of its median."""


@full_precision
def teacher_shape(depth_m: Tensor, teacher_inverse: Tensor, *, has_shift: bool) -> Tensor:
    """Return how far inverse depth is from a teacher's once scale, and shift where it has one, are aligned.

    Args:
        depth_m: Predicted depth, (B, 1, H, W), metres, positive.
        teacher_inverse: The teacher's inverse depth in any unit, the same shape; NaN where there is none. It gets no
            gradient. An image on which it is flat takes no part.
        has_shift: Whether its inverse depth is off by an unknown shift besides an unknown scale. Without, only the
            scale is aligned, and the shift is learned too.

    Returns:
        Scalar, the mean of |difference| in units of the teacher's mean absolute deviation: 1 is as bad as a constant
        map. The same for every scale of depth_m. Zero where there is no teacher.

    Raises:
        ConfigError: If the shapes differ.
    """
    error, known = _aligned_error(depth_m, teacher_inverse, has_shift=has_shift)
    return error.abs().sum() / known.sum().clamp(min=1)


@full_precision
def teacher_gradient(depth_m: Tensor, teacher_inverse: Tensor, *, has_shift: bool) -> Tensor:
    """Return how far steps of inverse depth from pixel to pixel are from the aligned teacher's: its edges.

    The mean over columns, rows and four scales (Li and Snavely, MegaDepth, CVPR 2018; eq. 11 of MiDaS). Arguments,
    unit and errors are those of teacher_shape.
    """
    return steps_between_pixels(*_aligned_error(depth_m, teacher_inverse, has_shift=has_shift))


def _aligned_error(depth_m: Tensor, teacher_inverse: Tensor, *, has_shift: bool) -> tuple[Tensor, Tensor]:
    """Return aligned inverse depth - teacher's, 0 where there is no teacher, and where there is one, (B, 1, H, W)."""
    check_shape('depth_m', depth_m, None, 1, None, None)
    check_shape('teacher_inverse', teacher_inverse, *depth_m.shape)
    teacher, inverse = teacher_inverse.detach().to(depth_m).flatten(1), (1 / depth_m).flatten(1)
    known = teacher.isfinite()
    centre, spread = _centre_and_spread(teacher, known)
    largest = torch.where(known, teacher.abs(), 0).amax(1, keepdim=True)
    known = known & (spread > FLAT_SHARE / 4 * largest)  # an even spread over FLAT_SHARE deviates by a quarter of it
    spread = torch.where(known.any(1, keepdim=True), spread, 1)  # a flat one is not divided by
    own_centre, own_spread = _centre_and_spread(inverse, known)
    own_spread = own_spread.maximum(LEAST_SPREAD * own_centre.detach())
    if has_shift:
        own, goal = (inverse - own_centre) / own_spread, (teacher - centre) / spread
    else:
        own, goal = inverse * (centre / own_centre) / spread, teacher / spread
    error = torch.where(known, own - goal, 0)
    return error.view_as(depth_m), known.view_as(depth_m)


def _centre_and_spread(values: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Return median and mean absolute deviation from it of the known values (B, P), each (B, 1); 1 where none is."""
    some = known.any(1, keepdim=True)
    middle = torch.where(known, values, torch.nan).nanmedian(1, keepdim=True).values
    centre = torch.where(some, middle, 1)
    deviation = torch.where(known, values - centre, 0).abs().sum(1, keepdim=True)
    return centre, torch.where(some, deviation / known.sum(1, keepdim=True).clamp(min=1), 1)
