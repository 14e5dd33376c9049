"""Metres only where somebody knows them."""

from __future__ import annotations

import pytest
import torch

from sidepth_core.camera import Camera
from sidepth_core.errors import ScaleError
from sidepth_core.scale import Scale, make_scale_source

CAMERA = Camera(60, 40, 50, 55, 28.5, 21.25)


def ask(name: str, *, metric: bool, factor: float = 1.0) -> Scale:
    """Return what a scale source says of some map."""
    source = make_scale_source(name, metric_weights=metric, factor=factor)
    assert source.name == name
    return source(torch.ones(1, 4, 6), CAMERA, 0)


def test_metric_weights_are_taken_at_their_word() -> None:
    scale = ask('checkpoint', metric=True, factor=7.0)
    assert (scale.factor, scale.metric) == (1.0, True)


def test_relative_weights_name_the_three_ways_out() -> None:
    with pytest.raises(ScaleError, match=r"use a checkpoint trained.*'fixed'.*'relative'"):
        make_scale_source('checkpoint', metric_weights=False, factor=1.0)


@pytest.mark.parametrize('metric', [True, False])
def test_fixed_factor_makes_metres(metric: bool) -> None:
    scale = ask('fixed', metric=metric, factor=2.5)
    assert (scale.factor, scale.metric) == (2.5, True)


@pytest.mark.parametrize('factor', [0.0, -1.0, float('nan'), float('inf')])
def test_fixed_factor_must_be_positive(factor: float) -> None:
    with pytest.raises(ScaleError, match='positive scale_factor'):
        make_scale_source('fixed', metric_weights=True, factor=factor)


def test_relative_never_claims_metres() -> None:
    assert not ask('relative', metric=True).metric


def test_unknown_source_lists_those_that_are() -> None:
    with pytest.raises(ScaleError, match=r"'gps'.*checkpoint, fixed, relative"):
        make_scale_source('gps', metric_weights=True, factor=1.0)
