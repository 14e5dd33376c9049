"""Learn from a recorded drive, then drive on what was learned: `ros2 launch sidepth_ros finetune.launch.py bag:=DIR`.

Runs `train` on the bag, which ends with both checkpoints on held-out frames of the same drive. Only if the new one is
better there, the running node gets it, between two frames; otherwise it keeps what it has.
"""

from __future__ import annotations

import shlex
import time
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import ExecuteProcess, LogInfo, OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnProcessExit
from launch.events.process import ProcessExited
from launch_ros.actions import Node
from launch_ros.substitutions import ExecutableInPackage

from sidepth_ros.launching import (
    BOOLEAN,
    PACKAGE,
    argument,
    existing,
    fastdds_argument,
    fastdds_environment,
    flag,
    text,
)

CONFIG = Path(__file__).parents[1] / 'config'
STOP_SECONDS = '60'
"""How long training may take to save its state when it is interrupted."""

ARGUMENTS = (
    argument('bag', None, 'The recording to learn from: a rosbag2, best one of record.launch.py.'),
    argument('checkpoint', 'default', 'Weights to start from: those the node runs on. default: the built-in ones.'),
    argument('recipe', '', "Recipe of the training, a YAML file. Empty: train's own for bags, finetune_bag.yaml."),
    argument('out', '', 'Folder of the run. Empty: runs/<bag>_<date>_<time>.'),
    argument('train_arguments', '', "More arguments of train, as one text: '--steps 500 --device cpu'."),
    argument('node', '/depth', 'Full name of the running depth node that gets better weights.'),
    argument('adopt', 'true', 'Give the node the new weights if they are better; false only trains.', BOOLEAN),
    fastdds_argument(CONFIG),
)


def generate_launch_description() -> LaunchDescription:
    """Return the launch: its arguments, and what they amount to."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[object]:
    """Return the training and what follows it."""
    bag = existing('bag', text(context, 'bag'))
    out = Path(text(context, 'out') or f'runs/{bag.stem}_{time.strftime("%Y-%m-%d_%H-%M-%S")}').expanduser().absolute()
    training = train(context, bag, out)

    def finished(event: ProcessExited, context: LaunchContext) -> list[object]:
        if event.returncode:
            return [LogInfo(msg=f'training ended with status {event.returncode}: the node keeps its weights')]
        return [adoption(context, out)] if flag(context, 'adopt') else [LogInfo(msg=f'trained: {out}')]

    return [training, RegisterEventHandler(OnProcessExit(target_action=training, on_exit=finished))]


def train(context: LaunchContext, bag: Path, out: Path) -> ExecuteProcess:
    """Return the training process."""
    recipe = ['--recipe', text(context, 'recipe')] if text(context, 'recipe') else []
    return ExecuteProcess(
        cmd=[
            ExecutableInPackage('train', PACKAGE),
            *recipe,
            *('--bag', str(bag), '--checkpoint', text(context, 'checkpoint'), '--out', str(out)),
            *shlex.split(text(context, 'train_arguments')),
        ],
        name='train',
        sigterm_timeout=STOP_SECONDS,
        output='screen',
        emulate_tty=True,
    )


def adoption(context: LaunchContext, out: Path) -> Node:
    """Return what compares, and gives the node the better weights."""
    return Node(
        package=PACKAGE,
        executable='adopt_checkpoint',
        arguments=[str(out), '--node', text(context, 'node')],
        additional_env=fastdds_environment(text(context, 'fastdds_profile')),
        output='screen',
    )
