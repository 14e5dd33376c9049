"""Several depth nodes in one process: each a real node in a namespace of its own, with one start of Python for all.

Usage: node_fleet.py FILE, a JSON list of [namespace, [argument, ...]], the arguments as after --ros-args.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from sidepth_ros.node.depth_node import DepthNode


def main() -> None:
    """Start them, and spin until a signal comes."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rclpy.init(args=[])
    nodes = []
    executor = SingleThreadedExecutor()
    try:
        for namespace, arguments in json.loads(Path(sys.argv[1]).read_text(encoding='utf-8')):
            node = DepthNode(namespace=namespace, cli_args=['--ros-args', *arguments], use_global_arguments=False)
            node.start()
            executor.add_node(node)
            nodes.append(node)
        print('all started', flush=True)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        for node in nodes:
            node.stop()
            node.destroy_node()
        rclpy.try_shutdown()
    os._exit(0)  # as the node's own main: taking torch apart takes seconds


if __name__ == '__main__':
    main()
