"""What the launch files share: how arguments are declared and read, Fast DDS' profile, who drives a lifecycle node."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ament_index_python.packages import get_packages_with_prefixes
from launch import LaunchContext
from launch.actions import DeclareLaunchArgument, EmitEvent, LogInfo, RegisterEventHandler
from launch.event_handlers import OnProcessStart
from launch.events import matches_action
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from lifecycle_msgs.msg import Transition

from sidepth_core.data.bags import COMPRESSED_IMAGE, BagFiles, Choice, choose
from sidepth_core.errors import ConfigError
from sidepth_ros.fastdds import profile_environment

PACKAGE = 'sidepth_ros'
BOOLEAN = ('true', 'false')
SMALL_SHM_BYTES = 256 * 2**20
"""Shared memory below this cannot hold a segment for each of a handful of processes."""
# Said again here, because importing what knows them brings torch; a test holds them equal.
ENGINES = (
    '', 'eager', 'channels_last', 'compiled', 'openvino', 'openvino_gpu', 'onnxruntime', 'onnxruntime_tensorrt', 'auto',
)
PRECISIONS = ('', 'float32', 'bf16', 'fp16', 'auto')
SCALE_SOURCES = ('', 'checkpoint', 'fixed', 'camera_height', 'odometry', 'range', 'auto', 'relative')
TOPIC = re.compile(r'(~?/)?[A-Za-z_]\w*(/[A-Za-z_]\w*)*', re.ASCII)
"""What ROS takes for the name of a topic."""


def argument(name: str, default: str | None, description: str, choices: Sequence[str] = ()) -> DeclareLaunchArgument:
    """Declare a launch argument that `--show-args` explains; without a default it must be given."""
    return DeclareLaunchArgument(
        name, default_value=default, description=description, choices=list(choices) or None
    )


def text(context: LaunchContext, name: str) -> str:
    """Return the value of a launch argument, without spaces around it."""
    return str(LaunchConfiguration(name).perform(context)).strip()


def flag(context: LaunchContext, name: str) -> bool:
    """Return whether a launch argument is 'true'."""
    return text(context, name).lower() == 'true'


def number(context: LaunchContext, name: str) -> float:
    """Return the value of a launch argument as a number.

    Raises:
        ConfigError: If it is not one.
    """
    value = text(context, name)
    try:
        return float(value)
    except ValueError:
        raise ConfigError(f'launch argument {name} is {value!r}, expected a number') from None


def names(context: LaunchContext, name: str) -> list[str]:
    """Return the value of a launch argument as a list: 'front,left' gives ['front', 'left']."""
    parts = (part.strip(' \'"') for part in text(context, name).strip('[]').split(','))
    return [part for part in parts if part]


def existing(name: str, value: str) -> Path:
    """Return the path that a launch argument names.

    Raises:
        ConfigError: If nothing is there.
    """
    path = Path(value).expanduser()
    if not path.exists():
        raise ConfigError(f'launch argument {name} is {value!r}: there is no such file or folder')
    return path


def existing_file(name: str, value: str) -> Path:
    """Return the file that a launch argument names; launch itself starts a node without the one it does not find.

    Raises:
        ConfigError: If there is no such file.
    """
    path = existing(name, value)
    if not path.is_file():
        raise ConfigError(f'launch argument {name} is {value!r}: expected a file')
    return path


class CameraTopics(NamedTuple):
    """What the node's `image` and `camera_info` are remapped to.

    Attributes:
        image: Image topic, /compressed included.
        camera_info: Its calibration.
        transport: raw or compressed.
    """

    image: str
    camera_info: str
    transport: str


def camera_topics(image: str, transport: str) -> CameraTopics:
    """Return the topics of a camera as image_transport names them.

    Raises:
        ConfigError: If `image` cannot be the name of a topic.
    """
    base = image.removesuffix('/compressed')
    if not TOPIC.fullmatch(base):
        raise ConfigError(f'{image!r} is no name of a topic: expected one as ROS takes it, such as front/image_raw')
    if image.endswith('/compressed'):
        transport = 'compressed'
    namespace, _, _ = base.rpartition('/')
    return CameraTopics(
        f'{base}/compressed' if transport == 'compressed' else image,
        f'{namespace}/camera_info' if namespace or image.startswith('/') else 'camera_info',
        transport,
    )


def bag_topics(bag: Path) -> CameraTopics:
    """Return the topics of the one camera in a bag.

    Raises:
        BagError: If the bag cannot be read, or holds no camera or several.
    """
    with BagFiles(bag) as files:
        chosen = choose(files.topics, Choice(odometry='none'), str(bag))
    transport = 'compressed' if chosen.image.type == COMPRESSED_IMAGE else 'raw'
    topics = camera_topics(chosen.image.name, transport)._replace(image=chosen.image.name)
    return topics._replace(camera_info=chosen.camera_info.name) if chosen.camera_info else topics


def node_arguments(config: Path) -> list[DeclareLaunchArgument]:
    """Declare the arguments of every launch file that starts the depth node.

    Args:
        config: The installed folder config/.
    """
    as_file = 'Empty: as params_file says.'
    return [
        argument('namespace', '', 'Namespace of the node and of every relative topic, for a robot among others.'),
        argument(
            'image_transport',
            'raw',
            'How images come: raw, or compressed (JPEG or PNG) on the image topic with /compressed behind it.',
            ('raw', 'compressed'),
        ),
        argument('checkpoint', '', f'Weights: a folder, or hf://org/repo[/folder][@revision]. {as_file}'),
        argument(
            'scale_source',
            '',
            'Where metres come from: checkpoint (the weights are metric), fixed (scale_factor), camera_height, '
            'odometry or range (measured by these; their parameters in params_file), auto (the surest of them), or '
            f'relative (no metres: depth up to scale). {as_file}',
            SCALE_SOURCES,
        ),
        argument('scale_factor', '', f"Metres per unit of the network's depth, for scale_source:=fixed. {as_file}"),
        argument('engine', '', f'How the network is run. {as_file}', ENGINES),
        argument('precision', '', f'Number format inside the network. {as_file}', PRECISIONS),
        argument('device', '', f'Where the network runs: auto, cpu, cuda or cuda:N. {as_file}'),
        argument(
            'params_file',
            str(config / 'depth.yaml'),
            'Parameters of the node; copy the default, which lists and explains them all, and change the copy.',
        ),
        argument('use_sim_time', 'false', 'Take time from /clock; always so while a bag is played.', BOOLEAN),
        argument('log_level', 'info', 'How much the node says.', ('debug', 'info', 'warn', 'error', 'fatal')),
        argument(
            'autostart',
            'true',
            'Configure and activate the node; false leaves that to a lifecycle manager or to `ros2 lifecycle set`.',
            BOOLEAN,
        ),
        argument('respawn', 'false', 'Start the node again two seconds after it died.', BOOLEAN),
        fastdds_argument(config),
    ]


def starts_itself(context: LaunchContext) -> bool:
    """Return whether the node goes through its transitions by itself: where it may be started again.

    For many seconds after a node has died DDS still lists its services. What the launch asked of the new one would go
    to the dead one, and wait for an answer for ever.
    """
    return flag(context, 'autostart') and flag(context, 'respawn')


def depth_node(
    context: LaunchContext, parameters: Mapping[str, object], remappings: Sequence[tuple[str, str]]
) -> LifecycleNode:
    """Return the depth node with the arguments of node_arguments.

    Args:
        context: Where their values are.
        parameters: More parameters, which come last.
        remappings: Where images and camera_infos come from.
    """
    own = {
        **node_parameters(context),
        'use_sim_time': flag(context, 'use_sim_time'),
        # Else the launch drives the transitions, or whoever autostart:=false leaves them to.
        'autostart': starts_itself(context),
        **parameters,
    }
    return LifecycleNode(
        package=PACKAGE,
        executable='depth_node',
        name='depth',
        namespace=text(context, 'namespace'),
        parameters=[str(existing_file('params_file', text(context, 'params_file'))), own],
        remappings=list(remappings),
        arguments=['--ros-args', '--log-level', text(context, 'log_level')],
        additional_env=fastdds_environment(text(context, 'fastdds_profile')),
        respawn=flag(context, 'respawn'),
        respawn_delay=2.0,
        output='screen',
        emulate_tty=True,
    )


def is_installed(package: str) -> bool:
    """Return whether a ROS package is there."""
    return package in get_packages_with_prefixes()


def fastdds_argument(config: Path) -> DeclareLaunchArgument:
    """Declare the argument that sends images through shared memory."""
    return argument(
        'fastdds_profile',
        str(config / 'fastdds_shm.xml'),
        "Fast DDS profile of the processes started here: images through shared memory; 'none' leaves Fast DDS alone, "
        'and a profile that the environment names comes first. Start the camera driver with the same one.',
    )


def node_parameters(context: LaunchContext) -> dict[str, object]:
    """Return the node's parameters that the arguments of node_arguments override."""
    given = ('checkpoint', 'scale_source', 'engine', 'precision', 'device')
    parameters: dict[str, object] = {name: value for name in given if (value := text(context, name))}
    if text(context, 'scale_factor'):
        parameters['scale_factor'] = number(context, 'scale_factor')
    return parameters


