"""Calibrations: CameraInfo's fields and the files of the usual tools."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidepth_core.camera import Camera
from sidepth_core.data.calibration import camera_from_info, find_calibration, fitted, lens, read_calibration
from sidepth_core.errors import ConfigError, DatasetError

K = [500.0, 0, 320, 0, 510, 240, 0, 0, 1]
P = [450.0, 0, 310, 0, 0, 460, 235, 0, 0, 0, 1, 0]
CAMERA_CALIBRATION = """\
image_width: 640
image_height: 480
camera_name: front
camera_matrix:
  rows: 3
  cols: 3
  data: [500.0, 0.0, 320.0, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.2, 0.1, 0.001, -0.001, 0.0]
"""
OPENCV = """\
%YAML:1.0
---
image_width: 640
image_height: 480
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 500., 0., 320., 0., 510., 240., 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 5
   cols: 1
   dt: d
   data: [ -0.2, 0.1, 0.001, -0.001, 0. ]
"""
KALIBR = """\
cam0:
  camera_model: pinhole
  intrinsics: [500.0, 510.0, 320.0, 240.0]
  distortion_model: radtan
  distortion_coeffs: [-0.2, 0.1, 0.001, -0.001]
  resolution: [640, 480]
"""


@pytest.mark.parametrize(('name', 'text'), [('a.yaml', CAMERA_CALIBRATION), ('b.yml', OPENCV), ('c.yaml', KALIBR)])
def test_calibration_tools_are_understood(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    camera = read_calibration(tmp_path / name)
    assert (camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy) == (640, 480, 500, 510, 320, 240)
    assert camera.distortion_model == 'plumb_bob'
    assert camera.distortion[:4] == (-0.2, 0.1, 0.001, -0.001)


def test_own_json_round_trips(tmp_path: Path) -> None:
    camera = Camera(640, 480, 500, 510, 320, 240, 'equidistant', (0.1, 0.01, 0, 0))
    (tmp_path / 'camera.json').write_text(json.dumps(camera.to_dict()))
    assert read_calibration(tmp_path / 'camera.json') == camera


def test_real_calibrations_are_read(real_data: Path) -> None:
    highway = read_calibration(real_data / 'highway' / 'calibration_computed.json')
    assert (highway.width, highway.distortion_model, len(highway.distortion)) == (1280, 'plumb_bob', 5)
    kitti = read_calibration(real_data / 'kitti_drive_268' / 'intrinsics.json')
    assert kitti == Camera(1242, 375, 721.5377, 721.5377, 609.5593, 172.854)


@pytest.mark.parametrize(
    ('content', 'missing'),
    [
        ('{"fx": 1}', 'width'),
        ('{"width": 6, "height": 4, "fx": 5}', 'cx'),
        ('[1, 2]', 'list'),
        ('{"width"', 'delimiter'),
    ],
)
def test_what_a_calibration_lacks_is_named(tmp_path: Path, content: str, missing: str) -> None:
    (tmp_path / 'camera.json').write_text(content)
    with pytest.raises(DatasetError, match=missing):
        read_calibration(tmp_path / 'camera.json')


def test_zero_k_of_an_uncalibrated_driver_is_refused() -> None:
    with pytest.raises(ConfigError, match='uncalibrated driver'):
        camera_from_info(640, 480, 'plumb_bob', [0.0] * 5, [0.0] * 9)


def test_convention_a_rectified_topic_has_the_camera_of_p() -> None:
    raw = camera_from_info(640, 480, 'plumb_bob', [-0.2, 0.1, 0, 0, 0], K, P)
    rectified = camera_from_info(640, 480, 'plumb_bob', [-0.2, 0.1, 0, 0, 0], K, P, rectified=True)
    assert (raw.fx, raw.cx, raw.distortion[0]) == (500, 320, -0.2)
    assert rectified == Camera(640, 480, 450, 460, 310, 235)


def test_convention_region_of_interest_and_binning_change_the_camera() -> None:
    camera = camera_from_info(640, 480, '', [], K, roi=(40, 20, 400, 300), binning=(2, 2))
    assert (camera.width, camera.height, camera.fx, camera.fy) == (200, 150, 250, 255)
    # Pixel centres at integers: c' = (c - x0 + 0.5) / 2 - 0.5.
    assert (camera.cx, camera.cy) == (139.75, 109.75)
    # 641 columns make 320 whole bins: the last column is left out, and fx is halved exactly.
    odd = camera_from_info(641, 480, '', [], K, binning=(2, 0))
    assert (odd.width, odd.fx, odd.height, odd.fy) == (320, 250, 480, 510)


def test_coefficients_are_trimmed_and_filled_to_what_the_model_takes() -> None:
    assert lens('radtan', [0.1]) == ('plumb_bob', (0.1, 0, 0, 0))
    assert lens('plumb_bob', [0.1, 0, 0, 0, 0, 0, 0, 0]) == ('plumb_bob', (0.1, 0, 0, 0))
    assert lens('plumb_bob', [0.1, 0, 0, 0, 0, 0, 0, 0.2])[0] == 'rational_polynomial'
    assert lens('fisheye', [0, 0, 0, 0]) == ('equidistant', (0, 0, 0, 0))
    assert lens('plumb_bob', []) == ('', ())


def test_unknown_lens_models_are_refused() -> None:
    with pytest.raises(ConfigError, match="'mirror' is not one of"):
        lens('mirror', [1.0])
    with pytest.raises(ConfigError, match='without the name of their model'):
        lens('', [1.0])


def test_camera_is_scaled_to_smaller_images_of_the_same_view() -> None:
    camera = Camera(640, 480, 500, 510, 320, 240)
    assert fitted(camera, 640, 480) is camera
    assert fitted(camera, 320, 240).fx == 250
    with pytest.raises(DatasetError, match='images are 640x360, the calibration is for 640x480'):
        fitted(camera, 640, 360)


def test_a_folder_with_one_yaml_is_calibrated_by_it(tmp_path: Path) -> None:
    assert find_calibration(tmp_path) is None
    (tmp_path / 'left.yaml').write_text(CAMERA_CALIBRATION)
    assert find_calibration(tmp_path) == tmp_path / 'left.yaml'
    (tmp_path / 'right.yaml').write_text(CAMERA_CALIBRATION)
    assert find_calibration(tmp_path) is None
    (tmp_path / 'camera.json').write_text('{}')
    assert find_calibration(tmp_path) == tmp_path / 'camera.json'


KALIBR = """\
cam0:
  camera_model: {camera}
  distortion_model: {lens}
  distortion_coeffs: [0.9, 0.1, 0.0, 0.0]
  intrinsics: [{intrinsics}]
  resolution: [640, 480]
