"""The benchmark of waiting: what it runs, and what it makes of a run's metrics."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sidepth_core.benchmarks import Request
from sidepth_core.benchmarks.waiting import recipe_for, waiting_share


def test_the_start_of_a_run_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / 'metrics.csv'
    path.write_text(
        'step,name,value\n3,speed/clips_per_s,1\n3,speed/waiting_share,0.9\n7,train/loss,0.5\n7,speed/clips_per_s,10\n'
        '7,speed/waiting_share,0.02\n11,speed/clips_per_s,14\n11,speed/waiting_share,0.04\n'
    )
    assert waiting_share(path) == pytest.approx((0.03, 12))


def test_a_gpu_trains_at_the_size_of_the_paper_with_one_reader(tmp_path: Path) -> None:
    recipe = recipe_for(Request(torch.device('cuda')), tmp_path)
    assert (recipe.model.backbone, recipe.model.width, recipe.model.height) == ('hrnet18', 640, 192)
    assert (recipe.optimiser.batch_size, recipe.data.workers, recipe.device) == (12, 1, 'cuda')
    quick, whole = (recipe_for(Request(torch.device('cpu'), quick), tmp_path) for quick in (True, False))
    assert quick.steps < whole.steps
    assert quick.watch.validate_every > whole.steps
