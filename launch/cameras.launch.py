"""Several cameras through one network: `ros2 launch sidepth_ros cameras.launch.py cameras:=front,left,right`.

One process holds one model and puts the newest images of all cameras into one batch. Of each camera <name> it takes
<name>/image_raw and <name>/camera_info, and publishes <name>/depth/image, <name>/depth/points and so on.
"""

from __future__ import annotations

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction

from sidepth_core.errors import ConfigError
from sidepth_ros.launching import (
    CameraTopics,
    argument,
    camera_topics,
    depth_node,
    drive_to_active,
    flag,
    names,
    node_arguments,
    number,
    shared_memory_warning,
    text,
)

CONFIG = Path(__file__).parents[1] / 'config'

ARGUMENTS = (
    argument('cameras', 'front,left,right', 'Names of the cameras, separated by commas.'),
    argument('image', 'image_raw', 'Image topic below each name; image_rect where a driver rectifies.'),
    argument(
        'batch_wait',
        '',
        'How long the first image of a batch waits for the other cameras, seconds. Empty: as params_file says.',
    ),
    *node_arguments(CONFIG),
)


def generate_launch_description() -> LaunchDescription:
    """Return the launch: its arguments, and what they amount to."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[object]:
    """Return the node."""
    cameras = names(context, 'cameras')
    if not cameras or len(set(cameras)) != len(cameras):
        raise ConfigError(f"launch argument cameras is {cameras}, expected names, each another: 'front,left'")
    topics = {camera: topics_of(context, camera) for camera in cameras}
    parameters: dict[str, object] = {'cameras': cameras, 'image_transport': topics[cameras[0]].transport}
    if text(context, 'batch_wait'):
        parameters['batch_wait'] = number(context, 'batch_wait')
    node = depth_node(context, parameters, [rule for camera in cameras for rule in remappings(camera, topics[camera])])
    driven = drive_to_active(context, node) if flag(context, 'autostart') else []
    return [*shared_memory_warning(), node, *driven]


def topics_of(context: LaunchContext, camera: str) -> CameraTopics:
    """Return where one camera's image and camera_info come from."""
    return camera_topics(f'{camera}/{text(context, "image")}', text(context, 'image_transport'))


def remappings(camera: str, topics: CameraTopics) -> list[tuple[str, str]]:
    """Return the rules that make the node listen there."""
    return [(f'{camera}/image', topics.image), (f'{camera}/camera_info', topics.camera_info)]
