"""Which clips a step takes: a pure function of (seed, step), so that a resumed run sees what it would have seen.

torch's WeightedRandomSampler and DistributedSampler draw from a generator whose state a resumed run would have to find.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from sidepth_core.errors import DatasetError


class ClipSampler:
    """Shuffled clips of several sources, mixed by weight, for ever.

    Time goes in rounds of as many clips as there are. In a round every source has its share of places, filled from its
    own endless sequence of shuffles, so that no clip of a source comes again before all of it have been seen.

    Args:
        lengths: Clips of each source.
        weights: Share of each source, relative to the others.
        seed: Everything follows from it.

    Raises:
        DatasetError: If there are no clips, or too few for every source to have its share.
    """

    def __init__(self, lengths: Sequence[int], weights: Sequence[float], seed: int) -> None:
        self._lengths = tuple(lengths)
        self._seed = seed
        self._round = sum(lengths)
        if not lengths or min(lengths) < 1:
            raise DatasetError(f'sources have {tuple(lengths)!r} clips: each needs at least one to train on')
        bounds = np.rint(np.cumsum([0, *weights]) / sum(weights) * self._round).astype(int)
        self._quotas = np.diff(bounds)
        if (self._quotas < 1).any():
            raise DatasetError(
                f'weights {tuple(weights)!r} over {self._round} clips leave a source without any: raise the smallest'
            )
        self._current: tuple[int, list[int]] = (-1, [])

    def clips(self, first: int, count: int) -> list[int]:
        """Return the clips at `count` places of the endless sequence from `first` on, as indices into all sources."""
        return [self._round_clips(place // self._round)[place % self._round] for place in range(first, first + count)]

    def _round_clips(self, index: int) -> list[int]:
        if self._current[0] != index:
            offsets = np.cumsum([0, *self._lengths[:-1]])
            parts = [
                offset + self._stretch(source, index * int(quota), int(quota))
                for source, (offset, quota) in enumerate(zip(offsets, self._quotas, strict=True))
            ]
            order = np.random.default_rng([self._seed, index]).permutation(np.concatenate(parts))
            self._current = (index, order.tolist())
        return self._current[1]

    def _stretch(self, source: int, first: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Return a stretch of a source's endless sequence of shuffles."""
        length = self._lengths[source]
        shuffles = range(first // length, (first + count - 1) // length + 1)
        laid = np.concatenate(
            [np.random.default_rng([self._seed, source, shuffle]).permutation(length) for shuffle in shuffles]
        )
        start = first - shuffles.start * length
        return laid[start : start + count]


class StepBatchSampler(Sampler[list[int]]):
    """Batches of clip indices for a DataLoader: this process's share of all, from the batch that is next.

    Args:
        clips: Which clips come.
        batch_size: Clips of a batch on each process.
        next_batch: Says which batch comes next when iteration starts; a resumed run's is not 0.
        rank: Number of this process.
        world: How many processes there are.
    """

    def __init__(
        self, clips: ClipSampler, batch_size: int, next_batch: Callable[[], int], rank: int = 0, world: int = 1
    ) -> None:
        self._clips, self._batch, self._next_batch = clips, batch_size, next_batch
        self._rank, self._world = rank, world

    def __iter__(self) -> Iterator[list[int]]:
        """Yield batches for ever."""
        number = self._next_batch()
        while True:
            first = (number * self._world + self._rank) * self._batch
            yield self._clips.clips(first, self._batch)
            number += 1
