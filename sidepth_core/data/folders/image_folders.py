"""Folders of images as drives: any folder of images, and the layout that `sidepth synth` writes.

That layout is image/ and, each optional, depth/ with the same names (.npy in metres, or 16-bit PNG), camera.json or a
calibration YAML, poses.txt (a 3x4 T_world_camera a line, as KITTI odometry has it), times.txt (seconds, one a line) and
speeds.txt (metres a second, one a line).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from sidepth_core.camera import Camera
from sidepth_core.data.calibration import find_calibration, fitted, read_calibration
from sidepth_core.data.deferred import DeferredSource, Pending, content_of
from sidepth_core.data.depth_truth import fitted_depth
from sidepth_core.data.frames import DepthMap, Frame, Image
from sidepth_core.errors import ConfigError, DatasetError, ImageFormatError
from sidepth_core.images import check_compressed, decode_compressed, read_pixels
from sidepth_core.structured_text import read_json

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm')
IMAGE_FOLDERS = ('image', 'images', 'rgb', 'color', 'image_02', 'image_2', 'image_0', 'data', 'frames')
"""Where images are looked for in a folder that holds none itself, in this order."""

KITTI_DEPTH_SCALE = 256.0
"""Values a metre in a 16-bit depth PNG, where nobody says otherwise: KITTI's."""

ASSUMED_FPS = 10.0
LATEST_S = 2**63 * 1e-9
"""Seconds whose nanoseconds still fit into 64 bits."""


class Facts(NamedTuple):
    """What is known of one image before it is decoded; see Frame. Depth PNGs hold depth_scale values a metre."""

    stamp_ns: int
    camera: Camera | None
    speed_mps: float | None
    T_world_camera: npt.NDArray[np.float64] | None
    depth: Path | None
    depth_scale: float


