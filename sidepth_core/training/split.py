"""A source's clips, cut by time into what is trained on, validated on and tested on."""

from __future__ import annotations

from typing import NamedTuple

from torch.utils.data import Dataset

from sidepth_core.data.clips import Clip
from sidepth_core.errors import DatasetError


class Split(NamedTuple):
    """Training, validation and test clips of one source; indices into its dataset."""

    train: list[int]
    validation: list[int]
    test: list[int]


def split_by_time(clips: int, validation_share: float, test_share: float, overlap: int) -> Split:
    """Cut clips in order of time into training, validation and test; no clip shares a frame with one of another part.

    Args:
        clips: How many there are.
        validation_share: Share to validate on, 0..0.5.
        test_share: Share to test on, after that, 0..0.5.
        overlap: A clip shares frames with this many clips after it; so many are left out at each cut.

    Raises:
        DatasetError: If a part that was asked for would be empty.
    """
    test_from = clips - round(clips * test_share)
    validation_from = test_from - max(1, round(clips * validation_share))
    split = Split(
        list(range(max(0, validation_from - overlap))),
        list(range(validation_from, test_from - (overlap if test_share else 0))),
        list(range(test_from, clips)),
    )
    if not split.train or not split.validation or (test_share and not split.test):
        raise DatasetError(
            f'{clips} clips are too few to train, validate ({validation_share:.0%}) and test ({test_share:.0%}) on: '
            f'record a longer drive'
        )
    return split


class Source(NamedTuple):
    """A prepared source.

    Attributes:
        name: The source as the recipe names it.
        weight: Share of the drawn clips, relative to the other sources.
        clips: The clips of its cache, which may hold other sources' too.
        split: Which of them are its own, and what for.
        distance_share: Share of its clips whose driven distance is known, 0..1.
        depth_share: Share of its images whose depth is known, 0..1.
        camera_known: Whether its camera is calibrated.
        size: Height and width of its images, pixels.
        recorded: Height and width of its images as they were recorded, pixels.
    """

    name: str
    weight: float
    clips: Dataset[Clip]
    split: Split
    distance_share: float
    depth_share: float
    camera_known: bool
    size: tuple[int, int]
    recorded: tuple[int, int]
