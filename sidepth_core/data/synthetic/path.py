"""The line a drive follows: straights and circular arcs joined with continuous heading, as long as anyone asks for.

World frame: x and y span the ground, z points up (REP 103). s is the distance along the line from its start, d the
distance to its left, both in metres.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator
from typing import NamedTuple

MIN_CURVATURE = 1e-6


class Segment(NamedTuple):
    """A piece of constant curvature: start point and heading in the world, curvature 1/m (left is positive)."""

    s: float
    x: float
    y: float
    heading: float
    curvature: float
    length: float


class Waypoint(NamedTuple):
    """A place beside the line: world position in metres and the line's heading there in radians."""

    x: float
    y: float
    heading: float


class Path:
    """A line made of (length, curvature) pieces that are drawn from `pieces` only when somebody looks that far."""

    def __init__(self, pieces: Iterator[tuple[float, float]]) -> None:
        self._pieces = pieces
        self._segments: list[Segment] = []
        self._starts: list[float] = []
        self._extend()

    def at(self, s: float, d: float = 0.0) -> Waypoint:
        """Return the place at distance s along the line and d metres to its left."""
        return _along(self.segment(s), s, d)

    def segment(self, s: float) -> Segment:
        """Return the segment that holds s; before the start the first one goes on backwards."""
        while s >= self._starts[-1] + self._segments[-1].length:
            self._extend()
        return self._segments[max(bisect.bisect_right(self._starts, s) - 1, 0)]

    def between(self, first_s: float, last_s: float) -> list[Segment]:
        """Return every segment that overlaps first_s..last_s, in order."""
        self.segment(last_s)
        first = max(bisect.bisect_right(self._starts, first_s) - 1, 0)
        return self._segments[first : bisect.bisect_right(self._starts, last_s)]

    def _extend(self) -> None:
        length, curvature = next(self._pieces)
        curvature = math.copysign(max(abs(curvature), MIN_CURVATURE), curvature)
        s, place = 0.0, Waypoint(0.0, 0.0, 0.0)
        if self._segments:
            last = self._segments[-1]
            s = last.s + last.length
            place = _along(last, s, 0.0)
        self._segments.append(Segment(s, *place, curvature, length))
        self._starts.append(s)


def _along(segment: Segment, s: float, d: float) -> Waypoint:
    distance = s - segment.s
    turn = segment.curvature * distance
    # The chord of an arc: its length is 2 sin(turn / 2) / curvature, its direction lies half a turn ahead.
    chord = distance * (math.sin(turn / 2) / (turn / 2) if turn else 1.0)
    heading = segment.heading + turn
    x = segment.x + chord * math.cos(segment.heading + turn / 2) - d * math.sin(heading)
    y = segment.y + chord * math.sin(segment.heading + turn / 2) + d * math.cos(heading)
    return Waypoint(x, y, heading)
