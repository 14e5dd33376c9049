"""What a camera_info means for its images, and when they are rectified."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip('sensor_msgs', reason='ROS messages are not installed: `make setup` brings them')

from sensor_msgs.msg import CameraInfo

from sidepth_core.camera import Camera
from sidepth_core.rectify import UNROTATED, rectified_camera
from sidepth_ros.messages.calibration import CalibrationCache, calibration_of

K = [500.0, 0.0, 320.5, 0.0, 510.0, 230.0, 0.0, 0.0, 1.0]
P = [400.0, 0.0, 300.0, 0.0, 0.0, 405.0, 220.0, 0.0, 0.0, 0.0, 1.0, 0.0]
D = [-0.1, 0.02, 0.0, 0.0, 0.0]
RAW = Camera(640, 480, 500, 510, 320.5, 230)
LENS = Camera(640, 480, 500, 510, 320.5, 230, 'plumb_bob', tuple(D[:4]))
PROJECTED = Camera(640, 480, 400, 405, 300, 220)


def info(**fields: object) -> CameraInfo:
    return CameraInfo(**{'width': 640, 'height': 480, 'k': K, 'distortion_model': 'plumb_bob', **fields})


@pytest.mark.parametrize(
    ('fields', 'rectify', 'topic', 'source', 'target'),
    [
        ({}, 'auto', '/cam/image_raw', RAW, RAW),
        ({'d': D}, 'auto', '/cam/image_raw', LENS, rectified_camera(LENS)),
        ({'d': D, 'p': P}, 'auto', '/cam/image_raw', LENS, PROJECTED),
        ({'d': D, 'p': P}, 'auto', '/cam/image_rect_color', PROJECTED, PROJECTED),
        ({'d': D}, 'auto', '/cam/image_rect', RAW, RAW),
        ({'d': D, 'p': P}, 'never', '/cam/image_raw', PROJECTED, PROJECTED),
        ({'d': D, 'p': P}, 'always', '/cam/image_rect', LENS, PROJECTED),
        ({'p': P}, 'always', '/cam/image_raw', RAW, PROJECTED),
        ({'p': P}, 'auto', '/cam/image_raw', RAW, RAW),
    ],
)
def test_rectification_is_chosen_by_lens_parameter_and_topic(
    fields: dict[str, object], rectify: str, topic: str, source: Camera, target: Camera
) -> None:
    assert calibration_of(info(**fields), rectify, topic) == (source, target, UNROTATED)


R = tuple(cv2.Rodrigues(np.radians((0.6, -2.0, 0.9)))[0].ravel().tolist())


@pytest.mark.parametrize(
    ('fields', 'rectify', 'topic', 'rotate', 'expected'),
    [
        ({'d': D, 'p': P, 'r': R}, 'auto', '/left/image_raw', True, (LENS, PROJECTED, R)),
        ({'d': D, 'p': P, 'r': R}, 'auto', '/left/image_raw', False, (LENS, rectified_camera(LENS), UNROTATED)),
        ({'d': D, 'p': P}, 'auto', '/left/image_raw', False, (LENS, PROJECTED, UNROTATED)),
        # P is the camera of rectified images, rotated or not.
        ({'d': D, 'p': P, 'r': R}, 'auto', '/left/image_rect', True, (PROJECTED, PROJECTED, UNROTATED)),
        ({'d': D, 'p': P, 'r': R}, 'never', '/left/image_raw', False, (PROJECTED, PROJECTED, UNROTATED)),
        # image_proc lets an image without distortion pass, whatever R says.
        ({'p': P, 'r': R}, 'auto', '/left/image_raw', True, (RAW, RAW, UNROTATED)),
        ({'p': P, 'r': R}, 'always', '/left/image_raw', True, (RAW, PROJECTED, R)),
        # Without P nobody knows where the rotated image would lie.
        ({'d': D, 'r': R}, 'auto', '/left/image_raw', True, (LENS, rectified_camera(LENS), UNROTATED)),
    ],
)
def test_rotation_of_a_stereo_rig_is_applied_with_its_projection(
    fields: dict[str, object], rectify: str, topic: str, rotate: bool, expected: tuple[object, ...]
) -> None:
    assert calibration_of(info(**fields), rectify, topic, rotate=rotate) == expected


def test_calibration_is_made_once_per_camera_info() -> None:
    cache = CalibrationCache()
    first = cache(info(d=D), 'auto', '/image')
    assert cache(info(d=D), 'auto', '/image') is first
    assert cache(info(d=[-0.2, *D[1:]]), 'auto', '/image') != first
    assert cache(info(d=D), 'never', '/image').source == RAW
    stereo = info(d=D, p=P, r=R)
    assert cache(stereo, 'auto', '/image') != cache(stereo, 'auto', '/image', rotate=False)
