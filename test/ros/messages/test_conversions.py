"""Messages to arrays and back; the same tests for cv_bridge where it is, and for our own codec."""

from __future__ import annotations

import array

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch

pytest.importorskip('sensor_msgs', reason='ROS messages are not installed: `make setup` brings them')

from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from sidepth_core.camera import Camera
from sidepth_core.errors import ConfigError, ImageFormatError, ImageSizeError
from sidepth_core.rectify import UNROTATED
from sidepth_ros.messages.conversions import (
    CloudBuffer,
    Codec,
    ImageBuffer,
    NumpyCodec,
    camera_info_message,
    camera_of,
    darkness,
    decode_message,
    image_size,
    make_codec,
    projection_of,
    rotation_of,
    stamp_ns,
)

CODECS = list({type(codec).__name__: codec for codec in (NumpyCodec(), make_codec())}.values())


@pytest.fixture
def image() -> npt.NDArray[np.uint8]:
    """Return an image with a gradient in each channel, (32, 48, 3)."""
    rows, columns = np.mgrid[0:32, 0:48]
    return np.stack([rows * 7, columns * 5, (rows + columns) * 3], axis=-1).astype(np.uint8)


def message_of(image: npt.NDArray[np.generic], encoding: str, padding: int = 0) -> Image:
    rows = np.ascontiguousarray(image).view(np.uint8).reshape(image.shape[0], -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    data = array.array('B', rows.tobytes())
    return Image(
        height=image.shape[0], width=image.shape[1], encoding=encoding, step=rows.shape[1], data=data
    )


@pytest.mark.parametrize('codec', CODECS, ids=lambda codec: type(codec).__name__)
@pytest.mark.parametrize('padding', [0, 10])
@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', 'rgba8', 'bgra8', 'mono8', '8UC1', '8UC3', 'mono16', '16UC1'])
def test_every_codec_gives_rgb(
    image: npt.NDArray[np.uint8], codec: Codec, encoding: str, padding: int
) -> None:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    sent = {
        'rgb8': image, 'bgr8': image[..., ::-1], '8UC3': image[..., ::-1],
        'rgba8': cv2.cvtColor(image, cv2.COLOR_RGB2RGBA), 'bgra8': cv2.cvtColor(image, cv2.COLOR_RGB2BGRA),
        'mono8': grey, '8UC1': grey, 'mono16': grey.astype(np.uint16) * 257, '16UC1': grey.astype(np.uint16) * 257,
    }[encoding]  # fmt: skip
    found = decode_message(message_of(sent, encoding, padding), codec)
    expected = image if sent.ndim == 3 else np.repeat(grey[..., None], 3, axis=2)
    np.testing.assert_allclose(found.astype(int), expected.astype(int), atol=1)


@pytest.mark.parametrize('codec', CODECS, ids=lambda codec: type(codec).__name__)
@pytest.mark.parametrize('encoding', ['bayer_grbg8', 'bayer_rggb16', 'yuv422', 'yuv422_yuy2', 'nv12', 'nv21', 'rgb16'])
def test_every_codec_gives_the_colour_of_a_plain_area(codec: Codec, encoding: str) -> None:
    yuv = {'yuv422': [90, 60, 200, 60], 'yuv422_yuy2': [60, 90, 60, 200]}
    raw = np.full((12, 16), 180, np.uint8)
    if encoding in yuv:
        raw = np.tile(np.array(yuv[encoding], np.uint8), (8, 4))
    elif encoding.startswith('nv'):
        raw[:8] = 60
        raw[8:] = np.tile(np.array([90, 200] if encoding == 'nv12' else [200, 90], np.uint8), (4, 8))
    elif encoding.startswith('bayer'):
        raw = raw[:8] if encoding.endswith('8') else raw[:8].astype(np.uint16) * 257
    else:
        raw = np.repeat(raw[:8, :, None].astype(np.uint16) * 257, 3, axis=2)
    message = message_of(raw, encoding)
    message.height = 8
    message.width = 8 if encoding in yuv else 16
    colour = decode_message(message, codec)[4, 4]
    # Y 60, U 90, V 200 by ITU-R BT.601.
    expected = (166, 8, 0) if encoding in yuv or encoding.startswith('nv') else (180, 180, 180)
    np.testing.assert_allclose(colour, expected, atol=3)


@pytest.mark.parametrize('codec', CODECS, ids=lambda codec: type(codec).__name__)
def test_every_codec_reads_big_endian(image: npt.NDArray[np.uint8], codec: Codec) -> None:
    message = message_of((image[..., 0].astype(np.uint16) * 257).astype('>u2'), 'mono16')
    message.is_bigendian = 1
    np.testing.assert_allclose(decode_message(message, codec)[..., 1].astype(int), image[..., 0], atol=1)


@pytest.mark.parametrize('codec', CODECS, ids=lambda codec: type(codec).__name__)
@pytest.mark.parametrize('kind', ['colour', 'grey', 'alpha', '16 bits'])
def test_every_codec_reads_compressed(image: npt.NDArray[np.uint8], codec: Codec, kind: str) -> None:
    grey = image[..., 0]
    sent, expected = {
        'colour': (image[..., ::-1], image),
        'grey': (grey, np.repeat(grey[..., None], 3, axis=2)),
        'alpha': (cv2.cvtColor(image, cv2.COLOR_RGB2BGRA), image),
        '16 bits': (image[..., ::-1].astype(np.uint16) * 256, image),
    }[kind]
    _, data = cv2.imencode('.png', sent)
    message = CompressedImage(format='png', data=array.array('B', data.tobytes()))
    np.testing.assert_array_equal(decode_message(message, codec), expected)


@pytest.mark.parametrize('codec', CODECS, ids=lambda codec: type(codec).__name__)
def test_every_codec_names_the_same_fault(image: npt.NDArray[np.uint8], codec: Codec) -> None:
    message = message_of(image, 'rgb8')
    message.step = 20
    with pytest.raises(ImageFormatError, match='step 20 is shorter than a row'):
        decode_message(message, codec)


@pytest.mark.parametrize('codec', CODECS, ids=lambda codec: type(codec).__name__)
def test_every_codec_refuses_what_is_larger_than_the_limit(image: npt.NDArray[np.uint8], codec: Codec) -> None:
    _, data = cv2.imencode('.png', image)
    compressed = CompressedImage(format='png', data=array.array('B', data.tobytes()))
    for message in (message_of(image, 'rgb8'), compressed):
        assert decode_message(message, codec, 48 * 32).shape == image.shape
        with pytest.raises(ImageSizeError, match='48x32 has more than 1535 pixels'):
            decode_message(message, codec, 48 * 32 - 1)


@pytest.mark.parametrize(
    ('encoding', 'values'),
    [
        ('32FC1', np.linspace(-1, 9, 48, dtype=np.float32).reshape(6, 8)),
        ('16UC1', np.arange(48, dtype=np.uint16).reshape(6, 8) * 1000),
        ('mono8', np.arange(48, dtype=np.uint8).reshape(6, 8)),
        ('rgb8', np.arange(144, dtype=np.uint8).reshape(6, 8, 3)),
    ],
)
def test_image_survives_the_way_there_and_back(encoding: str, values: npt.NDArray[np.generic]) -> None:
    message = NumpyCodec().cv2_to_imgmsg(values, encoding)
    assert (message.encoding, message.height, message.width) == (encoding, 6, 8)
    np.testing.assert_array_equal(NumpyCodec().imgmsg_to_cv2(message), values)


def test_big_endian_depth_is_read_right() -> None:
    values = np.linspace(0, 9, 12, dtype=np.float32).reshape(3, 4)
    message = message_of(values.astype('>f4'), '32FC1')
    message.is_bigendian = 1
    np.testing.assert_array_equal(NumpyCodec().imgmsg_to_cv2(message), values)


def test_array_that_does_not_fit_its_encoding_is_refused() -> None:
    with pytest.raises(ImageFormatError, match=r"float64.*does not fit encoding '32FC1'"):
        NumpyCodec().cv2_to_imgmsg(np.zeros((2, 2)), '32FC1')


@pytest.mark.parametrize(('encoding', 'brightest', 'is_dark'), [
    ('mono16', 4095, True), ('bayer_rggb16', 1023, True), ('mono16', 65520, False), ('mono8', 15, False),
])  # fmt: skip
def test_twelve_bits_in_sixteen_are_noticed(encoding: str, brightest: int, *, is_dark: bool) -> None:
    image = np.full((2, 2, 3), round(brightest * 255 / 65535) if '16' in encoding else brightest, np.uint8)
    assert ('shift' in darkness(Image(encoding=encoding), image)) is is_dark


def test_buffer_is_used_again_until_the_size_changes() -> None:
    buffer = ImageBuffer('32FC1')
    first = buffer.fill(Header(), torch.ones(4, 6)).data
    assert buffer.fill(Header(), torch.zeros(4, 6)).data is first
    assert not any(first)
    message = buffer.fill(Header(), torch.ones(4, 7))
    assert (message.width, message.step, len(message.data)) == (7, 28, 112)


def test_map_that_is_no_whole_piece_of_memory_is_copied_right() -> None:
    values = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    message = ImageBuffer('32FC1').fill(Header(), values[:, ::2])
    np.testing.assert_array_equal(NumpyCodec().imgmsg_to_cv2(message), values[:, ::2].numpy())


def test_cloud_says_how_its_points_lie() -> None:
    buffer = CloudBuffer()
    message = buffer.fill(Header(), torch.zeros(2, 3, 4))
    assert [(field.name, field.offset) for field in message.fields] == [('x', 0), ('y', 4), ('z', 8), ('rgb', 12)]
    assert (message.point_step, message.row_step, len(message.data)) == (16, 48, 96)
    message = buffer.fill(Header(), torch.zeros(2, 3, 3))
    assert [(field.name, field.offset) for field in message.fields] == [('x', 0), ('y', 4), ('z', 8)]
    assert message.point_step == 12


def test_cloud_made_in_the_memory_of_its_message_is_not_copied() -> None:
    buffer = CloudBuffer()
    room = buffer.room(2, 3, 4)
    room[:] = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    data = buffer.fill(Header(), room).data
    assert np.frombuffer(data, np.float32).tolist() == list(range(24))
    assert buffer.fill(Header(), buffer.room(2, 3, 4)).data is data


def info(**fields: object) -> CameraInfo:
    k = [500.0, 0.0, 320.5, 0.0, 510.0, 230.0, 0.0, 0.0, 1.0]
    return CameraInfo(**{'width': 640, 'height': 480, 'k': k, **fields})


def test_camera_has_k_and_the_lens() -> None:
    message = info(distortion_model='plumb_bob', d=[0.1, -0.2, 0.0, 0.001, 0.0])
    assert camera_of(message) == Camera(640, 480, 500, 510, 320.5, 230, 'plumb_bob', (0.1, -0.2, 0.0, 0.001))
    assert camera_of(info(distortion_model='plumb_bob', d=[0.0] * 5)).is_rectified


@pytest.mark.parametrize(
    ('model', 'd', 'expected'),
    [
        # A fisheye bends lines with zeros, too; drivers fill D up to a fixed length; OpenCV tells models by length.
        ('equidistant', [0.0] * 4, ('equidistant', (0.0,) * 4)),
        ('equidistant', [0.1, 0.01, 0.0, 0.0, 0.0], ('equidistant', (0.1, 0.01, 0.0, 0.0))),
        ('plumb_bob', [0.1, 0.0, 0.0, 0.0, 0.2, 0.0, 0.0, 0.0], ('plumb_bob', (0.1, 0.0, 0.0, 0.0, 0.2))),
        ('plumb_bob', [0.1] * 8, ('rational_polynomial', (0.1,) * 8)),
        ('', [0.0] * 5, ('', ())),
    ],
)
def test_lens_is_read_as_drivers_write_it(model: str, d: list[float], expected: tuple[str, tuple[float, ...]]) -> None:
    camera = camera_of(info(distortion_model=model, d=d))
    assert (camera.distortion_model, camera.distortion) == expected


def test_convention_region_is_cropped_then_binned() -> None:
    message = info(binning_x=2, binning_y=4)
    message.roi.x_offset, message.roi.y_offset, message.roi.width, message.roi.height = 100, 40, 321, 242
    camera = camera_of(message)
    assert image_size(message) == (camera.width, camera.height) == (160, 60)
    assert (camera.fx, camera.fy) == (250, 127.5)
    assert camera.cx == pytest.approx((320.5 - 100 + 0.5) / 2 - 0.5)
    assert camera.cy == pytest.approx((230 - 40 + 0.5) / 4 - 0.5)


def test_region_outside_the_image_is_refused() -> None:
    message = info()
    message.roi.x_offset, message.roi.width, message.roi.height = 600, 100, 480
    with pytest.raises(ConfigError, match='region of interest 100x480'):
        camera_of(message)


def test_uncalibrated_camera_is_refused() -> None:
    with pytest.raises(ConfigError, match='uncalibrated driver sends zeros'):
        camera_of(info(k=[0.0] * 9))


ROTATED = [0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]


def test_projection_is_that_of_the_rectified_image() -> None:
    p = [400.0, 0.0, 300.0, 0.0, 0.0, 405.0, 220.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    assert projection_of(info(p=p)) == Camera(640, 480, 400, 405, 300, 220)
    assert projection_of(info()) is None
    assert projection_of(info(p=p, r=ROTATED)) == projection_of(info(p=p))


def test_rotation_is_r_of_camera_info() -> None:
    assert rotation_of(info()) == rotation_of(info(r=np.eye(3).ravel().tolist())) == UNROTATED
    assert rotation_of(info(r=ROTATED)) == tuple(ROTATED)
    with pytest.raises(ConfigError, match='expected a rotation matrix'):
        rotation_of(info(r=[2.0, *ROTATED[1:]]))


def test_published_camera_info_describes_the_same_camera() -> None:
    camera = Camera(640, 480, 500, 510, 320.5, 230)
    header = Header(frame_id='optical')
    header.stamp.sec, header.stamp.nanosec = 3, 5
    message = camera_info_message(camera, header)
    assert camera_of(message) == projection_of(message) == camera
    assert stamp_ns(message.header) == 3_000_000_005
    assert not any(message.d)
