from __future__ import annotations

import pytest

from sidepth_core.errors import DatasetError
from sidepth_core.training.parts import split_by_time


def test_parts_follow_each_other_in_time_with_a_gap_at_each_cut() -> None:
    parts = split_by_time(100, 0.2, 0.1, overlap=2)
    assert parts.train == list(range(68))
    assert parts.validation == list(range(70, 88))
    assert parts.test == list(range(90, 100))


def test_without_a_test_share_validation_reaches_the_end() -> None:
    parts = split_by_time(50, 0.1, 0.0, overlap=2)
    assert parts.validation == list(range(45, 50))
    assert parts.test == []


@pytest.mark.parametrize(('clips', 'overlap'), [(2, 2), (3, 5), (1, 0)])
def test_a_drive_too_short_to_be_split_is_refused(clips: int, overlap: int) -> None:
    with pytest.raises(DatasetError, match='too few to train, validate'):
        split_by_time(clips, 0.1, 0.0, overlap)
