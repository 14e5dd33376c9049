"""What a step takes is said and held against what is free, before anything is prepared."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sidepth_core.errors import ConfigError
from sidepth_core.training import fit as fitting
from sidepth_core.training.memory import LiveBytes, available_bytes, check_memory, step_memory
from sidepth_core.training.module import DepthTraining
from sidepth_core.training.networks import make_networks
from sidepth_core.training.recipes import load_recipe
from sidepth_core.training.settings import Recipe

DEBUG = load_recipe(Path(__file__).parents[3] / 'training' / 'debug.yaml')


def training(**model: object) -> DepthTraining:
    recipe: Recipe = replace(DEBUG, model=replace(DEBUG.model, **model), precision='float32')  # type: ignore[arg-type]
    return DepthTraining(recipe, make_networks(recipe))


def test_tensors_count_while_they_live_and_views_count_once() -> None:
    ready = torch.zeros(1000)
    with LiveBytes() as live:
        first = ready + 1  # 4000 bytes
        half = first.view(10, 100)[:5]
        ready.add_(1)  # made before, and changed in place
        assert live.peak == 4000
        second = half * 2  # 2000 bytes
        assert live.peak == 6000
        del first, half, second
        third = ready[:200] + 1
        assert live.peak == 6000
        del third


def test_a_step_is_counted_and_leaves_the_networks_as_they_were() -> None:
    module = training()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.random.get_rng_state()
    needed = step_memory(module)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)
    weights = sum(one.nbytes for one in module.networks.parameters())
    assert needed.weights == pytest.approx(5 * weights, rel=0.01)
    assert needed.total == needed.weights + 2 * needed.clip
    # Images of all frames, sources and warps alone are some twenty planes of 96 x 64 float32.
    assert needed.clip > 20 * 3 * 96 * 64 * 4


def test_recomputing_takes_less() -> None:
    sizes = {'width': 192, 'height': 128, 'pose_width': 192, 'pose_height': 128}
    assert step_memory(training(recompute=True, **sizes)).clip < 0.8 * step_memory(training(**sizes)).clip


def test_a_run_that_cannot_fit_is_refused_before_it_prepares_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module = training()
    needed = step_memory(module)
    free = needed.weights + 11 * needed.clip // 2  # half a clip to spare: tensors freed late make one larger
    monkeypatch.setattr(fitting, 'available_bytes', lambda _device, _gpu: free)
    optimiser = replace(DEBUG.optimiser, batch_size=12)
    recipe = replace(DEBUG, out=str(tmp_path / 'run'), optimiser=optimiser, precision='float32')
    message = r'12 clips.*are free.*batch_size 5 --optimiser.accumulate 3.*recompute true'
    with caplog.at_level(logging.INFO), pytest.raises(ConfigError, match=message):
        fitting.fit(recipe)
    assert not list((tmp_path / 'run').iterdir())
    assert 'a step takes some' in caplog.text
    with pytest.raises(ConfigError, match=r'that are free: --model.recompute true'):  # not even one clip fits
        check_memory(module, needed.weights)


def test_the_system_says_what_is_free() -> None:
    free = available_bytes('cpu')
    assert free is None or 10_000_000 < free < 10**14
