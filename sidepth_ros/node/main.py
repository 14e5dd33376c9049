"""The executable: starts the depth node, ends it cleanly on SIGINT and SIGTERM."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from types import FrameType
from typing import NoReturn

from sidepth_core.threads import let_threads_sleep

NO_RCLPY = (
    'the node needs rclpy: source a ROS 2 install (`source /opt/ros/<distro>/setup.bash`), or install it from PyPI '
    "with sidepth's extra [ros]"
)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the node until it is told to stop, and end the process.

    Both signals end it with status 0, while it starts as well. The status is 1 where parameters are wrong.
    """
    # SIGINT too: a shell that starts us in the background has us ignore it, and `ros2 launch` ends its nodes with it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _on_signal)
    let_threads_sleep()
    try:
        status = _run(argv)
    except KeyboardInterrupt:
        status = 0
    except Exception as error:
        if not _is_told_to_end.is_set():
            raise
        # A signal ends the context in a thread of rclpy's, at any moment: between two steps of ours the second fails.
        print(f'while the node ended: {error!r}', file=sys.stderr)  # noqa: T201 - there is no node to log with
        status = 0
    # What is left of the node keeps the DDS participant, whose shared memory would outlive the process.
    gc.collect()
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything of ours has ended. What the interpreter would do now is take torch apart, which takes seconds, and
    # crashes if a network that did not end in time is still at work in its thread.
    os._exit(status)


_on_graph = threading.Event()
"""Set once there is a ROS context, which rclpy ends when a signal comes."""
_is_told_to_end = threading.Event()
"""Set once a signal has come."""


def _on_signal(_number: int, _frame: FrameType | None) -> None:
    """End the process at once while it only imports; from then on, interrupt what it does.

    An exception that is raised in the middle of an import can be lost there. Later, rclpy, which calls this handler
    from its own, has ended the context by then, and nothing goes on for long without one.

    Raises:
        KeyboardInterrupt: If there is a node to be taken off the graph.
    """
    if not _on_graph.is_set():
        os._exit(0)
    _is_told_to_end.set()
    raise KeyboardInterrupt


def _run(argv: Sequence[str] | None) -> int:
    if find_spec('rclpy') is None:
        print(f'error: {NO_RCLPY}', file=sys.stderr)  # noqa: T201 - as below
        return 1
    # Imported here, for the seconds that torch takes must be interruptible, too.
    import rclpy  # noqa: PLC0415
    from rclpy.exceptions import ParameterException  # noqa: PLC0415
    from rclpy.executors import SingleThreadedExecutor  # noqa: PLC0415

    from sidepth_core.errors import SidepthError  # noqa: PLC0415
    from sidepth_ros.node.depth_node import DepthNode  # noqa: PLC0415
    from sidepth_ros.node.spin import spin  # noqa: PLC0415

    node = None
    try:
        rclpy.init(args=argv)
        _on_graph.set()
        node = DepthNode()
        if node.autostart:
            node.start()
        # One thread that stores the newest message: MultiThreadedExecutor spins without rest on many versions.
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        spin(executor, node.get_logger())
    except KeyboardInterrupt:
        pass
    except (SidepthError, ParameterException) as error:
        print(f'error: {error}', file=sys.stderr)  # noqa: T201 - there is no node to log with
        return 1
    except Exception as error:
        if not _on_graph.is_set():
            print(f'error: the command line or a parameters file cannot be read: {error}', file=sys.stderr)  # noqa: T201
            return 1
        # Somebody ended the context between two calls of ours, and the second one fails: the end, not a fault.
        if rclpy.ok():
            raise
    finally:
        # A second Ctrl-C, or the launch system's beside the terminal's, must not cut the end short.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if node is not None:
            node.stop()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    main()