"""


@pytest.mark.parametrize(
    ('camera', 'lens_model', 'intrinsics', 'fault'),
    [
        ('omni', 'radtan', '1.2, 500, 510, 320, 240', "camera_model 'omni' is not one of pinhole"),
        ('ds', 'none', '-0.2, 0.6, 500, 510, 320, 240', "camera_model 'ds' is not one of pinhole"),
        ('pinhole', 'fov', '500, 510, 320, 240', "distortion_model 'fov' is not one of pinhole"),
    ],
)
def test_lens_models_that_are_not_known_are_refused_not_guessed(
    tmp_path: Path, camera: str, lens_model: str, intrinsics: str, fault: str
) -> None:
    path = tmp_path / 'camchain.yaml'
    path.write_text(KALIBR.format(camera=camera, lens=lens_model, intrinsics=intrinsics))
    with pytest.raises(DatasetError, match=fault):
        read_calibration(path)


ORB_SLAM = """\
%YAML:1.0
Camera.type: "{kind}"
{name}.fx: 500.0
{name}.fy: 510.0
{name}.cx: 320.0
{name}.cy: 240.0
{name}.k1: -0.2
{name}.k2: 0.1
{name}.{third}: 0.01
{name}.{fourth}: 0.02
Camera.width: 640
Camera.height: 480
ORBextractor.nFeatures: 1000
"""


def test_settings_of_orb_slam_are_understood(tmp_path: Path) -> None:
    path = tmp_path / 'orb.yaml'
    path.write_text(ORB_SLAM.format(kind='PinHole', name='Camera1', third='p1', fourth='p2'))
    assert read_calibration(path) == Camera(640, 480, 500, 510, 320, 240, 'plumb_bob', (-0.2, 0.1, 0.01, 0.02))
    path.write_text(ORB_SLAM.format(kind='KannalaBrandt8', name='Camera', third='k3', fourth='k4'))
    assert read_calibration(path) == Camera(640, 480, 500, 510, 320, 240, 'equidistant', (-0.2, 0.1, 0.01, 0.02))


def test_lens_coefficients_under_any_name_are_read_or_refused_but_never_left_out(tmp_path: Path) -> None:
    path = tmp_path / 'camera.json'
    pinhole = {'width': 640, 'height': 480, 'fx': 500, 'fy': 510, 'cx': 320, 'cy': 240}
    bent = Camera(640, 480, 500, 510, 320, 240, 'plumb_bob', (-0.2, 0.1, 0, 0.01))
    for names in ({'dist_coeff': [[-0.2, 0.1, 0, 0.01, 0]]}, {'k1': -0.2, 'k2': 0.1, 'p2': 0.01}):
        path.write_text(json.dumps({**pinhole, **names}))
        assert read_calibration(path) == bent
    path.write_text(json.dumps({**pinhole, 'distortion_params': [-0.2, 0.1]}))
    with pytest.raises(DatasetError, match="'distortion_params' is not known, expected lens coefficients as"):
        read_calibration(path)


@pytest.mark.parametrize(
    ('name', 'text', 'words'),
    [
        ('a.json', '[' * 100_000, 'nested too deep'),
        ('a.yaml', '[' * 2_000, 'nested too deep'),
        ('a.json', f'{{"width": 640, "height": 480, "fx": 1{"0" * 400}, "fy": 9, "cx": 320, "cy": 240}}', 'too large'),
        ('a.yaml', f'width: 640\nheight: 480\nK: [1{"0" * 400}, 0, 320, 0, 1, 240, 0, 0, 1]', 'too large'),
        ('a.json', '{"width": 1000000000, "height": 480, "fx": 500, "fy": 500, "cx": 320, "cy": 240}', 'beyond 65536'),
        ('a.json', '{"width": 640, "height": 480, "fx": 500, "fy": 500, "cx": 99999, "cy": 240}', '99999, 240'),
    ],
)
def test_a_calibration_that_is_no_camera_is_one_error(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError, match=words):
        read_calibration(tmp_path / name)
