"""Depth drawn for people: colours with a scale in metres, a bird's-eye view, labelled panels side by side.

Everything drawn is RGB, (H, W, 3) uint8, as images are everywhere in sidepth.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch

from sidepth_core.camera import Camera
from sidepth_core.colour_maps import colour_depth
from sidepth_core.errors import ConfigError

Image = npt.NDArray[np.uint8]
DepthMap = npt.NDArray[np.float32]

BACKGROUND = (24, 26, 30)
LINES = (70, 74, 82)
TEXT = (225, 228, 232)
GAP_PX = 6
SAME_SURFACE = 1.25
"""Neighbouring rows whose depths differ by less than this factor show one surface."""
MOST_STEPS = 12
_FONT = cv2.FONT_HERSHEY_SIMPLEX


class Panel(NamedTuple):
    """An image with a line of text above it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        label: What it shows; '' for no line.
    """

    image: Image
    label: str = ''


def depth_span(*maps: DepthMap) -> tuple[float, float]:
    """Return the nearest and farthest depth worth a colour in all maps together, metres: 2nd and 98th percentile."""
    known = np.concatenate([depth[np.isfinite(depth) & (depth > 0)] for depth in maps])
    if not known.size:
        return 1.0, 10.0
    near, far = np.percentile(known, [2, 98])
    return float(near), float(max(far, near * 1.01))


def draw_depth(depth_m: DepthMap, span: tuple[float, float] | None = None, colours: str = 'turbo') -> Image:
    """Return depth as colours, even in inverse depth: warm is near, black is unknown.

    Args:
        depth_m: (H, W) float32; NaN unknown, +inf sky.
        span: Depths of the first and last colour, metres; None takes `depth_span` of the map.
        colours: A name of colour_maps.COLOR_MAPS.
    """
    depth = torch.from_numpy(np.ascontiguousarray(depth_m, dtype=np.float32))
    return np.asarray(colour_depth(depth, colours, span or depth_span(depth_m)).numpy())


def draw_sparse_depth(depth_m: DepthMap, image: Image, span: tuple[float, float]) -> Image:
    """Return measured depth, one dot per known pixel, on the darkened image: single LiDAR pixels cannot be seen."""
    known = np.isfinite(depth_m) & (depth_m > 0)
    if known.mean() > 0.5:
        return draw_depth(depth_m, span)
    nearness = np.where(known, 1 / depth_m, 0).astype(np.float32)
    grown = grown_dots(nearness)
    dots = draw_depth(np.asarray(1 / np.maximum(grown, 1e-9), np.float32), span)
    return np.where(grown[..., None] > 0, dots, image // 3).astype(np.uint8)


def grown_dots(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return a map whose every pixel has the largest value around it: single pixels become dots one can see."""
    dot_px = 2 * round(values.shape[1] / 800) + 3
    return np.asarray(cv2.dilate(values, np.ones((dot_px, dot_px), np.uint8)), np.float32)


def with_colour_bar(image: Image, span: tuple[float, float], colours: str = 'turbo', unit: str = 'm') -> Image:
    """Return an image with the scale of its colours at its right side, labelled with round depths."""
    height = image.shape[0]
    near, far = span
    size = float(np.clip(image.shape[1] / 1300, 0.3, 1.6))  # as wide images will be shrunk most
    inverse = np.linspace(1 / far, 1 / near, height, dtype=np.float32)[:, None]
    bar = draw_depth(np.repeat(1 / inverse, max(8, round(24 * size)), axis=1), span, colours)
    labels = np.full((height, round(130 * size), 3), BACKGROUND, np.uint8)
    last = -np.inf
    for depth in _round_depths(near, far):
        row = round((1 / depth - 1 / far) / (1 / near - 1 / far) * (height - 1))
        baseline = int(np.clip(row + 9 * size, 22 * size, height - 4))
        if baseline - last < 34 * size:
            continue
        last = baseline
        cv2.line(labels, (0, row), (5, row), TEXT, 1, cv2.LINE_AA)
        _write(labels, f'{depth:g} {unit}', (9, baseline), size)
    return np.concatenate([image, bar, labels], axis=1)


