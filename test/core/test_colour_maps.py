"""Colours of depth."""

from __future__ import annotations

import math

import pytest
import torch

from sidepth_core.colour_maps import COLOR_MAPS, colour_depth, colour_table


@pytest.mark.parametrize('name', COLOR_MAPS)
def test_every_map_spans_its_range(name: str) -> None:
    table = colour_table(name, torch.device('cpu'))
    colours = colour_depth(torch.tensor([[2.0, 20.0]]), name, (2.0, 20.0))
    assert colours.dtype == torch.uint8
    assert colours[0, 0].tolist() == table[255].tolist()
    assert colours[0, 1].tolist() == table[0].tolist()


def test_unknown_depth_is_black_and_infinite_depth_the_farthest_colour() -> None:
    table = colour_table('turbo', torch.device('cpu'))
    colours = colour_depth(torch.tensor([[math.nan, -math.inf, math.inf]]), 'turbo', (1.0, 10.0))
    assert colours[0, :2].sum() == 0
    assert colours[0, 2].tolist() == table[0].tolist()


def test_percentiles_ignore_what_is_unknown() -> None:
    depth = torch.full((50, 50), math.nan)
    depth[:, :25] = torch.linspace(2, 20, 25)
    colours = colour_depth(depth, 'gray')
    assert colours[0, 0, 0] == 255
    assert colours[0, 24, 0] == 0


def test_map_without_any_depth_is_black() -> None:
    assert colour_depth(torch.full((4, 4), math.nan), 'turbo').sum() == 0
