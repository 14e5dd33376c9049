from __future__ import annotations

import math

import pytest
import torch

from sidepth_core.losses import LossTerms
from sidepth_core.training.collapse import (
    CollapseDetector,
    CollapseError,
    CollapseSigns,
    collapse_reasons,
    collapse_signs,
)
from sidepth_core.training.objective import Motion, Outcome
from sidepth_core.training.settings import WatchSettings

WELL = CollapseSigns(loss=0.1, depth_spread=0.4, hole_share=0.0, translation=0.5, turn_rad=0.01)


def outcome_with(depth_m: torch.Tensor, translation: float) -> Outcome:
    pose = torch.eye(4).expand(len(depth_m), 4, 4)
    step = torch.tensor([[0.0, 0.0, translation]]).expand(len(depth_m), 3)
    return Outcome(LossTerms(), depth_m, depth_m, Motion([pose], [step]), [], None)


def test_signs_are_measured_on_depth_and_pose() -> None:
    depth_m = torch.full((2, 1, 8, 8), 2.0)
    depth_m[:, :, :, 4:] = 4.0
    K = torch.tensor([[8.0, 0, 3.5], [0, 8, 3.5], [0, 0, 1]]).expand(2, 3, 3)
    signs = collapse_signs(torch.tensor(0.25), outcome_with(depth_m, 0.5), K)
    assert signs.loss == 0.25
    assert signs.depth_spread == pytest.approx(1 / 3, rel=0.02)
    assert signs.translation == pytest.approx(0.5)
    assert signs.turn_rad == pytest.approx(0, abs=1e-3)


def test_a_healthy_step_has_no_complaint() -> None:
    assert collapse_reasons(WELL, WatchSettings()) == []
    assert collapse_reasons(WELL._replace(translation=math.nan, turn_rad=math.nan), WatchSettings()) == []


@pytest.mark.parametrize(
    ('signs', 'reason'),
    [
        (WELL._replace(loss=0.0), 'the loss is zero'),
        (WELL._replace(depth_spread=1e-5), 'depth is constant'),
        (WELL._replace(hole_share=0.5), 'infinite-depth holes take more than 30%'),
        (WELL._replace(translation=1e-7), 'the camera stands still'),
        (WELL._replace(translation=1e3), 'poses explode'),
        (WELL._replace(turn_rad=2.0), 'poses explode'),
    ],
)
def test_a_collapse_that_lasts_stops_the_run_and_says_why(signs: CollapseSigns, reason: str) -> None:
    watch = CollapseDetector(WatchSettings(collapse_checks=3, collapse_after=10))
    watch.look(signs, 5)  # too early to tell
    watch.look(signs, 20)
    watch.look(signs, 21)
    with pytest.raises(CollapseError, match=f'step 22 after 3 looks in a row: .*{reason}'):
        watch.look(signs, 22)


def test_a_passing_fault_stops_nothing() -> None:
    watch = CollapseDetector(WatchSettings(collapse_checks=2, collapse_after=0))
    for step in range(10):
        watch.look(WELL._replace(depth_spread=0.0) if step % 2 else WELL, step)


def test_a_loss_that_is_not_a_number_stops_the_run_at_once() -> None:
    with pytest.raises(CollapseError, match='step 1: the loss is nan'):
        CollapseDetector(WatchSettings()).look(WELL._replace(loss=math.nan), 1)


def test_the_alarm_can_be_switched_off() -> None:
    CollapseDetector(WatchSettings(collapse_checks=0)).look(WELL._replace(loss=math.nan), 1)
