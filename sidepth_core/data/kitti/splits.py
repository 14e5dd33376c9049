"""Which drives of KITTI belong to which published split, and what a folder of KITTI looks like."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from sidepth_core.data.kitti.lists import BENCHMARK_VAL_DRIVES, EIGEN_TEST_FRAMES, EIGEN_TRAIN_DRIVES
from sidepth_core.data.kitti.source import KittiDrive, Truth
from sidepth_core.errors import DatasetError

LINES = (
    re.compile(r'(?P<drive>\S+)\s+(?P<number>\d+)(\s+(?P<side>[lr]))?'),
    re.compile(r'(?P<drive>\S+)/image_0(?P<side>[23])/data/(?P<number>\d+)\.(png|jpg)(\s.*)?'),
)
"""Lines of published split files: `<date>/<drive> <number> <l|r>`, or the path of the image first."""

LISTS: dict[str, Collection[str]] = {
    'eigen': EIGEN_TRAIN_DRIVES,
    'eigen_zhou': EIGEN_TRAIN_DRIVES,
    'eigen_test': EIGEN_TEST_FRAMES,
    'benchmark_val': BENCHMARK_VAL_DRIVES,
}
"""The drives of the splits that list them."""

SPLITS = ('all', 'eigen', 'eigen_zhou', 'eigen_test', 'benchmark', 'benchmark_val')


def is_kitti_drive(path: Path) -> bool:
    """Return whether a folder is a drive of KITTI raw."""
    calibrated = (path.parent / 'calib_cam_to_cam.txt').is_file()
    return any(path.glob('image_0?' if calibrated else 'image_0?/data'))


def is_kitti_root(path: Path) -> bool:
    """Return whether a folder holds drives of KITTI raw by date, or is such a date."""
    return any(path.glob('calib_cam_to_cam.txt')) or any(path.glob('*/calib_cam_to_cam.txt'))


def is_kitti_odometry(path: Path) -> bool:
    """Return whether a folder is a sequence of KITTI odometry."""
    return (path / 'calib.txt').is_file() and any(path.glob('image_?'))


def is_kitti_object(path: Path) -> bool:
    """Return whether a folder is of KITTI's object benchmark."""
    return (path / 'calib').is_dir() and (path / 'image_2').is_dir()


def kitti_drives(
    root: Path,
    split: str = 'all',
    sides: tuple[int, ...] | None = None,
    truth: Truth = 'none',
    neighbours: int = 0,
) -> list[KittiDrive]:
    """Return the drives of a split of KITTI raw, one source for each drive and camera.

    Args:
        root: Folder of the dates.
        split: 'all'; 'eigen' and 'eigen_zhou' (Eigen's 33 training drives; still images, which Zhou's list leaves out,
            are dropped by `prepare`); 'eigen_test' (the 697 images); 'benchmark' and 'benchmark_val' (the drives of
            KITTI's depth benchmark); or a file of lines `<date>/<drive> <number> <l|r>`, as published splits are.
        sides: Cameras; None: the left one for eigen_test, both for training. A file says it itself.
        truth: See KittiDrive.
        neighbours: Images to read before and after each that a file lists: 1 for a list of training triplets, which
            names their middle.

    Raises:
        DatasetError: If there is no such drive.
    """
    if Path(split).is_file():
        return _listed(root, Path(split), truth, neighbours)
    if split not in SPLITS:
        raise DatasetError(f'KITTI split {split!r} is neither a file nor one of {", ".join(SPLITS)}')
    found = [path for path in sorted({*root.glob('*_drive_*'), *root.glob('*/*_drive_*')}) if path.is_dir()]
    is_test = split == 'eigen_test'
    drives = [
        KittiDrive(path, side, truth, EIGEN_TEST_FRAMES[path.name] if is_test else None)
        for path in found
        if _belongs(path.name, split)
        for side in sides or ((2,) if is_test else (2, 3))
        if (path / f'image_{side:02d}').is_dir()
    ]
    if not drives:
        raise DatasetError(f'{str(root)!r} holds {len(found)} drives of KITTI raw, none of split {split!r}')
    drives[0].note = _missing(split, LISTS.get(split, ()), {path.name for path in found})
    return drives


def _missing(split: str, listed: Collection[str], there: Collection[str]) -> str:
    """Return what to say of the drives of a split that are not there; '' where it is whole."""
    missing = sorted(set(listed) - set(there))
    if not missing:
        return ''
    images = sum(len(EIGEN_TEST_FRAMES[name]) for name in missing) if split == 'eigen_test' else 0
    lost = f' with {images} of its {sum(map(len, EIGEN_TEST_FRAMES.values()))} images' if images else ''
    return (
        f'split {split!r} is not whole: {len(missing)} of its {len(listed)} drives{lost} are not there, such as '
        f'{missing[0]}: figures on what is left are not comparable with published ones'
    )


def _belongs(drive: str, split: str) -> bool:
    if split == 'benchmark':
        return drive not in BENCHMARK_VAL_DRIVES
    return split == 'all' or drive in LISTS[split]


def _listed(root: Path, path: Path, truth: Truth, neighbours: int) -> list[KittiDrive]:
    """Return the drives and images that a split file lists."""
    numbers: dict[tuple[str, int], set[int]] = {}
    for line in path.read_text(encoding='utf-8').splitlines():
        match = next(filter(None, (form.fullmatch(line.strip()) for form in LINES)), None)
        if not match:
            raise DatasetError(f'split {str(path)!r}: {line!r} is not `<date>/<drive> <number> <l|r>` or a path')
        number = int(match['number'])
        around = range(max(number - neighbours, 0), number + neighbours + 1)
        numbers.setdefault((match['drive'], 3 if match['side'] in {'r', '3'} else 2), set()).update(around)
    there = {key: chosen for key, chosen in numbers.items() if (root / key[0]).is_dir()}
    if not there:
        raise DatasetError(f'{str(root)!r} holds none of the {len(numbers)} drives that {str(path)!r} lists')
    drives = [KittiDrive(root / drive, side, truth, frozenset(chosen)) for (drive, side), chosen in there.items()]
    drives[0].note = _missing(path.name, *({drive for drive, _ in keys} for keys in (numbers, there)))
    return drives
