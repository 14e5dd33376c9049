"""One camera's publishers: each message is made only while somebody subscribes to it."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import torch
from geometry_msgs.msg import Vector3Stamped
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from torch import Tensor
from torch.nn import functional as F

from sidepth_core.colour_maps import colour_depth
from sidepth_core.depth_maps import RayCache, packed_rgb, point_cloud, to_millimetres
from sidepth_core.scale import Scale
from sidepth_ros.messages import CloudBuffer, ImageBuffer, camera_info_message, output_qos, overridable, unwatched
from sidepth_ros.node.parameters import Settings
from sidepth_ros.node.processor import Estimate

DEPTH, INFO, POINTS, SCALE = 'depth/image', 'depth/camera_info', 'depth/points', 'depth/scale'
IMAGES = {
    DEPTH: '32FC1',
    'depth/image_raw': '16UC1',
    'depth/image_color': 'rgb8',
    'depth/confidence': '32FC1',
    'depth/relative': '32FC1',
}
"""The image topics with their encodings."""
SCALE_TOPICS = frozenset({SCALE})
RELATIVE_TOPICS = frozenset({'depth/relative', 'depth/image_color', 'depth/confidence', INFO, SCALE})
"""What may be published of depth that has no metres yet."""
THIN_TOPICS = frozenset({POINTS, INFO, SCALE})
"""What needs no more pixels of the depth map than the cloud has points."""


class CameraOutput:
    """Publishes what the estimates of one camera become.

    Args:
        node: Who publishes; the publishers follow its lifecycle.
        prefix: '' or 'NAME/', before the topic names.
    """

    def __init__(self, node: LifecycleNode, prefix: str) -> None:
        types = {**dict.fromkeys(IMAGES, Image), INFO: CameraInfo, POINTS: PointCloud2, SCALE: Vector3Stamped}
        options = {'event_callbacks': unwatched(), 'qos_overriding_options': overridable()}
        self._publishers = {
            topic: node.create_lifecycle_publisher(kind, f'{prefix}{topic}', output_qos(), **options)
            for topic, kind in types.items()
        }
        self._images = {topic: ImageBuffer(encoding) for topic, encoding in IMAGES.items()}
        self._cloud = CloudBuffer()
        self._rays = RayCache()

    def destroy(self, node: LifecycleNode) -> None:
        """Take the publishers off the graph."""
        for publisher in self._publishers.values():
            node.destroy_lifecycle_publisher(publisher)

    def wanted(self) -> frozenset[str]:
        """Return the topics that somebody subscribes to."""
        return frozenset(topic for topic, pub in self._publishers.items() if pub.get_subscription_count())

    def room(self, height: int, width: int) -> Tensor:
        """Return the memory of the next depth image, (height, width) float32; `publish` then need not copy it."""
        return self._images[DEPTH].room(height, width)

    def publish(self, estimate: Estimate, header: Header, settings: Settings, wanted: frozenset[str]) -> None:
        """Publish an estimate on the topics that are wanted, under the header of its image."""
        if SCALE in wanted:
            self._publishers[SCALE].publish(scale_message(estimate.scale, header))
        if INFO in wanted:
            self._publishers[INFO].publish(camera_info_message(estimate.camera, header))
        for topic in IMAGES:
            if topic in wanted and (pixels := _pixels(topic, estimate, settings)) is not None:
                self._publishers[topic].publish(self._images[topic].fill(header, pixels))
        if POINTS in wanted:
            points = self.points(estimate, settings, self._cloud.room)
            self._publishers[POINTS].publish(self._cloud.fill(header, points))

    def points(self, estimate: Estimate, settings: Settings, room: Callable[..., Tensor] = torch.empty) -> Tensor:
        """Return the organised cloud of an estimate, (h, w, 3 or 4) float32 in main memory, which `room` gives."""
        stride = settings.cloud_stride
        directions = self._rays(estimate.camera, stride, estimate.depth.device)
        packed = packed_rgb(colour_of(estimate), stride) if settings.cloud_fields == 'xyzrgb' else None
        out = room(*directions.shape[:2], 3 if packed is None else 4)
        left = stride // estimate.stride
        return point_cloud(estimate.depth[::left, ::left], directions, packed, out)


def needed_stride(wanted: frozenset[str], settings: Settings) -> int:
    """Return every how many pixels of the depth map the wanted topics need."""
    return settings.cloud_stride if POINTS in wanted and wanted <= THIN_TOPICS else 1


def scale_message(scale: Scale, header: Header) -> Vector3Stamped:
    """Return a scale as a message: x metres a unit of depth, y standard deviation as a share of x, z age in seconds.

    NaN is not known. No standard message is made for a number with its uncertainty; this one every plotter draws.
    """
    message = Vector3Stamped(header=header)
    message.vector.x = scale.factor if scale.metric else math.nan
    message.vector.y, message.vector.z = scale.uncertainty, scale.age_s
    return message


def colour_of(estimate: Estimate) -> Tensor:
    """Return the colours of an estimate's whole map, (3, h, w), as `packed_rgb` takes them.

    At the network's size they are those of the image that the network saw.
    """
    height, width = estimate.camera.height, estimate.camera.width
    image = estimate.image
    if image.shape[-2:] == (height, width):
        return image
    if estimate.seen.shape[-2:] == (height, width):
        return estimate.seen
    if image.device.type == 'cpu':  # where OpenCV is several times faster
        pixels = cv2.resize(image.permute(1, 2, 0).numpy(), (width, height), interpolation=cv2.INTER_AREA)
        return torch.from_numpy(pixels).permute(2, 0, 1)
    return F.interpolate(image[None].float(), size=(height, width), mode='area')[0] / 255


def _pixels(topic: str, estimate: Estimate, settings: Settings) -> Tensor | None:
    """Return the pixels of an image topic; None where there are none: no confidence in time, no relative depth."""
    if topic == DEPTH:
        return estimate.depth
    if topic == 'depth/relative':
        return None if estimate.scale.metric else estimate.depth
    if topic == 'depth/image_raw':
        return to_millimetres(estimate.depth)
    if topic == 'depth/confidence':
        return estimate.confidence
    span = (settings.color_near, settings.color_far) if settings.color_range == 'fixed' else None
    return colour_depth(estimate.depth, settings.color_map, span)
