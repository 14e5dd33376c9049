"""Curves of speed are drawn of what was measured; a bag of the benchmark can be read back."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sidepth_core.benchmarks.loading import SOURCE_HEIGHT, SOURCE_WIDTH, drive_images
from sidepth_core.benchmarks.preparing import rate, stored, write_drive
from sidepth_core.benchmarks.row import Row
from sidepth_core.benchmarks.scaling import BATCH, ENGINES, LATENCY, RANKS, READERS, pictures
from sidepth_core.data.bags import BagSource


def test_curves_are_drawn_of_what_was_measured_and_of_nothing_else(tmp_path: Path) -> None:
    rows = [Row(f'{LATENCY} {size}, {ENGINES[0]}', 30.0, 'ms') for size in ('160x96', '320x192')]
    rows += [Row(f'{BATCH} {count}, {ENGINES[0]}', 9.0, 'images/s') for count in (1, 2)]
    few, all_ = tmp_path / 'few', tmp_path / 'all'
    assert pictures(rows, few)[0][0] == 'scaling.png'
    rows += [Row(f'{READERS} {count} readers beside it', 9.0, 'clips/s') for count in (0, 1)]
    rows += [Row(f'{RANKS} {count} processes', 9.0, 'clips/s') for count in (1, 2)]
    pictures(rows, all_)
    first, second = (cv2.imread(str(folder / 'scaling.png')) for folder in (few, all_))
    assert first.shape == second.shape
    assert (first != second).any()


def test_bag_of_the_benchmark_holds_the_drive(tmp_path: Path) -> None:
    write_drive(tmp_path / 'bag', 3)
    files = list(stored(tmp_path / 'bag'))
    frames = list(BagSource(tmp_path / 'bag'))
    assert len(files) == len(frames) == 3
    assert frames[0].image.shape == (SOURCE_HEIGHT, SOURCE_WIDTH, 3)
    assert frames[0].camera is not None
    for file, frame, drawn in zip(files, frames, drive_images(3), strict=True):
        assert np.array_equal(cv2.imdecode(file, cv2.IMREAD_COLOR)[..., ::-1], frame.image)
        assert np.abs(frame.image.astype(int) - drawn.astype(int)).mean() < 8


def test_rate_counts_processor_time_and_takes_the_best_round() -> None:
    rounds = iter([400_000, 0])
    fast_and_slow = rate(lambda: sum(range(next(rounds))), 10, rounds=2)
    assert fast_and_slow > 10 / 0.005
    with pytest.raises(StopIteration):
        next(rounds)
