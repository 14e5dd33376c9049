"""Frames that commands look at: of an image file or of any source, each under a name, rectified, with a camera."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sidepth_core.camera import Camera
from sidepth_core.data.calibration import fitted, read_calibration
from sidepth_core.data.folders import FolderSource, image_folder, images_in, read_image
from sidepth_core.data.frames import Frame, FrameSource, Image
from sidepth_core.data.sources import open_source
from sidepth_core.inference import DepthEstimator
from sidepth_core.rectify import rectified_camera, rectify_image

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp')

ASSUMED_FOV_DEG = 70.0
"""Of webcams and robot cameras, for networks that need a camera where there is none."""

UNKNOWN_CAMERA = (
    f'the camera is not calibrated, so {ASSUMED_FOV_DEG:g} degrees were assumed; '
    'give --fov DEG or --camera FILE for metres'
)


class View(NamedTuple):
    """What the network is shown of a frame.

    Attributes:
        image: Rectified, RGB, (H, W, 3) uint8.
        camera: Its camera; assumed where nobody knows it.
        known: Whether anybody does.
    """

    image: Image
    camera: Camera
    known: bool


class Named(NamedTuple):
    """A frame, and how its files are called."""

    name: str
    frame: Frame


def open_frames(text: str, camera: str = '') -> tuple[Iterator[Named], FrameSource | None]:
    """Return the frames of an image file or of a source, and the source if it is one.

    Args:
        text: The file, or a source as `open_source` takes it.
        camera: Calibration file for images that bring none; '' for none.

    Raises:
        DatasetError: If it cannot be read.
        ConfigError: If a calibration is given for a source that knows its own.
    """
    path = Path(text)
    if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
        return iter([Named(path.stem, _single(path, camera))]), None
    source = open_source(text, camera)
    if isinstance(source, FolderSource):
        source.one_size = False
        names = file_names(images_in(image_folder(source.path)))
        source.report.claimed = len(names)
        return (Named(names[position], frame) for position, frame in source.frames()), source
    return (Named(f'{index:06d}', frame) for index, frame in enumerate(source)), source


def file_names(images: Sequence[Path]) -> list[str]:
    """Return what the files of each image are called: its stem or, where two images share one, its whole name."""
    stems = Counter(image.stem for image in images)
    names = [image.stem if stems[image.stem] == 1 else image.name for image in images]
    return names if len(set(names)) == len(names) else [image.name for image in images]


def view_of(frame: Frame, fov_deg: float | None) -> View:
    """Return the rectified frame; where its camera is not known, with one of that field of view.

    Raises:
        ConfigError: If the field of view is none that a pinhole can have.
    """
    if frame.camera is None:
        height, width = frame.image.shape[:2]
        assumed = Camera.pinhole(width, height, ASSUMED_FOV_DEG if fov_deg is None else fov_deg)
        return View(frame.image, assumed, known=fov_deg is not None)
    if frame.camera.is_rectified:
        return View(frame.image, frame.camera, known=True)
    return View(rectify_image(frame.image, frame.camera), rectified_camera(frame.camera), known=True)


def is_metric(estimator: DepthEstimator, view: View) -> bool:
    """Return whether depth is in metres: the canonical zoom convention needs the camera for it."""
    return estimator.info.scale == 'metric' and (view.known or estimator.info.zoom_convention == 'invariant')


def describe(estimator: DepthEstimator) -> str:
    """Return what runs, in a line."""
    height, width = estimator.size
    return f'{estimator.info.backbone} {width}x{height} on {estimator.device} ({estimator.engine_name})'


def _single(path: Path, camera_file: str) -> Frame:
    camera = read_calibration(Path(camera_file)) if camera_file else None
    image = read_image(path, camera)
    height, width = image.shape[:2]
    return Frame(0, image, fitted(camera, width, height) if camera else None)
