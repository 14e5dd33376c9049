"""Known depth of a recording's images, from the sweep or the depth image that was taken nearest to each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from sidepth_core.camera import Camera
from sidepth_core.data.bags.recording import DepthImage, Recording, Stamped, Sweep
from sidepth_core.data.bags.topics import Chosen
from sidepth_core.data.calibration import fitted
from sidepth_core.data.depth_truth import fitted_depth, project_depth
from sidepth_core.data.frames import DepthMap
from sidepth_core.data.tracks import chain
from sidepth_core.errors import BagError, DatasetError
from sidepth_core.rectify import distort, rectified_camera

Transforms = Mapping[tuple[str, str], npt.NDArray[np.float64]]
DepthOf = Callable[[Camera | None, int, int], DepthMap | None]
"""Makes the depth map of an image from its camera, width and height; safe to call from any thread."""

CLOCK_JUMP_NS = 1_000_000_000
"""A stamp further back than this is a clock that was set or a drive that starts anew, not a late message."""
LIDAR_WINDOW_NS = 60_000_000
"""A sweep further from the image than this shows another place."""
DEPTH_WINDOW_NS = 20_000_000
"""The same of a depth image: cameras of 30 Hz that are not triggered together are 17 ms apart at most."""

MAX_SHIFT = 0.01
"""A depth image whose pixels lie further from the image's than this share of its width is of another camera."""
MAX_OFFSET_M = 0.002
MAX_TURN = 0.005
"""Largest distance and rotation (radians) between the frames of an image and of a depth image that is aligned to it."""

ADVICE = 'register it to the images (depth_image_proc does, or the driver: align_depth), and name that depth_topic'


class _Dated(Protocol):
    @property
    def stamp_ns(self) -> int: ...


ItemT = TypeVar('ItemT', bound=_Dated)


class Nearest(Generic[ItemT]):
    """Finds the item nearest to the times of images, holding only two of them; clocks may be set back in both.

    Args:
        items: In order of time.
        window_ns: An item further away than this is none.
    """

    def __init__(self, items: Iterator[ItemT], window_ns: int) -> None:
        self._items = items
        self._window_ns = window_ns
        self._before: ItemT | None = None
        self._after = next(items, None)

    def at(self, stamp_ns: int) -> ItemT | None:
        """Return the item nearest to a time; None if it is outside the window."""
        while self._after is not None and self._is_due(self._after, stamp_ns):
            self._before, self._after = self._after, next(self._items, None)
        near = [item for item in (self._before, self._after) if item and self._distance(item, stamp_ns) >= 0]
        return max(near, key=lambda item: self._distance(item, stamp_ns), default=None)

    def _is_due(self, item: ItemT, stamp_ns: int) -> bool:
        """Return whether a time has reached an item: one after a set-back waits until the images are set back too."""
        if self._before is not None and self._before.stamp_ns - item.stamp_ns > CLOCK_JUMP_NS:
            return self._before.stamp_ns - stamp_ns > CLOCK_JUMP_NS
        return item.stamp_ns <= stamp_ns

    def _distance(self, item: ItemT, stamp_ns: int) -> int:
        """Return how far inside of the window an item is, nanoseconds."""
        return self._window_ns - abs(item.stamp_ns - stamp_ns)


class DepthTopic(Generic[ItemT]):
    """Where the depth of images comes from.

    Attributes:
        name: The topic.
        unmatched: How many images found nothing near enough in time.
    """

    window_ns = LIDAR_WINDOW_NS

    def __init__(self, name: str, items: Iterator[ItemT]) -> None:
        self.name = name
        self.unmatched = 0
        self._nearest = Nearest(items, self.window_ns)

    def at(self, stamp_ns: int, camera_frame: str) -> DepthOf | None:
        """Return what makes the depth of the image taken at a time; None where nothing was measured then."""
        item = self._nearest.at(stamp_ns)
        if item is None:
            self.unmatched += 1
            return None
        return self._depth_of(item, camera_frame)

    @abstractmethod
    def _depth_of(self, item: ItemT, camera_frame: str) -> DepthOf | None:
        """Return what makes depth of an item."""

    def notes(self) -> list[str]:
        """Return what a user should know when all images are through."""
        if not self.unmatched:
            return []
        return [f'{self.unmatched} images have no message of {self.name} within {self.window_ns // 1_000_000} ms']


class LidarTopic(DepthTopic[Sweep]):
    """Sweeps of a LiDAR, projected along /tf_static."""

    def __init__(self, name: str, sweeps: Iterator[Sweep], transforms: Transforms, notes: list[str]) -> None:
        super().__init__(name, sweeps)
        self._transforms = transforms
        self._notes = notes

    def _depth_of(self, item: Sweep, camera_frame: str) -> DepthOf | None:
        T_camera_lidar = chain(self._transforms, camera_frame, item.frame)
        if T_camera_lidar is None:
            note = f'/tf_static does not lead from {item.frame!r} to {camera_frame!r}: {self.name} gives no depth'
            self._notes += [note] if note not in self._notes else []
            return None
        return partial(_projected, item, T_camera_lidar)


