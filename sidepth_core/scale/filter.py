"""The filter behind every measured scale: the logarithm of the scale as a random walk, with a gate for outliers.

A scale is positive and errs by shares, so its logarithm is what is normally distributed. Kalman's update is the usual
one; three things are not. Measurements that follow each other within CORRELATION_S see the same walls and the same
ground, and count as one. What regions of the image disagree about is no noise and is never averaged away. And outliers
that agree with each other are no outliers: after `jump_after` of them the filter starts anew there, and says so.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from sidepth_core.errors import ConfigError
from sidepth_core.scale.measurement import Measurement, Refusal

CORRELATION_S = 1.0
START = 3
"""So many measurements have to agree before the first estimate."""
MEMORY = 0.1
"""Weight of the newest measurement in the running means of bias, shift and surprise."""
JUMP_MEMORY_S = 60.0
"""A jump is reported for so long."""

OUTLIER = 'outlier: too far from the estimate'
IMPLAUSIBLE = 'not a number that a scale can be'
BACK_IN_TIME = 'not newer than the last one'
UNSETTLED = 'the first measurements do not agree'


@dataclass(frozen=True)
class FilterSettings:
    """How a scale is filtered.

    Attributes:
        drift: How far the scale may wander: standard deviation as a share, after one second; grows with its root.
        gate: A measurement further from the estimate than so many standard deviations is an outlier.
        jump_after: So many outliers in a row that agree make the filter start anew; 0 for never.
        max_std: A scale less certain than this share has diverged.
        timeout_s: A scale that was not measured for longer is too old, seconds; 0 for never.

    Raises:
        ConfigError: If a value cannot be, naming each.
    """

    drift: float = 0.02
    gate: float = 3.0
    jump_after: int = 20
    max_std: float = 0.5
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        limits = {'drift': self.drift, 'gate': self.gate, 'max_std': self.max_std}
        faults = [f'{name} is {value!r}, expected a positive number' for name, value in limits.items() if not value > 0]
        faults += [f'{name} is {value!r}, expected 0 or more' for name, value in (
            ('jump_after', self.jump_after), ('timeout_s', self.timeout_s)) if not value >= 0]  # fmt: skip
        if faults:
            raise ConfigError(f'scale cannot be filtered so: {"; ".join(faults)}')


class ScaleEstimate(NamedTuple):
    """What is known of the scale at one moment.

    Attributes:
        factor: Metres per unit of the network's depth.
        std: Standard deviation, as a share of the factor.
        age_s: Time since the last measurement that was accepted, seconds.
        updates: How many were accepted.
        shift_per_m: What is added to scaled inverse depth, 1/m.
    """

    factor: float
    std: float
    age_s: float
    updates: int
    shift_per_m: float = 0.0


class FilterState(NamedTuple):
    """All that a filter knows: plain numbers, to be kept and given back.

    Attributes:
        stamp_ns: Time of the last measurement that was accepted.
        log_factor: Logarithm of the estimate.
        variance: Of that logarithm, without the bias.
        bias: Running mean of the measurements' bias.
        surprise: Running mean of squared steps over their expected variance; 1 where the noise is as claimed.
        shift_per_m: Running mean of the shift.
        updates: How many measurements were accepted.
    """

    stamp_ns: int
    log_factor: float
    variance: float
    bias: float
    surprise: float
    shift_per_m: float
    updates: int


@dataclass
class ScaleFilter:
    """One source's scale over time.

    Attributes:
        settings: How it is filtered.
        refused: How many measurements were refused, by reason, those that were none included.
        last_refusal: The newest of them with its detail.
        jumps: How often the scale started anew elsewhere.
    """

    settings: FilterSettings = field(default_factory=FilterSettings)
    refused: Counter[str] = field(default_factory=Counter)
    last_refusal: Refusal | None = None
    jumps: int = 0
    _state: FilterState | None = None
    _first: deque[tuple[int, Measurement]] = field(default_factory=lambda: deque(maxlen=START))
    _outliers: deque[tuple[int, Measurement]] = field(default_factory=deque)
    _jump_ns: int | None = None

    def refuse(self, refusal: Refusal) -> None:
        """Count a frame that gave no measurement, or one that is not believed."""
        self.refused[refusal.reason] += 1
        self.last_refusal = refusal

    def update(self, measurement: Measurement, stamp_ns: int) -> bool:
        """Take a measurement; return whether it was accepted.

        Args:
            measurement: What a source says.
            stamp_ns: Time of its frame, nanoseconds.
        """
        refusal = self._judge(measurement, stamp_ns)
        if refusal is not None:
            self.refuse(refusal)
            return False
        if self._state is None:
            return self._begin(measurement, stamp_ns)
        step = self._step(self._state, measurement, stamp_ns)
        if step is None:
            self._outlier(measurement, stamp_ns)
            return False
        self._state = step
        self._outliers.clear()
        return True

    def _judge(self, measurement: Measurement, stamp_ns: int) -> Refusal | None:
        factor, std, bias, shift = measurement
        if not (0 < factor < math.inf and 0 <= std < math.inf and 0 <= bias < math.inf and math.isfinite(shift)):
            return Refusal(IMPLAUSIBLE, f'factor {factor!r}, std {std!r}, bias {bias!r}')
        last = self._state.stamp_ns if self._state else self._first[-1][0] if self._first else None
        if last is not None and stamp_ns <= last:
            return Refusal(BACK_IN_TIME, f'{(last - stamp_ns) / 1e9:.3f} s older than the last one')
        return None

    def _begin(self, measurement: Measurement, stamp_ns: int) -> bool:
        """Collect the first measurements; start where all of them agree."""
        self._first.append((stamp_ns, measurement))
        if len(self._first) < START:
            return True
        found = _mean_of(list(self._first), self.settings.gate)
        if found is None:
            self.refuse(Refusal(UNSETTLED, ', '.join(f'{m.factor:.3f}' for _, m in self._first)))
            return False
        self._state = found._replace(updates=START)
        self._first.clear()
        return True

    def _step(self, state: FilterState, measurement: Measurement, stamp_ns: int) -> FilterState | None:
        """Return the state after a measurement; None where it is an outlier."""
        passed_s = (stamp_ns - state.stamp_ns) / 1e9
        variance = state.variance + self.settings.drift**2 * passed_s
        claimed = measurement.std**2 * max(1.0, CORRELATION_S / passed_s)
        noise = claimed * max(1.0, state.surprise)
        innovation = math.log(measurement.factor) - state.log_factor
        # The bias is common to both as far as it does not change: what changes of it may show here.
        expected = variance + measurement.std**2 * max(1.0, state.surprise) + measurement.bias**2
        if innovation**2 > self.settings.gate**2 * expected:
            return None
        gain = variance / (variance + noise) if variance + noise > 0 else 1.0
        surprise = innovation**2 / max(variance + measurement.std**2, 1e-12)
        return FilterState(
            stamp_ns,
            state.log_factor + gain * innovation,
            (1 - gain) * variance,
            _mixed(state.bias, measurement.bias),
            _mixed(state.surprise, min(surprise, self.settings.gate**2)),
            _mixed(state.shift_per_m, measurement.shift_per_m),
            state.updates + 1,
        )

    def _outlier(self, measurement: Measurement, stamp_ns: int) -> None:
        """Count an outlier; start anew where a row of them agrees."""
        assert self._state is not None  # noqa: S101 - there is something to be far from
        factor = math.exp(self._state.log_factor)
        self.refuse(Refusal(OUTLIER, f'{measurement.factor:.3f} where {factor:.3f} is expected'))
        if not self.settings.jump_after:
            return
        self._outliers.append((stamp_ns, measurement))
        if len(self._outliers) < self.settings.jump_after:
            return
        found = _mean_of(list(self._outliers), self.settings.gate)
        self._outliers.popleft()
        if found is not None:
            self._state = found._replace(updates=self._state.updates + 1)
            self._outliers.clear()
            self.jumps += 1
            self._jump_ns = stamp_ns

    def estimate(self, stamp_ns: int) -> ScaleEstimate | None:
        """Return what is known at a time; None before the first estimate."""
        state = self._state
        if state is None:
            return None
        age_s = max(0.0, (stamp_ns - state.stamp_ns) / 1e9)
        variance = state.variance + self.settings.drift**2 * age_s + state.bias**2
        return ScaleEstimate(math.exp(state.log_factor), math.sqrt(variance), age_s, state.updates, state.shift_per_m)

    def fault(self, stamp_ns: int) -> str:
        """Return why the estimate of a time cannot be relied upon; empty where it can, and before the first one."""
        estimate = self.estimate(stamp_ns)
        if estimate is None:
            return ''
        if 0 < self.settings.timeout_s < estimate.age_s:
            return f'not measured for {estimate.age_s:.0f} s'
        if estimate.std > self.settings.max_std:
            return f'uncertain by {estimate.std:.0%}'
        return ''

    def doubt(self, stamp_ns: int) -> str:
        """Return what should be known about the estimate of a time though it is used; empty where there is nothing."""
        if self._jump_ns is not None and 0 <= (stamp_ns - self._jump_ns) / 1e9 < JUMP_MEMORY_S:
            return f'jumped {(stamp_ns - self._jump_ns) / 1e9:.0f} s ago'
        if len(self._outliers) >= START:
            return f'the last {len(self._outliers)} measurements are outliers'
        return ''

    @property
    def state(self) -> FilterState | None:
        """What is to be kept; None before the first estimate."""
        return self._state

    def restore(self, state: FilterState) -> None:
        """Go on where another filter was.

        Raises:
            ConfigError: If the state holds what no filter can know.
        """
        numbers = (state.log_factor, state.variance, state.bias, state.surprise, state.shift_per_m)
        if not all(map(math.isfinite, numbers)) or state.variance < 0 or state.bias < 0 or state.updates < 1:
            raise ConfigError(f'scale cannot go on from {state!r}: expected finite numbers, and at least one update')
        self._state = state
        self._first.clear()

    def reset(self) -> None:
        """Forget the estimate, for time went back or the camera was changed; the counts stay."""
        self._state = self._jump_ns = None
        self._first.clear()
        self._outliers.clear()

    def counts(self) -> Mapping[str, int]:
        """Return the refusals by reason, the most frequent first."""
        return dict(self.refused.most_common())


def _mixed(old: float, new: float) -> float:
    return (1 - MEMORY) * old + MEMORY * new


def _mean_of(taken: list[tuple[int, Measurement]], gate: float) -> FilterState | None:
    """Return the state that measurements in a row agree upon; None where they do not."""
    logs = np.log([measurement.factor for _, measurement in taken])
    middle = float(np.median(logs))
    noise = np.array([measurement.std for _, measurement in taken])
    bias = float(np.mean([measurement.bias for _, measurement in taken]))
    spread = np.hypot(noise, bias)
    if (np.abs(logs - middle) > gate * np.maximum(spread, 1e-6)).any():
        return None
    shift = float(np.median([measurement.shift_per_m for _, measurement in taken]))
    # They follow each other closely, so they count as one; they cannot be better than they agree.
    variance = max(float(np.mean(noise**2)), float(logs.var()))
    return FilterState(taken[-1][0], middle, variance, bias, 1.0, shift, 1)
