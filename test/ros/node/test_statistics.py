"""Counters, rates and percentiles with a clock that the test moves."""

from __future__ import annotations

import math

import pytest

from sidepth_ros.node.statistics import WARN_EVERY_S, WINDOW_S, Statistics


class Clock:
    """A clock that stands still until told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_rates_are_those_of_the_last_while(clock: Clock) -> None:
    statistics = Statistics(clock)
    for count in range(100):
        clock.now += 0.1
        statistics.image_received(count)
        if count % 2:
            statistics.published(0.05, 0.04)
    report = statistics.report()
    assert report.rate_in == pytest.approx(10, rel=0.05)
    assert report.rate_out == pytest.approx(5, rel=0.05)
    assert (report.images, report.published) == (100, 50)
    clock.now += WINDOW_S
    assert statistics.report().rate_in == 0
    assert statistics.report().image_age == pytest.approx(WINDOW_S)


def test_percentiles_of_latency(clock: Clock) -> None:
    statistics = Statistics(clock)
    for count in range(1, 101):
        clock.now += 0.01
        statistics.published(count / 1000, count / 500)
    report = statistics.report()
    assert report.latency.p50 == pytest.approx(0.0505)
    assert report.latency.p95 == pytest.approx(0.09505)
    assert report.latency.p99 == pytest.approx(0.09901)
    assert report.turnaround.p50 == pytest.approx(0.101)


def test_stamps_of_another_clock_give_no_latency(clock: Clock) -> None:
    statistics = Statistics(clock)
    statistics.published(1e9, 0.02)
    report = statistics.report()
    assert report.other_clock
    assert math.isnan(report.latency.p50)
    assert report.turnaround.p50 == pytest.approx(0.02)


def test_drops_are_counted_by_reason_and_said_now_and_then(clock: Clock) -> None:
    statistics = Statistics(clock)
    assert statistics.dropped('bad', 'step 3')
    assert not statistics.dropped('bad', 'step 4')
    assert statistics.dropped('worse', 'no data')
    assert not statistics.dropped('replaced')
    clock.now += WARN_EVERY_S
    assert statistics.dropped('bad', 'step 5')
    report = statistics.report()
    assert report.dropped == {'bad': 3, 'worse': 1, 'replaced': 1}
    assert report.fault == 'bad: step 5'
    clock.now += WINDOW_S
    assert statistics.report().fault == ''


def test_stamps_that_never_meet_are_noticed(clock: Clock) -> None:
    statistics = Statistics(clock)
    for count in range(40):
        statistics.image_received(1000 * count)
        statistics.info_received(1000 * count + 1)
    assert not statistics.report().stamps_agree
    statistics.info_received(39_000)
    assert statistics.report().stamps_agree


def test_jump_in_time_clears_what_stamps_said(clock: Clock) -> None:
    statistics = Statistics(clock)
    for count in range(40):
        statistics.image_received(1000 * count)
        statistics.info_received(1000 * count + 1)
        statistics.published(0.1, 0.1)
    statistics.time_jumped()
    report = statistics.report()
    assert (report.jumps, report.stamps_agree, report.rate_out) == (1, True, 0)
    assert report.published == 40