def _round_depths(near: float, far: float) -> list[float]:
    """Return the 1-1.5-2-3-5-7 depths inside a span, far first; in a narrow one its ends and middle."""
    series = (factor * 10.0**power for power in range(-3, 5) for factor in (1, 1.5, 2, 3, 5, 7))
    inside = sorted((depth for depth in series if near <= depth <= far), reverse=True)
    return inside if len(inside) > 1 else [float(f'{depth:.3g}') for depth in (far, (near + far) / 2, near)]


def bird_view(
    depth_m: DepthMap,
    camera: Camera,
    image: Image,
    size: int = 400,
    reach_m: float | None = None,
    ceiling_m: float = 2.5,
    unit: str = 'm',
) -> Image:
    """Return the scene from above: the camera at the bottom looks towards the top, lines of equal distance every step.

    Args:
        depth_m: (H, W) float32; unknown and sky are left out.
        camera: Rectified camera of the depth map.
        image: Its colours, (H, W, 3) uint8.
        size: Height and width of the drawing, pixels.
        reach_m: Distance at the top edge, metres; None takes the 95th percentile of depth, rounded up.
        ceiling_m: Points higher than this above the camera are left out, so that trees do not hide the road.
        unit: What distances are written in; '' where depth is only right up to an unknown factor.

    Raises:
        ConfigError: If the sizes of depth, camera and image differ.
    """
    if depth_m.shape != (camera.height, camera.width) or image.shape[:2] != depth_m.shape:
        sizes = f'depth {depth_m.shape!r}, image {image.shape[:2]!r}, camera {(camera.height, camera.width)!r}'
        raise ConfigError(f'sizes differ: {sizes}: expected one height and width')
    known = np.isfinite(depth_m) & (depth_m > 0)
    reach = reach_m or _round_reach(depth_m[known])
    v, u, z, colours = _filled_points(np.where(known & (depth_m < reach), depth_m, np.nan), image, reach / size)
    x, y = (u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z
    kept = (z < reach) & (np.abs(x) < reach / 2) & (y > -ceiling_m)
    order = np.argsort(-y[kept], kind='stable')  # ground first, so that what stands on it stays visible
    columns = ((x[kept][order] / reach + 0.5) * size).astype(int).clip(0, size - 2)
    rows = (size - 1 - z[kept][order] / reach * size).astype(int).clip(0, size - 2)
    colours = colours[kept][order]
    canvas = _distance_lines(size, reach)
    for dr, dc in ((0, 0), (0, 1), (1, 0), (1, 1)):
        canvas[rows + dr, columns + dc] = colours
    _label_distances(canvas, reach, unit)
    return canvas


def _filled_points(
    depth_m: DepthMap, image: Image, step_m: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.float64], Image]:
    """Return row, column, depth and colour of each pixel, and of points between rows that lie far apart on a surface.

    Seen from above, the ground between two image rows would else be a gap that grows with the distance.
    """
    v, u = np.nonzero(~np.isnan(depth_m))
    rows, columns = [np.asarray(v, np.float64)], [u]
    depths, colours = [np.asarray(depth_m[v, u], np.float64)], [image[v, u]]
    above, below = depth_m[:-1], depth_m[1:]
    with np.errstate(invalid='ignore'):
        v, u = np.nonzero((np.abs(above - below) > step_m) & (np.maximum(above / below, below / above) < SAME_SURFACE))
    far, near = np.asarray(above[v, u], np.float64), np.asarray(below[v, u], np.float64)
    steps = int(np.clip(np.max(np.abs(far - near), initial=0) / step_m, 1, MOST_STEPS))
    for share in np.arange(1, steps) / steps:
        rows.append(np.asarray(v + share, np.float64))
        columns.append(u)
        depths.append(1 / ((1 - share) / far + share / near))
        colours.append(image[v, u])
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(depths), np.concatenate(colours)


def _round_reach(depth: npt.NDArray[np.float32]) -> float:
    far = float(np.percentile(depth, 95)) if depth.size else 10.0
    return min(value for value in (2, 5, 10, 20, 40, 60, 80, 120, 1e9) if value >= min(far, 120))


