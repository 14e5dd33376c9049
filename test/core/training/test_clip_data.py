"""What is mixed must fit together."""

from __future__ import annotations

from typing import Any

import pytest

from sidepth_core.errors import DatasetError
from sidepth_core.training.clip_data import check_sizes
from sidepth_core.training.split import Source, Split


def source(name: str, size: tuple[int, int]) -> Source:
    clips: Any = ()
    return Source(name, 1.0, clips, Split([], [], []), 0.0, 0.0, True, size, size)


def test_caches_of_different_sizes_are_refused_in_one_short_line() -> None:
    sources = [*(source(f'drive {index}', (96, 160)) for index in range(50)), source('room', (128, 160))]
    with pytest.raises(DatasetError, match=r"sizes: 160x96 of 'drive 0' and 49 more; 160x128 of 'room'\. Prepare"):
        check_sizes(sources)
    check_sizes(sources[:50])
