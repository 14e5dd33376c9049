"""The pieces of the node's soak; the soak itself is `make soak`."""

from __future__ import annotations

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from sidepth_ros.benchmark.soak import CAMERAS, CHANGES, Schedule, accounted, gaps
from sidepth_ros.node.parameters import Settings


def test_every_minute_brings_the_same_at_the_same_seconds() -> None:
    calls: list[str] = []
    schedule = Schedule([(30.0, lambda: calls.append('away')), (2.0, lambda: calls.append('change'))])
    schedule.run_until(1.9)
    assert calls == []
    schedule.run_until(61.0)
    assert calls == ['change', 'away']
    schedule.run_until(200.0)
    assert calls == ['change', 'away'] * 3 + ['change']


def test_changes_are_possible_and_end_where_they_began() -> None:
    settings = Settings()
    for values in CHANGES:
        settings = settings.changed(values)
    left = {'stabilise_time': 0.5, 'scale_factor': 1.0}  # which nothing looks at any more
    assert settings.changed(left) == Settings()


def status(**changes: int) -> DiagnosticStatus:
    values = {'images received': 10, 'depth images published': 6, 'images without a subscriber': 1}
    values |= {'dropped: replaced by a newer image': 3, **changes}
    return DiagnosticStatus(values=[KeyValue(key=key, value=str(value)) for key, value in values.items()])


def test_an_image_that_is_in_no_count_is_found() -> None:
    statuses = dict.fromkeys(CAMERAS, status())
    assert accounted(statuses) == []
    lost = {**statuses, 'rear': status(**{'images received': 11})}
    assert accounted(lost) == ['rear: 11 images came, 10 are accounted for']


def test_a_missing_second_of_diagnostics_is_found() -> None:
    assert gaps([0.0, 1.0, 2.1, 3.0]) == []
    assert gaps([0.0, 1.0, 5.0, 6.0]) == [4.0]
