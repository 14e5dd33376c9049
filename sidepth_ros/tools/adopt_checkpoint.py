"""Gives a running node the weights of a fine-tuning run, if they are better: `ros2 run sidepth_ros adopt_checkpoint`.

Better is what the run's own comparison says: both checkpoints on frames of the recording that training never saw.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter

from sidepth_core.errors import CheckpointError, ConfigError, SidepthError
from sidepth_ros.tools.executable import run_node, without_ros_arguments

COMPARISON_FILE, BEST_FOLDER = 'comparison.json', 'best'
SERVICE_SECONDS = 10.0
"""How long the node may take to answer."""
SWAP_SECONDS = 120.0
"""How long it may take to load the new weights beside the old ones."""


def read_comparison(run: Path) -> dict[str, Any]:
    """Return what a fine-tuning run says of its two checkpoints: is_better, frames, rows.

    Raises:
        CheckpointError: If the run has no comparison or no best checkpoint.
    """
    try:
        comparison = json.loads((run / COMPARISON_FILE).read_text(encoding='utf-8'))
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f'run {str(run)!r} has no {COMPARISON_FILE} ({error}): expected the folder of a finished fine-tuning, '
            'made by `train --bag ... --checkpoint ...`'
        ) from error
    if not (run / BEST_FOLDER / 'model.json').is_file():
        raise CheckpointError(f'run {str(run)!r} has no checkpoint {BEST_FOLDER!r}')
    return dict(comparison)


def listing(comparison: dict[str, Any]) -> str:
    """Return the before/after table as lines of text: a ROS log has no width that rich could lay a table out for."""

    def figure(value: float | None) -> str:
        return 'unknown' if value is None else f'{value:.4f}'

    rows = [(row['name'], figure(row['before']), figure(row['after'])) for row in comparison['rows']]
    head = (f'on {comparison["frames"]} held-out frames', 'before', 'after')
    width = max(len(name) for name, _, _ in [head, *rows])
    return '\n'.join(f'{name:{width}}  {before:>9} {after:>9}' for name, before, after in [head, *rows])


def set_checkpoint(node: Node, target: str, checkpoint: Path) -> None:
    """Set a node's parameter `checkpoint` and wait until it runs on those weights.

    Args:
        node: Who asks.
        target: Name of the depth node.
        checkpoint: Folder of the weights.

    Raises:
        ConfigError: If there is no such node.
        SidepthError: If it refuses, or does not change over in time.
    """
    client = node.create_client(SetParameters, f'{target}/set_parameters')
    if not client.wait_for_service(timeout_sec=SERVICE_SECONDS):
        raise ConfigError(f'no node {target!r} answers: is it running, in this ROS_DOMAIN_ID?')
    running: list[str] = []

    def listen(message: DiagnosticArray) -> None:
        own = [status for status in message.status if status.name == f'{target.strip("/")}: model']
        running.extend(item.value for status in own for item in status.values if item.key == 'checkpoint')

    subscription = node.create_subscription(DiagnosticArray, '/diagnostics', listen, 10)
    value = Parameter('checkpoint', value=str(checkpoint.absolute())).to_parameter_msg()
    future = client.call_async(SetParameters.Request(parameters=[value]))
    rclpy.spin_until_future_complete(node, future, timeout_sec=SERVICE_SECONDS)
    if not future.done():
        raise SidepthError(f'node {target!r} does not answer within {SERVICE_SECONDS:g} s')
    result = future.result().results[0]
    if not result.successful:
        raise SidepthError(f'node {target!r} refuses checkpoint {str(checkpoint)!r}: {result.reason}')
    deadline = time.monotonic() + SWAP_SECONDS
    while str(checkpoint.absolute()) not in running:
        if time.monotonic() > deadline:
            raise SidepthError(f'node {target!r} still runs on its old weights, see its log: {running[-1:]}')
        rclpy.spin_once(node, timeout_sec=0.2)
    node.destroy_subscription(subscription)


def adopt(node: Node, run: Path, target: str, *, always: bool) -> None:
    """Give the node the run's best weights if they are better.

    Raises:
        SidepthError: As read_comparison and set_checkpoint do.
    """
    comparison = read_comparison(run)
    log = node.get_logger()
    log.info('\n' + listing(comparison))
    if not comparison['is_better'] and not always:
        verdict = comparison.get('verdict', 'the new checkpoint is not better')
        log.warning(f'{verdict}: {target} keeps its weights. Those of the run are in {run / BEST_FOLDER}')
        return
    set_checkpoint(node, target, run / BEST_FOLDER)
    log.info(f'{target} runs on {run / BEST_FOLDER}')


def main(argv: Sequence[str] | None = None) -> int:
    """Adopt what the command line names, and return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog='adopt_checkpoint',
        description='Give a running depth node the weights of a fine-tuning run, if they are better.',
    )
    parser.add_argument('run', type=Path, help='folder of the run')
    parser.add_argument('--node', default='/depth', help='full name of the depth node (default: /depth)')
    parser.add_argument('--always', action='store_true', help='also if they are not better')
    options = parser.parse_args(without_ros_arguments(arguments))
    return run_node(
        'adopt_checkpoint', arguments, lambda node: adopt(node, options.run, options.node, always=options.always)
    )


if __name__ == '__main__':
    sys.exit(main())
