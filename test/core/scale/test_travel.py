"""Odometry is believed as far as it makes sense."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from sidepth_core.data.tracks import rigid
from sidepth_core.scale import Refusal, Report, TravelLog
from sidepth_core.scale.travel import CLOCK_BACK, DEFAULT_STD, JUMPS, MISSING, NOT_FINITE, Travelled

SECOND = 1_000_000_000
NO_TURN = np.zeros(3)


def report(
    time_s: float,
    speed_mps: float = 2.0,
    turn_rps: float = 0.0,
    pose: npt.NDArray[np.float64] | None = None,
    variance: float = 0.0,
) -> Report:
    """Return a message of a robot that drives along x."""
    velocity, turn = np.array([speed_mps, 0, 0]), np.array([0, 0, turn_rps])
    return Report(round(time_s * SECOND), velocity, turn, pose, variance)


def at(x: float) -> npt.NDArray[np.float64]:
    """Return a pose along x."""
    return rigid(np.eye(3), [x, 0, 0])


def log_of(*reports: Report) -> TravelLog:
    """Return a log that took all of some messages."""
    log = TravelLog()
    assert [log.add(one) for one in reports] == [None] * len(reports)
    return log


def travelled(log: TravelLog, start_s: float, end_s: float) -> Travelled:
    """Return a motion, which there must be."""
    found = log.between(round(start_s * SECOND), round(end_s * SECOND))
    assert isinstance(found, Travelled), found
    return found


def reason(log: TravelLog, start_s: float, end_s: float) -> str:
    """Return why there is no motion."""
    found = log.between(round(start_s * SECOND), round(end_s * SECOND))
    assert isinstance(found, Refusal), found
    return found.reason


def test_twists_add_up_to_a_distance_between_messages() -> None:
    log = log_of(*(report(0.1 * i) for i in range(11)))
    assert travelled(log, 0.25, 0.75).distance_m == pytest.approx(1.0)


def test_turning_twists_add_up_to_an_arc() -> None:
    log = log_of(*(report(0.05 * i, 1.0, math.pi / 2) for i in range(21)))
    found = travelled(log, 0.0, 1.0)
    # A quarter of a circle of radius 2 / pi.
    assert found.T_before_now[:2, 3] == pytest.approx([2 / math.pi, 2 / math.pi], rel=1e-3)
    assert found.turn == pytest.approx(math.pi / 2)


def test_poses_are_interpolated_and_win_over_twists_that_are_left_empty() -> None:
    log = log_of(*(report(0.1 * i, 0.0, pose=at(0.3 * i)) for i in range(11)))
    assert travelled(log, 0.05, 0.95).distance_m == pytest.approx(2.7)


def test_pose_that_jumps_against_the_speed_is_refused() -> None:
    poses = [0.0, 0.2, 0.4, 5.6, 5.8]
    log = log_of(*(report(0.1 * i, 2.0, pose=at(x)) for i, x in enumerate(poses)))
    assert travelled(log, 0.0, 0.2).distance_m == pytest.approx(0.4)
    assert reason(log, 0.1, 0.4) == JUMPS


def test_pose_that_jumps_further_than_anything_drives_is_refused_without_twist_too() -> None:
    log = log_of(report(0.0, 0.0, pose=at(0)), report(0.1, 0.0, pose=at(50)))
    assert reason(log, 0.0, 0.1) == JUMPS


def test_odometry_that_is_late_missing_or_has_a_gap_says_nothing() -> None:
    assert reason(TravelLog(), 0, 1) == MISSING
    log = log_of(report(0.0), report(0.1), report(0.8), report(0.9))
    assert reason(log, 0.8, 1.5) == MISSING
    assert reason(log, 0.0, 0.9) == MISSING
    assert travelled(log, 0.8, 0.9).distance_m == pytest.approx(0.2)


@pytest.mark.parametrize('speed', [math.nan, math.inf, 1e4])
def test_odometry_that_is_no_speed_is_refused(speed: float) -> None:
    refusal = TravelLog().add(report(0, speed))
    assert refusal is not None
    assert refusal.reason == NOT_FINITE


def test_pose_that_is_not_finite_is_refused() -> None:
    refusal = TravelLog().add(report(0, pose=at(math.nan)))
    assert refusal is not None
    assert refusal.reason == NOT_FINITE


def test_clock_that_is_reset_starts_the_log_anew() -> None:
    log = log_of(*(report(100 + 0.1 * i) for i in range(5)))
    refusal = log.add(report(3.0))
    assert refusal is not None
    assert refusal.reason == CLOCK_BACK
    assert log.add(report(3.1)) is None
    assert travelled(log, 3.0, 3.1).distance_m == pytest.approx(0.2)
    assert reason(log, 100.0, 100.3) == MISSING


def test_message_out_of_order_is_refused_and_the_log_stays() -> None:
    log = log_of(report(0.0), report(0.2))
    refusal = log.add(report(0.1))
    assert refusal is not None
    assert refusal.reason == CLOCK_BACK
    assert travelled(log, 0.0, 0.2).distance_m == pytest.approx(0.4)


@pytest.mark.parametrize('variance', [0.0, -1.0, 1e6, math.nan, math.inf])
def test_covariance_that_says_nothing_gives_the_default(variance: float) -> None:
    log = log_of(*(report(0.1 * i, variance=variance) for i in range(3)))
    assert travelled(log, 0.0, 0.2).std == DEFAULT_STD


def test_covariance_that_makes_sense_is_taken() -> None:
    log = log_of(*(report(0.1 * i, 2.0, variance=0.2**2) for i in range(3)))
    assert travelled(log, 0.0, 0.2).std == pytest.approx(0.1)
