"""What `sidepth predict` leaves in its folder: depth and figures of each image, a video, clouds and a trajectory."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
import numpy.typing as npt

from sidepth_core.checkpoint import DEFAULT_CHECKPOINT
from sidepth_core.cli import terminal
from sidepth_core.cli.frames import UNKNOWN_CAMERA, Named, View, is_metric
from sidepth_core.data.frames import DepthMap, Image
from sidepth_core.errors import ConfigError
from sidepth_core.inference import DepthEstimator
from sidepth_core.outputs import Cloud, FusedCloud, VideoFile, cloud_of, worth_showing, write_ply, write_trajectory
from sidepth_core.visualisation import Panel, depth_span, draw_depth, save_image, side_by_side, with_colour_bar

VALUES_PER_METRE = {'mm': 1000, 'kitti': 256}
"""Scale of the 16-bit PNG formats; both hold 0 where depth does not fit into 16 bits."""

VIDEO, CLOUD, TRAJECTORY = 'depth.webm', 'cloud.ply', 'trajectory.txt'
OUTPUTS = ('prediction.json', 'depth', 'colour', VIDEO, CLOUD, TRAJECTORY, 'clouds')
"""What a run leaves in its folder."""

VIDEO_WIDTH = 640
"""Pixels of the video at most: encoding it takes about as long as estimating depth."""
CLOUDS = ('fused', 'each', 'none')
DEFAULT_RATE_HZ = 10.0
FASTEST_HZ = 60.0
FUSED_STRIDE = 2
"""Pixels from point to point of a fused cloud: a voxel holds one point only."""


class SavedDepth:
    """Writes the files of a run as its frames come; what needs the whole run is written at the end, however it ends.

    Args:
        options: The arguments of `sidepth predict`.
        estimator: Whose depth it is.
    """

    def __init__(self, options: argparse.Namespace, estimator: DepthEstimator) -> None:
        self._options = options
        self._estimator = estimator
        self._out: Path = options.out
        self._span: tuple[float, float] | None = tuple(options.span) if options.span else None
        self._poses: list[tuple[int, npt.NDArray[np.float64]]] = []
        self._fused = FusedCloud(options.voxel)
        self._first: Cloud | None = None
        self._video: VideoFile | None = None
        self._films = True
        self._waiting: tuple[int, Image] | None = None
        self.count = 0
        self.metric = True

    def __enter__(self) -> SavedDepth:  # noqa: PYI034 - Self needs Python 3.11
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what belongs to the whole run: of a run cut short, of the frames that there were."""
        if self._video is not None:
            self._video.close()
        if self._poses:
            write_trajectory(self._out / TRAJECTORY, self._poses)
        whole = self._fused.cloud() if self._fused.frames else self._first
        if whole is not None and self._options.clouds == 'fused':
            write_ply(self._out / CLOUD, whole)

    def add(self, named: Named, view: View, depth: DepthMap) -> None:
        """Write the files of one frame.

        Raises:
            ConfigError: If a file cannot be of that kind.
            OSError: If a file cannot be written.
        """
        options, metric = self._options, is_metric(self._estimator, view)
        self._span = self._span or depth_span(depth)  # of the first frame for all, so that one colour is one depth
        write_depth(self._out / 'depth' / named.name, depth, options.format)
        if not options.no_figures:
            drawn = figure(view, depth, self._span, metric=metric)
            save_image(self._out / 'colour' / f'{named.name}.jpg', drawn)
            self._film(named.frame.stamp_ns, drawn)
        self._add_cloud(named, view, depth, metric=metric)
        if named.frame.T_world_camera is not None:
            self._poses.append((named.frame.stamp_ns, named.frame.T_world_camera))
        if self.count == 0:
            write_description(options, self._estimator, view)
        self.count, self.metric = self.count + 1, self.metric and metric

    def _film(self, stamp_ns: int, drawn: Image) -> None:
        """Append to the video; how fast it runs is known from the second frame on, so one image makes none."""
        if not self._films:
            return
        try:
            self._append(stamp_ns, drawn)
        except ConfigError as error:  # a build of OpenCV without the codec; depth is what was asked for
            self._films, self._video = False, None
            terminal.console(stderr=True).print(f'no video: {error}', markup=False, highlight=False)

    def _append(self, stamp_ns: int, drawn: Image) -> None:
        if self._video is None:
            if self._waiting is None:
                self._waiting = stamp_ns, drawn
                return
            before_ns, first = self._waiting
            self._video = VideoFile(self._out / VIDEO, rate_hz(before_ns, stamp_ns), VIDEO_WIDTH)
            self._video.add(first)
        self._video.add(drawn)

    def _add_cloud(self, named: Named, view: View, depth: DepthMap, *, metric: bool) -> None:
        options, pose = self._options, named.frame.T_world_camera
        far = worth_showing(depth)
        if options.clouds == 'each':
            whole = cloud_of(depth, view.camera, view.image, farthest_m=far)
            write_ply(self._out / 'clouds' / f'{named.name}.ply', whole)
        elif options.clouds == 'fused' and pose is not None and metric:
            near = cloud_of(depth, view.camera, view.image, stride=FUSED_STRIDE, farthest_m=options.reach)
            self._fused.add(near, pose)
        elif options.clouds == 'fused' and self._first is None:
            self._first = cloud_of(depth, view.camera, view.image, farthest_m=far)


