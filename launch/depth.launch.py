"""One camera in, metric depth and a point cloud out: `ros2 launch sidepth_ros depth.launch.py`.

The camera's topics are <camera_name>/image_raw and <camera_name>/camera_info; the node publishes depth/image,
depth/camera_info, depth/points, depth/image_color and more. With bag:=PATH a recording is the camera.
"""

from __future__ import annotations

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import ExecuteProcess, LogInfo, OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnProcessStart
from launch_ros.actions import Node

from sidepth_core.errors import ConfigError
from sidepth_ros.launching import (
    BOOLEAN,
    CameraTopics,
    argument,
    bag_topics,
    camera_topics,
    depth_node,
    drive_to_active,
    existing,
    fastdds_environment,
    flag,
    is_installed,
    node_arguments,
    number,
    shared_memory_warning,
    text,
)

CONFIG = Path(__file__).parents[1] / 'config'
NO_RVIZ = 'rviz:=true does nothing: the package rviz2 is not installed (apt install ros-$ROS_DISTRO-rviz2)'

ARGUMENTS = (
    argument(
        'camera_name',
        '',
        'The camera: its images are <camera_name>/image_raw, its calibration <camera_name>/camera_info. '
        "Empty: 'camera'; with a bag, the one camera in it.",
    ),
    argument('image', '', 'Image topic, where it is not named like that.'),
    argument('camera_info', '', 'CameraInfo topic, where it does not stand beside the image topic.'),
    *node_arguments(CONFIG),
    argument('rviz', 'false', 'Open RViz on the camera, the depth, its colours and the cloud.', BOOLEAN),
    argument('fixed_frame', 'camera_optical_frame', "RViz's fixed frame: the images' frame_id, or one of /tf."),
    argument('bag', '', 'A rosbag2 to play as the camera, with the simulated clock, once the node is active.'),
    argument('bag_rate', '1.0', 'How fast the bag is played: 0.5 is half as fast as it was recorded.'),
    argument('bag_loop', 'false', 'Play the bag again and again.', BOOLEAN),
)


def generate_launch_description() -> LaunchDescription:
    """Return the launch: its arguments, and what they amount to."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[object]:
    """Return the node, with the bag and RViz where asked for."""
    topics = topics_of(context)
    plays = bool(text(context, 'bag'))
    if plays and flag(context, 'respawn'):
        raise ConfigError('launch arguments bag and respawn do not go together: the bag starts once, with the node')
    node = depth_node(
        context,
        {'image_transport': topics.transport, 'use_sim_time': flag(context, 'use_sim_time') or plays},
        [('image', topics.image), ('camera_info', topics.camera_info)],
    )
    player = bag_player(context) if plays else []
    actions: list[object] = [*shared_memory_warning(), node]
    if flag(context, 'autostart'):
        actions += drive_to_active(context, node, on_active=player)
    elif player:
        actions.append(RegisterEventHandler(OnProcessStart(target_action=node, on_start=player)))
    if flag(context, 'rviz'):
        actions.append(rviz(context, topics) if is_installed('rviz2') else LogInfo(msg=NO_RVIZ))
    return actions


def topics_of(context: LaunchContext) -> CameraTopics:
    """Return the camera's topics: those that are named, else those of the bag."""
    image, bag = text(context, 'image'), text(context, 'bag')
    camera = text(context, 'camera_name').rstrip('/')
    if bag and not image and not camera:
        topics = bag_topics(existing('bag', bag))
    else:
        topics = camera_topics(image or f'{camera or "camera"}/image_raw', text(context, 'image_transport'))
    return topics._replace(camera_info=text(context, 'camera_info') or topics.camera_info)


def bag_player(context: LaunchContext) -> list[object]:
    """Return the process that plays the bag and is the clock."""
    bag = existing('bag', text(context, 'bag'))
    loop = ['--loop'] if flag(context, 'bag_loop') else []
    command = ['ros2', 'bag', 'play', str(bag), '--clock', '100', '--rate', f'{number(context, "bag_rate"):g}', *loop]
    return [
        LogInfo(msg=f'playing {bag}'),
        ExecuteProcess(
            cmd=[*command, '--disable-keyboard-controls'],
            name='bag_player',
            additional_env=fastdds_environment(text(context, 'fastdds_profile')),
            output='screen',
        ),
    ]


def rviz(context: LaunchContext, topics: CameraTopics) -> Node:
    """Return RViz on this camera's topics; those of config/sidepth.rviz are relative to its namespace."""
    return Node(
        package='rviz2',
        executable='rviz2',
        name='rviz',
        namespace=text(context, 'namespace'),
        arguments=['-d', str(CONFIG / 'sidepth.rviz'), '-f', text(context, 'fixed_frame')],
        parameters=[{'use_sim_time': flag(context, 'use_sim_time') or bool(text(context, 'bag'))}],
        remappings=[('camera/image_raw', topics.image)],
        additional_env=fastdds_environment(text(context, 'fastdds_profile')),
        output='screen',
    )