class FolderSource(DeferredSource):
    """The images of a folder, in the natural order of their names.

    Args:
        path: The folder, or the folder above image/.
        camera: Their camera; None: the calibration file in the folder, if there is one; 'learned': nobody knows.
        fps: Images a second, where there is no times.txt.
        depth_scale: Values a metre in 16-bit depth PNGs; None: what camera.json says as depth_scale, else 256.
    """

    def __init__(
        self,
        path: Path,
        camera: Camera | Literal['learned'] | None = None,
        fps: float | None = None,
        depth_scale: float | None = None,
    ) -> None:
        super().__init__(str(path))
        for name, value in (('fps', fps), ('depth_scale', depth_scale)):
            if value is not None and not value > 0:
                raise ConfigError(f'{name} of folder {str(path)!r} is {value!r}: it must be positive')
        self.path = path
        self.camera = camera
        self.fps = fps
        self.depth_scale = depth_scale

    @property
    def identity(self) -> str:
        """The path and every option."""
        return f'{content_of(self.path)}, {self.camera} {self.fps} {self.depth_scale}'

    def expected(self) -> int:
        """Return how many images there are."""
        return len(images_in(image_folder(self.path)))

    def pending(self) -> Iterator[Pending]:
        """Yield what decodes each image.

        Raises:
            DatasetError: If the folder holds no images, or a file beside them does not fit.
        """
        folder = image_folder(self.path)
        images = images_in(folder)
        self._count_strangers(folder, images)
        self.report.claimed = len(images)
        camera = self._camera(folder)
        stamps_ns = self._stamps_ns(len(images))
        speeds = _column(self.path / 'speeds.txt', len(images))
        if speeds is not None and (speeds < 0).any():
            raise DatasetError(f'{str(self.path / "speeds.txt")!r}: speed {speeds.min():g} is negative')
        poses = read_poses(self.path / 'poses.txt', len(images))
        scale = self._depth_scale()
        depths = [_depth_beside(self.path, folder, image) for image in images]
        self._note_missing_depth(folder, depths)
        for index, image in enumerate(images):
            self.report.read += 1
            facts = Facts(
                int(stamps_ns[index]),
                camera,
                None if speeds is None or not np.isfinite(speeds[index]) else float(speeds[index]),
                None if poses is None else poses[index],
                depths[index],
                scale,
            )
            yield partial(read_frame, image, facts)

    def _count_strangers(self, folder: Path, images: Sequence[Path]) -> None:
        """Count the files among the images that are none; those of the layout are expected where they are."""
        known = {*images, *(self.path / name for name in ('poses.txt', 'times.txt', 'speeds.txt', 'data.txt'))}
        known.update(path for path in (find_calibration(folder), find_calibration(self.path)) if path)
        strangers = sum(path.is_file() and path not in known for path in folder.iterdir())
        if strangers:
            self.report.skipped['not an image file'] += strangers

    def _note_missing_depth(self, folder: Path, depths: Sequence[Path | None]) -> None:
        """Say where depth maps are there under other names than the images'."""
        missing = depths.count(None)
        if missing and any((parent / 'depth').is_dir() for parent in (self.path, folder.parent)):
            self.report.notes.append(
                f'{missing} of {len(depths)} images have no map in depth/: expected the name of the image, .npy or .png'
            )

    def _camera(self, folder: Path) -> Camera | None:
        if self.camera == 'learned':
            return None
        found = find_calibration(self.path) or find_calibration(folder)
        if self.camera is None and found:
            self.report.notes.append(f'calibration: {found.name}')
            return read_calibration(found)
        yamls = sorted({path.name for path in (*self.path.glob('*.y*ml'), *folder.glob('*.y*ml'))})
        if self.camera is None and yamls:
            self.report.notes.append(f'which is the calibration? Name one as camera: {", ".join(yamls)}')
        return self.camera

    def _stamps_ns(self, count: int) -> npt.NDArray[np.int64]:
        seconds = None if self.fps else _column(self.path / 'times.txt', count)
        if seconds is None:
            if self.fps is None:
                self.report.notes.append(f'there is no times.txt: {ASSUMED_FPS:g} images a second are assumed (fps)')
            seconds = np.arange(count) / (self.fps or ASSUMED_FPS)
        if not (np.abs(seconds) < LATEST_S).all():
            wrong = seconds[~(np.abs(seconds) < LATEST_S)][0]
            raise DatasetError(f'{str(self.path / "times.txt")!r}: {wrong:g} is no time: expected seconds')
        if (np.diff(seconds) <= 0).any():
            raise DatasetError(f'{str(self.path / "times.txt")!r}: times do not rise from image to image')
        return np.round(seconds * 1e9).astype(np.int64)

    def _depth_scale(self) -> float:
        if self.depth_scale:
            return self.depth_scale
        camera = self.path / 'camera.json'
        try:
            fields = read_json(camera.read_text(encoding='utf-8')) if camera.is_file() else {}
            scale = float(fields.get('depth_scale', KITTI_DEPTH_SCALE))
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise DatasetError(f'{str(camera)!r} does not tell the scale of depth: {error}') from error
        if not 0 < scale < np.inf:
            raise DatasetError(f'{str(camera)!r}: depth_scale {scale!r} is not positive')
        return scale


def natural_order(path: Path) -> list[tuple[int, str]]:
    """Return a sort key by which frame_2 comes before frame_10."""
    parts = re.split(r'(\d+)', path.name)
    return [(int(part), '') if part.isdigit() else (-1, part) for part in parts]


def images_in(folder: Path) -> list[Path]:
    """Return the image files of a folder, in natural order; hidden ones are other systems' notes about them."""
    visible = (path for path in folder.iterdir() if not path.name.startswith('.'))
    return sorted((p for p in visible if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()), key=natural_order)


def image_folder(path: Path) -> Path:
    """Return where the images are: the folder itself, or the one in it that holds some.

    Raises:
        DatasetError: If there is none, or it is not clear which.
    """
    if not path.is_dir():
        raise DatasetError(f'folder {str(path)!r} does not exist')
    if images_in(path):
        return path
    below = {child.name: child for child in path.iterdir() if child.is_dir() and images_in(child)}
    for name in IMAGE_FOLDERS:
        if name in below:
            return below[name]
    if len(below) == 1:
        return next(iter(below.values()))
    found = f'several folders of images, name one: {", ".join(sorted(below))}' if below else 'no images'
    raise DatasetError(f'folder {str(path)!r} holds {found} (expected {", ".join(IMAGE_SUFFIXES)})')