def rate_hz(before_ns: int, after_ns: int) -> float:
    """Return how fast a video of frames with these stamps runs, frames a second."""
    step_s = (after_ns - before_ns) / 1e9
    return min(1 / step_s, FASTEST_HZ) if step_s > 1e-3 else DEFAULT_RATE_HZ


def check_unused(out: Path) -> None:
    """Refuse a folder with the depth of another run, which would be mixed with this one's.

    Raises:
        ConfigError: If it holds one.
    """
    used = next((path for name in OUTPUTS if (path := out / name).exists()), None)
    if used is not None:
        raise ConfigError(f'{str(out)!r} holds a prediction already ({used.name}): choose another --out, or delete it')


def write_depth(path: Path, depth: DepthMap, format_: str) -> None:
    """Write one depth map under a path without its suffix.

    Args:
        path: Where to; its folder is made.
        depth: (H, W) float32, metres or the checkpoint's unit.
        format_: 'mm' or 'kitti' for a 16-bit PNG, 'npy', or 'none'.

    Raises:
        OSError: If the file cannot be written.
    """
    if format_ == 'none':
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if format_ == 'npy':
        np.save(path.with_name(f'{path.name}.npy'), depth)
        return
    values = np.rint(depth * VALUES_PER_METRE[format_])
    fits = np.isfinite(values) & (values <= np.iinfo(np.uint16).max)
    _, data = cv2.imencode('.png', np.where(fits, values, 0).astype(np.uint16))
    path.with_name(f'{path.name}.png').write_bytes(data.tobytes())


def figure(view: View, depth: DepthMap, span: tuple[float, float], *, metric: bool) -> Image:
    """Return the image above its depth in colours."""
    coloured = with_colour_bar(draw_depth(depth, span), span, unit='m' if metric else '')
    label = 'depth, metres' if metric else 'depth, relative: known up to scale'
    return side_by_side([[Panel(view.image, 'image')], [Panel(coloured, label)]], width=max(640, view.image.shape[1]))


def write_description(options: argparse.Namespace, estimator: DepthEstimator, view: View) -> None:
    """Write what the numbers mean, and the camera of the rectified images where it is known."""
    scale = VALUES_PER_METRE.get(options.format)
    height, width = estimator.network_size((view.camera.height, view.camera.width))
    lost = estimator.info.scale == 'metric' and not is_metric(estimator, view)
    description = {
        'source': options.source,
        'checkpoint': str(options.checkpoint or DEFAULT_CHECKPOINT.name),
        'scale': 'relative' if lost else estimator.info.scale,
        'scale_note': UNKNOWN_CAMERA if lost else estimator.info.scale_note,
        'format': options.format,
        'depth_scale': scale,
        'network_size': f'{width}x{height}',
        'engine': estimator.engine_name,
        'precision': estimator.precision,
        'post_processing': options.post,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / 'prediction.json').write_text(json.dumps(description, indent=2) + '\n', encoding='utf-8')
    if lost:
        terminal.console(stderr=True).print(f'relative depth: {UNKNOWN_CAMERA}', markup=False, highlight=False)
    if view.known:
        fields = {**view.camera.to_dict(), **({'depth_scale': scale} if scale else {})}
        (options.out / 'camera.json').write_text(json.dumps(fields, indent=2) + '\n', encoding='utf-8')
