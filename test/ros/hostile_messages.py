"""Messages of every wrong form, for hypothesis to draw: what nobody should send and somebody will."""

from __future__ import annotations

import array
import struct
import zlib

import cv2
import numpy as np
from hypothesis import strategies as st
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan, PointCloud2, PointField

from sidepth_core.images import FORMATS

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

numbers = st.one_of(odd_numbers, st.floats(-1e6, 1e6), st.floats())


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
    _head(draw, message)
    return message


@st.composite
def odometries(draw: st.DrawFn) -> Odometry:
    """Return odometry of which some numbers were replaced."""
    message = Odometry(child_frame_id=draw(st.one_of(st.just('base_link'), st.text(max_size=12))))
    message.pose.pose.orientation.w = 1.0
    pose, twist = message.pose.pose, message.twist.twist
    for part in (pose.position, twist.linear, twist.angular):
        part.x, part.y, part.z = (draw(st.one_of(numbers, st.floats(-2, 2))) for _ in range(3))
    turn = pose.orientation
    turn.x, turn.y, turn.z = (draw(st.one_of(st.just(0.0), numbers)) for _ in range(3))
    turn.w = draw(st.one_of(st.just(1.0), numbers))
    message.twist.covariance[0] = draw(numbers)
    _head(draw, message)
    return message


@st.composite
def clouds(draw: st.DrawFn) -> PointCloud2:
    """Return a cloud whose fields, sizes and bytes mostly do not agree."""
    names = st.one_of(st.sampled_from(['x', 'y', 'z', 'rgb', 'intensity']), st.text(max_size=3))
    offsets, kinds = st.one_of(st.sampled_from([0, 4, 8, 2**32 - 1]), st.integers(0, 40)), st.integers(0, 255)
    odd = draw(st.lists(st.builds(PointField, name=names, offset=offsets, datatype=kinds, count=sizes), max_size=4))
    plain = [PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1) for i, name in enumerate('xyz')]
    message = PointCloud2(fields=draw(st.sampled_from([plain, odd, plain + odd])), is_bigendian=draw(st.booleans()))
    message.width, message.height = draw(sizes), draw(st.one_of(st.just(1), sizes))
    message.point_step = draw(st.one_of(st.just(12), sizes))
    fitting = min(message.width, 70) * min(message.height, 70) * min(message.point_step, 16)
    message.row_step = draw(st.one_of(st.just(message.width * message.point_step % 2**32), sizes))
    length = draw(st.one_of(st.just(fitting), st.integers(0, 3000)))
    message.data = array.array('B', draw(st.binary(min_size=8, max_size=8)) * (length // 8 + 1))[:length]
    _head(draw, message)
    return message


@st.composite
def scans(draw: st.DrawFn) -> LaserScan:
    """Return a scan of odd angles, limits and ranges."""
    small = st.one_of(st.floats(-7, 7, width=32), st.floats(width=32))
    ranges = draw(st.lists(st.one_of(st.floats(0, 30, width=32), st.floats(width=32)), max_size=200))
    message = LaserScan(ranges=array.array('f', ranges))
    for name in ('angle_min', 'angle_max', 'angle_increment', 'range_min', 'range_max'):
        setattr(message, name, draw(small))
    _head(draw, message)
    return message


def _head(draw: st.DrawFn, message: Odometry | PointCloud2 | LaserScan | CameraInfo | Image) -> None:
    """Give a message a frame and a stamp: now and then odd ones."""
    message.header.frame_id = draw(st.one_of(st.just('laser'), st.text(max_size=20)))
    message.header.stamp.sec = draw(st.one_of(st.just(1_700_000_000), st.integers(-(2**31), 2**31 - 1)))
    message.header.stamp.nanosec = draw(st.integers(0, 2**32 - 1))
