"""What is loaded after a failure."""

from __future__ import annotations

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from sidepth_ros.node.parameters import Settings
from sidepth_ros.node.recovery import STEADY_S, Recovery, ladder

ASKED = Settings(engine='compiled', precision='fp16', device='cuda')
PLAIN = ASKED.changed({'engine': 'eager', 'precision': 'float32'})
ON_CPU = PLAIN.changed({'device': 'cpu'})


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ('asked', 'device_type', 'rungs'),
    [
        (ASKED, 'cuda', [ASKED, PLAIN, ON_CPU]),
        (PLAIN, 'cuda', [PLAIN, ON_CPU]),
        (Settings(), 'cpu', [Settings(), Settings(engine='eager')]),
        (Settings(engine='eager'), 'cpu', [Settings(engine='eager')]),
    ],
)
def test_nothing_is_tried_twice_and_the_cpu_comes_last(
    asked: Settings, device_type: str, rungs: list[Settings]
) -> None:
    assert ladder(asked, device_type) == rungs


def test_failures_soon_after_each_other_lead_down_to_the_cpu_and_then_to_the_end() -> None:
    clock = Clock()
    recovery = Recovery(clock)
    for expected in (ASKED, PLAIN, ON_CPU):
        assert recovery.begin('it failed', ASKED, 'cuda') == expected
        assert recovery.condition().is_underway
        clock.now += 2 * STEADY_S  # building may take its time
        recovery.succeeded()
        clock.now += STEADY_S / 2
    assert 'not the engine that was asked for' in recovery.condition().note
    assert recovery.begin('it failed', ASKED, 'cuda') is None
    assert recovery.condition().recoveries == 3


def test_an_engine_that_worked_for_a_while_is_built_again() -> None:
    clock = Clock()
    recovery = Recovery(clock)
    for _ in range(3):
        assert recovery.begin('it failed', ASKED, 'cuda') == ASKED
        recovery.succeeded()
        assert 'built anew: it failed' in recovery.condition().note
        clock.now += STEADY_S + 1
        assert recovery.condition().note == ''
        assert recovery.is_at_rest


def test_a_model_that_the_user_asks_for_starts_at_the_top() -> None:
    clock = Clock()
    recovery = Recovery(clock)
    for _ in range(2):
        recovery.begin('it failed', ASKED, 'cuda')
        recovery.succeeded()
    recovery.reset()
    assert recovery.is_at_rest
    assert recovery.begin('it failed', ASKED, 'cuda') == ASKED
