"""`sidepth predict`: depth of images, videos, bags and whole folders, saved as files."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from rich.console import Console
from rich.progress import Progress

from sidepth_core.camera import Camera
from sidepth_core.checkpoint import DEFAULT_CHECKPOINT
from sidepth_core.cli import printable
from sidepth_core.data.calibration import fitted, read_calibration
from sidepth_core.data.folders import FolderSource, image_folder, images_in, read_image
from sidepth_core.data.frames import DepthMap, Frame, FrameSource, Image, SourceReport
from sidepth_core.data.sources import open_source
from sidepth_core.engines import ENGINE_CHOICES, PRECISION_CHOICES
from sidepth_core.errors import ConfigError
from sidepth_core.inference import DepthEstimator
from sidepth_core.rectify import rectified_camera, rectify_image
from sidepth_core.visualisation import Panel, depth_span, draw_depth, save_image, side_by_side, with_colour_bar

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp')
VALUES_PER_METRE = {'mm': 1000, 'kitti': 256}
"""Scale of the 16-bit PNG formats; both hold 0 where depth does not fit into 16 bits."""

OUTPUTS = ('prediction.json', 'depth', 'colour')
"""What a run leaves in its folder."""

ASSUMED_FOV_DEG = 70.0
"""Of webcams and robot cameras, for networks that need a camera where there is none."""

UNKNOWN_CAMERA = (
    f'nobody knows the camera, so {ASSUMED_FOV_DEG:g} degrees were assumed; give --fov or ?camera=FILE for metres'
)

EXAMPLES = """\
  sidepth predict street.jpg --out depth
  sidepth predict drive.mp4 --out depth --format npy --every 5
  sidepth predict 'bag/?image_topic=/front/image' --out depth --checkpoint runs/mine

Exit status: 0; 1 where the source was cut off or damaged and depth of what is whole was saved; 2 for an error.
"""


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


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    arguments = argparse.ArgumentParser(
        prog='sidepth predict',
        description='Estimate depth and save it: depth/NAME.png or .npy, colour/NAME.jpg, camera.json of\n'
        'the rectified images, and prediction.json, which says what the numbers mean.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = arguments.add_argument
    add('source', help='an image, a folder of images, a video, a bag, synthetic:...')
    add('--out', type=Path, required=True, metavar='DIR', help='where the files go')
    add('--checkpoint', help='directory, file or hf://org/repo; by default the one of the package')
    add('--camera', type=Path, metavar='FILE', help='calibration of a single image, YAML or JSON')
    add('--fov', type=float, metavar='DEG', help='horizontal field of view of images whose camera nobody knows; '
        f'without it {ASSUMED_FOV_DEG:g} are assumed, and depth is right up to a factor only')  # fmt: skip
    add('--format', choices=(*VALUES_PER_METRE, 'npy', 'none'), default='mm',
        help='depth as 16-bit PNG in millimetres, in 1/256 metres, or as float32 .npy in metres (mm)')  # fmt: skip
    add('--no-figures', action='store_true', help='write no colour figures')
    add('--span', type=float, nargs=2, metavar=('NEAR', 'FAR'), help='depths of the first and last colour, metres')
    add('--post', choices=('none', 'flip', 'zoom'), default='none', help='average with mirrored or zoomed passes')
    add('--size', metavar='WxH', help="size for the network, multiples of 32; by default of the image's shape")
    add('--device', default='auto', help='auto, cpu, cuda, cuda:1, ...')
    add('--engine', choices=ENGINE_CHOICES, default='eager', help='how the network runs (eager)')
    add('--precision', choices=PRECISION_CHOICES, default='float32', help='what it computes in (float32)')
    add('--every', type=int, default=1, metavar='N', help='take every N-th frame only')
    add('--limit', type=int, default=0, metavar='N', help='stop after N frames (all)')
    return arguments


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    options = parser().parse_args(argv)
    if options.every < 1 or options.limit < 0:
        raise ConfigError(f'--every {options.every} and --limit {options.limit} must be positive')
    check_unused(options.out)
    estimator = DepthEstimator.load(
        options.checkpoint,
        device=options.device,
        engine=options.engine,
        precision=options.precision,
        size=parse_size(options.size),
        flip=options.post == 'flip',
        zoom=options.post == 'zoom',
    )
    frames, source = open_frames(options.source, options.camera)
    console = Console()
    total = source.report.claimed if source else 1
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task('predicting', total=total and min(total // options.every or 1, options.limit or total))
        count, metric = predict(frames, estimator, options, lambda: progress.advance(task))
    for reason, skipped in source.report.skipped.items() if source else ():
        console.print(f'{skipped} images not used: {reason}', markup=False)
    whole = source is None or report_losses(source.report)
    unit = 'metric' if metric else 'relative: right up to an unknown factor'
    out = printable(options.out)
    console.print(f'{count} depth maps, {describe(estimator)}, {unit}: {out}', markup=False, highlight=False)
    return 0 if whole else 1


def check_unused(out: Path) -> None:
    """Refuse a folder with the depth of another run, which would be mixed with this one's.

    Raises:
        ConfigError: If it holds one.
    """
    used = next((path for name in OUTPUTS if (path := out / name).exists()), None)
    if used is not None:
        raise ConfigError(f'{str(out)!r} holds a prediction already ({used.name}): choose another --out, or delete it')


def report_losses(report: SourceReport) -> bool:
    """Say what of a source was not there to be read, and return whether it was whole."""
    if not report.whole:
        console = Console(stderr=True)
        for note in report.notes:
            console.print(printable(note), markup=False, highlight=False)
        console.print('not all of the source could be read: see above', markup=False, highlight=False)
    return report.whole


def file_names(images: Sequence[Path]) -> list[str]:
    """Return what the files of each image are called: its stem or, where two images share one, its whole name."""
    stems = Counter(image.stem for image in images)
    names = [image.stem if stems[image.stem] == 1 else image.name for image in images]
    return names if len(set(names)) == len(names) else [image.name for image in images]


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Return height and width of a text like 640x192; None for None.

    Raises:
        ConfigError: If it is not of that form.
    """
    if text is None:
        return None
    width, cross, height = text.lower().partition('x')
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise ConfigError(f'--size {text!r} is not of the form WIDTHxHEIGHT, such as 640x192')
    return int(height), int(width)