def fastdds_environment(profile: str) -> dict[str, str]:
    """Return the environment that gives a process Fast DDS' shared-memory profile.

    A profile that the user's shell has set already stays: then, and for 'none', nothing is added.

    Args:
        profile: Path of an XML profile, or 'none'.

    Raises:
        ConfigError: If there is no such file.
    """
    if profile == 'none':
        return {}
    if not Path(profile).is_file():
        raise ConfigError(f"launch argument fastdds_profile is {profile!r}, expected an existing XML file or 'none'")
    return profile_environment(Path(profile))


def shared_memory_warning(folder: Path = Path('/dev/shm')) -> list[LogInfo]:  # noqa: S108 - where Linux keeps it
    """Return a warning when shared memory is as small as a container's default; nothing otherwise."""
    if not folder.is_dir() or shutil.disk_usage(folder).total >= SMALL_SHM_BYTES:
        return []
    return [
        LogInfo(
            msg=f'{folder} holds {shutil.disk_usage(folder).total // 2**20} MiB in all: images through shared memory '
            'need 64 MiB a process. In a container use `docker run --shm-size=1g` (or --ipc=host); '
            'else fastdds_profile:=none.'
        )
    ]


def drive_to_active(
    context: LaunchContext, node: LifecycleNode, on_active: Iterable[object] = ()
) -> list[RegisterEventHandler]:
    """Return the handlers that configure a lifecycle node when its process starts, and then activate it.

    Each step waits for the one before: the request for `configure` goes out once the node's service is there, and
    `activate` when the node says that it is configured, however long its network takes to load. A step that fails is
    said, and the rest of the launch goes on. All this happens once: later transitions are for
    whoever asks for them.

    Args:
        context: Where it is said whether the node does that by itself (see starts_itself).
        node: The node.
        on_active: Actions for when it is active.
    """

    def request(transition_id: int) -> EmitEvent:
        return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition_id))

    def on(start: str, goal: str, *entities: object, once: bool = False) -> RegisterEventHandler:
        return RegisterEventHandler(
            OnStateTransition(
                target_lifecycle_node=node,
                start_state=start,
                goal_state=goal,
                entities=list(entities),
                handle_once=once,
            )
        )

    def failed(step: str) -> LogInfo:
        return LogInfo(msg=f'the depth node could not {step}: the reason is in its own message above')

    requests = [
        RegisterEventHandler(OnProcessStart(target_action=node, on_start=[request(Transition.TRANSITION_CONFIGURE)])),
        on('configuring', 'inactive', request(Transition.TRANSITION_ACTIVATE), once=True),
    ]
    return [
        *([] if starts_itself(context) else requests),
        on('activating', 'active', LogInfo(msg='the depth node is active'), *on_active, once=True),
        on('configuring', 'unconfigured', failed('configure')),
        on('configuring', 'errorprocessing', failed('configure')),
        on('activating', 'inactive', failed('activate')),
        on('activating', 'errorprocessing', failed('activate')),
    ]
