"""How the small executables start and end: rclpy up, one node, work, and rclpy down whatever happened."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from sidepth_core.cli import run


def without_ros_arguments(argv: Sequence[str]) -> list[str]:
    """Return a command line without `--ros-args ...`, which is ROS's own."""
    return list(rclpy.utilities.remove_ros_args(list(argv)))


def run_node(name: str, argv: Sequence[str], work: Callable[[Node], None]) -> int:
    """Run `work` with a node; an error of ours is one line on stderr. Being ended is success. Return the exit status.

    Args:
        name: Name of the node, where `argv` does not remap it.
        argv: The command line, with ROS's own arguments.
        work: What to do.
    """

    def guarded(arguments: Sequence[str]) -> int:
        # SIGTERM, with which a launch insists, ends it as SIGINT does; rclpy calls this handler after its own.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        rclpy.init(args=list(arguments))
        try:
            work(rclpy.create_node(name))
        except (KeyboardInterrupt, ExternalShutdownException):
            pass
        finally:
            rclpy.try_shutdown()
        return 0

    return run(guarded, argv)
