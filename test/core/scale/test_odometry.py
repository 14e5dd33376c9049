"""Driven distance gives the scale where the robot drives, and where odometry and images tell the same motion."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from sidepth_core.camera import Camera
from sidepth_core.data.synthetic import SyntheticSource
from sidepth_core.data.synthetic.source import PERFECT
from sidepth_core.data.tracks import rigid
from sidepth_core.data.two_view import two_view_geometry
from sidepth_core.scale import Measurement, Refusal, Report, TravelLog
from sidepth_core.scale.odometry import (
    OTHER_DIRECTION,
    OTHER_TURN,
    STANDING,
    STUCK,
    TURNING,
    UNSEEN,
    Look,
    TravelMeter,
    measure_travel,
    off_lines,
    sample_depth,
    small,
)
from sidepth_core.scale.travel import MISSING, Travelled

CAMERA = Camera.pinhole(320, 192, 70)
RATE_HZ = 10.0
UNIT_M = 2.0
"""Metres per unit of the depth that the tests predict."""


class Ride:
    """Four frames of a rendered street, with the odometry of the robot."""

    def __init__(self) -> None:
        source = SyntheticSource('street', seed=12, frames=4, camera=CAMERA, fps=RATE_HZ, sensor=PERFECT)
        self.drive = source.drive()
        self.looks = [
            Look(frame.stamp_ns, frame.image, CAMERA, frame.depth_m / np.float32(UNIT_M))
            for frame in source
            if frame.depth_m is not None
        ]
        self.T_body_camera = self.drive.T_base_camera

    @staticmethod
    def stamp_ns(index: float) -> int:
        """Return the time of a frame."""
        return round(index / RATE_HZ * 1e9)

    def report(self, index: float) -> Report:
        """Return the odometry at the time of a frame."""
        velocity, turn = self.drive.twist(index / RATE_HZ)
        body = self.drive.pose(index / RATE_HZ) @ np.linalg.inv(self.T_body_camera)
        return Report(self.stamp_ns(index), velocity, turn, body)

    def travelled(self, first: int, last: int) -> Travelled:
        """Return the motion between two frames."""
        log = TravelLog()
        log.add(self.report(first))
        log.add(self.report(last))
        found = log.between(self.stamp_ns(first), self.stamp_ns(last))
        assert isinstance(found, Travelled)
        return found


@pytest.fixture(scope='module')
def ride() -> Ride:
    """Return the frames, rendered once."""
    return Ride()


def reason_of(found: object) -> str:
    """Return why there is no measurement."""
    assert isinstance(found, Refusal), found
    return found.reason


def test_triangulated_over_predicted_depth_is_the_scale(ride: Ride) -> None:
    found = measure_travel(ride.looks[0], ride.looks[2], ride.travelled(0, 2), ride.T_body_camera)
    assert isinstance(found, Measurement), found
    assert found.factor == pytest.approx(UNIT_M, rel=0.05)
    assert abs(np.log(found.factor / UNIT_M)) < 2 * np.hypot(found.std, found.bias)


def test_scale_needs_no_mount_while_the_robot_drives_straight(ride: Ride) -> None:
    found = measure_travel(ride.looks[0], ride.looks[2], ride.travelled(0, 2))
    assert isinstance(found, Measurement), found
    assert found.factor == pytest.approx(UNIT_M, rel=0.06)


def test_scale_suits_the_road_as_well_as_what_has_corners(ride: Ride) -> None:
    # Below the horizon a unit of depth is half of what it is above, where most corners are.
    now = ride.looks[2]
    depth = now.depth.copy()
    depth[depth.shape[0] // 2 :] *= 2
    found = measure_travel(ride.looks[0], now._replace(depth=depth), ride.travelled(0, 2), ride.T_body_camera)
    assert isinstance(found, Measurement), found
    truth = now.depth * np.float32(UNIT_M)
    seen = np.isfinite(truth) & (truth < 80)
    factors = (truth[seen] / depth[seen]).astype(np.float64)
    errors = {s: float(np.abs(s / factors - 1).mean()) for s in np.geomspace(0.8, 2.2, 60)}
    assert np.abs(found.factor / factors - 1).mean() < 1.1 * min(errors.values())
    assert found.bias > 0.2, 'regions of the image disagree'


def test_motion_that_corners_contradict_is_not_taken_from_odometry(ride: Ride) -> None:
    before, now = ride.looks[0], ride.looks[2]
    seen = two_view_geometry(before.image, now.image, CAMERA.matrix)
    assert seen is not None
    pose = ride.drive.pose
    T = np.asarray(np.linalg.inv(pose(0.0)) @ pose(2 / RATE_HZ))
    turned = rigid(np.array([[0.995, 0, 0.0998], [0, 1, 0], [-0.0998, 0, 0.995]]), [0, 0, 0])
    assert off_lines(seen, T, CAMERA) < 0.3
    assert off_lines(seen, np.asarray(T @ turned), CAMERA) > 1.0


def test_depth_map_of_another_size_is_looked_up_in_the_right_place() -> None:
    depth = np.arange(6, dtype=np.float32).reshape(2, 3)
    corners = np.array([[0, 0], [319, 0], [0, 191], [319, 191], [160, 0]], np.float64)
    assert sample_depth(depth, CAMERA, corners).tolist() == [0, 2, 3, 5, 1]


def test_wide_images_are_tracked_smaller() -> None:
    image, camera = small(np.zeros((720, 1280, 3), np.uint8), Camera.pinhole(1280, 720, 70))
    assert image.shape == (360, 640, 3)
    assert camera == Camera.pinhole(1280, 720, 70).resized(640, 360)


def test_odometry_of_another_frame_is_refused(ride: Ride) -> None:
    sideways = rigid(np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float64), [0, 0, 0]) @ ride.T_body_camera
    found = measure_travel(ride.looks[0], ride.looks[2], ride.travelled(0, 2), sideways)
    assert reason_of(found) == OTHER_DIRECTION


def test_odometry_that_turns_where_the_images_do_not_is_refused(ride: Ride) -> None:
    straight = ride.travelled(0, 2)
    turned = np.array([[np.cos(0.2), -np.sin(0.2), 0], [np.sin(0.2), np.cos(0.2), 0], [0, 0, 1]])
    told = straight._replace(T_before_now=rigid(turned, straight.T_before_now[:3, 3]))
    assert reason_of(measure_travel(ride.looks[0], ride.looks[2], told, ride.T_body_camera)) == OTHER_TURN


def test_turning_on_the_spot_is_no_measurement(ride: Ride) -> None:
    turned = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    told = Travelled(rigid(turned, [0.3, 0, 0]), 0.02)
    assert reason_of(measure_travel(ride.looks[0], ride.looks[2], told, ride.T_body_camera)) == TURNING


def test_images_without_corners_are_no_measurement(ride: Ride) -> None:
    blank = ride.looks[2]._replace(image=np.full_like(ride.looks[2].image, 128))
    assert reason_of(measure_travel(blank, blank, ride.travelled(0, 2), ride.T_body_camera)) == UNSEEN


def test_pair_waits_for_odometry_that_comes_late(ride: Ride) -> None:
    log, meter = TravelLog(), TravelMeter(interval_s=0)
    log.add(ride.report(0))
    assert meter(ride.looks[0], log, ride.T_body_camera) is None
    assert meter(ride.looks[1], log, ride.T_body_camera) is None
    log.add(ride.report(1.5))
    found = meter(ride.looks[2], log, ride.T_body_camera)
    assert found is not None
    assert found[0] == ride.stamp_ns(1)
    assert isinstance(found[1], Measurement), found
    assert found[1].factor == pytest.approx(UNIT_M, rel=0.06)


def test_odometry_that_never_comes_is_said(ride: Ride) -> None:
    log, meter = TravelLog(), TravelMeter(interval_s=0)
    log.add(ride.report(0))
    found = [meter(ride.looks[0]._replace(stamp_ns=ride.stamp_ns(5 * index)), log) for index in range(6)]
    reasons = [reason_of(one[1]) for one in found if one is not None]
    assert reasons == [MISSING]


def still(log: TravelLog, images: list[npt.NDArray[np.uint8]], ride: Ride) -> str:
    """Return what is said of images during which the odometry stands still."""
    meter = TravelMeter(interval_s=0)
    reasons = []
    for index, image in enumerate(images):
        stamp_ns = ride.stamp_ns(4 * index)
        log.add(Report(stamp_ns, np.zeros(3), np.zeros(3), np.eye(4)))
        found = meter(ride.looks[0]._replace(image=image, stamp_ns=stamp_ns), log, ride.T_body_camera)
        reasons += [reason_of(found[1])] if found is not None else []
    assert len(reasons) == 1
    return reasons[0]


def test_standing_is_no_measurement(ride: Ride) -> None:
    assert still(TravelLog(), [ride.looks[0].image] * 4, ride) == STANDING


def test_odometry_that_is_stuck_while_the_images_move_is_said(ride: Ride) -> None:
    assert still(TravelLog(), [look.image for look in ride.looks], ride) == STUCK


def test_images_of_an_earlier_time_start_a_new_pair(ride: Ride) -> None:
    log, meter = TravelLog(), TravelMeter(interval_s=0)
    log.add(ride.report(0))
    log.add(ride.report(3))
    later = ride.looks[0]._replace(stamp_ns=ride.stamp_ns(900))
    assert meter(later, log, ride.T_body_camera) is None
    assert meter(ride.looks[0], log, ride.T_body_camera) is None
    found = meter(ride.looks[2], log, ride.T_body_camera)
    assert found is not None
    assert isinstance(found[1], Measurement)


def test_pause_between_two_pairs_costs_no_image(ride: Ride) -> None:
    log, meter = TravelLog(), TravelMeter(interval_s=0.5)
    for index in range(4):
        log.add(ride.report(index))
    assert meter.wants(ride.stamp_ns(0))
    meter(ride.looks[0], log, ride.T_body_camera)
    assert meter(ride.looks[2], log, ride.T_body_camera) is not None
    assert not meter.wants(ride.stamp_ns(3))
    assert meter.wants(ride.stamp_ns(8))