class DepthImageTopic(DepthTopic[DepthImage]):
    """Images of a depth camera, aligned to the image's camera: this is checked as far as the recording tells."""

    window_ns = DEPTH_WINDOW_NS

    def __init__(self, name: str, images: Iterator[DepthImage], transforms: Transforms) -> None:
        super().__init__(name, images)
        self._transforms = transforms

    def _depth_of(self, item: DepthImage, camera_frame: str) -> DepthOf | None:
        T_camera_depth = chain(self._transforms, camera_frame, item.frame) if item.frame else None
        if T_camera_depth is not None:
            refuse_other_place(self.name, T_camera_depth)
        return partial(_resized, item)


def depth_topic(
    recording: Recording, chosen: Chosen, camera: Camera | None, transforms: Transforms, image: Stamped | None = None
) -> LidarTopic | DepthImageTopic | None:
    """Return where the depth of a recording's images comes from; None where none was asked for.

    Args:
        recording: The recording.
        chosen: Its topics.
        camera: The images' camera.
        transforms: T_parent_child, keyed (parent, child).
        image: The first image, on whose clock depth is dated.

    Raises:
        BagError: If a depth image is not aligned to the images.
    """
    if chosen.lidar:
        return LidarTopic(chosen.lidar.name, recording.sweeps(chosen.lidar, image), transforms, recording.notes)
    if not chosen.depth:
        return None
    own = recording.camera(chosen.depth_info, chosen.depth.name) if chosen.depth_info else None
    if own and camera:
        refuse_other_view(chosen.depth.name, own, camera)
    elif own is None:
        recording.notes.append(
            f'no camera_info says what {chosen.depth.name} sees: it is taken to be aligned to {chosen.image.name}'
        )
    return DepthImageTopic(chosen.depth.name, recording.depth_images(chosen.depth, image), transforms)


def refuse_other_view(name: str, depth_camera: Camera, camera: Camera) -> None:
    """Refuse a depth image whose camera sees other directions in its pixels than the image's camera does.

    Args:
        name: Its topic.
        depth_camera: Its camera, of any size.
        camera: The image's.

    Raises:
        BagError: If they differ by more than MAX_SHIFT of the width.
    """
    try:
        scaled = fitted(depth_camera, camera.width, camera.height)
    except DatasetError:
        sizes = f'{depth_camera.width}x{depth_camera.height}, the images {camera.width}x{camera.height}'
        raise BagError(f'depth topic {name!r} is not aligned: its camera_info is for {sizes}; {ADVICE}') from None
    flat = rectified_camera(camera)
    u, v = np.meshgrid(np.linspace(0, flat.width - 1, 9), np.linspace(0, flat.height - 1, 9))
    rays = np.stack([(u - flat.cx) / flat.fx, (v - flat.cy) / flat.fy, np.ones_like(u)], axis=-1).reshape(-1, 3)
    shift = float(np.abs(distort(rays, scaled) - distort(rays, camera)).max())
    if not shift <= MAX_SHIFT * camera.width:
        raise BagError(
            f'depth topic {name!r} is not aligned: scaled to the images, its camera (fx {scaled.fx:.1f}, cx '
            f'{scaled.cx:.1f}) sees things up to {shift:.0f} pixels from where theirs does (fx {camera.fx:.1f}, cx '
            f'{camera.cx:.1f}); {ADVICE}'
        )


def refuse_other_place(name: str, T_camera_depth: npt.NDArray[np.float64]) -> None:
    """Refuse a depth image that was taken from another place than the image.

    Raises:
        BagError: If the frames of both are more than MAX_OFFSET_M or MAX_TURN apart.
    """
    offset = float(np.linalg.norm(T_camera_depth[:3, 3]))
    turn = float(np.abs(T_camera_depth[:3, :3] - np.eye(3)).max())
    if offset > MAX_OFFSET_M or turn > MAX_TURN:
        raise BagError(
            f'depth topic {name!r} is not aligned: by /tf_static it was taken {offset * 1000:.0f} mm beside the '
            f'images, or turned against them; {ADVICE}'
        )


def _projected(
    sweep: Sweep, T_camera_lidar: npt.NDArray[np.float64], camera: Camera | None, _width: int, _height: int
) -> DepthMap | None:
    return project_depth(sweep.points, T_camera_lidar, camera) if camera else None


def _resized(image: DepthImage, _camera: Camera | None, width: int, height: int) -> DepthMap:
    return fitted_depth(image.depth_m, width, height)
