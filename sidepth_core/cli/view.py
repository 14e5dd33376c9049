"""`sidepth view`: image, depth and a cloud that can be turned, as one page for a browser; or a video of a drive."""

from __future__ import annotations

import argparse
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.progress import Progress

from sidepth_core.cli import terminal
from sidepth_core.cli.frames import (
    ASSUMED_FOV_DEG,
    UNKNOWN_CAMERA,
    Named,
    View,
    describe,
    is_metric,
    open_frames,
    view_of,
)
from sidepth_core.cli.predict import parse_size
from sidepth_core.cli.saved_depth import rate_hz
from sidepth_core.cli.terminal import add_camera, add_network, command_parser, counted
from sidepth_core.data.deferred import DeferredSource
from sidepth_core.data.frames import DepthMap, FrameSource, Image
from sidepth_core.errors import ConfigError, DatasetError
from sidepth_core.inference import DepthEstimator
from sidepth_core.outputs import VIDEO_SUFFIXES, Cloud, FusedCloud, Page, VideoFile, cloud_of, worth_showing
from sidepth_core.outputs.page import View as PageView
from sidepth_core.visualisation import Panel, bird_view, depth_span, draw_depth, side_by_side, with_colour_bar

DESCRIPTION = """\
Show depth: a page with image and depth under a slider, and the point cloud, which can be turned. The page is one file
that opens in any browser without a network connection. Where a drive has poses and depth is in metres, its frames are
also fused into one cloud. With --out NAME.mp4 or NAME.webm it is a video of all frames: image, depth, and the scene
from above.
"""
EXAMPLES = """\
  sidepth view street.jpg --open
  sidepth view drive.mp4 --frames 12 --out drive.html
  sidepth view bag/ --checkpoint runs/mine --out drive.mp4
"""
CLOUD_POINTS = 45_000
"""About as many points of a frame are shown."""
REACH_M = 25.0
"""Depth up to which points are fused."""
VOXEL_M = 0.15


class Shown(NamedTuple):
    """A frame with its depth.

    Attributes:
        named: The frame and its name.
        view: What the network saw of it.
        depth: (H, W) float32.
        metric: Whether depth is in metres.
    """

    named: Named
    view: View
    depth: DepthMap
    metric: bool


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    arguments = command_parser('view', DESCRIPTION, EXAMPLES)
    add = arguments.add_argument_group('what to look at').add_argument
    add('source', help='an image, a folder of images, a video, a bag, synthetic:...')
    add_camera(add, f'without it {ASSUMED_FOV_DEG:g} are assumed, and depth is known up to scale only')
    add = arguments.add_argument_group('what to write').add_argument
    add('--out', type=Path, default=Path('view.html'), metavar='FILE', help='page (.html) or video (.mp4, .webm) '
        '(%(default)s)')  # fmt: skip
    add('--open', action='store_true', help='open it when it is written')
    add('--frames', type=int, default=8, metavar='N', help='frames in the page, spread over the drive (%(default)s)')
    add = add_network(arguments)
    add('--size', metavar='WxH', help="size for the network, multiples of 32; by default of the image's aspect ratio")
    return arguments


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    options = parser().parse_args(argv)
    suffix = options.out.suffix.lower()
    if suffix not in {'.html', '.htm', *VIDEO_SUFFIXES} or options.frames < 1:
        raise ConfigError(
            f'--out {str(options.out)!r} with --frames {options.frames}: expected NAME.html, NAME.mp4 or NAME.webm, '
            'and 1 or more'
        )
    estimator = DepthEstimator.load(options.checkpoint, device=options.device, size=parse_size(options.size))
    frames, source = open_frames(options.source, options.camera)
    console = terminal.console()
    total = expected(source)
    films = suffix in VIDEO_SUFFIXES
    if not films:
        frames, total = spread(frames, total, options.frames), min(options.frames, total or options.frames)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task('looking', total=total)
        shown = tracked(frames, estimator, options.fov, lambda: progress.advance(task))
        count = write_video(options.out, shown) if films else write_page(options, estimator, list(shown))
    if not count:
        reasons = '; '.join(source.report.notes) if source else ''
        raise DatasetError(f'{options.source!r} has no frame to show; {reasons}')
    console.print(f'{options.out}: {counted(count, "frame")}, {describe(estimator)}', markup=False, highlight=False)
    if options.open:
        webbrowser.open(options.out.resolve().as_uri())
    return 0


def expected(source: FrameSource | None) -> int | None:
    """Return about how many frames there are; None where nobody knows before reading."""
    if source is None:
        return 1
    return source.expected() if isinstance(source, DeferredSource) else source.report.claimed


