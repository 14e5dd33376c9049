"""A drive into a bag that `train` takes as it is: `ros2 launch sidepth_ros record.launch.py camera_names:=front`.

Records each camera's images and calibration, odometry, /tf and /tf_static with `ros2 bag record` until Ctrl-C, and
writes each camera's calibration as a YAML file beside the bag's own files. A full disk ends the recording in time.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    EmitEvent,
    ExecuteProcess,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch_ros.actions import Node

from sidepth_core.errors import ConfigError
from sidepth_ros.launching import (
    BOOLEAN,
    PACKAGE,
    argument,
    camera_topics,
    fastdds_argument,
    fastdds_environment,
    flag,
    names,
    number,
    text,
)

CONFIG = Path(__file__).parents[1] / 'config'
CHECK_DISK_SECONDS = 5.0
CLOSE_SECONDS = '30'
"""How long the recorder may take to write out its cache before it is terminated."""
POSITIONAL_TOPICS = ('humble', 'iron')
"""Distributions whose `ros2 bag record` knows no --topics."""

ARGUMENTS = (
    argument(
        'camera_names', 'camera', 'The cameras, separated by commas: of each, <name>/image_raw and <name>/camera_info.'
    ),
    argument(
        'image_transport',
        'raw',
        'Which images: raw, or compressed (<name>/image_raw/compressed: a tenth of the size, good enough to train on).',
        ('raw', 'compressed'),
    ),
    argument('odometry', 'odom', 'nav_msgs/Odometry topic: what makes trained depth metric. Empty: none.'),
    argument('topics', '', 'More topics to record, separated by commas: a LiDAR, say, whose depth `evaluate` can use.'),
    argument('namespace', '', 'Namespace of all relative topics.'),
    argument('out', '', 'Folder of the bag, which must not exist. Empty: recordings/<cameras>_<date>_<time>.'),
    argument('storage', 'mcap', 'Format of the bag.', ('mcap', 'sqlite3')),
    argument('split_gb', '4', 'Start another file of the bag after this many gigabytes; 0: one file.'),
    argument('max_seconds', '0', 'Stop after this many seconds; 0: on Ctrl-C.'),
    argument('min_free_gb', '2', 'Refuse to start, and stop, when fewer gigabytes than these are free on the disk.'),
    argument(
        'moving_only',
        'false',
        'Pause while odometry stands still: training has no use for still frames. Needs rosbag2 of Jazzy or newer.',
        BOOLEAN,
    ),
    argument('min_speed', '0.05', 'Speed from which moving_only records, metres a second.'),
    argument('still_seconds', '2', 'How long the robot must stand before moving_only pauses.'),
    argument('use_sim_time', 'false', 'Stamp the recording with /clock.', BOOLEAN),
    fastdds_argument(CONFIG),
)


def generate_launch_description() -> LaunchDescription:
    """Return the launch: its arguments, and what they amount to."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[object]:
    """Return the recorder and what looks after it."""
    cameras = names(context, 'camera_names')
    if not cameras:
        raise ConfigError("launch argument camera_names is empty, expected names such as 'front,left'")
    if flag(context, 'moving_only') and not text(context, 'odometry'):
        raise ConfigError('launch argument moving_only needs odometry to tell motion')
    out = folder(context, cameras)
    recorder = record(context, topics_of(context, cameras), out)

    def finished(_: ProcessExited, __: LaunchContext) -> list[object]:
        return [LogInfo(msg=outcome(out)), EmitEvent(event=Shutdown(reason='the recorder has ended'))]

    return [
        LogInfo(msg=f'recording into {out}'),
        recorder,
        RegisterEventHandler(OnProcessExit(target_action=recorder, on_exit=finished)),
        *watch_disk(context, out),
        *limit(context),
        *snapshots(context, cameras, out),
        *gate(context),
    ]


def folder(context: LaunchContext, cameras: list[str]) -> Path:
    """Return where the bag goes; its parent is made."""
    named = text(context, 'out')
    stamped = time.strftime(f'{"-".join(camera.strip("/").replace("/", "_") for camera in cameras)}_%Y-%m-%d_%H-%M-%S')
    out = Path(named).expanduser() if named else Path('recordings', stamped)
    if out.exists():
        raise ConfigError(f'launch argument out is {str(out)!r}, which exists: name a new folder')
    out.parent.mkdir(parents=True, exist_ok=True)
    return out.absolute()


