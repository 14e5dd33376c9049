"""What a camera player plays: serialized messages, each with the moment at which it is due."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from geometry_msgs.msg import Twist, TwistWithCovariance, Vector3
from nav_msgs.msg import Odometry
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from sidepth_core.data.bags import BagFiles, Choice, Message, choose
from sidepth_core.data.frames import Frame
from sidepth_core.errors import BagError
from sidepth_ros.messages import NumpyCodec, camera_info_message, serialized_stamp_ns

FRAME_ID = 'camera_optical_frame'
ODOMETRY, CAMERA_INFO, EXACT_DEPTH = 'odom', 'camera_info', 'depth'
IMAGE, COMPRESSED = 'image_raw', 'image_raw/compressed'
KINDS: dict[str, tuple[str, type[Any]]] = {
    'nav_msgs/msg/Odometry': (ODOMETRY, Odometry),
    'sensor_msgs/msg/CameraInfo': (CAMERA_INFO, CameraInfo),
    'sensor_msgs/msg/Image': (IMAGE, Image),
    'sensor_msgs/msg/CompressedImage': (COMPRESSED, CompressedImage),
}
"""Message types of a bag that are played: topic below the camera's name, and class."""


class TimedMessage(NamedTuple):
    """One message.

    Attributes:
        offset_ns: When it is due, nanoseconds after the first image.
        topic: A topic of the sequence.
        data: The message, serialized.
    """

    offset_ns: int
    topic: str
    data: bytes


class MessageSequence(NamedTuple):
    """A drive, ready to be played.

    Attributes:
        image_topic: IMAGE or COMPRESSED.
        topics: Message class of each topic.
        messages: The drive, in order; of one moment the image comes last, so that its camera_info is there already.
    """

    image_topic: str
    topics: dict[str, type[Any]]
    messages: list[TimedMessage]


def synthetic_sequence(scene: str, seed: int, frames: int, width: int, height: int, fps: float) -> MessageSequence:
    """Render a drive through the synthetic world: odometry, calibration, exact depth and images."""
    from sidepth_core.data.synthetic import SyntheticSource  # noqa: PLC0415 - brings torch, which a bag does without

    source = SyntheticSource(scene=scene, seed=seed, frames=frames, width=width, height=height, fps=fps)
    topics = {ODOMETRY: Odometry, CAMERA_INFO: CameraInfo, EXACT_DEPTH: Image, IMAGE: Image}
    messages = [
        TimedMessage(frame.stamp_ns, topic, bytes(serialize_message(message)))
        for frame in source
        for topic, message in frame_messages(frame)
    ]
    return MessageSequence(IMAGE, topics, _from_zero(messages, IMAGE))


def frame_messages(frame: Frame) -> Iterator[tuple[str, Any]]:
    """Yield the messages of a frame by topic, with FRAME_ID and without a stamp."""
    codec, header = NumpyCodec(), Header(frame_id=FRAME_ID)
    if frame.speed_mps is not None:
        twist = TwistWithCovariance(twist=Twist(linear=Vector3(x=float(frame.speed_mps))))
        yield ODOMETRY, Odometry(header=Header(frame_id='odom'), child_frame_id='base_link', twist=twist)
    if frame.camera is not None:
        yield CAMERA_INFO, camera_info_message(frame.camera, header)
    for topic, pixels, encoding in ((EXACT_DEPTH, frame.depth_m, '32FC1'), (IMAGE, frame.image, 'rgb8')):
        if pixels is not None:
            image = codec.cv2_to_imgmsg(pixels, encoding)
            image.header = header
            yield topic, image


def bag_sequence(path: Path, choice: Choice, *, frames: int = 0) -> MessageSequence:
    """Read one camera of a bag, its messages as they are, with its camera_info and the odometry.

    Args:
        path: Directory or storage file.
        choice: Topics, where the bag holds several candidates.
        frames: How many images, from the start; 0 for all.

    Raises:
        BagError: If the bag cannot be read, or its image topic cannot be told.
    """
    with BagFiles(path) as bag:
        chosen = choose(bag.topics, choice, str(path))
        played = (chosen.odometry, chosen.camera_info, chosen.image)
        wanted = [topic for topic in played if topic and topic.type in KINDS]
        read = list(bag.messages([topic.name for topic in wanted]))
    topics = {topic.name: KINDS[topic.type] for topic in wanted}
    image_topic = topics[chosen.image.name][0]
    messages = [
        TimedMessage(time_ns, topics[message.topic][0], message.data)
        for time_ns, message in zip(_times(read), read, strict=True)
    ]
    order = [name for name, _ in topics.values()]
    messages.sort(key=lambda message: (message.offset_ns, order.index(message.topic)))
    messages = _from_zero(messages, image_topic)
    ends = [index for index, message in enumerate(messages, 1) if message.topic == image_topic]
    if not ends:
        raise BagError(f'bag {str(path)!r} holds no message of {chosen.image.name!r}')
    if 0 < frames < len(ends):
        messages = messages[: ends[frames - 1]]
    return MessageSequence(image_topic, dict(topics.values()), messages)


def _times(messages: list[Message]) -> list[int]:
    """Return when each message was taken: its stamp; the recorder's time where stamps stand still."""
    stamps = [serialized_stamp_ns(message.data) for message in messages]
    return stamps if len(set(stamps)) * 4 > len(stamps) else [message.log_ns for message in messages]


def _from_zero(messages: list[TimedMessage], image_topic: str) -> list[TimedMessage]:
    """Count time from the first image; messages before it are due at once."""
    start = next((message.offset_ns for message in messages if message.topic == image_topic), 0)
    return [message._replace(offset_ns=max(message.offset_ns - start, 0)) for message in messages]
