"""Write a synthetic drive as a recording: a video, a folder of images with the truth beside them, or a rosbag2.

Each is written under a temporary name and moved to its place when it is whole.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from sidepth_core.camera import Camera
from sidepth_core.data.bags import BagWriter
from sidepth_core.data.frames import DepthMap, Frame, Image
from sidepth_core.data.synthetic.source import SyntheticSource
from sidepth_core.errors import DatasetError

Codec = Literal['raw', 'jpeg']
DEPTH_SCALE = 256.0
"""Values a metre in a depth PNG, KITTI's; 0 means unknown or farther than 255 m."""
JPEG_QUALITY = 95
EPOCH_NS = 1_600_000_000_000_000_000
"""When the drive starts in a bag: a stamp of 0 would mean 'not set' to tf."""
ODOM, BASE, OPTICAL = 'odom', 'base_link', 'camera_optical_frame'


def write_video(source: SyntheticSource, path: Path) -> Iterator[Frame]:
    """Write an .mp4 and, beside it under the same name, .json with its camera; yield each frame when it is written.

    Raises:
        DatasetError: If the file exists, or OpenCV here cannot write it.
    """
    camera = source.camera_or_default
    with _whole(path) as draft:
        codec = cv2.VideoWriter.fourcc(*'mp4v')
        video = cv2.VideoWriter(str(draft), codec, source.fps, (camera.width, camera.height))
        if not video.isOpened():
            raise DatasetError(f'OpenCV cannot write {path.suffix!r} files here: write a folder or a bag instead')
        try:
            for frame in source:
                video.write(_bgr(frame.image))
                yield frame
        finally:
            video.release()
        path.with_suffix('.json').write_text(_camera_json(source, camera), encoding='utf-8')


def write_folder(source: SyntheticSource, path: Path, codec: Codec = 'raw') -> Iterator[Frame]:
    """Write a folder; yield each frame when it is written.

    It holds image/ (PNG, or JPEG), depth/ (16-bit PNG, DEPTH_SCALE values a metre, 0 unknown), camera.json (the
    camera, fps, depth_scale), poses.txt (T_world_camera, the twelve numbers of its upper rows a line), times.txt
    (seconds) and speeds.txt (metres a second).

    Raises:
        DatasetError: If the folder exists.
    """
    suffix, options = ('.jpg', [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]) if codec == 'jpeg' else ('.png', [])
    with _whole(path) as draft:
        for name in ('image', 'depth'):
            (draft / name).mkdir(parents=True)
        (draft / 'camera.json').write_text(_camera_json(source, source.camera_or_default), encoding='utf-8')
        with (
            (draft / 'poses.txt').open('w', encoding='ascii') as poses,
            (draft / 'times.txt').open('w', encoding='ascii') as times,
            (draft / 'speeds.txt').open('w', encoding='ascii') as speeds,
        ):
            for index, frame in enumerate(source):
                _save(draft / 'image' / f'{index:06d}{suffix}', _bgr(frame.image), options)
                assert frame.depth_m is not None  # noqa: S101 - the synthetic world knows; for the type checker
                assert frame.T_world_camera is not None  # noqa: S101
                _save(draft / 'depth' / f'{index:06d}.png', depth_png(frame.depth_m), [])
                poses.write(' '.join(f'{value:.9g}' for value in frame.T_world_camera[:3].ravel()) + '\n')
                times.write(f'{frame.stamp_ns / 1e9:.9f}\n')
                speeds.write(f'{frame.speed_mps:.6f}\n')
                yield frame


def write_bag(
    source: SyntheticSource, path: Path, storage: str = 'mcap', codec: Codec = 'raw', *, depth: bool = False
) -> Iterator[Frame]:
    """Write a rosbag2; yield each frame when it is written.

    It holds /camera/image_raw (or /camera/image_raw/compressed), /camera/camera_info, /odom and /tf_static.

    Args:
        source: The drive.
        path: Folder of the bag.
        storage: 'mcap' or 'sqlite3'.
        codec: How images are stored.
        depth: Also write the exact depth, as 32FC1 on /camera/depth/image.

    Raises:
        BagError: If the folder exists.
    """
    drive = source.drive()
    T_base_camera = drive.T_base_camera
    T_camera_base = np.linalg.inv(T_base_camera)
    with BagWriter(path, storage) as bag:
        bag.add_static_transforms({(BASE, OPTICAL): T_base_camera}, EPOCH_NS)
        for index, frame in enumerate(source):
            take, part = source.place_of(index)
            drive = source.drive(take) if part == 0 else drive
            stamp_ns = EPOCH_NS + frame.stamp_ns
            assert frame.T_world_camera is not None  # noqa: S101 - the synthetic world knows; for the type checker
            linear, angular = drive.twist(part / source.fps)
            bag.add_odometry(
                '/odom', frame.T_world_camera @ T_camera_base, stamp_ns, linear_mps=linear, angular_radps=angular,
                frame_id=ODOM, child_frame_id=BASE,
            )  # fmt: skip
            bag.add_camera_info('/camera/camera_info', source.camera_or_default, stamp_ns, OPTICAL)
            if codec == 'jpeg':
                bag.add_compressed_image('/camera/image_raw/compressed', frame.image, stamp_ns, OPTICAL)
            else:
                bag.add_image('/camera/image_raw', frame.image, stamp_ns, OPTICAL)
            if depth and frame.depth_m is not None:
                bag.add_image('/camera/depth/image', frame.depth_m, stamp_ns, OPTICAL)
            yield frame


def depth_png(depth_m: DepthMap) -> npt.NDArray[np.uint16]:
    """Return depth as 16-bit values, DEPTH_SCALE a metre; 0 where it is unknown or does not fit."""
    values = np.nan_to_num(depth_m.astype(np.float64), nan=0.0, posinf=0.0) * DEPTH_SCALE
    return np.where(values <= np.iinfo(np.uint16).max, np.round(values), 0).astype(np.uint16)


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Give a temporary name beside path; move what is there to path at the end, remove it after an exception."""
    if path.exists():
        raise DatasetError(f'{str(path)!r} exists already: name another place, or remove that first')
    path.parent.mkdir(parents=True, exist_ok=True)
    workshop = Path(tempfile.mkdtemp(prefix=f'.{path.name}.', dir=path.parent))
    try:
        yield workshop / path.name
        (workshop / path.name).rename(path)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _camera_json(source: SyntheticSource, camera: Camera) -> str:
    return json.dumps({**camera.to_dict(), 'fps': source.fps, 'depth_scale': DEPTH_SCALE}, indent=2) + '\n'


def _save(path: Path, pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], options: list[int]) -> None:
    if not cv2.imwrite(str(path), pixels, options):
        raise DatasetError(f'{str(path)!r} could not be written: is the disk full?')


def _bgr(image: Image) -> Image:
    return np.ascontiguousarray(image[..., ::-1])
