from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from sidepth_core.errors import DatasetError
from sidepth_core.training.sampler import ClipSampler, StepBatchSampler


def test_every_clip_comes_once_a_round() -> None:
    order = ClipSampler([7], [1.0], seed=3)
    for start in (0, 7, 14):
        assert sorted(order.clips(start, 7)) == list(range(7))
    assert order.clips(0, 7) != order.clips(7, 7)


def test_a_small_source_is_not_repeated_before_all_of_it_was_seen() -> None:
    order = ClipSampler([4, 12], [1.0, 3.0], seed=0)
    small = [index for index in order.clips(0, 160) if index < 4]
    assert len(small) == 40
    counts = Counter(small)
    assert set(counts.values()) == {10}


def test_weights_share_out_the_clips_whatever_the_sizes() -> None:
    order = ClipSampler([30, 10], [1.0, 3.0], seed=0)
    drawn = order.clips(0, 400)
    assert sum(index >= 30 for index in drawn) == 300


def test_the_order_is_a_function_of_seed_and_place_alone() -> None:
    ahead = ClipSampler([30, 10], [1.0, 1.0], seed=5)
    ahead.clips(500, 40)
    assert ahead.clips(13, 40) == ClipSampler([30, 10], [1.0, 1.0], seed=5).clips(13, 40)
    assert ahead.clips(13, 40) != ClipSampler([30, 10], [1.0, 1.0], seed=6).clips(13, 40)


def test_a_resumed_sampler_goes_on_with_the_next_step() -> None:
    order = ClipSampler([20], [1.0], seed=1)
    whole = list(islice(StepBatchSampler(order, 3, lambda: 0), 8))
    resumed = list(islice(StepBatchSampler(order, 3, lambda: 5), 3))
    assert resumed == whole[5:]


def test_two_processes_share_what_one_with_twice_the_batch_would_see() -> None:
    order = ClipSampler([50], [1.0], seed=1)
    single = list(islice(StepBatchSampler(order, 4, lambda: 2), 3))
    ranks = [list(islice(StepBatchSampler(order, 2, lambda: 2, rank, 2), 3)) for rank in (0, 1)]
    assert [first + second for first, second in zip(*ranks, strict=True)] == single


def test_an_empty_source_is_refused() -> None:
    with pytest.raises(DatasetError, match='at least one to train on'):
        ClipSampler([3, 0], [1.0, 1.0], seed=0)


def test_a_weight_too_small_to_be_drawn_is_refused() -> None:
    with pytest.raises(DatasetError, match='leave a source without any'):
        ClipSampler([5, 5], [1.0, 1e-6], seed=0)
