"""Which camera_info goes with which image."""

from __future__ import annotations

import pytest

pytest.importorskip('sensor_msgs', reason='ROS messages are not installed: `make setup` brings them')

from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from sidepth_ros.messages.pairing import MISMATCH, NO_INFO, Pairing


def image(second: int, width: int = 64) -> Image:
    message = Image(width=width, height=48)
    message.header.stamp.sec = second
    return message


def info(second: int, width: int = 64, fx: float = 50.0) -> CameraInfo:
    message = CameraInfo(width=width, height=48, k=[fx, 0.0, 32.0, 0.0, fx, 24.0, 0.0, 0.0, 1.0])
    message.header.stamp.sec = second
    return message


def test_image_goes_with_the_camera_info_of_its_stamp() -> None:
    pairing = Pairing()
    for second in (1, 2, 3):
        pairing.info(info(second, fx=50.0 + second))
    assert pairing.image(image(2), 0.0).frame.info.k[0] == 52.0


def test_image_without_one_goes_with_the_newest() -> None:
    pairing = Pairing()
    pairing.info(info(1))
    pairing.info(info(2, fx=60.0))
    assert pairing.image(image(9), 0.0).frame.info.k[0] == 60.0


def test_image_before_every_camera_info_waits() -> None:
    pairing = Pairing()
    assert pairing.image(image(1), 7.0).frame is None
    frame = pairing.info(info(1)).frame
    assert (frame.image.header.stamp.sec, frame.received_s) == (1, 7.0)
    assert pairing.info(info(2)).frame is None


def test_image_that_waits_is_lost_to_the_next_and_counted() -> None:
    pairing = Pairing()
    pairing.image(image(1), 0.0)
    outcome = pairing.image(image(2), 0.0)
    assert (outcome.frame, outcome.lost) == (None, NO_INFO)


def test_change_of_size_loses_no_image_whose_camera_info_comes_after_it() -> None:
    pairing = Pairing()
    pairing.info(info(1))
    assert pairing.image(image(2, width=128), 0.0).frame is None
    assert pairing.info(info(2, width=128)).frame.image.width == 128


@pytest.mark.parametrize('info_first', [True, False])
def test_image_that_does_not_fit_its_own_camera_info_is_lost_at_once(info_first: bool) -> None:
    pairing = Pairing()
    messages = [lambda: pairing.info(info(1, width=128)), lambda: pairing.image(image(1), 0.0)]
    outcome = [send() for send in (messages if info_first else messages[::-1])][-1]
    assert (outcome.frame, outcome.lost) == (None, MISMATCH)
    assert 'image is 64x48, its camera_info says 128x48' in outcome.detail
    assert pairing.info(info(2)).frame is None


def test_compressed_image_has_no_size_to_compare_yet() -> None:
    pairing = Pairing()
    pairing.info(info(1, width=128))
    assert pairing.image(CompressedImage(), 0.0).frame is not None


def test_reset_keeps_the_newest_camera_info() -> None:
    pairing = Pairing()
    pairing.info(info(5, fx=70.0))
    pairing.reset()
    assert pairing.image(image(1), 0.0).frame.info.k[0] == 70.0
