"""`sidepth camera`: live depth of a webcam or a video file in a browser window, or the camera itself over ROS."""

from __future__ import annotations

import argparse
import os
import sys
import time
import webbrowser
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from sidepth_core.cli import terminal
from sidepth_core.cli.frames import ASSUMED_FOV_DEG, describe, is_metric, view_of
from sidepth_core.cli.live_page import LivePage
from sidepth_core.cli.predict import parse_size
from sidepth_core.cli.terminal import add_camera, add_network, command_parser, counted
from sidepth_core.data.calibration import read_calibration
from sidepth_core.data.live import LiveCamera
from sidepth_core.errors import ConfigError
from sidepth_core.inference import DepthEstimator
from sidepth_core.visualisation import Panel, depth_span, draw_depth, side_by_side, with_colour_bar

DESCRIPTION = """\
Show live depth of a webcam, or of a video file played as one, in a window of the browser. With --ros it is a camera
over ROS 2 instead: image_raw and camera_info, for depth_node to listen to. Ctrl-C ends it.
"""
EXAMPLES = """\
  sidepth camera                                 the first webcam, in a window
  sidepth camera drive.mp4 --fov 60
  sidepth camera 0 --ros --fov 70 --name front   on /front/image_raw and /front/camera_info
"""
PORT = 8642
SETTLING = 0.05
"""Share by which the span of the colours follows each new image: no flicker, and no colours of a scene long gone."""
PLAYER = 'sidepth_ros.tools.camera_player'


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    arguments = command_parser('camera', DESCRIPTION, EXAMPLES)
    add = arguments.add_argument_group('the camera').add_argument
    add('source', nargs='?', default='0', help='number of a webcam (%(default)s), a device, or a video file')
    add_camera(add, f'without it {ASSUMED_FOV_DEG:g} are assumed, and depth is known up to scale only')
    add('--image-size', metavar='WxH', help='size to ask the webcam for, pixels')
    add('--frames', type=int, default=0, metavar='N', help='end after N images (0: at Ctrl-C, or where the file ends)')
    add('--loop', action='store_true', help='start a video file again at its end')
    add = add_network(arguments)
    add('--size', metavar='WxH', help="size for the network, multiples of 32; by default of the image's aspect ratio")
    add = arguments.add_argument_group('where it is shown').add_argument
    add('--port', type=int, default=PORT, help='of the page on this machine; 0 takes any that is free (%(default)s)')
    add('--no-browser', action='store_true', help='do not open the page by itself')
    add('--ros', action='store_true', help='publish the images over ROS 2 instead')
    add('--name', default='camera', help='namespace of the ROS topics (%(default)s)')
    return arguments


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    options = parser().parse_args(argv)
    if options.ros:
        return publish(options)
    calibration = read_calibration(Path(options.camera)) if options.camera else None
    size = parse_size(options.image_size)
    estimator = DepthEstimator.load(options.checkpoint, device=options.device, size=parse_size(options.size))
    console = terminal.console()
    with (
        LiveCamera(options.source, calibration, size and size[::-1], loop=options.loop) as camera,
        LivePage(f'Depth of camera {options.source}', options.port) as page,
    ):
        console.print(f'{describe(estimator)}: {page.address}   (Ctrl-C ends it)', markup=False, highlight=False)
        if not options.no_browser:
            webbrowser.open(page.address)
        try:
            count = show(camera, estimator, page, options)
        except KeyboardInterrupt:
            count = page.shown
    images = counted(count, 'image')
    console.print(f'{images}, {camera.dropped} of {camera.read} dropped for newer ones', highlight=False)
    return 0


def show(camera: LiveCamera, estimator: DepthEstimator, page: LivePage, options: argparse.Namespace) -> int:
    """Show depth of the newest image again and again, and return of how many; until the camera ends or --frames."""
    span: tuple[float, float] | None = None
    while (frame := camera.next_frame()) is not None:
        since = time.perf_counter()
        view = view_of(frame, options.fov)
        depth = estimator(view.image, view.camera)
        metric = is_metric(estimator, view)
        span = settled(span, depth_span(depth))
        unit = 'm' if metric else ''
        coloured = with_colour_bar(draw_depth(depth, span), span, unit=unit)
        label = 'depth, metres' if metric else 'depth, up to scale (--fov or --camera gives metres)'
        page.show(side_by_side([[Panel(view.image, 'image'), Panel(coloured, label)]], width=1280))
        page.say(f'{1000 * (time.perf_counter() - since):.0f} ms an image, {camera.dropped} of {camera.read} dropped')
        if page.shown == options.frames:
            break
    return page.shown


def settled(before: tuple[float, float] | None, now: tuple[float, float]) -> tuple[float, float]:
    """Return the span of the colours, a little nearer to that of the newest image."""
    if before is None:
        return now
    return before[0] + SETTLING * (now[0] - before[0]), before[1] + SETTLING * (now[1] - before[1])


def publish(options: argparse.Namespace) -> int:
    """Become the camera player of the ROS package, which takes the same camera.

    Raises:
        ConfigError: If there is no ROS here.
    """
    if find_spec('rclpy') is None or find_spec('sidepth_ros') is None:
        raise ConfigError(
            '--ros needs rclpy: source a ROS 2 install (`source /opt/ros/<distro>/setup.bash`), or run `make setup`, '
            'which brings it from PyPI; without --ros the camera is shown in a window'
        )
    arguments = ['--camera', options.source, '--name', options.name, '--frames', str(options.frames)]
    given = {'--calibration': options.camera, '--fov': options.fov, '--size': options.image_size}
    for option, value in given.items():
        arguments += [option, str(value)] if value else []
    arguments += ['--loop'] if options.loop else []
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, '-m', PLAYER, *arguments])  # noqa: S606 - our own module
