"""How fast training data comes: the prepared cache against a plain PIL + torchvision loader of triplets, in one run.

Both give, from the same JPEG files of KITTI's size, triplets at the training size: clean, and with changed colours.
The plain loader is what published trainers do: decode and resize with PIL each time, jitter with torchvision. Ours
reads the cache and does the same, and zoom, on tensors. Both run in this process, on one thread.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from sidepth_core.augment import AugmentSettings, augment
from sidepth_core.benchmarks.row import Request, Row
from sidepth_core.data.clips import collate
from sidepth_core.data.folders import FolderSource
from sidepth_core.data.prepare import PreparedDataset, PrepareSettings, prepare

WIDTH, HEIGHT = 640, 192
SOURCE_WIDTH, SOURCE_HEIGHT = 1242, 375
CAMERA_JSON = '{"width": 1242, "height": 375, "fx": 721.5, "fy": 721.5, "cx": 609.6, "cy": 172.9}'


class LoadingSpeed(NamedTuple):
    """Images a second on one core; a triplet is three images.

    Attributes:
        plain: PIL and torchvision: decode, resize, jitter.
        cached: Ours from a warm raw cache, augmented.
        cached_jpeg: Ours from a warm JPEG cache, augmented.
        cache_only: Ours from a warm raw cache, not augmented: what the processor does while a GPU augments.
        prepared: How fast the cache is made, once.
    """

    plain: float
    cached: float
    cached_jpeg: float
    cache_only: float
    prepared: float


def rows(request: Request) -> Iterator[Row]:
    """Yield images a second of both loaders; ours decoded and resized once, augmented on the processor."""
    speed = measure_loading(seconds=1.0 if request.quick else 3.0)
    yield Row('PIL + torchvision triplets', speed.plain, 'images/s', note='one core')
    for what, rate, wanted in (
        ('cached and augmented', speed.cached, 3.0),
        ('cached as JPEG and augmented', speed.cached_jpeg, None),
        ('cached, augmented by a GPU', speed.cache_only, None),
    ):
        ratio = rate / speed.plain
        promise = f'at least {wanted:.0f}' if wanted else ''
        yield Row(what, rate, 'images/s', 'PIL + torchvision', ratio, promise, ratio >= wanted if wanted else None)
    yield Row('making the cache, once', speed.prepared, 'images/s')


def measure_loading(images: int = 48, seconds: float = 3.0) -> LoadingSpeed:
    """Measure all of it on images drawn for the purpose.

    Args:
        images: How many files to draw.
        seconds: How long to measure each, at least.
    """
    with tempfile.TemporaryDirectory(prefix='sidepth-bench-') as name, one_thread():
        folder = Path(name)
        files = draw_drive(folder / 'drive', images)
        start = time.perf_counter()
        raw = _cache(folder, 'raw')
        prepared = images / (time.perf_counter() - start)
        jpeg = _cache(folder, 'jpeg')
        generator = torch.Generator().manual_seed(0)
        return LoadingSpeed(
            plain=_rate(lambda index: plain_triplet(files, index), len(files) - 2, 1, seconds),
            cached=_rate(lambda index: _augmented(raw, index, generator), len(raw), 4, seconds),
            cached_jpeg=_rate(lambda index: _augmented(jpeg, index, generator), len(jpeg), 4, seconds),
            cache_only=_rate(lambda index: _loaded(raw, index), len(raw), 4, seconds),
            prepared=prepared,
        )


def plain_triplet(files: list[Path], index: int) -> tuple[Tensor, Tensor]:
    """Return three consecutive images clean and jittered, (3, 3, h, w) float each, as published loaders make them."""
    jitter = v2.ColorJitter(0.2, 0.2, 0.2, 0.1)
    to_tensor = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    clean, jittered = [], []
    for path in files[index : index + 3]:
        with Image.open(path) as image:
            small = image.convert('RGB').resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
        clean.append(to_tensor(small))
        jittered.append(to_tensor(jitter(small)))
    return torch.stack(clean), torch.stack(jittered)


def _augmented(clips: PreparedDataset, index: int, generator: torch.Generator) -> None:
    batch = collate([clips[(index + offset) % len(clips)] for offset in range(4)])
    augment(batch, AugmentSettings(), generator, (HEIGHT, WIDTH))


def _loaded(clips: PreparedDataset, index: int) -> None:
    collate([clips[(index + offset) % len(clips)] for offset in range(4)])


def _rate(load: Callable[[int], object], count: int, triplets: int, seconds: float) -> float:
    """Return images a second of a loader that gives so many triplets a call, after one round to warm up."""
    load(0)
    start, calls = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < seconds:
        load(calls % count)
        calls += 1
    return 3 * triplets * calls / elapsed


def _cache(folder: Path, codec: str) -> PreparedDataset:
    settings = PrepareSettings(width=WIDTH, height=HEIGHT, codec='raw' if codec == 'raw' else 'jpeg', workers=1)
    prepare([FolderSource(folder / 'drive', fps=10)], folder / codec, settings)
    return PreparedDataset(folder / codec)


def draw_drive(folder: Path, count: int) -> list[Path]:
    """Write a drive along a textured wall: JPEG files of KITTI's size and about its sharpness."""
    folder.mkdir()
    (folder / 'camera.json').write_text(CAMERA_JSON, encoding='utf-8')
    files = [folder / f'{index:04d}.jpg' for index in range(count)]
    for path, view in zip(files, drive_images(count), strict=True):
        cv2.imwrite(str(path), view, [cv2.IMWRITE_JPEG_QUALITY, 92])
    return files


def drive_images(count: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the images of that drive, (H, W, 3) uint8."""
    random = np.random.default_rng(0)
    width = SOURCE_WIDTH + 10 * count
    wall = np.zeros((SOURCE_HEIGHT, width, 3), np.float32)
    for cell, contrast in ((64, 70), (16, 40), (4, 20)):
        noise = random.normal(0, contrast, (SOURCE_HEIGHT // cell + 1, width // cell + 1, 3)).astype(np.float32)
        wall += cv2.resize(noise, (width, SOURCE_HEIGHT), interpolation=cv2.INTER_CUBIC)
    image = np.clip(wall + 128, 0, 255).astype(np.uint8)
    for index in range(count):
        yield np.ascontiguousarray(image[:, 10 * index : 10 * index + SOURCE_WIDTH])


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold torch and OpenCV to one thread: the figures are those of one core."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
