"""The filter says what is known of a scale, and how well; it does not follow what cannot be."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sidepth_core.errors import ConfigError
from sidepth_core.scale import FilterSettings, FilterState, Measurement, Refusal, ScaleFilter
from sidepth_core.scale.filter import BACK_IN_TIME, IMPLAUSIBLE, OUTLIER, START, UNSETTLED

SECOND = 1_000_000_000


def feed(one: ScaleFilter, factors: list[float], start_s: int = 0, std: float = 0.05, bias: float = 0.0) -> int:
    """Give a filter a measurement each second; return the time of the last one, nanoseconds."""
    for index, factor in enumerate(factors):
        one.update(Measurement(factor, std, bias), (start_s + index) * SECOND)
    return (start_s + len(factors) - 1) * SECOND


def factor_of(one: ScaleFilter, stamp_ns: int) -> float:
    """Return the estimate, which there must be."""
    estimate = one.estimate(stamp_ns)
    assert estimate is not None
    return estimate.factor


def test_nothing_is_known_before_the_first_measurements_agree() -> None:
    one = ScaleFilter()
    feed(one, [2.0] * (START - 1))
    assert one.estimate(SECOND) is None
    feed(one, [2.0], start_s=START)
    assert factor_of(one, START * SECOND) == pytest.approx(2.0)


def test_first_measurements_that_disagree_make_no_estimate() -> None:
    one = ScaleFilter()
    end = feed(one, [2.0, 0.5, 2.0])
    assert one.estimate(end) is None
    assert one.refused[UNSETTLED] == 1
    end = feed(one, [2.0, 2.0], start_s=3)
    assert factor_of(one, end) == pytest.approx(2.0)


def test_claimed_deviation_covers_the_error_of_noisy_measurements() -> None:
    rng = np.random.default_rng(1)
    errors, claims = [], []
    for _ in range(200):
        one = ScaleFilter(FilterSettings(drift=0.01))
        end = feed(one, (1.7 * np.exp(rng.normal(0, 0.05, 20))).tolist())
        estimate = one.estimate(end)
        assert estimate is not None
        errors.append(abs(math.log(estimate.factor / 1.7)))
        claims.append(estimate.std)
    share = float((np.array(errors) < 2 * np.array(claims)).mean())
    assert share > 0.93
    assert np.median(claims) < 0.04, 'twenty measurements know more than one'


def test_frames_of_one_moment_do_not_count_as_many() -> None:
    slow, fast = ScaleFilter(FilterSettings(drift=0.01)), ScaleFilter(FilterSettings(drift=0.01))
    for index in range(40):
        slow.update(Measurement(1.0, 0.05, 0.0), index * SECOND)
        fast.update(Measurement(1.0, 0.05, 0.0), index * SECOND // 30)
    quick, patient = fast.estimate(40 * SECOND // 30), slow.estimate(39 * SECOND)
    assert quick is not None
    assert patient is not None
    assert quick.std > 1.3 * patient.std


def test_disagreement_between_regions_is_never_averaged_away() -> None:
    one = ScaleFilter()
    end = feed(one, [1.0] * 100, bias=0.2)
    estimate = one.estimate(end)
    assert estimate is not None
    assert estimate.std >= 0.2


def test_noise_above_what_was_claimed_is_noticed() -> None:
    rng = np.random.default_rng(2)
    factors = np.exp(rng.normal(0, 0.06, 60)).tolist()
    honest, boastful = ScaleFilter(), ScaleFilter(FilterSettings(gate=100))
    feed(honest, [1.0] * 60, std=0.02)
    end = feed(boastful, factors, std=0.02)
    first, second = honest.estimate(end), boastful.estimate(end)
    assert first is not None
    assert second is not None
    assert second.std > 1.2 * first.std


def test_outlier_is_refused_and_counted_with_its_value() -> None:
    one = ScaleFilter()
    feed(one, [1.0] * 10)
    assert not one.update(Measurement(3.0, 0.05, 0.0), 10 * SECOND)
    assert factor_of(one, 10 * SECOND) == pytest.approx(1.0)
    assert one.refused[OUTLIER] == 1
    assert one.last_refusal is not None
    assert '3.000' in one.last_refusal.detail


def test_outliers_that_agree_start_the_filter_anew_and_are_called_a_jump() -> None:
    one = ScaleFilter(FilterSettings(jump_after=5))
    feed(one, [1.0] * 10)
    feed(one, [3.0] * 4, start_s=10)
    assert 'outliers' in one.doubt(13 * SECOND)
    end = feed(one, [3.0], start_s=14)
    assert factor_of(one, end) == pytest.approx(3.0)
    assert one.jumps == 1
    assert one.doubt(end + 5 * SECOND) == 'jumped 5 s ago'
    assert not one.doubt(end + 100 * SECOND)


def test_outliers_that_disagree_never_become_the_scale() -> None:
    one = ScaleFilter(FilterSettings(jump_after=5))
    feed(one, [1.0] * 10)
    end = feed(one, [3.0, 9.0, 27.0] * 10, start_s=10)
    assert factor_of(one, end) == pytest.approx(1.0)
    assert one.jumps == 0


@pytest.mark.parametrize('factor', [0.0, -1.0, math.nan, math.inf])
def test_what_no_scale_can_be_is_refused(factor: float) -> None:
    one = ScaleFilter()
    assert not one.update(Measurement(factor, 0.05, 0.0), 0)
    assert one.refused[IMPLAUSIBLE] == 1


def test_measurements_not_newer_than_the_last_one_are_refused() -> None:
    one = ScaleFilter()
    end = feed(one, [1.0] * 5)
    assert not one.update(Measurement(1.0, 0.05, 0.0), end)
    assert one.refused[BACK_IN_TIME] == 1


def test_scale_ages_becomes_uncertain_and_faulty() -> None:
    one = ScaleFilter(FilterSettings(drift=0.02, timeout_s=60))
    end = feed(one, [1.0] * 10)
    later = one.estimate(end + 100 * SECOND)
    assert later is not None
    assert later.age_s == pytest.approx(100)
    assert later.std >= 0.02 * math.sqrt(100)
    assert not one.fault(end + 59 * SECOND)
    assert one.fault(end + 61 * SECOND) == 'not measured for 61 s'


def test_scale_that_diverges_is_faulty() -> None:
    one = ScaleFilter(FilterSettings(drift=0.1, max_std=0.3, timeout_s=0))
    end = feed(one, [1.0] * 10)
    assert not one.fault(end)
    assert 'uncertain by' in one.fault(end + 20 * SECOND)


def test_state_goes_to_another_filter_and_ages_meanwhile() -> None:
    first, second = ScaleFilter(), ScaleFilter()
    end = feed(first, [1.5] * 10)
    assert first.state is not None
    second.restore(first.state)
    assert second.estimate(end + SECOND) == first.estimate(end + SECOND)
    feed(second, [1.5], start_s=20)
    assert second.state is not None
    assert second.state.updates == first.state.updates + 1


def test_state_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'cannot go on from.*nan.*finite'):
        ScaleFilter().restore(FilterState(0, math.nan, 0.1, 0.0, 1.0, 0.0, 3))


def test_reset_forgets_the_estimate_and_keeps_the_counts() -> None:
    one = ScaleFilter()
    end = feed(one, [1.0] * 5)
    one.refuse(Refusal('dark'))
    one.reset()
    assert one.estimate(end) is None
    assert one.counts() == {'dark': 1}
    feed(one, [2.0] * START)
    assert factor_of(one, 3 * SECOND) == pytest.approx(2.0)


def test_settings_name_every_fault() -> None:
    with pytest.raises(ConfigError, match=r'drift is 0.*jump_after is -1'):
        FilterSettings(drift=0, jump_after=-1)