def _step(reach: float) -> float:
    return next(step for step in (0.5, 1, 2, 5, 10, 20, 1e9) if reach / step <= 6)


def _distance_lines(size: int, reach: float) -> Image:
    canvas: Image = np.full((size, size, 3), BACKGROUND, np.uint8)
    for distance in np.arange(_step(reach), reach * 1.5, _step(reach)):
        cv2.circle(canvas, (size // 2, size - 1), round(distance / reach * size), LINES, 1, cv2.LINE_AA)
    return canvas


def _label_distances(canvas: Image, reach: float, unit: str) -> None:
    size = len(canvas)
    text = float(np.clip(size / 500, 0.45, 1.2))
    for distance in np.arange(_step(reach), reach, _step(reach)):
        row = size - 1 - round(distance / reach * size)
        if row > 24 * text:
            _write(canvas, f'{distance:g} {unit}', (6, row + round(20 * text)), text)
    tip = np.array([[size // 2, size - round(18 * text)], [size // 2 - 6, size - 1], [size // 2 + 6, size - 1]])
    cv2.fillPoly(canvas, [tip.astype(np.int32)], (255, 90, 60), cv2.LINE_AA)


def side_by_side(rows: Sequence[Sequence[Panel]], width: int = 1600) -> Image:
    """Return rows of labelled panels as one image of the given width, each row's panels equally high.

    Args:
        rows: The panels of each row, from left to right.
        width: Width of the whole image, pixels.

    Raises:
        ConfigError: If there is no panel.
    """
    if not rows or not all(rows):
        raise ConfigError('a figure needs at least one panel in every row')
    strips = [_strip(list(row), width) for row in rows]
    gap = np.full((GAP_PX, width, 3), BACKGROUND, np.uint8)
    return np.concatenate([part for strip in strips for part in (gap, strip)] + [gap])


def _strip(panels: list[Panel], width: int) -> Image:
    room = width - GAP_PX * (len(panels) + 1)
    height = max(1, int(room / sum(panel.image.shape[1] / panel.image.shape[0] for panel in panels)))
    text = _text_scale(width // 2)
    head = round(34 * text) if any(panel.label for panel in panels) else 0
    strip: Image = np.full((height + head, width, 3), BACKGROUND, np.uint8)
    left = GAP_PX
    for panel in panels:
        wide = max(1, int(height * panel.image.shape[1] / panel.image.shape[0]))
        smooth = cv2.INTER_AREA if height < panel.image.shape[0] else cv2.INTER_CUBIC
        strip[head:, left : left + wide] = cv2.resize(panel.image, (wide, height), interpolation=smooth)
        _write(strip[:, left : left + wide], panel.label, (2, head - round(10 * text)), text)
        left += wide + GAP_PX
    return strip


def _text_scale(extent: int) -> float:
    """Return how large text is in an image of this height: readable small, not shouting large."""
    return float(np.clip(extent / 900, 0.45, 1.2))


def _write(canvas: Image, text: str, at: tuple[int, int], scale: float) -> None:
    """Write text with its baseline's left end at (column, row), in place."""
    if not text:
        return
    target = np.ascontiguousarray(canvas)
    cv2.putText(target, text, at, _FONT, scale, BACKGROUND, max(2, round(4 * scale)), cv2.LINE_AA)
    cv2.putText(target, text, at, _FONT, scale, TEXT, max(1, round(1.6 * scale)), cv2.LINE_AA)
    canvas[:] = target


def save_image(path: Path, image: Image) -> Path:
    """Write an image as PNG or JPEG, by the path's suffix; make its folder when it is missing.

    Raises:
        ConfigError: If the suffix is no image format.
        OSError: If the file cannot be written.
    """
    if not cv2.haveImageWriter(f'image{path.suffix}'):  # given a name that is not UTF-8, OpenCV ends the process
        raise ConfigError(f'{str(path)!r} is no image file name: use .png or .jpg')
    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    path.write_bytes(data.tobytes())
    return path
