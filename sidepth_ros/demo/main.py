"""The whole node, seen working: `make demo`, or `make demo BAG=path` with a recording as the camera.

Three processes talk through real ROS 2: the depth node; a camera that plays a drive at its own rate; and this one,
which records what both publish into a bag, and reports from that bag: a table, and a figure.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from sidepth_core.cli import run
from sidepth_core.errors import ConfigError
from sidepth_ros.demo.processes import Process, process
from sidepth_ros.domain import free_domain
from sidepth_ros.fastdds import profile_environment, shared_memory_profile

if TYPE_CHECKING:
    from sidepth_ros.demo.session import Plan, Session


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    commands = argparse.ArgumentParser(
        prog='demo',
        description='Run the depth node on a synthetic drive, or on a bag, through real ROS 2.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = commands.add_argument
    add('--bag', type=Path, help='rosbag2 to take as the camera; without one, a synthetic drive with exact depth')
    add('--image-topic', help='image topic of the bag, where it holds several cameras')
    add('--scene', default='street', help='synthetic drive: street, highway, corridor or mixed')
    add('--seed', type=int, default=7, help='which synthetic drive')
    add('--frames', type=int, default=0, help='images to play; 0: the whole bag, or 100 synthetic ones')
    add('--rate', type=float, default=1.0, help='0.5 plays half as fast')
    add('--checkpoint', default='', help='weights for the node; without any, the built-in ones')
    add('-p', '--parameter', action='append', default=[], metavar='NAME:=VALUE', help='any other parameter of the node')
    add('--out', type=Path, default=Path('out/demo'), help='folder in which each run makes one of its own')
    return commands


def require_ros() -> None:
    """Check that there is a ROS 2 to talk through.

    Raises:
        ConfigError: If rclpy is not installed.
    """
    if importlib.util.find_spec('rclpy') is None:
        raise ConfigError(
            'rclpy is not installed. Either `make clean setup`, which gets it from PyPI; or source a ROS 2 install '
            '(`source /opt/ros/DISTRO/setup.bash`) before `make clean setup`, which then uses that one'
        )


@contextlib.contextmanager
def environment() -> Iterator[None]:
    """Give this process and its children a ROS domain of their own, and images through shared memory.

    What the user has set already stays.
    """
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ.update(profile_environment(shared_memory_profile()))
    if 'ROS_DOMAIN_ID' in os.environ:
        yield
        return
    with free_domain() as domain:
        os.environ['ROS_DOMAIN_ID'] = str(domain)
        yield


def play(plan: Plan, folder: Path, console: Console) -> tuple[Session, int]:
    """Run node and camera, record what they publish, and return the recording and how many images were sent."""
    from sidepth_ros.demo.session import recording  # noqa: PLC0415 - needs rclpy, whose absence is said first

    summary = folder / 'camera.json'
    with (
        recording(plan, folder / 'bag') as session,
        process('node', plan.node_command, folder) as node,
        process('camera', [*plan.camera_command, '--summary', str(summary)], folder) as camera,
    ):
        watch(node, camera, session, console)
        session.wait_until_quiet()
        if node.end():
            node.fail()
    return session, int(json.loads(summary.read_text(encoding='utf-8'))['sent'])


def watch(node: Process, camera: Process, session: Session, console: Console) -> None:
    """Wait until the camera has played its drive, and show how far it is.

    Raises:
        SidepthError: If a process fails.
    """
    with console.status('the node loads its network, the camera its drive') as display:
        while camera.status is None:
            if node.status is not None:
                node.fail()
            if session.images:
                display.update(f'{session.images} images sent, {session.depths} depth images back')
            time.sleep(0.2)
        if camera.status:
            camera.fail()


def demo(argv: Sequence[str]) -> int:
    """Run the demo and print its report."""
    arguments = parser().parse_args(argv)
    require_ros()
    from sidepth_ros.demo.report import report  # noqa: PLC0415 - these two need rclpy
    from sidepth_ros.demo.session import make_plan  # noqa: PLC0415

    plan = make_plan(arguments)
    folder = arguments.out / time.strftime('%Y-%m-%d_%H-%M-%S')
    folder.mkdir(parents=True)
    console = Console()
    with environment():
        session, sent = play(plan, folder, console)
    report(session, sent, folder, console)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; SIGTERM ends it as Ctrl-C does, with every process it started."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    return run(demo, sys.argv[1:] if argv is None else argv)


if __name__ == '__main__':
    sys.exit(main())
