"""What a recording says of the robot's own motion: odometry, twists, or any message with a speed in it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sidepth_core.data.bags.files import Topic
from sidepth_core.data.bags.recording import Content, FloatArray, Recording, Stamped, transform_of, xyz
from sidepth_core.data.bags.topics import ODOMETRY, SPEEDS
from sidepth_core.data.tracks import Track, chain, make_track, with_speed_of_poses
from sidepth_core.errors import BagError

OTHER_SPEEDS = (
    'expected Odometry, TwistStamped, Float32 or Float64, or the field of another message that is the speed in metres '
    'a second (odometry_topic=/can/speed:data.velocity)'
)

EMPTY_TWIST_MPS = 1e-3
"""A driver that leaves the twist of its odometry empty sends zeros."""


class Motion(NamedTuple):
    """All messages of a motion topic, before it is known where the camera sits.

    Attributes:
        stamps_ns: N times.
        velocity_mps: (N, 3), axes of the body.
        angular_rps: (N, 3), axes of the body; None for a bare speed.
        T_world_body: (N, 4, 4); None without poses.
        body_frame: Frame of velocity and pose.
        has_header: Whether the stamps are the sensor's; otherwise they are the recorder's.
    """

    stamps_ns: list[int]
    velocity_mps: FloatArray
    angular_rps: FloatArray | None
    T_world_body: FloatArray | None
    body_frame: str
    has_header: bool


def read_motion(recording: Recording, topic: Topic, speed_field: str = '', image: Stamped | None = None) -> Motion:
    """Return all of a motion topic.

    Args:
        recording: The recording.
        topic: The topic.
        speed_field: Of a message that is no motion by its type, the field that is the speed, metres a second.
        image: The first image, on whose clock the motion is told.

    Raises:
        BagError: If its type is none that tells motion, or no message of it can be read.
    """
    if speed_field:
        recording.learn(topic)
    messages = list(recording.beside(image, topic.name))
    if not messages:
        raise BagError(f'no message of {topic.name} ({topic.type}) can be read: {OTHER_SPEEDS}')
    stamps = [message.stamp_ns for message in messages]
    contents = [message.content for message in messages]
    if speed_field or topic.type in SPEEDS:
        velocity = np.array([[speed_of(content, speed_field or 'data', topic), 0, 0] for content in contents])
        if not hasattr(contents[0], 'header'):
            return Motion([message.log_ns for message in messages], velocity, None, None, '', has_header=False)
        return Motion(stamps, velocity, None, None, '', has_header=True)
    if not hasattr(contents[0], 'twist'):
        raise BagError(f'{topic.name} is {topic.type}, which tells no motion: {OTHER_SPEEDS}')
    twists = [getattr(content.twist, 'twist', content.twist) for content in contents]
    linear, angular = (np.array([xyz(getattr(t, part)) for t in twists]) for part in ('linear', 'angular'))
    if topic.type != ODOMETRY:
        return Motion(stamps, linear, angular, None, str(contents[0].header.frame_id), has_header=True)
    poses = np.stack([transform_of(c.pose.pose.orientation, c.pose.pose.position) for c in contents])
    return Motion(stamps, linear, angular, poses, str(contents[0].child_frame_id), has_header=True)


def speed_of(message: Content, path: str, topic: Topic) -> float:
    """Return a number in a message, by the names of its fields from the outside in, joined by dots.

    Raises:
        BagError: If there is no such field, or it is no number.
    """
    for name in path.split('.'):
        fields = getattr(message, '__dataclass_fields__', {})
        if name not in fields:
            named = ', '.join(field for field in fields if not field.startswith('_')) or 'no fields'
            raise BagError(f'{topic.name} ({topic.type}) has no field {path!r}: where {name!r} should be are {named}')
        message = getattr(message, name)
    if not isinstance(message, (int, float)):
        raise BagError(f'{topic.name}: field {path!r} is {type(message).__name__}, expected a speed in metres a second')
    return float(message)


def camera_track(
    motion: Motion, transforms: dict[tuple[str, str], FloatArray], camera_frame: str, notes: list[str]
) -> Track:
    """Return the motion of the camera: the body's, moved along the lever arm that /tf_static tells."""
    T_body_camera = chain(transforms, motion.body_frame, camera_frame) if motion.body_frame else None
    if T_body_camera is None and motion.T_world_body is not None:
        notes.append(
            f'/tf_static does not lead from {motion.body_frame!r} to {camera_frame!r}: the speed of the body is taken '
            'for that of the camera, and its poses are not used'
        )
    track = make_track(
        motion.stamps_ns,
        motion.velocity_mps,
        angular_rps=motion.angular_rps,
        T_world_body=motion.T_world_body,
        T_body_camera=T_body_camera,
    )
    if track.speed_mps.max(initial=0) < EMPTY_TWIST_MPS and motion.T_world_body is not None:
        track = with_speed_of_poses(track)
        notes.append('the twist of the odometry is zero throughout: speed is taken from its poses')
    return track if T_body_camera is not None else track._replace(T_world_body=None)
