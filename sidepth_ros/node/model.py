"""The running model: a loaded network with its scale source, and loading another one beside it."""

from __future__ import annotations

import contextlib
import gc
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sidepth_core.checkpoint import HUB, CheckpointInfo, load_digest
from sidepth_core.errors import SidepthError
from sidepth_core.inference import DepthEstimator
from sidepth_core.scale import MEASURED_SOURCES, MeterSettings, ScaleSource, make_scale_source
from sidepth_ros.node.parameters import MODEL_PARAMETERS, Settings


class EngineError(Exception):
    """The network failed on images, or returned numbers that are not finite."""


@dataclass(frozen=True)
class Sight:
    """Images as the network sees them.

    Attributes:
        images: RGB at the network's size, (B, 3, h, w), uint8 on a CPU, float32 in 0..1 elsewhere.
        focal_px: Their focal lengths, (B,), pixels at that size.
    """

    images: Tensor
    focal_px: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images."""
        return int(self.images.shape[-2]), int(self.images.shape[-1])

    def some(self, indices: Sequence[int]) -> Sight:
        """Return some of the images, in that order."""
        return Sight(self.images[list(indices)], self.focal_px[list(indices)])

    def mirrored(self) -> Sight:
        """Return the same images, left and right exchanged."""
        return Sight(self.images.flip(-1), self.focal_px)


class Model(NamedTuple):
    """What is swapped between two frames.

    Attributes:
        estimator: The network on its device.
        scale_source: What makes metres of its depth: a constant, or how it is measured.
    """

    estimator: DepthEstimator
    scale_source: ScaleSource | MeterSettings

    @property
    def device(self) -> torch.device:
        """Where images go."""
        return self.estimator.device

    def network_size(self, images: Sequence[Tensor]) -> tuple[int, int]:
        """Return the height and width at which the network sees images (1, 3, H, W) in one pass."""
        return self.estimator.network_size(*((image.shape[-2], image.shape[-1]) for image in images))

    def sight(self, images: Sequence[Tensor], focal_px: Sequence[float], size: tuple[int, int]) -> Sight:
        """Return images (1, 3, H, W) uint8 of any sizes as the network takes them together.

        Args:
            images: Rectified, on the device.
            focal_px: Focal length of each, pixels of that image; of a squeezed one the geometric mean.
            size: Height and width (h, w) for the network.
        """
        height, width = size
        # Depth by the field of view counts widths, and pixels are square as they come.
        by_width = self.estimator.info.zoom_convention == 'field_of_view'
        shrunk = [
            width / image.shape[-1] if by_width else math.sqrt(height * width / (image.shape[-2] * image.shape[-1]))
            for image in images
        ]
        scaled = [focal * factor for focal, factor in zip(focal_px, shrunk, strict=True)]
        return Sight(
            torch.cat([resized_image(image, height, width) for image in images]),
            torch.tensor(scaled, device=self.device),
        )

    def depth(self, sight: Sight) -> Tensor:
        """Return the depth of images in one pass: (B, 1, h, w), finite.

        Raises:
            EngineError: If the network fails, or its numbers are not finite.
        """
        try:
            depth = self.estimator.depth(sight.images, sight.focal_px, sight.size)
        except Exception as error:
            raise EngineError(f'the network failed: {describe(error)}') from error
        if not _are_finite(depth):
            raise EngineError('the network returned numbers that are not finite')
        return depth

    def farthest(self, sight: Sight) -> Tensor:
        """Return the largest depth that the weights can say of each image, (B,)."""
        return self.estimator.farthest(sight.images, sight.focal_px, sight.size)


def _are_finite(values: Tensor) -> bool:
    if values.device.type == 'cpu':  # where NumPy is five times faster
        return bool(np.isfinite(values.numpy()).all())
    return bool(torch.isfinite(values).all())


def resized_image(image: Tensor, height: int, width: int) -> Tensor:
    """Return an image (1, 3, H, W) uint8 at the network's size, as Sight has it.

    On a CPU it is shrunk before it is copied into a batch, and in uint8: both are several times faster there.
    """
    if image.device.type != 'cpu':  # where torch cannot do it in uint8
        image = image.float() / 255
    if image.shape[-2:] == (height, width):
        return image
    return F.interpolate(image, size=(height, width), mode='bilinear', align_corners=False, antialias=True)


def make_scale(settings: Settings, info: CheckpointInfo) -> ScaleSource | MeterSettings:
    """Return the scale source that the settings ask for, of weights with that info, or how to measure it.

    Raises:
        ScaleError: If the weights are not metric and nothing makes them so.
    """
    metric = info.scale == 'metric'
    if settings.scale_source in MEASURED_SOURCES:
        return MeterSettings(
            settings.scale_source,
            settings.scale_filter,
            metric_weights=metric,
            shape_error=info.shape_error,
            fit_shift=settings.range_shift or info.has_shift,
            min_distance_m=settings.odometry_distance,
        )
    return make_scale_source(settings.scale_source, metric_weights=metric, factor=settings.scale_factor)


def load_estimator(settings: Settings, batch: int) -> DepthEstimator:
    """Load the network that the settings name and run it once for every batch size that can come.

    Raises:
        CheckpointError: If the checkpoint cannot be used.
        ConfigError: If engine, precision, device or size cannot.
    """
    estimator = DepthEstimator.load(
        settings.checkpoint or None,
        device=settings.device,
        engine=settings.engine,
        precision=settings.precision,
        size=settings.network_shape,
    )
    for size in range(1, batch + 1):
        estimator.warm_up(size)
    return estimator


def weights_digest(settings: Settings) -> str:
    """Return what tells the weights that the settings name from others under the same path; '' where nobody can say."""
    if settings.checkpoint.startswith(HUB):
        return ''  # a download would hold up images
    try:
        return load_digest(settings.checkpoint or None)
    except (SidepthError, OSError):
        return ''


class Outcome(NamedTuple):
    """What became of a request to load.

    Attributes:
        settings: What was asked for.
        digest: Of the weights that lay there, as weights_digest has it.
        estimator: The network, warm; None where it could not be loaded.
        reason: Why not; empty where it could.
    """

    settings: Settings
    digest: str
    estimator: DepthEstimator | None
    reason: str = ''


class Loader:
    """Loads a network beside the running one, in a thread of its own; of several requests only the last one counts.

    Args:
        batch: Largest number of images that go through the network together.
        ready: Called from that thread when `outcome` has something.
    """

    def __init__(self, batch: int, ready: Callable[[], None]) -> None:
        self._batch = batch
        self._ready = ready
        self._lock = threading.Lock()
        self._request: Settings | None = None
        self._outcome: Outcome | None = None
        self._thread: threading.Thread | None = None

    def request(self, settings: Settings) -> None:
        """Load what the settings name, after what is being loaded now."""
        with self._lock:
            self._request, self._outcome = settings, None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name='sidepth loader', daemon=True)
                self._thread.start()

    def cancel(self) -> None:
        """Forget the requests; what is being loaded now is thrown away when it is there."""
        with self._lock:
            self._request = self._outcome = None

    def outcome(self) -> Outcome | None:
        """Return what became of the last request, once."""
        with self._lock:
            outcome, self._outcome = self._outcome, None
            return outcome

    def _run(self) -> None:
        while True:
            with self._lock:
                settings = self._request
                if settings is None:
                    self._thread = None
                    return
            outcome = self._load(settings)
            with self._lock:
                if self._request is not settings:
                    continue
                self._request, self._outcome = None, outcome
            self._ready()

    def _load(self, settings: Settings) -> Outcome:
        digest = weights_digest(settings)  # before they are read: weights replaced meanwhile are asked for once more
        try:
            return Outcome(settings, digest, load_estimator(settings, self._batch))
        except Exception as error:  # noqa: BLE001 - nobody is above a thread, and the running model must live on
            return Outcome(settings, digest, None, describe(error))


def describe(error: Exception) -> str:
    """Return an error as a log line shows it: ours speak for themselves, others need their type."""
    return str(error) if isinstance(error, (SidepthError, OSError)) else f'{type(error).__name__}: {error}'


def free_memory() -> None:
    """Give back what a model that nobody refers to any more has held."""
    gc.collect()
    if torch.cuda.is_available():
        with contextlib.suppress(RuntimeError):  # of a GPU that has failed for good
            torch.cuda.empty_cache()


def same_model(first: Settings, second: Settings) -> bool:
    """Return whether two settings run the same network in the same way."""
    return all(getattr(first, name) == getattr(second, name) for name in MODEL_PARAMETERS)
