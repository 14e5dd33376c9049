"""Messages to arrays and back: the one place that knows how sensor_msgs lays things out.

rclpy sets `data` fast only from an array.array('B'): a list or an ndarray is checked byte by byte, 200 ms an image.
Outgoing messages therefore own one such buffer, filled through its memory and used again for every frame; publish()
has copied it when it returns.
"""

from __future__ import annotations

import array
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header
from torch import Tensor

from sidepth_core.camera import Camera
from sidepth_core.data.calibration import camera_from_info, view_of
from sidepth_core.errors import ConfigError, ImageFormatError
from sidepth_core.images import (
    FORMATS,
    LARGEST_IMAGE,
    check_compressed,
    check_layout,
    check_size,
    decode,
    decode_compressed,
)
from sidepth_core.rectify import UNROTATED, Rotation

RGB = npt.NDArray[np.uint8]

PLAIN: dict[str, tuple[type[np.generic], int]] = {
    '32FC1': (np.float32, 1),
    '16UC1': (np.uint16, 1),
    'mono8': (np.uint8, 1),
    'rgb8': (np.uint8, 3),
}
"""The encodings that the node publishes: NumPy type and channels."""


TWELVE_BITS = 16
"""What 4095 of 65535 is of 255."""


class Codec(Protocol):
    """Images in and out of messages, as cv_bridge.CvBridge does it."""

    def imgmsg_to_cv2(self, img_msg: Image, desired_encoding: str = 'passthrough') -> npt.NDArray[np.generic]:
        """Return the image of a raw image message, converted to `desired_encoding`."""
        ...

    def compressed_imgmsg_to_cv2(
        self, cmprs_img_msg: CompressedImage, desired_encoding: str = 'passthrough'
    ) -> npt.NDArray[np.generic]:
        """Return the image of a compressed image message, converted to `desired_encoding`."""
        ...

    def cv2_to_imgmsg(self, cvim: npt.NDArray[np.generic], encoding: str = 'passthrough') -> Image:
        """Return a raw image message of an image."""
        ...


class NumpyCodec:
    """The same in NumPy and OpenCV: for installs without cv_bridge, or with one built for another NumPy."""

    def imgmsg_to_cv2(self, img_msg: Image, desired_encoding: str = 'passthrough') -> npt.NDArray[np.generic]:
        """Return the image of a message: as `rgb8`, or 'passthrough' for the encodings of PLAIN.

        Raises:
            ImageFormatError: If the message contradicts itself or the encoding is not known.
        """
        encoding, height, width = img_msg.encoding, img_msg.height, img_msg.width
        if desired_encoding == 'rgb8':
            big = bool(img_msg.is_bigendian)
            return decode(img_msg.data, encoding, width, height, img_msg.step, is_bigendian=big)
        if desired_encoding not in {'passthrough', encoding} or encoding not in PLAIN:
            raise ImageFormatError(f'cannot turn {encoding!r} into {desired_encoding!r}, expected rgb8 or passthrough')
        kind, channels = PLAIN[encoding]
        row = width * channels * np.dtype(kind).itemsize
        rows = np.frombuffer(img_msg.data, np.uint8).reshape(height, img_msg.step)[:, :row]
        order: Literal['>', '<'] = '>' if img_msg.is_bigendian else '<'
        values: npt.NDArray[np.generic] = np.ascontiguousarray(rows).view(np.dtype(kind).newbyteorder(order))
        return values.reshape((height, width, channels) if channels > 1 else (height, width))

    def compressed_imgmsg_to_cv2(
        self, cmprs_img_msg: CompressedImage, desired_encoding: str = 'passthrough'
    ) -> npt.NDArray[np.generic]:
        """Return the image of a JPEG or PNG message as RGB or, asked for 'bgr8' or 'passthrough', as OpenCV has it.

        Raises:
            ImageFormatError: If it is neither.
        """
        image = decode_compressed(cmprs_img_msg.data)
        return image if desired_encoding == 'rgb8' else image[..., ::-1]

    def cv2_to_imgmsg(self, cvim: npt.NDArray[np.generic], encoding: str = 'passthrough') -> Image:
        """Return a message of an image in one of the encodings of PLAIN.

        Raises:
            ImageFormatError: If the encoding is another one or does not fit the array.
        """
        kind, channels = PLAIN.get(encoding, (np.void, 0))
        if cvim.dtype != kind or (cvim.shape[2] if cvim.ndim == 3 else 1) != channels:
            raise ImageFormatError(f'array {cvim.dtype} {cvim.shape} does not fit encoding {encoding!r}')
        pixels = np.ascontiguousarray(cvim)
        message = Image(encoding=encoding, height=pixels.shape[0], width=pixels.shape[1], step=pixels[0].nbytes)
        message.data = array.array('B', pixels.tobytes())
        return message