def topics_of(context: LaunchContext, cameras: list[str]) -> list[str]:
    """Return every topic to record, absolute."""
    root = '/' + '/'.join(part for part in text(context, 'namespace').split('/') if part)
    relative = [
        name
        for camera in cameras
        for name in camera_topics(f'{camera}/image_raw', text(context, 'image_transport'))[:2]
    ]
    relative += [text(context, 'odometry')] if text(context, 'odometry') else []
    relative += names(context, 'topics')
    absolute = [topic if topic.startswith('/') else f'{root.rstrip("/")}/{topic}' for topic in relative]
    return [*absolute, '/tf', '/tf_static']


def record(context: LaunchContext, topics: list[str], out: Path) -> ExecuteProcess:
    """Return `ros2 bag record`."""
    command = ['ros2', 'bag', 'record', '--output', str(out), '--storage', text(context, 'storage')]
    if number(context, 'split_gb') > 0:
        command += ['--max-bag-size', str(round(number(context, 'split_gb') * 1e9))]
    if flag(context, 'use_sim_time'):
        command += ['--use-sim-time']
    listed = topics if os.environ.get('ROS_DISTRO') in POSITIONAL_TOPICS else ['--topics', *topics]
    return ExecuteProcess(
        cmd=[*command, *listed],
        name='recorder',
        additional_env=fastdds_environment(text(context, 'fastdds_profile')),
        sigterm_timeout=CLOSE_SECONDS,
        output='screen',
    )


def outcome(out: Path) -> str:
    """Return what to say of a recording that has ended; its recorder writes the metadata last."""
    if (out / 'metadata.yaml').is_file():
        return f'recorded {out}. Fine-tune on it: ros2 launch sidepth_ros finetune.launch.py bag:={out}'
    return f"no finished recording in {out}: the reason is in the recorder's own message above"


def watch_disk(context: LaunchContext, out: Path) -> list[object]:
    """Return the timer that ends the recording before the disk is full; full already, refuse to start."""
    limit_gb = number(context, 'min_free_gb')

    def free_gb() -> float:
        return shutil.disk_usage(out.parent).free / 1e9

    def check(_: LaunchContext) -> list[object]:
        if free_gb() >= limit_gb:
            return [TimerAction(period=CHECK_DISK_SECONDS, actions=[OpaqueFunction(function=check)])]
        return [EmitEvent(event=Shutdown(reason=f'only {free_gb():.1f} GB are free, min_free_gb is {limit_gb:g}'))]

    if free_gb() < limit_gb:
        raise ConfigError(
            f'{str(out.parent)!r} has {free_gb():.1f} GB free, min_free_gb is {limit_gb:g}: make room, '
            'or record to another disk with out:=PATH'
        )
    return check(context)


def limit(context: LaunchContext) -> list[object]:
    """Return the timer that ends the recording, where one is asked for."""
    seconds = number(context, 'max_seconds')
    ended = EmitEvent(event=Shutdown(reason=f'max_seconds ({seconds:g}) are over'))
    return [TimerAction(period=seconds, actions=[ended])] if seconds > 0 else []


def snapshots(context: LaunchContext, cameras: list[str], out: Path) -> list[object]:
    """Return what writes each camera's calibration into the bag's folder."""
    return [
        Node(
            package=PACKAGE,
            executable='camera_snapshot',
            name='camera_snapshot_' + camera.strip('/').replace('/', '_'),
            namespace=text(context, 'namespace'),
            arguments=['--out', str(out / 'calibration' / f'{camera.strip("/").replace("/", "_")}.yaml')],
            remappings=[('camera_info', f'{camera}/camera_info')],
            additional_env=fastdds_environment(text(context, 'fastdds_profile')),
            output='screen',
        )
        for camera in cameras
    ]


def gate(context: LaunchContext) -> list[object]:
    """Return what pauses the recorder while the robot stands, where that is asked for."""
    if not flag(context, 'moving_only'):
        return []
    return [
        Node(
            package=PACKAGE,
            executable='motion_gate',
            name='motion_gate',
            namespace=text(context, 'namespace'),
            arguments=['--min-speed', text(context, 'min_speed'), '--still-seconds', text(context, 'still_seconds')],
            remappings=[('odom', text(context, 'odometry'))],
            additional_env=fastdds_environment(text(context, 'fastdds_profile')),
            output='screen',
        )
    ]
