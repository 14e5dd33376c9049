"""What one camera's scale is, frame by frame: the sources that were asked for, a filter behind each, and the choice."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from sidepth_core.camera import Camera
from sidepth_core.data.frames import Image
from sidepth_core.scale.filter import FilterSettings, FilterState, ScaleEstimate, ScaleFilter
from sidepth_core.scale.ground import GroundMeter, Mount
from sidepth_core.scale.measurement import Measurement, Refusal
from sidepth_core.scale.odometry import Look, TravelMeter, small
from sidepth_core.scale.ranges import Ranges, measure_ranges
from sidepth_core.scale.robust import Floats
from sidepth_core.scale.sources import MEASURED_SOURCES, Scale
from sidepth_core.scale.travel import TravelLog

DEFAULT_SHAPE_ERROR = 0.2
"""How far the depth of a part of the image may be off the scale of the whole, where the weights say nothing of it."""
SHARES = {'camera_height': 1.75, 'odometry': 1.0, 'range': 1.0}
"""How many times that error a source's part of the image has: a network learns where the ground is below the cameras of
its training, and puts it there. Chosen after `sidepth benchmark scale` showed too little coverage in corridors, then
checked on other drives."""
WEIGHTS_STD = 0.15
"""How far metric weights are off as a rule, as a share: beyond three times as much, they and a source contradict."""
DISAGREE = 3.0
SOURCES_DISAGREE = 1.5
"""Two sources contradict each other beyond so many standard deviations of their difference. What they claim is bounded
by the weights' own error, which they share in part: on synthetic drives at heights never trained on, height and ranges
that told the truth never differed by more, and a height wrong by half does."""

NO_ODOMETRY = 'odometry: none has come'


@dataclass(frozen=True)
class MeterSettings:
    """What is measured, and how.

    Attributes:
        source: A name of MEASURED_SOURCES; 'auto' measures with all that there is and takes the surest.
        filter: How each source is filtered.
        metric_weights: Whether the weights claim metres of their own.
        shape_error: How far the depth of a part of the image may be off the scale of the whole, as a share; NaN where
            the weights say nothing of it.
        fit_shift: Whether ranges fit a shift in inverse depth too.
        min_distance_m: Odometry is compared over no shorter way, metres.
        interval_s: Pause between two such comparisons, seconds: each costs some thirty milliseconds.
    """

    source: str
    filter: FilterSettings = field(default_factory=FilterSettings)
    metric_weights: bool = False
    shape_error: float = math.nan
    fit_shift: bool = False
    min_distance_m: float = 0.2
    interval_s: float = 0.5


class Moment(NamedTuple):
    """One frame to measure with.

    Attributes:
        depth: The network's depth along Z, (1, h, w) float32, in its own unit.
        camera: The rectified camera of that map, of its size.
        stamp_ns: Time of exposure, nanoseconds.
        look: Gives the rectified image and its camera; called only where odometry needs it.
    """

    depth: Tensor
    camera: Camera
    stamp_ns: int
    look: Callable[[], tuple[Image, Camera]]


class Surroundings(NamedTuple):
    """What else is known when a frame is looked at.

    Attributes:
        mount: How the camera sits over the ground; why that is not known; None where nobody asked.
        travel: The odometry; None where nobody asked.
        T_body_camera: Where the camera sits in the odometry's frame, (4, 4); None where nobody knows.
        ranges: What a range sensor measured near the time of the frame; why there is nothing; None where nobody asked.
    """

    mount: Mount | Refusal | None = None
    travel: TravelLog | None = None
    T_body_camera: Floats | None = None
    ranges: Ranges | Refusal | None = None


class SourceReport(NamedTuple):
    """How one source does.

    Attributes:
        name: The source.
        estimate: What it says; None before its first estimate.
        refused: Its refusals by reason.
        last: The newest refusal.
        fault: Why its estimate cannot be relied upon; empty where it can.
        doubt: What should be known about it; empty for nothing.
    """

    name: str
    estimate: ScaleEstimate | None
    refused: Mapping[str, int]
    last: Refusal | None
    fault: str
    doubt: str


class ScaleMeter:
    """The measured scale of one camera.

    Args:
        settings: What is measured, and how.
    """

    def __init__(self, settings: MeterSettings) -> None:
        self.settings = settings
        told = settings.shape_error
        self._shape_error = told if math.isfinite(told) else DEFAULT_SHAPE_ERROR
        names = MEASURED_SOURCES[:-1] if settings.source == 'auto' else (settings.source,)
        self._filters = {name: ScaleFilter(settings.filter) for name in names}
        self._ground = GroundMeter()
        self._travel = TravelMeter(settings.min_distance_m, settings.interval_s)
        self._ranges_ns: int | None = None
        self._stamp_ns = 0

    def __call__(self, moment: Moment, surroundings: Surroundings) -> Scale:
        """Measure with one frame and return its scale."""
        self._stamp_ns = moment.stamp_ns
        if 'camera_height' in self._filters and surroundings.mount is not None:
            self._by_height(moment, surroundings.mount)
        if 'odometry' in self._filters and surroundings.travel is not None:
            self._by_odometry(moment, surroundings.travel, surroundings.T_body_camera)
        if 'range' in self._filters and surroundings.ranges is not None:
            self._by_ranges(moment, surroundings.ranges)
        return self.scale(moment.stamp_ns)

    def _by_height(self, moment: Moment, mount: Mount | Refusal) -> None:
        found = mount if isinstance(mount, Refusal) else self._ground(moment.depth, moment.camera, mount)
        self._take('camera_height', found, moment.stamp_ns)

    def _by_odometry(self, moment: Moment, log: TravelLog, T_body_camera: Floats | None) -> None:
        if log.newest_ns is None:
            self._take('odometry', Refusal(NO_ODOMETRY), moment.stamp_ns)
            return
        if not self._travel.wants(moment.stamp_ns):
            return
        image, camera = small(*moment.look())
        look = Look(moment.stamp_ns, image, camera, moment.depth[0].cpu().numpy())
        found = self._travel(look, log, T_body_camera)
        if found is not None:
            self._take('odometry', found[1], found[0])

    def _by_ranges(self, moment: Moment, ranges: Ranges | Refusal) -> None:
        if isinstance(ranges, Refusal):
            self._take('range', ranges, moment.stamp_ns)
        elif ranges.stamp_ns != self._ranges_ns:
            self._ranges_ns = ranges.stamp_ns
            found = measure_ranges(moment.depth, moment.camera, ranges, fit_shift=self.settings.fit_shift)
            self._take('range', found, moment.stamp_ns)

    def _take(self, name: str, found: Measurement | Refusal, stamp_ns: int) -> None:
        scale_filter = self._filters[name]
        if isinstance(found, Refusal):
            scale_filter.refuse(found)
        else:
            # What a source sees is a part of the image: what is right for it may be wrong for the rest.
            scale_filter.update(found._replace(bias=math.hypot(found.bias, SHARES[name] * self._shape_error)), stamp_ns)

    def scale(self, stamp_ns: int) -> Scale:
        """Return the scale at a time by the surest source: not metric before the first estimate."""
        best: tuple[float, str, ScaleEstimate, str] | None = None
        for name, scale_filter in self._filters.items():
            estimate = scale_filter.estimate(stamp_ns)
            if estimate is None:
                continue
            fault = scale_filter.fault(stamp_ns)
            rank = estimate.std + (1e6 if fault else 0)
            if best is None or rank < best[0]:
                best = rank, name, estimate, fault
        if best is not None and not (best[3] and self._has_own_metres):
            _, name, estimate, fault = best
            return Scale(
                estimate.factor, True, estimate.std, name, estimate.age_s, estimate.shift_per_m,
                f'{name}: {fault}' if fault else '',
            )  # fmt: skip
        if self._has_own_metres:
            return Scale(1.0, metric=True, uncertainty=math.nan, source='checkpoint')
        return Scale(1.0, metric=False, uncertainty=math.nan, source=self.settings.source)

    @property
    def _has_own_metres(self) -> bool:
        """Whether the weights' metres are one of the sources to choose from."""
        return self.settings.source == 'auto' and self.settings.metric_weights

    def reports(self) -> list[SourceReport]:
        """Return how each source does, at the time of the newest frame."""
        now = self._stamp_ns
        return [
            SourceReport(name, one.estimate(now), one.counts(), one.last_refusal, one.fault(now), one.doubt(now))
            for name, one in self._filters.items()
        ]

    def contradictions(self) -> list[str]:
        """Return a sentence on each two sources that cannot both be right, the weights' own metres included."""
        known = [(name, found.factor, found.std) for name, one in self._filters.items()
                 if (found := one.estimate(self._stamp_ns)) is not None]  # fmt: skip
        sentences = []
        for index, (name, factor, std) in enumerate(known):
            for other, other_factor, other_std in known[:index]:
                if abs(math.log(factor / other_factor)) > SOURCES_DISAGREE * math.hypot(std, other_std):
                    both = f'{other} says {other_factor:.2f} metres a unit, {name} {factor:.2f}'
                    sentences.append(f'{both}: check what each was told, one of them is wrong')
            if self.settings.metric_weights and abs(math.log(factor)) > DISAGREE * WEIGHTS_STD:
                sentences.append(
                    f'{name} makes {factor:.2f} m of each metre that the weights say: check what it was told, or '
                    'fine-tune the weights on this camera'
                )
        return sentences

    def states(self) -> dict[str, FilterState]:
        """Return what each source has learned, to be given to `restore`."""
        return {name: one.state for name, one in self._filters.items() if one.state is not None}

    def restore(self, states: Mapping[str, FilterState], refused: Mapping[str, Counter[str]] | None = None) -> None:
        """Go on where another meter was; sources that this one does not have are left out.

        Raises:
            ConfigError: If a state holds what no filter can know.
        """
        for name, one in self._filters.items():
            if name in states:
                one.restore(states[name])
            if refused is not None and name in refused:
                one.refused.update(refused[name])

    def refused(self) -> dict[str, Counter[str]]:
        """Return the counts of refusals by source."""
        return {name: one.refused for name, one in self._filters.items()}

    def reset(self) -> None:
        """Forget what was learned: time went back, or the camera was changed."""
        for one in self._filters.values():
            one.reset()
        self._travel.reset()
        self._ranges_ns = None
