"""Any bytes in, defined behaviour out: messages of every wrong form against the conversion layer.

A few hundred cases run here; `SIDEPTH_CASES=20000 pytest test/ros/messages/test_hostile.py` is `make soak`'s share.
"""

from __future__ import annotations

import array
import os
import struct
import zlib

import cv2
import numpy as np
import pytest

pytest.importorskip('sensor_msgs', reason='ROS messages are not installed: `make setup` brings them')
pytest.importorskip('hypothesis', reason='hypothesis is not installed: `make setup` brings it')

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from sidepth_core.errors import ConfigError, ImageFormatError
from sidepth_core.images import FORMATS
from sidepth_core.rectify import rectification_maps
from sidepth_ros.messages.calibration import calibration_of
from sidepth_ros.messages.conversions import decode_message, make_codec, stamp_ns

CASES = int(os.environ.get('SIDEPTH_CASES', '200'))
"""Messages tried by each test."""
LARGEST = 4096
"""Pixels that an image may have here."""

many = settings(
    max_examples=CASES, deadline=None, derandomize=CASES <= 200, suppress_health_check=list(HealthCheck), database=None
)

CODEC = make_codec()
PICTURE = np.add.outer(np.arange(24, dtype=np.uint8) * 9, np.arange(32, dtype=np.uint8) * 5)
FILES = tuple(
    cv2.imencode(suffix, picture, options)[1].tobytes()
    for suffix, picture, options in (
        ('.jpg', PICTURE, []),
        ('.jpg', np.dstack([PICTURE] * 3), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
        ('.png', np.dstack([PICTURE] * 3), []),
        ('.png', PICTURE.astype(np.uint16) * 257, []),
        ('.bmp', PICTURE, []),
        ('.tif', PICTURE, []),
        ('.webp', np.dstack([PICTURE] * 3), []),
        ('.ppm', np.dstack([PICTURE] * 3), []),
    )
)

sizes = st.one_of(st.integers(0, 70), st.sampled_from([2**16, 2**31 - 1, 2**31, 2**32 - 1]))
encodings = st.one_of(st.sampled_from([*FORMATS, '', '32FC1', 'rgb9', 'jpeg', 'ü' * 40]), st.text(max_size=8))
odd_numbers = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-300, 1e30, -1e300, float('nan'), float('inf'), -float('inf')])


@st.composite
def raw_images(draw: st.DrawFn) -> Image:
    """Return a raw image whose numbers agree now and then, and mostly do not."""
    width, height, encoding = draw(sizes), draw(sizes), draw(encodings)
    layout = FORMATS.get(encoding)
    row = min(width, 70) * (layout.pixel_bytes if layout else 3)
    step = draw(st.one_of(st.just(row), st.integers(0, 300), st.just(2**32 - 1)))
    fitting = int(min(step, 600) * min(height, 70) * (layout.rows if layout else 1))
    length = draw(st.one_of(st.just(fitting), st.integers(0, 3000)))
    message = Image(width=width, height=height, encoding=encoding, step=step, is_bigendian=draw(st.integers(0, 255)))
    message.data = array.array('B', draw(st.binary(min_size=8, max_size=8)) * (length // 8 + 1))[:length]
    return message


@st.composite
def compressed_images(draw: st.DrawFn) -> CompressedImage:
    """Return an image file that was cut, flipped, lengthened, given another size in its header, or is none."""
    content = bytearray(draw(st.one_of(st.sampled_from(FILES), st.binary(max_size=80))))
    for place, value in draw(st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=3)):
        if content:
            content[place % len(content)] = value
    if content[:4] == b'\x89PNG' and len(content) > 33 and draw(st.booleans()):
        content[16:24] = struct.pack('>II', draw(sizes), draw(sizes))
        content[29:33] = struct.pack('>I', zlib.crc32(content[12:29]))
    end = draw(st.one_of(st.none(), st.integers(0, max(len(content), 1))))
    tail = draw(st.sampled_from([b'', bytes(500), b'\xff\xd9']))
    return CompressedImage(format=draw(st.text(max_size=12)), data=array.array('B', bytes(content[:end]) + tail))


@st.composite
def camera_infos(draw: st.DrawFn) -> CameraInfo:
    """Return the camera_info of a calibrated camera of which some numbers were replaced."""
    numbers = st.one_of(odd_numbers, st.floats(-1e6, 1e6), st.floats())
    k = [50.0, 0.0, 31.5, 0.0, 50.0, 23.5, 0.0, 0.0, 1.0]
    p = [50.0, 0.0, 31.5, 0.0, 0.0, 50.0, 23.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    for values in (k, p, r):
        for place in draw(st.lists(st.integers(0, len(values) - 1), max_size=2)):
            values[place] = draw(numbers)
    models = ['', 'plumb_bob', 'rational_polynomial', 'equidistant', 'fisheye', 'funhouse']
    message = CameraInfo(width=draw(st.one_of(st.just(64), sizes)), height=draw(st.one_of(st.just(48), sizes)))
    message.distortion_model = draw(st.one_of(st.sampled_from(models), st.text(max_size=6)))
    message.d = draw(st.lists(st.one_of(numbers, st.floats(-0.5, 0.5)), max_size=15))
    message.k, message.r, message.p = k, r, draw(st.one_of(st.just([0.0] * 12), st.just(p)))
    message.binning_x, message.binning_y = draw(sizes), draw(sizes)
    message.roi.x_offset, message.roi.y_offset = draw(sizes), draw(sizes)
    message.roi.width, message.roi.height = draw(sizes), draw(sizes)
    message.header.frame_id = draw(st.text(max_size=20))
    message.header.stamp.sec = draw(st.integers(-(2**31), 2**31 - 1))
    message.header.stamp.nanosec = draw(st.integers(0, 2**32 - 1))
    return message


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
