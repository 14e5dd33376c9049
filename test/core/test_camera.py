from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sidepth_core.camera import Camera
from sidepth_core.errors import ConfigError

CAMERA = Camera(width=640, height=200, fx=400.0, fy=300.0, cx=310.0, cy=110.0)


def test_convention_resize_moves_the_principal_point_by_half_pixels() -> None:
    half = CAMERA.resized(320, 50)
    assert (half.width, half.height, half.fx, half.fy) == (320, 50, 200.0, 75.0)
    assert half.cx == pytest.approx((310.5 * 0.5) - 0.5)
    assert half.cy == pytest.approx((110.5 * 0.25) - 0.5)


def test_convention_a_resize_maps_image_borders_onto_image_borders() -> None:
    other = CAMERA.resized(123, 77)
    left = (-0.5 - CAMERA.cx) / CAMERA.fx
    assert (-0.5 - other.cx) / other.fx == pytest.approx(left)
    bottom = (CAMERA.height - 0.5 - CAMERA.cy) / CAMERA.fy
    assert (other.height - 0.5 - other.cy) / other.fy == pytest.approx(bottom)


def test_convention_crop_subtracts_its_corner() -> None:
    box = CAMERA.cropped(10, 20, 100, 90)
    assert (box.cx, box.cy, box.fx, box.width, box.height) == (300.0, 90.0, 400.0, 100, 90)


def test_convention_flip_mirrors_about_the_middle_of_the_pixel_grid() -> None:
    assert CAMERA.flipped().cx == 640 - 1 - 310
    assert CAMERA.flipped().flipped() == CAMERA


def test_field_of_view_counts_the_whole_pixels_at_the_border() -> None:
    square = Camera(width=100, height=100, fx=50.0, fy=50.0, cx=49.5, cy=49.5)
    assert square.field_of_view_deg == pytest.approx((90.0, 90.0))


def test_a_pinhole_sees_the_field_of_view_it_was_made_for() -> None:
    wide = Camera.pinhole(200, 120, 90.0)
    assert (wide.fx, wide.fy, wide.cx, wide.cy) == pytest.approx((100, 100, 99.5, 59.5))
    assert wide.field_of_view_deg[0] == pytest.approx(90)
    with pytest.raises(ConfigError, match='field of view 180 degrees is none of a pinhole camera: choose 1 to 150'):
        Camera.pinhole(200, 120, 180)


def test_matrix_is_the_intrinsic_matrix() -> None:
    np.testing.assert_array_equal(CAMERA.matrix, [[400, 0, 310], [0, 300, 110], [0, 0, 1]])


@pytest.mark.parametrize(
    ('fields', 'words'),
    [
        ({'cx': 99999.0}, r'principal point \(99999, 110\) is more than 20 focal lengths outside of a 640x200 image'),
        ({'cy': -99999.0}, r'principal point \(310, -99999\) is more than 20'),
        ({'distortion_model': 'plumb_bob', 'distortion': (0.1, -1e30, 0, 0)}, r'lens coefficient 1e\+30 is beyond'),
        ({'fx': 1e300}, r'fx=1e\+300.* beyond 1e\+07 pixels'),
        ({'width': 10**9}, 'size 1000000000x200 is beyond 65536'),
        ({'cx': float('nan')}, 'not finite'),
    ],
)
def test_a_camera_that_nobody_has_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        replace(CAMERA, **fields)


def test_a_crop_at_the_rim_of_a_wide_sensor_is_a_camera() -> None:
    wide = Camera.pinhole(4096, 2160, 120.0)
    assert wide.cropped(4000, 0, 96, 96).cx == pytest.approx(2047.5 - 4000)


def test_a_number_of_400_digits_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'not a number.*too large'):
        Camera.from_dict({**CAMERA.to_dict(), 'fx': 10**400})


def test_a_distorted_camera_cannot_be_mirrored() -> None:
    lens = Camera(640, 480, 500, 500, 320, 240, 'plumb_bob', (0.1, 0, 0, 0, 0))
    assert not lens.is_rectified
    with pytest.raises(ConfigError, match='rectify'):
        lens.flipped()


def test_zero_coefficients_are_a_rectified_camera() -> None:
    assert Camera(640, 480, 500, 500, 320, 240, 'plumb_bob', (0.0,) * 5).is_rectified


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r'0x480 is empty.*fx=0.*uncalibrated.*\'fish\''):
        Camera(0, 480, 0.0, 500.0, 320.0, 240.0, 'fish')


def test_a_wrong_number_of_coefficients_is_refused() -> None:
    with pytest.raises(ConfigError, match="3 coefficients do not fit distortion model 'plumb_bob'"):
        Camera(640, 480, 500, 500, 320, 240, 'plumb_bob', (0.1, 0.2, 0.3))


def test_a_camera_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ConfigError, match='not finite'):
        Camera(640, 480, float('nan'), 500, 320, 240)


def test_dictionary_round_trip_keeps_everything() -> None:
    lens = Camera(640, 480, 500, 501, 320, 240, 'equidistant', (0.1, 0.2, 0.3, 0.4))
    assert Camera.from_dict(lens.to_dict()) == lens


def test_a_dictionary_without_a_focal_length_is_refused() -> None:
    fields = CAMERA.to_dict()
    del fields['fy']
    with pytest.raises(ConfigError, match="'fy' is missing"):
        Camera.from_dict(fields)


def test_a_dictionary_with_words_for_numbers_is_refused() -> None:
    with pytest.raises(ConfigError, match='not a number'):
        Camera.from_dict({**CAMERA.to_dict(), 'fx': 'wide'})


@pytest.mark.parametrize(
    ('camera', 'word'),
    [
        (Camera(640, 192, 721.5, 721.5, 609.6, 172.9), 'principal point'),
        (Camera(1, 1, 0.58, 1.92, 0.5, 0.5), 'square'),
        (Camera(1280, 720, 60.0, 60.0, 640, 360), 'field of view'),
    ],
)
def test_doubts_name_what_looks_wrong(camera: Camera, word: str) -> None:
    assert any(word in doubt for doubt in camera.doubts())


def test_nothing_is_doubted_in_a_good_calibration() -> None:
    assert Camera(1242, 375, 721.5, 721.5, 609.6, 172.9).doubts() == ()
