"""When the recorder pauses."""

from __future__ import annotations

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from sidepth_ros.tools.motion_gate import Gate


def test_gate_closes_after_standing_still_and_opens_at_once() -> None:
    gate = Gate(min_speed_mps=0.1, still_s=2.0)
    speeds = [(0.0, 1.0), (1.0, 0.05), (1.9, 0.0), (2.1, 0.0), (9.0, 0.0), (9.1, 0.1), (9.2, 0.0)]
    assert [gate.is_open(time_s, speed) for time_s, speed in speeds] == [True, True, True, False, False, True, True]


def test_driving_backwards_is_motion() -> None:
    gate = Gate(min_speed_mps=0.1, still_s=1.0)
    assert [gate.is_open(time_s, -0.5) for time_s in (0.0, 5.0)] == [True, True]


def test_recording_starts_even_where_the_robot_stands() -> None:
    gate = Gate(min_speed_mps=0.1, still_s=1.0)
    assert gate.is_open(100.0, 0.0)
    assert not gate.is_open(101.0, 0.0)


def test_time_that_jumps_back_starts_anew() -> None:
    gate = Gate(min_speed_mps=0.1, still_s=1.0)
    gate.is_open(100.0, 0.0)
    assert gate.is_open(3.0, 0.0)
    assert not gate.is_open(4.0, 0.0)
