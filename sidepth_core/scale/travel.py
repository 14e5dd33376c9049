"""How far a robot says it went: odometry or twists, kept for a few seconds."""

from __future__ import annotations

import math
import threading
from collections import deque
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sidepth_core.data.tracks import interpolate_pose, rigid
from sidepth_core.scale.measurement import Refusal

Floats = npt.NDArray[np.float64]

KEPT_S = 20.0
MAX_GAP_S = 0.5
"""Nothing is interpolated across a longer silence."""
MAX_SPEED_MPS = 100.0
"""Nobody drives a camera faster; a filter that diverges does."""
MAX_TURN_RPS = 20.0
DEFAULT_STD = 0.02
"""Error of a driven distance as a share, where nobody says: wheels of another diameter, slip."""
MAX_STD = 0.5
"""A covariance beyond says that the speed is not known: drivers write 1e6 or -1 for that, or for a lack of care."""
JUMP_M = 0.1
JUMP_SHARE = 0.5
"""Poses that move further from what the speeds say than this, and than this share of it, have jumped."""

NOT_FINITE = 'odometry: not finite, or faster than anything drives'
CLOCK_BACK = 'odometry: clock went back'
MISSING = 'odometry: missing at the time of the images'
JUMPS = 'odometry: pose jumps against its speed'


class Report(NamedTuple):
    """One message of odometry.

    Attributes:
        stamp_ns: Its time.
        velocity_mps: (3,), in the body's axes.
        angular_rps: (3,), in the body's axes.
        T_world_body: Pose, (4, 4); None from a bare twist.
        speed_variance: Variance of the speed along x, (m/s)^2, as the message says it: zero where it says nothing.
    """

    stamp_ns: int
    velocity_mps: Floats
    angular_rps: Floats
    T_world_body: Floats | None = None
    speed_variance: float = 0.0


class Travelled(NamedTuple):
    """What odometry says between two times.

    Attributes:
        T_before_now: Motion of the body: maps points of its later frame into its earlier one, (4, 4), metres.
        std: Error of the distance, as a share.
    """

    T_before_now: Floats
    std: float

    @property
    def distance_m(self) -> float:
        """Length of the displacement, metres."""
        return float(np.linalg.norm(self.T_before_now[:3, 3]))

    @property
    def turn(self) -> float:
        """Angle of the rotation, radians."""
        return angle_of(self.T_before_now[:3, :3])


def angle_of(rotation: Floats) -> float:
    """Return the angle of a rotation (3, 3), radians."""
    return math.acos(float(np.clip((np.trace(rotation) - 1) / 2, -1, 1)))


class TravelLog:
    """The odometry of the last seconds; written by one thread and read by another."""

    def __init__(self) -> None:
        self._reports: deque[Report] = deque()
        self._lock = threading.Lock()

    def add(self, report: Report) -> Refusal | None:
        """Take a message; return why it is not used, if it is not."""
        speed, turn = float(np.linalg.norm(report.velocity_mps)), float(np.linalg.norm(report.angular_rps))
        pose = report.T_world_body
        if not (speed <= MAX_SPEED_MPS and turn <= MAX_TURN_RPS and (pose is None or np.isfinite(pose).all())):
            return Refusal(NOT_FINITE, f'{speed:g} m/s, {turn:g} rad/s')
        with self._lock:
            if self._reports and report.stamp_ns <= self._reports[-1].stamp_ns:
                back_s = (self._reports[-1].stamp_ns - report.stamp_ns) / 1e9
                if back_s > 1:  # a clock that was set, or a bag that starts anew: what came before has another time
                    self._reports.clear()
                    self._reports.append(report)
                return Refusal(CLOCK_BACK, f'by {back_s:.3f} s')
            self._reports.append(report)
            while report.stamp_ns - self._reports[0].stamp_ns > KEPT_S * 1e9:
                self._reports.popleft()
        return None

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._reports.clear()

    @property
    def newest_ns(self) -> int | None:
        """Time of the newest message; None without any."""
        with self._lock:
            return self._reports[-1].stamp_ns if self._reports else None

    def between(self, start_ns: int, end_ns: int) -> Travelled | Refusal:
        """Return the motion of the body between two times."""
        with self._lock:
            reports = list(self._reports)
        chosen = _spanning(reports, start_ns, end_ns)
        if chosen is None:
            newest = f'the newest is {(end_ns - reports[-1].stamp_ns) / 1e9:.2f} s older' if reports else 'none came'
            return Refusal(MISSING, newest)
        driven = _integrated(chosen, start_ns, end_ns)
        std = _std(chosen)
        if chosen[0].T_world_body is None or any(report.T_world_body is None for report in chosen):
            return Travelled(driven, std)
        first, last = (_pose_at(chosen, stamp_ns) for stamp_ns in (start_ns, end_ns))
        by_poses = np.asarray(np.linalg.inv(first) @ last)
        length, by_speed = (float(np.linalg.norm(T[:3, 3])) for T in (by_poses, driven))
        has_twist = any(report.velocity_mps.any() for report in chosen)  # many drivers leave it empty
        off = abs(length - by_speed)
        impossible = length > MAX_SPEED_MPS * (end_ns - start_ns) / 1e9
        if impossible or (has_twist and off > max(JUMP_M, JUMP_SHARE * by_speed)):
            return Refusal(JUMPS, f'{length:.2f} m by its poses, {by_speed:.2f} m by its speed')
        return Travelled(by_poses, std)


