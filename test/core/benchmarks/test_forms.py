"""The plain form computes what ours does, and the floor under both counts what there is to do."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sidepth_core.benchmarks.floor import Layer, Rates, floor_ms, layers
from sidepth_core.benchmarks.loading import draw_drive
from sidepth_core.benchmarks.plain_form import attention_maps_made, materialised_attention, plain_engine
from sidepth_core.benchmarks.training import stepper
from sidepth_core.data.folders import FolderSource
from sidepth_core.data.prepare import PrepareSettings, prepare
from sidepth_core.engines import FACTORIES, Target
from sidepth_core.engines.verification import depth_difference, probe
from sidepth_core.models import DepthNet

CPU = torch.device('cpu')


def test_attention_maps_are_made_only_as_long_as_asked() -> None:
    fused = F.scaled_dot_product_attention
    with attention_maps_made():
        assert F.scaled_dot_product_attention is materialised_attention
    assert F.scaled_dot_product_attention is fused


def test_plain_form_of_the_network_says_what_every_other_form_does() -> None:
    target = Target(CPU, 'float32', (64, 96))
    image = probe(64, 96)
    network = DepthNet('tf_efficientnet_lite0').eval().requires_grad_(False)
    plain, ours = plain_engine(copy.deepcopy(network), target), FACTORIES['channels_last'](network, target)
    assert depth_difference(ours(image), plain(image)) < 1e-3


def test_plain_form_of_a_training_step_has_the_loss_of_ours(tmp_path: Path) -> None:
    draw_drive(tmp_path / 'drive', 3)
    prepare([FolderSource(tmp_path / 'drive', fps=10)], tmp_path / 'cache', PrepareSettings(64, 64, stride=1))
    losses = []
    for form in ('plain', 'float32'):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            losses.append(stepper(tmp_path / 'cache', form, CPU, 1)())
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_layers_are_counted_as_by_hand() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(8, 4, 1, bias=False))
    found = layers(network, torch.zeros(1, 3, 10, 12))
    # Twice (a multiplication and an addition) weights times pixels; input, weights and output are read and written.
    assert found == [
        Layer(2 * 3 * 8 * 9 * 120, 3 * 120 + 3 * 8 * 9 + 8 * 120),
        Layer(2 * 8 * 4 * 120, 8 * 120 + 8 * 4 + 4 * 120),
    ]


def test_floor_is_the_longer_of_computing_and_moving_layer_by_layer() -> None:
    found = [Layer(flops=4000, numbers=10), Layer(flops=10, numbers=1000)]
    # 4000 operations at 1000 a second; 1000 numbers of 4 bytes at 2000 bytes a second.
    assert floor_ms(found, Rates(flops=1000.0, bytes=2000.0), 4) == pytest.approx(1e3 * (4 + 2))
