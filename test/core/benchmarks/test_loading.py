"""The benchmark of loading: both loaders give what they promise, and the cache is faster."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from sidepth_core.benchmarks.loading import measure_loading, plain_triplet


def test_the_plain_loader_gives_clean_and_jittered_triplets(tmp_path: Path) -> None:
    files = [tmp_path / f'{index}.jpg' for index in range(3)]
    for index, path in enumerate(files):
        cv2.imwrite(str(path), np.full((375, 1242, 3), (0, 0, 80 * index), np.uint8))
    clean, jittered = plain_triplet(files, 0)
    assert clean.shape == jittered.shape == (3, 3, 192, 640)
    assert torch.allclose(clean[:, 0].mean((1, 2)), torch.tensor([0, 80 / 255, 160 / 255]), atol=0.02)


def test_the_cache_is_faster_than_decoding_again() -> None:
    speed = measure_loading(images=6, seconds=0.1)
    assert speed.cache_only > 3 * speed.plain
    assert speed.cached > speed.plain
    assert speed.prepared > 0
