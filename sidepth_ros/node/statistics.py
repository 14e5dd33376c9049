"""What happened to each image: rates, drops by reason, latencies. Filled from two threads, read by diagnostics.

diagnostic_updater's frequency and stamp status have neither percentiles nor drops by reason.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WINDOW_S = 5.0
"""Rates and latencies are those of this last while."""
WARN_EVERY_S = 5.0
"""How often one fault of one camera is written to the log."""
LATEST_STAMPS = 32
"""How many stamps are kept to see whether images and camera_infos belong together."""
PLAUSIBLE_LATENCY_S = 60.0
"""A stamp further from now than this is of another clock: a bag played without use_sim_time."""


@dataclass(frozen=True)
class Percentiles:
    """Three percentiles of a duration, seconds; NaN where nothing was measured."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, values: list[float]) -> Percentiles:
        """Return those of some values."""
        if not values:
            return cls(float('nan'), float('nan'), float('nan'))
        ordered = sorted(values)
        return cls(*(_at(ordered, share) for share in (0.5, 0.95, 0.99)))


def _at(ordered: Sequence[float], share: float) -> float:
    """Return what that share of sorted values lies below, interpolated; ten times faster than NumPy for so few."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


@dataclass(frozen=True)
class Times:
    """Where the time of the last batches went.

    Attributes:
        device: All that is done on the device: rectification, network, gates.
        network: The network's share of that.
        beside: All that is not the network, from the batch's start to the last message: decoding and publishing, too.
    """

    device: Percentiles
    network: Percentiles
    beside: Percentiles


@dataclass(frozen=True)
class Report:
    """What the statistics of a camera say now.

    Attributes:
        images: Images received so far.
        infos: camera_info messages received so far.
        published: Images whose depth was published so far.
        skipped: Images not worked on because nobody subscribes.
        dropped: Images lost so far, by reason.
        lost: Messages that the transport says it lost so far.
        rate_in: Images received a second.
        rate_out: Depth images published a second.
        latency: From stamp to publish; NaN while stamps are of another clock.
        turnaround: From receipt to publish.
        image_age: Seconds since the last image; inf before the first.
        info_age: Seconds since the last camera_info; inf before the first.
        stamps_agree: Whether any of the last images and camera_infos share a stamp; True while too few came.
        other_clock: Whether stamps are too far from now to be of this clock.
        fault: What was wrong with the last dropped image, while it is recent; else empty.
        jumps: How often time jumped back.
    """

    images: int
    infos: int
    published: int
    skipped: int
    dropped: dict[str, int]
    lost: int
    rate_in: float
    rate_out: float
    latency: Percentiles
    turnaround: Percentiles
    image_age: float
    info_age: float
    stamps_agree: bool
    other_clock: bool
    fault: str
    jumps: int


class Statistics:
    """The counters of one camera."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._images = self._infos = self._published = self._skipped = self._lost = self._jumps = 0
        self._dropped: Counter[str] = Counter()
        self._in: deque[float] = deque(maxlen=4096)
        self._out: deque[tuple[float, float, float]] = deque(maxlen=4096)
        self._last_image = self._last_info = -float('inf')
        self._image_stamps: deque[int] = deque(maxlen=LATEST_STAMPS)
        self._info_stamps: deque[int] = deque(maxlen=LATEST_STAMPS)
        self._fault: tuple[float, str] = (-float('inf'), '')
        self._warned: dict[str, float] = {}

    def image_received(self, stamp_ns: int) -> None:
        """Count an image."""
        with self._lock:
            self._images += 1
            self._last_image = self._now()
            self._in.append(self._last_image)
            self._image_stamps.append(stamp_ns)

    def info_received(self, stamp_ns: int) -> None:
        """Count a camera_info."""
        with self._lock:
            self._infos += 1
            self._last_info = self._now()
            self._info_stamps.append(stamp_ns)

    def published(self, latency_s: float, turnaround_s: float) -> None:
        """Count a published depth image."""
        with self._lock:
            self._published += 1
            self._out.append((self._now(), latency_s, turnaround_s))

    def skipped(self) -> None:
        """Count an image that nobody wanted depth of."""
        with self._lock:
            self._skipped += 1

    def lost(self, total: int) -> None:
        """Note how many messages the transport says it lost so far."""
        with self._lock:
            self._lost = total

    def time_jumped(self) -> None:
        """Count a jump back in time; stamps and latencies from before say nothing any more."""
        with self._lock:
            self._jumps += 1
            self._out.clear()
            self._image_stamps.clear()
            self._info_stamps.clear()

    def dropped(self, reason: str, detail: str = '') -> bool:
        """Count a lost image, and return whether it is time to say so in the log.

        Args:
            reason: A few words, the same for every image lost so.
            detail: A sentence that names the fault of this one; empty where losing it is no fault.
        """
        with self._lock:
            now = self._now()
            self._dropped[reason] += 1
            if not detail:
                return False
            self._fault = (now, f'{reason}: {detail}')
            if now - self._warned.get(reason, -float('inf')) < WARN_EVERY_S:
                return False
            self._warned[reason] = now
            return True

    def report(self) -> Report:
        """Return the state of everything."""
        with self._lock:
            now = self._now()
            recent = [row for row in self._out if now - row[0] < WINDOW_S]
            plausible = [latency for _, latency, _ in recent if abs(latency) < PLAUSIBLE_LATENCY_S]
            enough = min(len(self._image_stamps), len(self._info_stamps)) >= LATEST_STAMPS // 2
            return Report(
                images=self._images,
                infos=self._infos,
                published=self._published,
                skipped=self._skipped,
                dropped=dict(self._dropped),
                lost=self._lost,
                rate_in=_rate([time for time in self._in if now - time < WINDOW_S], now),
                rate_out=_rate([row[0] for row in recent], now),
                latency=Percentiles.of(plausible),
                turnaround=Percentiles.of([row[2] for row in recent]),
                image_age=now - self._last_image,
                info_age=now - self._last_info,
                stamps_agree=not enough or not set(self._image_stamps).isdisjoint(self._info_stamps),
                other_clock=bool(recent) and not plausible,
                fault=self._fault[1] if now - self._fault[0] < WINDOW_S else '',
                jumps=self._jumps,
            )


def _rate(times: list[float], now: float) -> float:
    """Return events a second: over the whole window once it is full, over what there is before."""
    if len(times) < 2:
        return len(times) / WINDOW_S
    return (len(times) - 1) / max(1e-3, min(WINDOW_S, now - times[0]))
