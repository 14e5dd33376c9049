"""The benchmark compares two ways to the same numbers."""

from __future__ import annotations

import pytest
import torch

from sidepth_core.benchmarks.photometric_loss import our_loss, rows, usual_loss
from sidepth_core.benchmarks.row import Request


def test_both_ways_compute_the_same_loss() -> None:
    target, *others = (torch.rand(1, 3, 16, 24) for _ in range(5))
    ours, usual = our_loss(target, others[:2], others[2:]), usual_loss(target, others[:2], others[2:])
    assert ours.item() == pytest.approx(usual.item(), abs=2e-5)  # the identities' offset of 1e-5


def test_rows_compare_ours_with_the_usual_way() -> None:
    usual, ours = rows(Request(torch.device('cpu'), quick=True))
    assert ours.ratio == pytest.approx(ours.value / usual.value)
    assert usual.value > 0