def make_codec() -> Codec:
    """Return cv_bridge where it imports and works with this NumPy, else our own."""
    try:
        from cv_bridge import CvBridge  # noqa: PLC0415 - many installs have none

        bridge: Codec = CvBridge()
        probe = bridge.cv2_to_imgmsg(np.zeros((2, 2, 3), np.uint8), 'rgb8')
        bridge.imgmsg_to_cv2(probe, 'rgb8')
    except Exception:  # noqa: BLE001 - built for another NumPy it fails in several ways, all meaning: use ours
        return NumpyCodec()
    return bridge


def decode_message(message: Image | CompressedImage, codec: Codec, largest: int = LARGEST_IMAGE) -> RGB:
    """Return the image of a raw or compressed message as RGB, (H, W, 3) uint8.

    Args:
        message: The message.
        codec: What decodes it.
        largest: Pixels that the image may have; its header is looked at before anything is allocated.

    Raises:
        ImageFormatError: If the message contradicts itself, naming how.
        ImageSizeError: If it has more pixels.
    """
    # cv_bridge reads past what a wrong step promises and pads a cut JPEG with grey: check first.
    if isinstance(message, CompressedImage):
        check_compressed(message.data, largest)
    else:
        check_size(message.width, message.height, largest)
        check_layout(message.encoding, message.width, message.height, message.step, len(message.data))
    if not isinstance(codec, NumpyCodec) and (image := _bridged(message, codec)) is not None:
        return image
    own = NumpyCodec()
    is_compressed = isinstance(message, CompressedImage)
    decoded = own.compressed_imgmsg_to_cv2(message, 'rgb8') if is_compressed else own.imgmsg_to_cv2(message, 'rgb8')
    return np.asarray(decoded, np.uint8)


def _bridged(message: Image | CompressedImage, codec: Codec) -> RGB | None:
    """Return what cv_bridge makes of a message; None where that cannot be relied on."""
    try:
        if isinstance(message, CompressedImage):
            image = codec.compressed_imgmsg_to_cv2(message, 'rgb8')
        elif message.step % FORMATS[message.encoding].pixel_bytes:
            return None  # it takes a row for a whole number of pixels, and shears the image
        else:
            image = codec.imgmsg_to_cv2(message, 'rgb8')
    except Exception:  # noqa: BLE001 - it refuses some encodings that drivers send, with errors of no fixed type
        return None
    # A PNG of 16 bits stays one, with every value cut to its low byte where it is taken for 8.
    is_rgb8 = image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    return np.asarray(image, np.uint8) if is_rgb8 else None


def darkness(message: Image | CompressedImage, image: RGB) -> str:
    """Return a sentence where 16 bits hold fewer, which the network would see as night; else an empty one."""
    layout = None if isinstance(message, CompressedImage) else FORMATS.get(message.encoding)
    brightest = int(image.max())
    if layout is None or layout.bits != 16 or brightest > TWELVE_BITS:
        return ''
    return f'the brightest {message.encoding} pixel is {brightest} of 255: have the driver shift 10 or 12 bits up to 16'


