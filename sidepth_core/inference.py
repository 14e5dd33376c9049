"""DepthEstimator: an image and its camera in, depth out."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from sidepth_core.camera import Camera
from sidepth_core.checkpoint import LARGEST_SIDE, CheckpointInfo, load_checkpoint
from sidepth_core.depth_maps import resize_depth
from sidepth_core.engines import BOUND_TO_SIZE, Engine, Target, make_engine
from sidepth_core.errors import ConfigError, ImageFormatError, ScaleError, SidepthError
from sidepth_core.geometry import disparity_to_depth
from sidepth_core.models import STRIDE, DepthNetwork, nearest_multiple, size_of_shape
from sidepth_core.zoom import Size, canonical_to_metric, flip_average, zoom_average

NEARLY_SQUARE = 0.1
"""Log of how far from square pixels may be before the trained size is left."""

MANY_PIXELS = 1.5
"""How many times more or fewer pixels than in training are worth a warning."""

MOST_SIZES = 8
"""For how many sizes of image engines are kept beside the first one's."""

logger = logging.getLogger(__name__)


class DepthEstimator:
    """Depth from single images.

    Estimators share nothing: one can be loaded in a thread while another one runs, and what it holds goes with it.

    Attributes:
        info: What is known about its checkpoint.
        device: Where it runs.
        size: Height and width that were given for the network, else those it was trained at, pixels; see network_size.
        engine_name: The engine that runs, one of ENGINES.
        precision: What it computes in, one of PRECISIONS.
        engine_note: Why another engine runs than the one asked for; empty where it is the one.
        engine_measured: What engine or precision 'auto' chose from, with times; empty without 'auto'.
        flip: Whether the mirrored image is predicted too and averaged.
        zoom: Whether zoomed views are predicted too and averaged (the paper's post-processing).
    """

    def __init__(
        self,
        depth_net: DepthNetwork,
        info: CheckpointInfo,
        *,
        device: str | torch.device = 'auto',
        engine: str = 'eager',
        precision: str = 'float32',
        size: tuple[int, int] | None = None,
        flip: bool = False,
        zoom: bool = False,
    ) -> None:
        """Make an estimator of a network, which belongs to it from now on.

        Args:
            depth_net: The network, in evaluation mode.
            info: What is known about it.
            device: 'auto' for a GPU where there is one, else as torch names it.
            engine: One of ENGINES, or 'auto' to measure them and take the fastest.
            precision: One of PRECISIONS, or 'auto' likewise.
            size: Height and width for the network, multiples of 32 (or of the patches of a network of `transformers`);
                None follows the shape of the images, with about as many pixels as it was trained with.
            flip: Average with the mirrored image; twice the time.
            zoom: Average with zoomed views; three times the time.

        Raises:
            ConfigError: If device, engine, precision or size cannot be.
        """
        self.info = info
        self.device = choose_device(device)
        self.size = checked_size(size or (info.image_height, info.image_width), info)
        if size and (warning := size_warning(info, self.size)):
            logger.warning(warning)
        self.flip = flip
        self.zoom = zoom
        running = make_engine(engine, depth_net, Target(self.device, precision, self.size))
        self.engine_name, self.precision = running.name, running.precision
        self.engine_note, self.engine_measured = running.note, running.measured
        self._engines = {self.size: running.engine}
        self._network = depth_net if running.name in BOUND_TO_SIZE else None
        # Compiling for another shape takes a minute, which no frame can wait for.
        self._follows = size is None and self.engine_name != 'compiled'

    @classmethod
    def load(
        cls,
        checkpoint: str | Path | None = None,
        *,
        device: str | torch.device = 'auto',
        engine: str = 'eager',
        precision: str = 'float32',
        size: tuple[int, int] | None = None,
        flip: bool = False,
        zoom: bool = False,
    ) -> DepthEstimator:
        """Load a checkpoint and make an estimator of it.

        Args:
            checkpoint: As load_checkpoint takes it; None for the one that comes with the package.
            device: These and the others: see DepthEstimator.
            engine: One of ENGINES, or 'auto' to measure them and take the fastest.
            precision: One of PRECISIONS, or 'auto' likewise.
            size: Height and width for the network; None follows the shape of the images.
            flip: Average with the mirrored image.
            zoom: Average with zoomed views.

        Raises:
            CheckpointError: If the checkpoint cannot be used.
            ConfigError: If device, engine, precision or size cannot be.
        """
        loaded = load_checkpoint(checkpoint, pose=False)
        return cls(
            loaded.depth_net,
            loaded.info,
            device=device,
            engine=engine,
            precision=precision,
            size=size,
            flip=flip,
            zoom=zoom,
        )

    def __call__(self, image: npt.NDArray[np.uint8], camera: Camera | None = None) -> npt.NDArray[np.float32]:
        """Return the depth of one image, pixel by pixel.

        Args:
            image: RGB, (H, W, 3) uint8, any size; rectified, unless a bent depth map will do.
            camera: Its camera, of the same size; needed by checkpoints of another zoom convention than invariant.

        Returns:
            Depth along the optical axis, (H, W) float32: metres where info.scale is 'metric', else right up to an
            unknown factor.

        Raises:
            ImageFormatError: If the image is none, or has another size than its camera.
            ScaleError: If the checkpoint needs a camera and there is none.
        """
        if not isinstance(image, np.ndarray):
            raise ImageFormatError(f'image is {type(image).__name__}: expected a NumPy array (H, W, 3) uint8, RGB')
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise ImageFormatError(f'image is {image.shape} {image.dtype}: expected (H, W, 3) uint8, RGB')
        height, width = image.shape[:2]
        focal_px = None
        if camera is not None:
            if (camera.width, camera.height) != (width, height):
                raise ImageFormatError(
                    f'image is {width}x{height}, its camera {camera.width}x{camera.height}: see Camera.resized'
                )
            focal_px = torch.tensor([math.sqrt(camera.fx * camera.fy)])
        pixels = torch.from_numpy(np.require(image, requirements=['C', 'W'])).permute(2, 0, 1)[None]
        depth = resize_depth(self.depth(pixels, focal_px), height, width)
        return np.ascontiguousarray(depth[0, 0].cpu().numpy())

    def network_size(self, *images: Size) -> Size:
        """Return the height and width at which the network sees images of these heights and widths, in one pass.

        It is the one given; else of about as many pixels as it was trained with, in the shape of the images, so that
        their pixels stay square. Images of several shapes share that of their mean. A network of `transformers` sees
        images as its own processor would have them. The engine 'compiled' keeps the size that it was made for.
        """
        if not self._follows:
            return self.size
        if self.info.foundation is not None:
            mean = tuple(math.exp(sum(map(math.log, sides)) / len(images)) for sides in zip(*images, strict=True))
            return self.info.foundation.input_size(self.size, (mean[0], mean[1]))
        shape = math.exp(sum(math.log(width / height) for height, width in images) / len(images))
        height, width = self.size
        if abs(math.log(shape * height / width)) < NEARLY_SQUARE:
            return self.size
        return size_of_shape(height * width, shape)

    @torch.no_grad()
    def depth(self, images: Tensor, focal_px: Tensor | None = None, size: Size | None = None) -> Tensor:
        """Return the depth of a batch at the network's size.

        Args:
            images: RGB, (B, 3, H, W), uint8, or floating point in 0..1, on any device; any size.
            focal_px: Focal lengths of these images, (B,), pixels at their size; needed by checkpoints of another zoom
                convention than invariant.
            size: Height and width (h, w) for the network; None for what network_size says of these images.

        Returns:
            Depth along the optical axis, (B, 1, h, w) float32 on the estimator's device; `depth_maps.resize_depth`
            brings it to another size.

        Raises:
            ImageFormatError: If the images have another shape or type.
            ScaleError: If the checkpoint needs focal lengths and there are none.
        """
        if images.ndim != 4 or images.shape[1] != 3 or not (images.dtype == torch.uint8 or images.is_floating_point()):
            raise ImageFormatError(
                f'images are {tuple(images.shape)} {images.dtype}: expected (B, 3, H, W), uint8 or floating point'
            )
        size = size or self.network_size((images.shape[-2], images.shape[-1]))
        factor = self._focal_factor(images, focal_px, size)
        depth = 1 / self._inverse_depth(self._prepared(images, size), self._engine_for(size))
        return depth if factor is None else canonical_to_metric(depth, factor, 1.0)

    def farthest(self, images: Tensor, focal_px: Tensor | None = None, size: Size | None = None) -> Tensor:
        """Return the largest depth that the checkpoint can say for each of these images, (B,) float32.

        Args:
            images: As `depth` takes them.
            focal_px: As `depth` takes them.
            size: As `depth` takes it.

        Raises:
            ScaleError: If the checkpoint needs focal lengths and there are none.
        """
        far = torch.full((len(images),), self.info.max_depth_m, device=self.device)
        factor = self._focal_factor(images, focal_px, size or self.network_size((images.shape[-2], images.shape[-1])))
        return far if factor is None else far * factor

    def warm_up(self, batch: int = 1) -> None:
        """Run once, so that the first real batch of this size takes no longer than the others."""
        self.depth(torch.zeros(batch, 3, *self.size), torch.ones(batch))

    def close(self) -> None:
        """Free the network: what is loaded in its place may need its memory. There is no depth any more."""
        self._engines, self._network = {self.size: _closed}, None

    def _prepared(self, images: Tensor, size: Size) -> Tensor:
        """Return images as the network takes them: float32 in 0..1, of that size, on its device."""
        images = images.to(self.device, non_blocking=True)
        if images.dtype != torch.uint8 or self.device.type != 'cpu':
            images = _in_unit_range(images)
        if images.shape[-2:] != size:  # on a CPU in uint8, which is several times faster there
            images = F.interpolate(images, size=size, mode='bilinear', align_corners=False, antialias=True)
        return _in_unit_range(images)

    def _engine_for(self, size: Size) -> Engine:
        """Return the engine for images of a size, made now where it is built for one size and this is a new one."""
        if self._network is None:
            return self._engines[self.size]
        if size not in self._engines:
            if len(self._engines) > MOST_SIZES:
                self._engines = {self.size: self._engines[self.size]}
            target = Target(self.device, self.precision, size)
            self._engines[size] = make_engine(self.engine_name, self._network, target).engine
        return self._engines[size]

    def _inverse_depth(self, images: Tensor, engine: Engine) -> Tensor:
        """Return 1 / depth before any focal length counts; it is affine in disparity, so it can be averaged."""
        canonical = self.info.zoom_convention != 'invariant'

        def predict(views: Tensor, share: float) -> Tensor:
            depth = disparity_to_depth(engine(views), self.info.min_depth_m, self.info.max_depth_m)
            return (share if canonical else 1.0) / depth  # zoomed in, a canonical network says nearer

        def mirrored(views: Tensor, share: float) -> Tensor:
            return flip_average(lambda one: predict(one, share), views)

        chosen = mirrored if self.flip else predict
        return zoom_average(chosen, images) if self.zoom else chosen(images, 1.0)

    def _focal_factor(self, images: Tensor, focal_px: Tensor | None, size: Size) -> Tensor | None:
        """Return what depth is multiplied by by its zoom convention, (B,); None for the invariant one."""
        if self.info.zoom_convention == 'invariant':
            return None
        reference = self.info.focal_px
        if focal_px is None:
            known = f'of {reference:g} px' if reference else "of the image's width"
            raise ScaleError(
                f'this checkpoint says depth for a focal length {known} ({self.info.zoom_convention} zoom convention): '
                'give the camera, so that its depth can be put right'
            )
        if reference is None:
            return focal_px.to(self.device, torch.float32) / images.shape[-1]
        # The geometric mean of fx and fy at the network's input: a network judges distance by size in its own pixels.
        resized = math.sqrt(size[0] * size[1] / (images.shape[-1] * images.shape[-2]))
        return focal_px.to(self.device, torch.float32) * (resized / reference)


