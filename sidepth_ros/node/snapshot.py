"""What a camera sees now, as files; and which checkpoints there are."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

from sidepth_core.checkpoint import DEFAULT_CHECKPOINT, INFO_FILE, load_info
from sidepth_core.depth_maps import to_millimetres
from sidepth_core.errors import CheckpointError
from sidepth_ros.node.processor import Estimate


def save_snapshot(directory: Path, estimate: Estimate, points: Tensor, about: dict[str, object]) -> Path:
    """Write image, depth, cloud and camera of an estimate into a new folder.

    Args:
        directory: The folder to make; with `_2`, `_3`... appended where it exists.
        estimate: What to write: image.png (rectified), depth.npy (float32, unit of the node), depth.png (16 bit,
            millimetres, 0 unknown), camera.json (the camera of the depth map, and `about`).
        points: The cloud, (h, w, 3 or 4) float32, written as cloud.ply without its NaN points.
        about: What else to say in camera.json: stamp, frame, scale.

    Returns:
        The folder.

    Raises:
        OSError: If it cannot be written.
    """
    folder = _new_folder(directory)
    depth = estimate.depth.cpu()
    image = estimate.image.permute(1, 2, 0).cpu().numpy()
    _write_png(folder / 'image.png', np.ascontiguousarray(image[..., ::-1]))
    _write_png(folder / 'depth.png', to_millimetres(depth).numpy().view(np.uint16))
    np.save(folder / 'depth.npy', depth.numpy())
    write_ply(folder / 'cloud.ply', points.cpu().numpy())
    fields = {**estimate.camera.to_dict(), **about}
    (folder / 'camera.json').write_text(json.dumps(fields, indent=2) + '\n')
    return folder


def _new_folder(directory: Path) -> Path:
    count = 1
    while True:
        folder = directory if count == 1 else directory.with_name(f'{directory.name}_{count}')
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            count += 1
        else:
            return folder


def _write_png(path: Path, pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> None:
    _, data = cv2.imencode('.png', pixels)
    path.write_bytes(data.tobytes())


def write_ply(path: Path, points: npt.NDArray[np.float32]) -> None:
    """Write the finite points of an organised cloud, (h, w, 3) xyz or (h, w, 4) xyz and packed rgb, as binary PLY.

    Raises:
        OSError: If the file cannot be written.
    """
    flat = points.reshape(-1, points.shape[-1])
    flat = np.ascontiguousarray(flat[np.isfinite(flat[:, :3]).all(1)])
    names = [('x', '<f4'), ('y', '<f4'), ('z', '<f4')]
    if flat.shape[1] == 4:
        names += [('red', 'u1'), ('green', 'u1'), ('blue', 'u1')]
    rows = np.zeros(len(flat), dtype=names)
    for index, axis in enumerate('xyz'):
        rows[axis] = flat[:, index]
    if flat.shape[1] == 4:
        packed = flat[:, 3].copy().view(np.uint32)
        for colour, shift in (('red', 16), ('green', 8), ('blue', 0)):
            rows[colour] = packed >> shift & 255
    kinds = {'<f4': 'float', 'u1': 'uchar'}
    properties = '\n'.join(f'property {kinds[kind]} {name}' for name, kind in names)
    head = f'ply\nformat binary_little_endian 1.0\nelement vertex {len(rows)}\n{properties}\nend_header\n'
    path.write_bytes(head.encode() + rows.tobytes())


def list_checkpoints(directory: Path) -> list[str]:
    """Return a line for each checkpoint: the built-in one and those below a directory, newest first.

    Raises:
        OSError: If the directory cannot be searched.
    """
    found = [path for path in directory.glob(f'**/{INFO_FILE}') if path.is_file()] if directory.is_dir() else []
    found.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    return [_line(path) for path in (DEFAULT_CHECKPOINT, *(path.parent for path in found))]


def _line(path: Path) -> str:
    try:
        info = load_info(path)
    except (CheckpointError, OSError) as error:
        return f'{path}: {error}'
    metrics = ', '.join(f'{name} {value:.3g}' for name, value in info.metrics.items())
    size = f'{info.image_width}x{info.image_height}'
    return f'{path}: {info.backbone} {size}, {info.scale}{f", {metrics}" if metrics else ""}'