def open_frames(text: str, camera_file: Path | None) -> tuple[Iterator[Named], FrameSource | None]:
    """Return the frames of an image file or of a source, and the source if it is one.

    Raises:
        DatasetError: If it cannot be read.
        ConfigError: If a calibration is given for a source, which takes it as an option.
    """
    path = Path(text)
    if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
        return iter([Named(path.stem, _single(path, camera_file))]), None
    if camera_file is not None:
        raise ConfigError(f'--camera is for single images: write {text!r} with ?camera={camera_file} instead')
    source = open_source(text)
    if isinstance(source, FolderSource):
        source.one_size = False
        names = file_names(images_in(image_folder(source.path)))
        source.report.claimed = len(names)
        return (Named(names[position], frame) for position, frame in source.frames()), source
    return (Named(f'{index:06d}', frame) for index, frame in enumerate(source)), source


def predict(
    frames: Iterator[Named], estimator: DepthEstimator, options: argparse.Namespace, done: Callable[[], None]
) -> tuple[int, bool]:
    """Write depth and figures of the frames, and return of how many, and whether all depth is in metres."""
    span: tuple[float, float] | None = tuple(options.span) if options.span else None
    count, metric = 0, True
    for index, (name, frame) in enumerate(frames):
        if index % options.every:
            continue
        view = view_of(frame, options.fov)
        depth = estimator(view.image, view.camera)
        span = span or depth_span(depth)  # of the first frame for all, so that one colour is one depth
        write_depth(options.out / 'depth' / name, depth, options.format)
        if not options.no_figures:
            save_image(options.out / 'colour' / f'{name}.jpg', figure(view, depth, span, estimator))
        if count == 0:
            write_description(options, estimator, view)
        count, metric = count + 1, metric and is_metric(estimator, view)
        done()
        if count == options.limit:
            break
    return count, metric


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


def figure(view: View, depth: DepthMap, span: tuple[float, float], estimator: DepthEstimator) -> Image:
    """Return the image above its depth in colours."""
    metric = is_metric(estimator, view)
    coloured = with_colour_bar(draw_depth(depth, span), span, unit='m' if metric else '')
    label = 'depth, metres' if metric else 'depth, relative: right up to a factor'
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
        Console(stderr=True).print(f'relative depth: {UNKNOWN_CAMERA}', markup=False, highlight=False)
    if view.known:
        fields = {**view.camera.to_dict(), **({'depth_scale': scale} if scale else {})}
        (options.out / 'camera.json').write_text(json.dumps(fields, indent=2) + '\n', encoding='utf-8')


def describe(estimator: DepthEstimator) -> str:
    """Return what runs, in a line."""
    height, width = estimator.size
    return f'{estimator.info.backbone} {width}x{height} on {estimator.device} ({estimator.engine_name})'


def _single(path: Path, camera_file: Path | None) -> Frame:
    camera = read_calibration(camera_file) if camera_file else None
    image = read_image(path, camera)
    height, width = image.shape[:2]
    return Frame(0, image, fitted(camera, width, height) if camera else None)
