from __future__ import annotations

import pytest

from sidepth_core.errors import DatasetError
from sidepth_core.training.split import split_by_time


def test_parts_follow_each_other_in_time_with_a_gap_at_each_cut() -> None:
    split = split_by_time(100, 0.2, 0.1, overlap=2)
    assert split.train == list(range(68))
    assert split.validation == list(range(70, 88))
    assert split.test == list(range(90, 100))


def test_without_a_test_share_validation_reaches_the_end() -> None:
    split = split_by_time(50, 0.1, 0.0, overlap=2)
    assert split.validation == list(range(45, 50))
    assert split.test == []


@pytest.mark.parametrize(('clips', 'overlap'), [(2, 2), (3, 5), (1, 0)])
def test_a_drive_too_short_to_be_split_is_refused(clips: int, overlap: int) -> None:
    with pytest.raises(DatasetError, match='too few to train, validate'):
        split_by_time(clips, 0.1, 0.0, overlap)
