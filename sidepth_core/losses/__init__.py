"""The terms of the training objective: pure functions, no state, float32 inside whatever autocast says.

Paper: Jiang et al., "Detaching and Boosting", IEEE RA-L 7(4), 2022; where a term comes from elsewhere it says so.
"""

from sidepth_core.losses.consistency import log_scale, scale_drift, self_distillation, sky_drift, zoom_consistency
from sidepth_core.losses.distillation import teacher_gradient, teacher_shape
from sidepth_core.losses.moving import hole_share, infinite_depth_holes, motion_mask
from sidepth_core.losses.reprojection import Reprojection, minimum_reprojection, photometric, ssim_term
from sidepth_core.losses.smoothness import smoothness_first, smoothness_second
from sidepth_core.losses.supervision import (
    depth_gradient,
    depth_shape,
    depth_supervision,
    motion_term,
    speed_term,
)
from sidepth_core.losses.terms import LossTerms, LossWeights

__all__ = [
    'LossTerms',
    'LossWeights',
    'Reprojection',
    'depth_gradient',
    'depth_shape',
    'depth_supervision',
    'hole_share',
    'infinite_depth_holes',
    'log_scale',
    'minimum_reprojection',
    'motion_mask',
    'motion_term',
    'photometric',
    'scale_drift',
    'self_distillation',
    'sky_drift',
    'smoothness_first',
    'smoothness_second',
    'speed_term',
    'ssim_term',
    'teacher_gradient',
    'teacher_shape',
    'zoom_consistency',
]