def _closed(images: Tensor) -> Tensor:  # noqa: ARG001 - as an Engine
    raise SidepthError('this estimator was closed: load another one')


def size_warning(info: CheckpointInfo, size: Size) -> str:
    """Return what to expect of a network size far from the trained one; empty where it is near.

    Args:
        info: What is known about the weights.
        size: Height and width for the network, pixels.
    """
    if info.foundation is not None and info.foundation.sizing == 'exact':
        return (
            f'network size {size[1]}x{size[0]} is resized to {info.image_width}x{info.image_height}, the only one that '
            f'{info.backbone} takes'
        )
    pixels = size[0] * size[1] / (info.image_width * info.image_height)
    if abs(math.log(pixels)) < math.log(MANY_PIXELS):
        return ''
    return (
        f'network size {size[1]}x{size[0]} has {pixels:.2g} times the pixels of '
        f'{info.image_width}x{info.image_height}, at which these weights were trained: their depth is less '
        'exact here (the built-in ones at four times the pixels: half more error, metres 7 % too near). Take a size of '
        'about as many pixels, or fine-tune at this one'
    )


def choose_device(device: str | torch.device = 'auto') -> torch.device:
    """Return the device of that name; 'auto' is a GPU where there is one.

    Raises:
        ConfigError: If there is no such device here.
    """
    if device == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = (str(error).splitlines() or [''])[0]
        raise ConfigError(f'device {str(device)!r} cannot be used here: {reason}') from error
    return chosen


def checked_size(size: tuple[int, int], info: CheckpointInfo) -> tuple[int, int]:
    """Return a height and width that the network can take.

    Raises:
        ConfigError: If it cannot take them.
    """
    height, width = size
    if max(size) > LARGEST_SIDE:
        raise ConfigError(f'network size {width}x{height} is beyond {LARGEST_SIDE}, the largest that is run')
    if not info.takes(size):
        raise ConfigError(
            f'network size {width}x{height} is no multiple of {STRIDE}: '
            f'the nearest is {nearest_multiple(width)}x{nearest_multiple(height)}'
        )
    return int(height), int(width)


def _in_unit_range(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()
