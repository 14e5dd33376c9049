"""Any bytes in, defined behaviour out: messages of every wrong form against the conversion layer.

`make test` tries a few hundred of each, `make soak` ten thousand.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

pytest.importorskip('sensor_msgs', reason='ROS messages are not installed: `make setup` brings them')
pytest.importorskip('hypothesis', reason='hypothesis is not installed: `make setup` brings it')

from hostile_messages import camera_infos, clouds, compressed_images, odometries, raw_images, scans
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan, PointCloud2
from soak_cases import few_or_many

from sidepth_core.errors import ConfigError, ImageFormatError
from sidepth_core.rectify import rectification_maps
from sidepth_core.scale import Refusal
from sidepth_ros.messages.calibration import calibration_of
from sidepth_ros.messages.conversions import decode_message, make_codec, stamp_ns
from sidepth_ros.node.scale_inputs import ScaleInputs, _of_message

CASES = few_or_many(200, 10_000)
"""Messages tried by each test."""
LARGEST = 4096
"""Pixels that an image may have here."""

many = settings(
    max_examples=CASES, deadline=None, derandomize=CASES <= 200, suppress_health_check=list(HealthCheck), database=None
)

CODEC = make_codec()


@many
@given(st.one_of(raw_images(), compressed_images()))
def test_an_image_message_becomes_rgb_within_the_limit_or_an_error_of_ours(message: Image | CompressedImage) -> None:
    try:
        image = decode_message(message, CODEC, LARGEST)
    except ImageFormatError:
        return
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3
    assert 0 < image.shape[0] * image.shape[1] <= LARGEST
    if isinstance(message, Image):
        assert image.shape[:2] == (message.height, message.width)


@many
@given(camera_infos(), st.sampled_from(['auto', 'always', 'never']), st.sampled_from(['/image', '/image_rect']))
def test_a_camera_info_becomes_finite_cameras_of_its_size_or_an_error_of_ours(
    message: CameraInfo, rectify: str, topic: str
) -> None:
    assert stamp_ns(message.header) == message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
    try:
        source, target = calibration_of(message, rectify, topic)[:2]
    except ConfigError:
        return
    assert (source.width, source.height) == (target.width, target.height)
    assert np.isfinite(source.matrix).all()
    assert np.isfinite(target.matrix).all()
    assert min(target.fx, target.fy) > 0
    if source != target and target.width * target.height <= LARGEST:
        maps = rectification_maps(source, target)
        assert maps.x.shape == maps.y.shape == (target.height, target.width)


@many
@given(st.one_of(clouds(), scans()))
def test_a_range_message_becomes_finite_points_or_a_refusal(message: PointCloud2 | LaserScan) -> None:
    ranges = _of_message(message, np.eye(4))
    if isinstance(ranges, Refusal):
        return
    assert ranges.points.shape[1:] == (3,)
    assert np.isfinite(ranges.points).all()


@many
@given(st.lists(odometries(), min_size=2, max_size=5))
def test_odometry_becomes_finite_travel_or_a_refusal(messages: list[Odometry]) -> None:
    inputs = ScaleInputs(None)
    stamps = [stamp_ns(message.header) for message in messages if inputs._on_odometry(message) is None]
    for first, second in itertools.pairwise(stamps):
        travelled = inputs.travel.between(first, second)
        assert isinstance(travelled, Refusal) or np.isfinite(travelled.T_before_now).all()