def spread(frames: Iterator[Named], total: int | None, count: int) -> Iterator[Named]:
    """Yield `count` frames spread over a drive of `total`; of one of unknown length, the first ones."""
    wanted = {round((index + 0.5) * max(total or 0, count) / count - 0.5) for index in range(count)}
    last = max(wanted)
    for index, named in enumerate(frames):
        if index in wanted:
            yield named
        if index >= last:
            return


def tracked(
    frames: Iterator[Named], estimator: DepthEstimator, fov_deg: float | None, done: Callable[[], None]
) -> Iterator[Shown]:
    """Yield frames with their depth."""
    for named in frames:
        view = view_of(named.frame, fov_deg)
        yield Shown(named, view, estimator(view.image, view.camera), is_metric(estimator, view))
        done()


def write_video(path: Path, shown: Iterator[Shown]) -> int:
    """Write a video of the frames, and return how many there are."""
    video: VideoFile | None = None
    waiting: Shown | None = None
    count = 0
    span: tuple[float, float] | None = None
    try:
        for one in shown:
            count += 1
            span = span or depth_span(one.depth)
            if waiting is None:
                waiting = one
                continue
            if video is None:
                video = VideoFile(path, rate_hz(waiting.named.frame.stamp_ns, one.named.frame.stamp_ns))
                video.add(panels(waiting, span))
            video.add(panels(one, span))
        if video is None and waiting is not None and span is not None:
            video = VideoFile(path, 1.0)
            video.add(panels(waiting, span))
    finally:
        if video is not None:
            video.close()
    return count


def panels(one: Shown, span: tuple[float, float]) -> Image:
    """Return image, depth, and the scene from above, side by side."""
    unit = 'm' if one.metric else ''
    coloured = with_colour_bar(draw_depth(one.depth, span), span, unit=unit)
    above = bird_view(one.depth, one.view.camera, one.view.image, reach_m=round_reach(span[1]), unit=unit)
    wide = one.view.image.shape[1] > 2.2 * one.view.image.shape[0]
    label = 'depth, metres' if one.metric else 'depth, relative: known up to scale'
    views = [Panel(one.view.image, f'frame {one.named.name}'), Panel(coloured, label)]
    seen = [Panel(side_by_side([[view] for view in views], 900))] if wide else views
    return side_by_side([[*seen, Panel(above, 'from above')]], width=1280)


def round_reach(far: float) -> float:
    """Return a round distance, the same for all frames of a video."""
    return next(reach for reach in (2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 120.0, 1e9) if reach >= min(far, 120.0))


def write_page(options: argparse.Namespace, estimator: DepthEstimator, shown: Sequence[Shown]) -> int:
    """Write the page, and return how many frames it has; none is written where there are none."""
    if not shown:
        return 0
    metric = all(one.metric for one in shown)
    unit = 'm' if metric else ''
    page = Page(f'Depth of {options.source}')
    lost = not metric and estimator.info.scale == 'metric'
    scale = ('relative', UNKNOWN_CAMERA) if lost else (estimator.info.scale, estimator.info.scale_note)
    page.text(f'{describe(estimator)}; checkpoint: {options.checkpoint or "built-in"}.')
    page.text(f'Depth is {": ".join(filter(None, scale))}.')
    page.viewer([page_view(one, unit) for one in shown], unit)
    fused = fuse(shown)
    if fused is not None:
        page.heading(f'{len(shown)} frames in one frame of reference, points up to {REACH_M:g} m from each')
        page.cloud(fused)
    page.write(options.out)
    return len(shown)


def page_view(one: Shown, unit: str) -> PageView:
    """Return a frame as a page shows it, with the same colour bar beside image and depth."""
    span = depth_span(one.depth)
    image = with_colour_bar(one.view.image, span, unit=unit)
    depth = with_colour_bar(draw_depth(one.depth, span), span, unit=unit)
    stride = max(1, round((one.depth.size / CLOUD_POINTS) ** 0.5))
    cloud = cloud_of(one.depth, one.view.camera, one.view.image, stride=stride, farthest_m=worth_showing(one.depth))
    return PageView(one.named.name, image, depth, cloud)


def fuse(shown: Sequence[Shown]) -> Cloud | None:
    """Return the points of all frames in the first one's frame of reference; None without poses and metres."""
    posed = [one for one in shown if one.named.frame.T_world_camera is not None and one.metric]
    if len(posed) < 2:
        return None
    fused = FusedCloud(VOXEL_M)
    first = posed[0].named.frame.T_world_camera
    for one in posed:
        pose = one.named.frame.T_world_camera
        if pose is not None and first is not None:
            cloud = cloud_of(one.depth, one.view.camera, one.view.image, stride=2, farthest_m=REACH_M)
            fused.add(cloud, np.linalg.inv(first) @ pose)
    return fused.cloud()
