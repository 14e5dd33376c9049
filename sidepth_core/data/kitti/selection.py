"""The thousand images with improved ground truth that KITTI's depth benchmark selected for validation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sidepth_core.data.folders import images_in
from sidepth_core.data.kitti.source import Item, KittiSource, Truth
from sidepth_core.errors import DatasetError

MINUTE_NS = 60_000_000_000
"""Images are put so far apart: none is another's neighbour in time."""


def is_kitti_selection(path: Path) -> bool:
    """Return whether a folder is val_selection_cropped of KITTI's data_depth_selection."""
    return all((path / name).is_dir() for name in ('image', 'groundtruth_depth', 'intrinsics'))


class KittiSelection(KittiSource):
    """Single images with improved ground truth: for evaluation only.

    Args:
        path: Folder of image/, groundtruth_depth/ and intrinsics/.
    """

    one_size = False
    truth: Truth = 'improved'

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path

    def items(self) -> list[Item]:
        """Return the images.

        Raises:
            DatasetError: If an image has no intrinsics.
        """
        items = []
        for number, image in enumerate(images_in(self.path / 'image')):
            intrinsics = self.path / 'intrinsics' / f'{image.stem}.txt'
            values = np.loadtxt(intrinsics).ravel() if intrinsics.is_file() else np.empty(0)
            if values.size != 9:
                raise DatasetError(f'KITTI intrinsics {str(intrinsics)!r} are missing, or not the nine numbers of K')
            P = np.column_stack([values.reshape(3, 3), np.zeros(3)])
            truth = self.path / 'groundtruth_depth' / image.name.replace('_sync_image_', '_sync_groundtruth_depth_')
            items.append(Item(image, number * MINUTE_NS, P, truth=truth if truth.is_file() else None))
        return items