def _spanning(reports: list[Report], start_ns: int, end_ns: int) -> list[Report] | None:
    """Return the messages from just before one time to just after another; None where there is a gap."""
    before = [index for index, report in enumerate(reports) if report.stamp_ns <= start_ns]
    after = [index for index, report in enumerate(reports) if report.stamp_ns >= end_ns]
    if not before or not after or start_ns > end_ns:
        return None
    chosen = reports[before[-1] : after[0] + 1]
    gaps = [late.stamp_ns - early.stamp_ns for early, late in pairwise(chosen)]
    return None if max(gaps, default=0) > MAX_GAP_S * 1e9 else chosen


def _integrated(reports: list[Report], start_ns: int, end_ns: int) -> Floats:
    """Return the motion that the speeds add up to, (4, 4)."""
    motion = np.eye(4)
    for early, late in pairwise(reports):
        seconds = (min(late.stamp_ns, end_ns) - max(early.stamp_ns, start_ns)) / 1e9
        velocity, turn = ((getattr(early, name) + getattr(late, name)) / 2 for name in ('velocity_mps', 'angular_rps'))
        half, whole = _turned(turn * seconds / 2), _turned(turn * seconds)
        motion = motion @ rigid(whole, half @ velocity * seconds)
    return motion


def _turned(axis_angle: Floats) -> Floats:
    angle = float(np.linalg.norm(axis_angle))
    x, y, z = axis_angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    half = np.sinc(angle / (2 * math.pi))
    return np.asarray(np.eye(3) + np.sinc(angle / math.pi) * cross + half * half / 2 * cross @ cross)


def _pose_at(reports: list[Report], stamp_ns: int) -> Floats:
    index = next((i for i, report in enumerate(reports[1:]) if report.stamp_ns >= stamp_ns), len(reports) - 2)
    first, second = reports[max(index, 0)], reports[max(index, 0) + 1 if len(reports) > 1 else 0]
    assert first.T_world_body is not None  # noqa: S101 - the caller looked
    assert second.T_world_body is not None  # noqa: S101
    span = second.stamp_ns - first.stamp_ns
    return interpolate_pose(first.T_world_body, second.T_world_body, (stamp_ns - first.stamp_ns) / span if span else 0)


def _std(reports: list[Report]) -> float:
    """Return the error of the distance as a share: as the covariances say, where they say something that can be."""
    shares = [
        math.sqrt(report.speed_variance) / speed
        for report in reports
        if (speed := float(np.linalg.norm(report.velocity_mps))) > 0.01 and 0 < report.speed_variance < math.inf
    ]
    told = [share for share in shares if share <= MAX_STD]
    return max(DEFAULT_STD, float(np.median(told))) if told else DEFAULT_STD