def stamp_ns(header: Header) -> int:
    """Return a header's stamp, nanoseconds."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def image_size(info: CameraInfo) -> tuple[int, int]:
    """Return width and height of the images that go with a camera_info: its region of interest, binned."""
    area = info.roi if info.roi.width and info.roi.height else info
    return int(area.width) // max(1, int(info.binning_x)), int(area.height) // max(1, int(info.binning_y))


def camera_of(info: CameraInfo) -> Camera:
    """Return the camera of the image that goes with a camera_info, lens distortion included.

    Raises:
        ConfigError: If size, K, lens or region cannot be those of a calibrated camera.
    """
    roi, binning = _region(info)
    return camera_from_info(
        int(info.width), int(info.height), info.distortion_model, info.d, info.k, roi=roi, binning=binning
    )


def projection_of(info: CameraInfo) -> Camera | None:
    """Return the rectified camera that a camera_info's P describes, of the same image; None where P says nothing.

    Where R is no identity, it is the camera of the rotated frame. Its fourth column, a stereo baseline, is left out:
    depth is the camera's own.

    Raises:
        ConfigError: If the region of interest lies outside the image.
    """
    if not (info.p[0] > 0 and info.p[5] > 0 and info.width and info.height):
        return None
    camera = Camera(
        int(info.width), int(info.height), float(info.p[0]), float(info.p[5]), float(info.p[2]), float(info.p[6])
    )
    return view_of(camera, *_region(info))


def rotation_of(info: CameraInfo) -> Rotation:
    """Return a camera_info's R: it turns directions of the camera's optical frame into those of the rectified one.

    Zeros, as an uncalibrated driver sends them, are the identity.

    Raises:
        ConfigError: If R is no rotation.
    """
    R = np.asarray(info.r, dtype=np.float64).reshape(3, 3)
    if not R.any() or np.allclose(R, np.eye(3), atol=1e-6):
        return UNROTATED
    if not np.allclose(R @ R.T, np.eye(3), atol=1e-3) or np.linalg.det(R) < 0:
        raise ConfigError(f'R of camera_info is {R.ravel().tolist()!r}: expected a rotation matrix, row by row')
    return tuple(R.ravel().tolist())


def _region(info: CameraInfo) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
    roi = info.roi
    return (roi.x_offset, roi.y_offset, roi.width, roi.height), (info.binning_x, info.binning_y)


def camera_info_message(camera: Camera, header: Header) -> CameraInfo:
    """Return the camera_info of a rectified image: K and P are the camera's, R the identity, D zero."""
    camera = replace(camera, distortion_model='', distortion=())
    k = camera.matrix
    return CameraInfo(
        header=header,
        width=camera.width,
        height=camera.height,
        distortion_model='plumb_bob',
        d=[0.0] * 5,
        k=k.ravel(),
        r=np.eye(3).ravel(),
        p=np.hstack([k, np.zeros((3, 1))]).ravel(),
    )


def _room(message: Image | PointCloud2, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return the message's buffer as a tensor of that shape; a new one where it has another size."""
    size = math.prod(shape) * dtype.itemsize
    if len(message.data) != size:
        message.data = array.array('B', bytes(size))
    return torch.frombuffer(message.data, dtype=dtype).view(*shape)


def _store(message: Image | PointCloud2, values: Tensor) -> None:
    """Copy a tensor's bytes into the message's buffer, straight from the device, where they do not lie there yet."""
    room = _room(message, values.shape, values.dtype)
    if values.data_ptr() != room.data_ptr():
        room.copy_(values)


class ImageBuffer:
    """One outgoing image message, filled again and again."""

    def __init__(self, encoding: str) -> None:
        self._message = Image(encoding=encoding, is_bigendian=0)

    def room(self, height: int, width: int) -> Tensor:
        """Return the memory of the next message's pixels, (height, width) float32: who fills it saves a copy.

        What was there belongs to the last message.
        """
        return _room(self._message, (height, width), torch.float32)

    def fill(self, header: Header, pixels: Tensor) -> Image:
        """Return the message with these pixels, (H, W) or (H, W, C) on any device. It is valid until the next call."""
        message = self._message
        message.header = header
        message.height, message.width = int(pixels.shape[0]), int(pixels.shape[1])
        message.step = pixels[0].numel() * pixels.element_size()
        _store(message, pixels)
        return message


class CloudBuffer:
    """One outgoing organised point cloud, filled again and again."""

    def __init__(self) -> None:
        self._message = PointCloud2(is_bigendian=False, is_dense=False)

    def room(self, height: int, width: int, channels: int) -> Tensor:
        """Return the memory of the next message's points, (height, width, channels) float32: who fills it saves a copy.

        What was there belongs to the last message.
        """
        return _room(self._message, (height, width, channels), torch.float32)

    def fill(self, header: Header, points: Tensor) -> PointCloud2:
        """Return the message with these points, (H, W, 3) xyz or (H, W, 4) xyz and rgb. Valid until the next call."""
        message = self._message
        height, width, channels = points.shape
        names = ('x', 'y', 'z', 'rgb')[:channels]
        message.header = header
        message.height, message.width = int(height), int(width)
        if len(message.fields) != channels:
            message.fields = [
                PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
                for index, name in enumerate(names)
            ]
        message.point_step = 4 * channels
        message.row_step = message.point_step * int(width)
        _store(message, points)
        return message