def read_poses(path: Path, count: int | None = None) -> npt.NDArray[np.float64] | None:
    """Return (count, 4, 4) poses of a file with twelve numbers a line, row by row; None where there is no file.

    Args:
        path: The file.
        count: How many poses there must be; None: any number.

    Raises:
        DatasetError: If the file has another number of lines or numbers.
    """
    if not path.is_file():
        return None
    rows = _numbers(path)
    count = len(rows) if count is None else count
    if rows.shape != (count, 12):
        raise DatasetError(f'{str(path)!r} holds {rows.shape[0]} x {rows.shape[1]} numbers, expected {count} x 12')
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3] = rows.reshape(-1, 3, 4)
    return poses


def read_depth(path: Path, scale: float = KITTI_DEPTH_SCALE) -> DepthMap:
    """Return a depth map from a .npy in metres or a 16-bit PNG of `scale` values a metre, whose zeros mean unknown.

    Raises:
        DatasetError: If the file is neither.
        OSError: If it cannot be read.
    """
    if path.suffix == '.npy':
        try:
            # Mapped: a header that claims more than the file holds must not be believed.
            depth_m = np.lib.format.open_memmap(path, mode='r')
        except (ValueError, EOFError) as error:
            raise DatasetError(f'depth {str(path)!r} is no .npy of numbers: {error}') from error
        if depth_m.ndim != 2 or depth_m.dtype.kind != 'f':
            raise DatasetError(f'depth {str(path)!r} is {depth_m.dtype} {depth_m.shape}, expected (H, W) floats')
        return np.array(depth_m, np.float32)
    try:
        values = read_pixels(check_compressed(path.read_bytes()), cv2.IMREAD_UNCHANGED)
    except ImageFormatError as error:
        raise DatasetError(f'depth {str(path)!r} is no 16-bit grey PNG: {error}') from error
    if values.dtype != np.uint16 or values.ndim != 2:
        raise DatasetError(f'depth {str(path)!r} is no 16-bit grey PNG')
    return np.asarray(np.where(values > 0, values / np.float32(scale), np.nan), np.float32)


def read_image(path: Path, camera: Camera | None) -> Image:
    """Return an image file as its camera is calibrated: as it is stored, or turned as its EXIF orientation says.

    Without a camera it is upright. One whose calibration lies on its side against the stored image was calibrated from
    images that OpenCV had turned upright.

    Raises:
        ImageFormatError: If the file is no image, or cut short.
        OSError: If it cannot be read.
    """
    data = path.read_bytes()
    if camera is None:
        return decode_compressed(data, upright=True)
    image = decode_compressed(data)
    lies = (image.shape[1] > image.shape[0]) != (camera.width > camera.height)
    return decode_compressed(data, upright=True) if lies else image


def read_frame(path: Path, facts: Facts) -> Frame:
    """Decode an image and its depth map.

    Raises:
        DatasetError: If the depth map is none, or has other proportions than the image.
        ImageFormatError: If the file is no image.
    """
    image = read_image(path, facts.camera)
    height, width = image.shape[:2]
    camera = fitted(facts.camera, width, height) if facts.camera else None
    depth_m = read_depth(facts.depth, facts.depth_scale) if facts.depth else None
    if depth_m is not None:
        try:
            depth_m = fitted_depth(depth_m, width, height)
        except DatasetError as error:
            raise DatasetError(f'depth {str(facts.depth)!r} does not fit its image: {error}') from error
    return Frame(facts.stamp_ns, image, camera, facts.speed_mps, facts.T_world_camera, depth_m)


def _depth_beside(root: Path, folder: Path, image: Path) -> Path | None:
    for parent in (root, folder.parent):
        for suffix in ('.npy', '.png'):
            path = parent / 'depth' / f'{image.stem}{suffix}'
            if path.is_file():
                return path
    return None


def _column(path: Path, count: int) -> npt.NDArray[np.float64] | None:
    """Return a file of one number a line; None where there is no file."""
    if not path.is_file():
        return None
    numbers = _numbers(path).ravel()
    if numbers.shape != (count,):
        raise DatasetError(f'{str(path)!r} holds {len(numbers)} numbers for {count} images')
    return numbers


def _numbers(path: Path) -> npt.NDArray[np.float64]:
    try:
        return np.loadtxt(path, dtype=np.float64, ndmin=2)
    except ValueError as error:
        raise DatasetError(f'{str(path)!r} is no table of numbers: {error}') from error
