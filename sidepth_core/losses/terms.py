"""The terms of one training step by name, and their weights."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class LossWeights(NamedTuple):
    """What each term counts in the total; the defaults are the paper's, terms that it does not have are off."""

    photometric: float = 1.0
    smoothness_first: float = 1e-3
    smoothness_second: float = 1e-3
    speed: float = 0.0
    zoom_consistency: float = 0.0
    depth: float = 0.0
    self_distillation: float = 0.0
    two_view_pose: float = 0.0
    two_view_depth: float = 0.0
    hold_scale: float = 0.0
    hold_sky: float = 0.0
    depth_shape: float = 0.0
    depth_gradient: float = 0.0
    teacher_shape: float = 0.0
    teacher_gradient: float = 0.0
    teacher_scale: float = 0.0


class LossTerms(NamedTuple):
    """The unweighted terms of one step, each a scalar; None where a term was not computed."""

    photometric: Tensor | None = None
    smoothness_first: Tensor | None = None
    smoothness_second: Tensor | None = None
    speed: Tensor | None = None
    zoom_consistency: Tensor | None = None
    depth: Tensor | None = None
    self_distillation: Tensor | None = None
    two_view_pose: Tensor | None = None
    two_view_depth: Tensor | None = None
    hold_scale: Tensor | None = None
    hold_sky: Tensor | None = None
    depth_shape: Tensor | None = None
    depth_gradient: Tensor | None = None
    teacher_shape: Tensor | None = None
    teacher_gradient: Tensor | None = None
    teacher_scale: Tensor | None = None

    def total(self, weights: LossWeights) -> Tensor:
        """Return the weighted sum of the computed terms, scalar; zero when there is none."""
        present = [weight * term for weight, term in zip(weights, self, strict=True) if term is not None]
        return torch.stack(present).sum() if present else torch.zeros(())
