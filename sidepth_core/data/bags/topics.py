"""Which topics of a recording to read, where nobody says so: the only candidate, or an error that lists them all."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from sidepth_core.data.bags.files import Topic
from sidepth_core.errors import BagError

IMAGE, COMPRESSED_IMAGE = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
IMAGES = (IMAGE, COMPRESSED_IMAGE)
CAMERA_INFO = 'sensor_msgs/msg/CameraInfo'
POINT_CLOUD = 'sensor_msgs/msg/PointCloud2'
TF_MESSAGE = 'tf2_msgs/msg/TFMessage'
ODOMETRY = 'nav_msgs/msg/Odometry'
TWISTS = ('geometry_msgs/msg/TwistStamped', 'geometry_msgs/msg/TwistWithCovarianceStamped')
SPEEDS = ('std_msgs/msg/Float32', 'std_msgs/msg/Float64')
NOT_DEPTH = ('disparity', 'mask', 'label', 'segmentation', 'confidence')
NOT_A_COLOUR_IMAGE = ('depth', *NOT_DEPTH)
NONE = 'none'


class Choice(NamedTuple):
    """Topics as a user names them.

    Attributes:
        image: Image or CompressedImage; None: the only one.
        camera_info: CameraInfo; None: the image's sibling.
        odometry: Odometry, TwistStamped or a speed in metres a second (Float32, Float64), or of any other message
            the field that is one (`/can/speed:data.velocity`); None: the only one, 'none': no motion is read.
        lidar: PointCloud2 that becomes depth; None: the only one, 'none': none is read.
        depth: Depth images that are aligned to the images; None: the only ones, 'none': none are read.
    """

    image: str | None = None
    camera_info: str | None = None
    odometry: str | None = None
    lidar: str | None = NONE
    depth: str | None = NONE


class Chosen(NamedTuple):
    """Topics to be read; None where there is none.

    Attributes:
        image: The image topic.
        camera_info: Its CameraInfo topic.
        odometry: Where speed and pose come from.
        speed_field: The field of its messages that is the speed; '' where their type says it.
        lidar: Where depth comes from.
        depth: Where depth comes from instead.
        depth_info: The CameraInfo topic beside it.
    """

    image: Topic
    camera_info: Topic | None
    odometry: Topic | None
    speed_field: str
    lidar: Topic | None
    depth: Topic | None
    depth_info: Topic | None


def choose(topics: Mapping[str, Topic], choice: Choice, bag: str) -> Chosen:
    """Choose the topics of a recording.

    Raises:
        BagError: If a named topic is not there or of another type, if there is no image, or several candidates.
    """
    image = _image(topics, choice.image, bag)
    clouds = [topic for topic in _filled(topics) if topic.type == POINT_CLOUD]
    odometry, _, field = (choice.odometry or '').partition(':')
    depth = None if choice.depth == NONE else _depth(topics, choice.depth, bag)
    return Chosen(
        image=image,
        camera_info=_camera_info(topics, image, choice.camera_info, bag),
        odometry=_motion(topics, odometry or None, bag),
        speed_field=field,
        lidar=_one(topics, choice.lidar, clouds, 'lidar_topic', bag),
        depth=depth,
        depth_info=_sibling_info(topics, depth) if depth else None,
    )


def listing(topics: Collection[Topic]) -> str:
    """Return topics with type and count, for a message."""
    return ', '.join(f'{topic.name} ({topic.type.rpartition("/")[2]}, {topic.messages})' for topic in topics)


def depth_candidates(topics: Mapping[str, Topic]) -> list[Topic]:
    """Return the topics that may be depth images, judged by their names, one for each camera."""
    named = [topic for topic in _images(topics) if 'depth' in topic.name.lower()]
    named = [topic for topic in named if not any(word in topic.name.lower() for word in NOT_DEPTH)]
    # Depth drawn in colours lies beside the depth itself: /depth/image_color.
    return _one_a_camera([t for t in named if 'color' not in base_name(t.name).rpartition('/')[2]])


def base_name(image_topic: str) -> str:
    """Return the image topic without the name of its transport: `/cam/image_raw` for `/cam/image_raw/compressed`."""
    return image_topic.removesuffix('/compressed').removesuffix('/compressedDepth')


def is_rectified_topic(image_topic: str) -> bool:
    """Return whether the name promises rectified images, as image_proc names them (image_rect, image_rect_color)."""
    return base_name(image_topic).rpartition('/')[2].startswith('image_rect')


def _image(topics: Mapping[str, Topic], name: str | None, bag: str) -> Topic:
    if name is not None:
        return _named(topics, name, [topic for topic in topics.values() if topic.type in IMAGES], bag)
    images = [t for t in _images(topics) if not any(word in t.name.lower() for word in NOT_A_COLOUR_IMAGE)]
    cameras = _one_a_camera(images)
    if len(cameras) == 1:
        return cameras[0]
    if cameras:
        raise BagError(f'bag {bag!r} holds several cameras, name one as image_topic: {listing(cameras)}')
    raise BagError(f'bag {bag!r} holds no camera images. Its topics: {listing(list(topics.values())) or "none"}')


def _camera_info(topics: Mapping[str, Topic], image: Topic, name: str | None, bag: str) -> Topic | None:
    infos = [topic for topic in _filled(topics) if topic.type == CAMERA_INFO]
    if name is not None:
        return _named(topics, name, infos, bag)
    return _sibling_info(topics, image) or (infos[0] if len(infos) == 1 else None)


def _sibling_info(topics: Mapping[str, Topic], image: Topic) -> Topic | None:
    """Return the CameraInfo beside an image topic, as image_transport has it."""
    sibling = topics.get(f'{base_name(image.name).rpartition("/")[0]}/camera_info')
    return sibling if sibling and sibling.messages and sibling.type == CAMERA_INFO else None


def _depth(topics: Mapping[str, Topic], name: str | None, bag: str) -> Topic:
    """Return the depth topic that was asked for by name, or the only one."""
    if name is not None:
        return _named(topics, name, [topic for topic in topics.values() if topic.type in IMAGES], bag)
    candidates = depth_candidates(topics)
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise BagError(
            f'bag {bag!r} holds several depth topics, name the one that is aligned to the images as depth_topic: '
            f'{listing(candidates)}'
        )
    raise BagError(f'bag {bag!r} holds no depth images. Its topics: {listing(list(topics.values())) or "none"}')


def _images(topics: Mapping[str, Topic]) -> list[Topic]:
    return [topic for topic in _filled(topics) if topic.type in IMAGES]


def _one_a_camera(candidates: list[Topic]) -> list[Topic]:
    """Return one topic for each camera: of several transports the fullest one, raw if they are equal."""
    cameras: dict[str, Topic] = {}
    for topic in candidates:
        rival = cameras.get(base_name(topic.name))
        if rival is None or (topic.messages, topic.type == IMAGE) > (rival.messages, rival.type == IMAGE):
            cameras[base_name(topic.name)] = topic
    return list(cameras.values())


def _motion(topics: Mapping[str, Topic], name: str | None, bag: str) -> Topic | None:
    """Return the topic of motion; one that is named may be of any type, for it may have a field that is a speed."""
    candidates = _motion_candidates(topics) if name is None else list(topics.values())
    return _one(topics, name, candidates, 'odometry_topic', bag)


def _motion_candidates(topics: Mapping[str, Topic]) -> list[Topic]:
    """Return the topics of the best kind that is there: poses and speed, then twists, then bare speeds."""
    filled = _filled(topics)
    kinds = (
        [topic for topic in filled if topic.type == ODOMETRY],
        [topic for topic in filled if topic.type in TWISTS and 'cmd' not in topic.name],
        [topic for topic in filled if topic.type in SPEEDS and _names_a_speed(topic.name)],
    )
    return next((kind for kind in kinds if kind), [])


def _names_a_speed(name: str) -> bool:
    return ('speed' in name or 'velocity' in name) and 'cmd' not in name and 'wind' not in name


def _one(topics: Mapping[str, Topic], name: str | None, candidates: list[Topic], option: str, bag: str) -> Topic | None:
    if name == NONE:
        return None
    if name is not None:
        return _named(topics, name, candidates, bag)
    if len(candidates) > 1:
        raise BagError(
            f"bag {bag!r} holds several candidates, name one as {option} (or 'none'): {listing(candidates)}"
        )
    return candidates[0] if candidates else None


def _named(topics: Mapping[str, Topic], name: str, fitting: list[Topic], bag: str) -> Topic:
    topic = topics.get(name) or topics.get(f'/{name}')
    if topic is None or topic not in fitting:
        found = 'is not there' if topic is None else f'is {topic.type}'
        raise BagError(f'bag {bag!r}: topic {name!r} {found}, expected one of: {listing(fitting) or "none is here"}')
    return topic


def _filled(topics: Mapping[str, Topic]) -> list[Topic]:
    return [topic for topic in topics.values() if topic.messages]
