"""What is made of an estimate: no more pixels than somebody wants, with the colours of the image."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from rclpy.lifecycle import LifecycleNode
from ros_graph import Graph

from sidepth_core.camera import Camera
from sidepth_core.scale import Scale
from sidepth_ros.node.camera_output import CameraOutput, colour_of, needed_stride
from sidepth_ros.node.model import resized_image
from sidepth_ros.node.parameters import Settings
from sidepth_ros.node.processor import Estimate

CAMERA = Camera(320, 240, 300.0, 310.0, 155.0, 121.0)


def estimate(width: int, height: int) -> Estimate:
    """Return an estimate of that size, of a smooth picture that the network saw at 96x64."""
    rough = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    image = torch.from_numpy(cv2.resize(rough, (320, 240), interpolation=cv2.INTER_CUBIC)).permute(2, 0, 1)
    scale = Scale(1.0, metric=True, uncertainty=math.nan)
    seen = resized_image(image[None], 64, 96)[0]
    return Estimate(torch.ones(height, width), CAMERA.resized(width, height), image, seen, None, scale)


@pytest.mark.parametrize('size', [(320, 240), (96, 64), (160, 120), (106, 80)])
def test_colours_are_the_mean_of_the_pixels_that_a_point_covers(size: tuple[int, int]) -> None:
    whole = estimate(*size)
    mean = torch.nn.functional.interpolate(whole.image[None].float(), size=size[::-1], mode='area')[0]
    found = colour_of(whole)
    assert (found.dtype, found.shape) == (torch.uint8, (3, size[1], size[0]))
    # The network's image is smoothed a little more than a mean over the very pixel is.
    assert (found.float() - mean).abs().mean() < 3


def test_at_the_network_s_size_no_second_image_is_made() -> None:
    whole = estimate(96, 64)
    assert colour_of(whole).data_ptr() == whole.seen.data_ptr()


@pytest.mark.parametrize(
    ('wanted', 'stride'),
    [
        ({'depth/points'}, 4),
        ({'depth/points', 'depth/camera_info', 'depth/scale'}, 4),
        ({'depth/points', 'depth/image'}, 1),
        ({'depth/points', 'depth/confidence'}, 1),
        ({'depth/image_color'}, 1),
        ({'depth/camera_info'}, 1),
    ],
)
def test_only_the_points_of_a_thin_cloud_are_made_where_nobody_wants_more(wanted: set[str], stride: int) -> None:
    assert needed_stride(frozenset(wanted), Settings(cloud_stride=4)) == stride


@pytest.mark.ros
def test_publishers_leave_the_executor_nothing_to_look_at(graph: Graph) -> None:
    node = LifecycleNode('output', context=graph.node.context)
    before = set(node.waitables)
    output = CameraOutput(node, 'front/')
    assert {publisher.topic_name for publisher in node.publishers} >= {'/front/depth/image', '/front/depth/points'}
    assert set(node.waitables) == before
    output.destroy(node)
    node.destroy_node()
