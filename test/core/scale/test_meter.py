"""A camera's scale: the surest source is taken, and what contradicts it is said."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from sidepth_core.camera import Camera
from sidepth_core.scale import (
    FilterSettings,
    MeterSettings,
    Moment,
    Mount,
    Ranges,
    Refusal,
    Scale,
    ScaleMeter,
    Surroundings,
    TravelLog,
    mount_of,
)
from sidepth_core.scale.meter import NO_ODOMETRY

CAMERA = Camera(256, 160, 190, 200, 125.0, 82.0)
SECOND = 1_000_000_000
UNIT_M = 2.0
HEIGHT_M = 1.2


def floor() -> Tensor:
    """Return what a network with two metres to its unit says of flat ground and a wall, (1, h, w)."""
    v = torch.arange(CAMERA.height, dtype=torch.float32)
    ground = HEIGHT_M * CAMERA.fy / (v - CAMERA.cy).clamp(min=1e-3)
    return (ground.clamp(max=20) / UNIT_M)[None, :, None].expand(1, -1, CAMERA.width).clone()


def unseen() -> tuple[npt.NDArray[np.uint8], Camera]:
    """Return an image that nothing can be tracked in."""
    return np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8), CAMERA


def scanner(time_s: float, error: float = 1.0) -> Ranges:
    """Return ranges of that floor and wall."""
    v, u = np.meshgrid(np.arange(70, 150, 5), np.arange(5, 250, 10))
    z = floor()[0].numpy().astype(np.float64)[v.ravel(), u.ravel()] * UNIT_M * error
    x, y = (u.ravel() - CAMERA.cx) / CAMERA.fx, (v.ravel() - CAMERA.cy) / CAMERA.fy
    return Ranges(round(time_s * SECOND), np.stack([x * z, y * z, z], axis=-1))


def ask(meter: ScaleMeter, surroundings: Surroundings, count: int = 5, start_s: float = 0.0) -> Scale:
    """Show a meter some frames, a second apart, and return the last scale."""
    scale = Scale(1.0, metric=False, uncertainty=math.nan)
    for index in range(count):
        ranges = surroundings.ranges
        if isinstance(ranges, Ranges):
            ranges = ranges._replace(stamp_ns=round((start_s + index) * SECOND))
        moment = Moment(floor(), CAMERA, round((start_s + index) * SECOND), unseen)
        scale = meter(moment, surroundings._replace(ranges=ranges))
    return scale


def by(source: str, **values: object) -> ScaleMeter:
    """Return a meter."""
    return ScaleMeter(MeterSettings(source, shape_error=0.05, **values))  # type: ignore[arg-type]


def test_height_makes_metres_after_some_frames_and_not_before() -> None:
    meter, around = by('camera_height'), Surroundings(mount=mount_of(HEIGHT_M))
    assert not ask(meter, around, count=2).metric
    scale = ask(meter, around, start_s=2)
    assert scale.metric
    assert scale.factor == pytest.approx(UNIT_M, rel=0.02)
    assert scale.source == 'camera_height'
    assert 0.05 <= scale.uncertainty < 0.2


def test_shape_error_of_the_weights_bounds_what_is_claimed() -> None:
    meter = ScaleMeter(MeterSettings('camera_height', shape_error=0.3))
    assert ask(meter, Surroundings(mount=mount_of(HEIGHT_M))).uncertainty >= 0.3
    unknown = ScaleMeter(MeterSettings('camera_height'))
    assert ask(unknown, Surroundings(mount=mount_of(HEIGHT_M))).uncertainty >= 0.2


def test_only_the_source_that_was_asked_for_is_measured() -> None:
    around = Surroundings(mount=mount_of(HEIGHT_M), ranges=scanner(0, error=3.0))
    assert ask(by('camera_height'), around).factor == pytest.approx(UNIT_M, rel=0.02)
    assert ask(by('range'), around).factor == pytest.approx(3 * UNIT_M, rel=0.02)


def test_auto_takes_the_surest_and_says_which() -> None:
    around = Surroundings(mount=mount_of(HEIGHT_M), ranges=scanner(0))
    assert ask(by('auto'), around).source == 'range'
    assert ask(by('auto'), around._replace(ranges=Refusal('none'))).source == 'camera_height'


def test_auto_takes_another_source_when_one_falls_silent() -> None:
    meter = by('auto', filter=FilterSettings(timeout_s=10))
    around = Surroundings(mount=mount_of(HEIGHT_M), ranges=scanner(0))
    assert ask(meter, around).source == 'range'
    scale = ask(meter, around._replace(ranges=Refusal('none')), start_s=20)
    assert (scale.source, scale.fault) == ('camera_height', '')


def test_auto_keeps_to_metric_weights_until_something_is_measured() -> None:
    meter = by('auto', metric_weights=True)
    scale = ask(meter, Surroundings(mount=Refusal('no transform')))
    assert (scale.factor, scale.metric, scale.source) == (1.0, True, 'checkpoint')
    assert ask(meter, Surroundings(mount=mount_of(HEIGHT_M)), start_s=9).source == 'camera_height'


def test_silence_of_the_only_source_is_a_fault_and_the_last_scale_stays() -> None:
    meter = by('camera_height', filter=FilterSettings(timeout_s=10))
    ask(meter, Surroundings(mount=mount_of(HEIGHT_M)))
    scale = ask(meter, Surroundings(mount=Refusal('no transform')), start_s=20)
    assert scale.factor == pytest.approx(UNIT_M, rel=0.02)
    assert scale.fault == 'camera_height: not measured for 20 s'
    assert meter.reports()[0].refused == {'no transform': 5}


def test_height_that_is_half_of_the_truth_contradicts_metric_weights() -> None:
    meter = by('camera_height', metric_weights=True)
    ask(meter, Surroundings(mount=mount_of(HEIGHT_M / UNIT_M / 2)))
    assert len(meter.contradictions()) == 1
    assert 'camera_height makes 0.50 m of each metre that the weights say' in meter.contradictions()[0]
    right = by('camera_height', metric_weights=True)
    ask(right, Surroundings(mount=mount_of(HEIGHT_M / UNIT_M)))
    assert right.contradictions() == []


def test_two_sources_that_contradict_each_other_are_both_named() -> None:
    meter = by('auto')
    ask(meter, Surroundings(mount=mount_of(HEIGHT_M / 2), ranges=scanner(0)))
    assert len(meter.contradictions()) == 1
    assert 'camera_height says 1.0' in meter.contradictions()[0]
    assert 'range 2.0' in meter.contradictions()[0]


def test_one_sweep_counts_once_however_many_frames_it_is_near() -> None:
    meter = by('range')
    ranges = scanner(0)
    for index in range(9):
        meter(Moment(floor(), CAMERA, index * SECOND // 30, unseen), Surroundings(ranges=ranges))
    assert meter.reports()[0].estimate is None


def test_odometry_that_never_came_is_counted() -> None:
    meter = by('odometry')
    assert not ask(meter, Surroundings(travel=TravelLog())).metric
    assert meter.reports()[0].refused == {NO_ODOMETRY: 5}


def test_what_was_learned_goes_to_another_meter() -> None:
    mount = Surroundings(mount=mount_of(HEIGHT_M))
    first, second = by('auto'), by('camera_height')
    ask(first, mount)
    second.restore(first.states(), first.refused())
    scale = second.scale(10 * SECOND)
    assert scale.metric
    assert scale.factor == pytest.approx(UNIT_M, rel=0.02)


def test_reset_forgets_the_metres() -> None:
    meter = by('camera_height')
    ask(meter, Surroundings(mount=mount_of(HEIGHT_M)), start_s=100)
    meter.reset()
    assert not ask(meter, Surroundings(mount=mount_of(HEIGHT_M)), count=2).metric
    assert ask(meter, Surroundings(mount=mount_of(HEIGHT_M)), start_s=2).metric


def test_shift_is_applied_in_inverse_depth() -> None:
    scale = Scale(2.0, metric=True, uncertainty=0.1, shift_per_m=0.05)
    assert scale.apply(torch.tensor([1.0, 5.0])).tolist() == pytest.approx([1 / 0.55, 1 / 0.15])
    beyond = Scale(2.0, metric=True, uncertainty=0.1, shift_per_m=-0.05)
    assert beyond.apply(torch.tensor([5.0, 50.0])).tolist() == pytest.approx([20.0, math.inf])


def test_mount_is_a_plain_value() -> None:
    assert mount_of(1.0) == Mount(1.0, (0.0, 1.0, 0.0))
