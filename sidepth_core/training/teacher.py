"""A teacher: any checkpoint, whose maps of a recording a small network learns from."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from sidepth_core.checkpoint import CheckpointInfo, load_checkpoint, load_info, weights_digest
from sidepth_core.data.prepare import make_teacher_maps
from sidepth_core.errors import CheckpointError, ConfigError, DatasetError
from sidepth_core.inference import DepthEstimator, choose_device
from sidepth_core.models.foundation.network import FoundationNet
from sidepth_core.training.settings import ObjectiveSettings

RULES = 1
"""Of how a teacher is shown images; maps by other rules are made again."""
GPU_BATCH = 8
"""Images that a teacher on a GPU is shown at once; on a CPU it is one."""
DECIDES = (
    'image_width', 'image_height', 'min_depth_m', 'max_depth_m', 'zoom_convention', 'focal_px', 'foundation',
)  # fmt: skip
"""What of a checkpoint's description decides what it says, besides its weights."""

logger = logging.getLogger(__name__)


class Teacher:
    """A checkpoint that teaches; its network is loaded only when there are maps to be made.

    Attributes:
        name: As the recipe has it.
        info: What is known about it.
    """

    def __init__(self, name: str, device: str = 'auto') -> None:
        """Describe a teacher.

        Args:
            name: Any checkpoint, as load_checkpoint takes it.
            device: Where it runs, as choose_device takes it.

        Raises:
            CheckpointError: If there is no such checkpoint.
            ConfigError: If there is no such device.
        """
        self.name = name
        self._device = choose_device(device)
        with self._named():
            self.info: CheckpointInfo = load_info(name)

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256 of its weights."""
        with self._named():
            return weights_digest(self.name)

    @cached_property
    def key(self) -> str:
        """Stands for its weights and settings: maps of a cache are kept under it."""
        described = self.info.to_dict()
        decides = [self.weights_sha256, {field: described.get(field) for field in DECIDES}, RULES]
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]

    @cached_property
    def _estimator(self) -> tuple[DepthEstimator, FoundationNet | None]:
        """The network, and itself once more where it says inverse depth of an unknown shift."""
        with self._named():
            loaded = load_checkpoint(self.name, pose=False)
        estimator = DepthEstimator(loaded.depth_net, loaded.info, device=self._device)
        relative = loaded.depth_net if self.info.has_shift and isinstance(loaded.depth_net, FoundationNet) else None
        return estimator, relative

    @torch.no_grad()
    def __call__(self, images: Tensor, K: Tensor) -> Tensor:
        """Return inverse depth of whole images, seen with square pixels.

        Args:
            images: RGB, (B, 3, h, w) uint8.
            K: Their intrinsics, (B, 3, 3), pixels; NaN where not known.

        Returns:
            (B, 1, h, w) float32: 1/m of a metric teacher; in any unit, and off by any shift, of a relative foundation
            model.

        Raises:
            DatasetError: If the teacher needs a camera, and one is not known.
        """
        estimator, relative = self._estimator
        fx, fy, (height, width) = K[:, 0, 0], K[:, 1, 1], images.shape[-2:]
        unknown = ~(fx * fy).isfinite()
        if unknown.any() and self.info.zoom_convention != 'invariant':
            raise DatasetError(
                f'teacher {self.name!r} says depth by the focal length ({self.info.zoom_convention} zoom convention), '
                'which is not known of this recording: give a calibration (camera=FILE), or choose another teacher'
            )
        # The cache may have squeezed images; as wide as these are tall, pixels are square again.
        square = [width if blind else width * float(ratio) for ratio, blind in zip(fy / fx, unknown, strict=True)]
        size = estimator.network_size(*((height, round(each)) for each in square))
        if relative is None:
            focal_px = fx if self.info.zoom_convention == 'field_of_view' else (fx * fy).sqrt()
            inverse = 1 / estimator.depth(images, None if unknown.any() else focal_px, size)
        else:
            shrunk = F.interpolate(
                images.to(estimator.device).float() / 255, size, mode='bilinear', align_corners=False, antialias=True
            )
            inverse = relative.said(shrunk)  # before it is cut to a range of depth
        return F.interpolate(inverse, (height, width), mode='bilinear', align_corners=False)

    def teach(self, cache: Path, progress: Callable[[int, int], object] = lambda _done, _of: None) -> None:
        """Write what it says of every clip into a prepared cache, unless it is there already.

        Raises:
            CheckpointError: If its network cannot be loaded.
            DatasetError: If the cache is none, or what it says of it cannot be learned from.
        """
        batch = GPU_BATCH if self._device.type == 'cuda' else 1
        about = {
            'teacher': self.name,
            'weights_sha256': self.weights_sha256,
            'licence': self.info.licence,
            'has_shift': self.info.has_shift,
            'rules': RULES,
        }
        make_teacher_maps(cache, self.key, self.name, self, about=about, batch=batch, progress=progress)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Say of what is wrong with the checkpoint that it is the teacher's."""
        try:
            yield
        except CheckpointError as error:
            raise CheckpointError(f'teacher {self.name!r} cannot teach: {error}') from error


def teacher_of(settings: ObjectiveSettings, device: str = 'auto') -> Teacher | None:
    """Return the teacher that an objective names; None where it names none.

    Raises:
        CheckpointError: If there is no such checkpoint.
        ConfigError: If there is no such device, or it is asked for metres and knows none.
    """
    if not settings.teacher:
        return None
    teacher = Teacher(settings.teacher, device)
    if settings.teacher_scale and teacher.info.scale != 'metric':
        raise ConfigError(
            f'objective.teacher_scale {settings.teacher_scale:g} asks for the metres of teacher {settings.teacher!r}, '
            f'whose scale is {teacher.info.scale} ({teacher.info.scale_note}): set it to 0 and hold the scale by '
            'hold_scale or odometry, or choose a metric teacher'
        )
    return teacher
