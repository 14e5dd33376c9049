"""Collapse detection: signs by which a run that learns nothing is known, and the error that stops it."""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

import torch
from torch import Tensor

from sidepth_core.errors import SidepthError
from sidepth_core.losses import hole_share
from sidepth_core.training.objective import Outcome
from sidepth_core.training.settings import WatchSettings

FLAT_SPREAD = 1e-3
"""Depth whose spread over the image is below this share of its mean says nothing."""
ZERO_LOSS = 1e-6
ZERO_MOTION = 1e-5
"""Poses this short, in the network's unit, move no pixel; an untrained network's are a hundred times longer."""
EXPLODED_MOTION = 100.0
EXPLODED_TURN_RAD = 1.5


class CollapseError(SidepthError):
    """Training goes nowhere and was stopped."""


class CollapseSigns(NamedTuple):
    """What tells whether a step still learns; NaN where a step has none.

    Attributes:
        loss: The total loss.
        depth_spread: Standard deviation of depth over the image, as a share of its mean; mean over the batch.
        hole_share: Share of the image that is infinite-depth holes; mean over the batch.
        translation: Length of the predicted motion; mean over the batch.
        turn_rad: Predicted rotation; mean over the batch, radians.
    """

    loss: float
    depth_spread: float
    hole_share: float
    translation: float
    turn_rad: float


@torch.no_grad()
def collapse_signs(loss: Tensor, outcome: Outcome, K: Tensor) -> CollapseSigns:
    """Return the signs of collapse of a step.

    Args:
        loss: Its total loss, scalar.
        outcome: What it made of the batch.
        K: Intrinsics of the predicted view, (B, 3, 3).
    """
    spread = outcome.depth_m.std((2, 3)) / outcome.depth_m.mean((2, 3))
    translation = turn = math.nan
    if outcome.motion is not None:
        matrices = torch.cat(outcome.motion.T_source_target)
        trace = matrices[:, 0, 0] + matrices[:, 1, 1] + matrices[:, 2, 2]
        turn = float(torch.acos(((trace - 1) / 2).clamp(-1, 1)).mean())
        translation = float(torch.cat(outcome.motion.translation).norm(dim=1).mean())
    holes = float(hole_share(outcome.depth_m, K).mean())
    return CollapseSigns(float(loss), float(spread.mean()), holes, translation, turn)


def collapse_reasons(signs: CollapseSigns, settings: WatchSettings) -> list[str]:
    """Return why a step looks collapsed, in sentences that do not change from step to step; empty when it does not."""
    found = []
    if abs(signs.loss) < ZERO_LOSS:
        found.append(
            'the loss is zero: nothing is compared any more; are the images black, or all neighbours masked out?'
        )
    if signs.depth_spread < FLAT_SPREAD:
        found.append(
            'depth is constant over the image: the network has stopped looking; lower the learning rate, or check that '
            'the camera moves in these recordings (`sidepth inspect` shows the motion)'
        )
    if signs.hole_share > settings.collapse_hole_share:
        found.append(
            f'infinite-depth holes take more than {settings.collapse_hole_share:.0%} of the image: scenes move along '
            'with the camera; switch objective.motion_mask on or leave such recordings out'
        )
    if signs.translation < ZERO_MOTION:
        found.append('the pose network says that the camera stands still: check the stride and the stamps of the clips')
    if signs.translation > EXPLODED_MOTION or signs.turn_rad > EXPLODED_TURN_RAD:
        found.append('poses explode: lower the learning rate, or check the intrinsics')
    return found


class CollapseDetector:
    """Remembers for how many looks in a row each reason has been true."""

    def __init__(self, settings: WatchSettings) -> None:
        self.settings = settings
        self.lasting: Counter[str] = Counter()

    def look(self, signs: CollapseSigns, step: int) -> None:
        """Take the signs of a step.

        Raises:
            CollapseError: If the loss is not finite, or a reason has lasted for collapse_checks looks.
        """
        if not self.settings.collapse_checks:
            return
        if not math.isfinite(signs.loss):
            raise CollapseError(
                f'training stopped at step {step}: the loss is {signs.loss}; lower optimiser.learning_rate, or set '
                f'precision: float32 to see whether half precision is to blame'
            )
        if step < self.settings.collapse_after:
            return
        now = collapse_reasons(signs, self.settings)
        self.lasting = Counter({reason: self.lasting[reason] + 1 for reason in now})
        for reason, looks in self.lasting.items():
            if looks >= self.settings.collapse_checks:
                raise CollapseError(f'training stopped at step {step} after {looks} looks in a row: {reason}')
