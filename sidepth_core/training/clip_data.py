"""Where clips come from: recordings prepared once, split by time, mixed by weight, handed to Lightning."""

from __future__ import annotations

import lightning as L
import torch
from torch.utils.data import ConcatDataset, DataLoader, Subset

from sidepth_core.data.clips import Batch, Clip, collate
from sidepth_core.errors import DatasetError
from sidepth_core.training.holes import without_holes
from sidepth_core.training.sampler import ClipSampler, StepBatchSampler
from sidepth_core.training.settings import Recipe
from sidepth_core.training.sources import open_sources, prepare_sources
from sidepth_core.training.split import Source


class ClipData(L.LightningDataModule):
    """The clips of a recipe.

    Attributes:
        sources: Filled by `setup`.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.sources: list[Source] = []

    def prepare_data(self) -> None:
        """Prepare what is not prepared yet; Lightning calls this on one process a machine."""
        prepare_sources(self.recipe)

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002 - Lightning's signature
        """Open the prepared sources."""
        if not self.sources:
            device = self.trainer.strategy.root_device if self.trainer else torch.device('cpu')
            self.sources = [without_holes(source, self.recipe.data, device) for source in open_sources(self.recipe)]
            check_sizes(self.sources)

    def train_dataloader(self) -> DataLoader[Clip]:
        """Return the loader of training batches, which never ends and starts at the trainer's step."""
        data = self.recipe.data
        train = [Subset(source.clips, source.split.train) for source in self.sources]
        clips = ClipSampler(list(map(len, train)), [source.weight for source in self.sources], self.recipe.seed)
        trainer, optimiser = self.trainer, self.recipe.optimiser
        assert trainer is not None  # noqa: S101 - Lightning sets it before it asks for loaders
        sampler = StepBatchSampler(
            clips,
            optimiser.batch_size,
            lambda: int(trainer.global_step) * optimiser.accumulate,
            trainer.global_rank,
            trainer.world_size,
        )
        return DataLoader(
            ConcatDataset(train),
            batch_sampler=sampler,
            collate_fn=collate,
            num_workers=data.workers,
            persistent_workers=data.workers > 0,
            pin_memory=trainer.strategy.root_device.type == 'cuda',
        )

    def val_dataloader(self) -> DataLoader[Clip]:
        """Return the loader of this process's share of the validation clips."""
        clips = self.validation_clips()
        trainer = self.trainer
        assert trainer is not None  # noqa: S101 - as above
        share = range(trainer.global_rank, len(clips), trainer.world_size)
        return DataLoader(Subset(clips, share), self.recipe.optimiser.batch_size, collate_fn=collate)

    def validation_clips(self) -> Subset[Clip]:
        """Return the clips that `best` is chosen on, evenly spread over the sources' validation clips."""
        together: ConcatDataset[Clip] = ConcatDataset(
            [Subset(source.clips, source.split.validation) for source in self.sources]
        )
        count = min(self.recipe.data.validation_clips, len(together))
        return Subset(together, [index * len(together) // count for index in range(count)])

    def first_batch(self) -> Batch:
        """Return one validation clip, for figures."""
        source = self.sources[0]
        return collate([source.clips[source.split.validation[len(source.split.validation) // 2]]])


def check_sizes(sources: list[Source]) -> None:
    """Refuse caches whose images do not stack.

    Raises:
        DatasetError: If their sizes differ.
    """
    names: dict[str, list[str]] = {}
    for source in sources:
        names.setdefault(f'{source.size[1]}x{source.size[0]}', []).append(source.name)
    if len(names) > 1:
        listed = '; '.join(f'{size} of {_few(those)}' for size, those in names.items())
        raise DatasetError(f'images of different caches have different sizes: {listed}. Prepare them at one size')


def _few(names: list[str]) -> str:
    return f'{names[0]!r} and {len(names) - 1} more' if len(names) > 1 else repr(names[0])
