"""Scale from driven distance: depth seen from two places, in metres, over the depth that is predicted.

Corners fix the motion up to its length, and odometry gives the length. What each part of the image makes of the
predicted depth then follows from comparing the images (see `sweep`): corners alone lie on what has texture, seldom on
the road, and a network is off by other factors there. No network has to be trusted but the one that is measured.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from sidepth_core.camera import Camera
from sidepth_core.data.frames import Image
from sidepth_core.data.two_view import TwoViewGeometry, two_view_geometry
from sidepth_core.scale.measurement import Measurement, Refusal
from sidepth_core.scale.robust import INDEPENDENT, Floats, disagreement, least_relative, middle_of, ranks, spread_of
from sidepth_core.scale.sweep import Factors, swept_factors
from sidepth_core.scale.travel import Travelled, TravelLog, angle_of

MAX_WIDTH = 640
"""Corners are tracked in images no wider than this, pixels."""
NOISE_PX = 0.3
"""Error of a tracked corner."""
MAX_DEPTH_ERROR = 0.15
"""A corner whose depth is not known better than this share, for lack of parallax, is not used."""
MIN_CORNERS = 20
MIN_KNOWN = 0.5
"""A part of the image of which the depth of less than this share is known is not asked."""
MIN_PARTS = 30
MIN_CLEAR = 0.3
"""Where a smaller share of the image tells its factor by itself, the rest would only repeat it."""
MAX_DEPTH_M = 80.0
"""What is farther away is not asked: there is too little parallax, and sky."""
MAX_SPREAD = 0.6
"""Beyond, triangulated and predicted depth have nothing to do with each other."""
MAX_TURN = math.radians(20)
MAX_TURN_UNMOUNTED = math.radians(3)
"""Where nobody knows how far the camera is from the axle, more turn than this moves it by nobody knows how much."""
TURN_ERROR = math.radians(2)
TURN_SHARE = 0.3
DIRECTION_ERROR = math.radians(25)
MAX_PAIR_S = 2.0
"""Two images further apart in time make no pair."""

STANDING = 'standing: too little driven'
TURNING = 'turning: too much turn for the distance'
UNSEEN = 'images: too few corners with parallax agree on a motion'
OTHER_TURN = 'odometry and images disagree on the turn'
OTHER_DIRECTION = 'odometry and images disagree on the direction'
OTHER_SHAPE = 'triangulated and predicted depth have different shapes'
STUCK = 'odometry says standing, but the images move'


Timed = tuple[int, Measurement | Refusal]
"""What a pair of images says, at the time of the later one."""


class Look(NamedTuple):
    """One image with its depth.

    Attributes:
        stamp_ns: Its time.
        image: RGB, (H, W, 3) uint8, rectified.
        camera: Its camera.
        depth: Predicted depth, (h, w), any unit and size.
    """

    stamp_ns: int
    image: Image
    camera: Camera
    depth: npt.NDArray[np.float32]


def small(image: Image, camera: Camera) -> tuple[Image, Camera]:
    """Return an image no wider than MAX_WIDTH, and its camera."""
    if camera.width <= MAX_WIDTH:
        return image, camera
    height = max(1, round(camera.height * MAX_WIDTH / camera.width))
    shrunk = cv2.resize(image, (MAX_WIDTH, height), interpolation=cv2.INTER_AREA)
    return np.asarray(shrunk, np.uint8), camera.resized(MAX_WIDTH, height)


def measure_travel(
    before: Look, now: Look, travelled: Travelled, T_body_camera: Floats | None = None
) -> Measurement | Refusal:
    """Return the scale of the later image's depth.

    Args:
        before: The earlier image; its depth is not looked at.
        now: The later one, of the same camera.
        travelled: What odometry says in between.
        T_body_camera: Where the camera sits in the body's frame, (4, 4); None where nobody knows, which takes the
            body's displacement for the camera's.
    """
    limit = MAX_TURN if T_body_camera is not None else MAX_TURN_UNMOUNTED
    if travelled.turn > limit:
        return Refusal(TURNING, f'{math.degrees(travelled.turn):.1f} degrees, {math.degrees(limit):.0f} are allowed')
    seen = two_view_geometry(before.image, now.image, now.camera.matrix)
    if seen is None:
        return Refusal(UNSEEN)
    T_before_now = travelled.T_before_now
    if T_body_camera is not None:
        T_before_now = np.asarray(np.linalg.inv(T_body_camera) @ T_before_now @ T_body_camera)
    refusal = _contradiction(seen, T_before_now, knows_mount=T_body_camera is not None)
    if refusal is not None:
        return refusal
    distance_m = float(np.linalg.norm(T_before_now[:3, 3]))
    start = _of_corners(now, seen, distance_m)
    if isinstance(start, Refusal):
        return start
    if T_body_camera is None or off_lines(seen, T_before_now, now.camera) > NOISE_PX:
        T_before_now = np.asarray(np.linalg.inv(seen.T_now_before), np.float64)
        T_before_now[:3, 3] *= distance_m
    found = swept_factors(before.image, now.image, now.camera, now.depth, T_before_now, start)
    return _of_parts(found, start, travelled.std)


def _contradiction(seen: TwoViewGeometry, T_before_now: Floats, *, knows_mount: bool) -> Refusal | None:
    """Return where odometry and images tell different motions: a wrong frame, a wrong clock, slipping wheels."""
    T_seen = np.asarray(np.linalg.inv(seen.T_now_before), np.float64)
    if knows_mount:
        turn = angle_of(np.asarray(T_seen[:3, :3].T @ T_before_now[:3, :3], np.float64))
    else:
        turn = abs(angle_of(T_seen[:3, :3]) - angle_of(T_before_now[:3, :3]))
    if turn > TURN_ERROR + TURN_SHARE * angle_of(T_before_now[:3, :3]):
        return Refusal(OTHER_TURN, f'by {math.degrees(turn):.1f} degrees')
    if knows_mount:
        told = T_before_now[:3, 3] / np.linalg.norm(T_before_now[:3, 3])
        off = math.acos(float(np.clip(told @ T_seen[:3, 3], -1, 1)))
        if off > DIRECTION_ERROR:
            return Refusal(OTHER_DIRECTION, f'by {math.degrees(off):.0f} degrees')
    return None


def off_lines(seen: TwoViewGeometry, T_before_now: Floats, camera: Camera) -> float:
    """Return how far corners are off the epipolar lines of a motion, the median, pixels (Sampson's distance)."""
    inverse = np.linalg.inv(camera.matrix)
    x, y, z = T_before_now[:3, 3] / np.linalg.norm(T_before_now[:3, 3])
    F = inverse.T @ np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ T_before_now[:3, :3] @ inverse
    first, second = (np.column_stack([px, np.ones(len(px))]) for px in (seen.before_px, seen.now_px))
    line, back = second @ F.T, first @ F
    slope = (line[:, :2] ** 2).sum(axis=1) + (back[:, :2] ** 2).sum(axis=1)
    return float(np.median(np.abs((first * line).sum(axis=1)) / np.sqrt(np.maximum(slope, 1e-18))))


def _of_parts(found: Factors, start: float, distance_std: float) -> Measurement | Refusal:
    """Return the factor that suits the parts of an image best."""
    near = found.depths * np.maximum(np.exp(found.logs), start) < MAX_DEPTH_M
    seen = near & (found.shares > MIN_KNOWN)
    used = seen & found.clear
    if used.sum() < max(MIN_PARTS, MIN_CLEAR * seen.sum()):
        return Refusal(UNSEEN, f'{int(used.sum())} of {int(seen.sum())} parts of the image tell')
    logs = found.logs[used]
    middle = least_relative(logs, found.shares[used])
    spread = spread_of(logs, middle)
    if spread > MAX_SPREAD:
        return Refusal(OTHER_SHAPE, f'spread {spread:.0%}')
    rows, columns = (axis.astype(np.float64) for axis in np.nonzero(used))
    bias, _ = disagreement(logs, 3 * ranks(rows, 2) + ranks(columns, 3), MIN_PARTS // 6)
    noise = spread / math.sqrt(INDEPENDENT)
    return Measurement(math.exp(middle), math.hypot(noise, distance_std), bias)


def _of_corners(now: Look, seen: TwoViewGeometry, distance_m: float) -> float | Refusal:
    """Return the factor by corners alone: where they lie, on what has texture, others do not follow it."""
    T = seen.T_now_before
    points = seen.points @ T[:3, :3].T + T[:3, 3]
    away = np.linalg.norm(points, axis=1)
    # From a point, the two places are as far apart as the motion (1) seen across: that is its parallax, radians.
    across = np.linalg.norm(np.cross(points, T[:3, 3]), axis=1) / np.maximum(away, 1e-9)
    error = NOISE_PX / now.camera.fx * away / np.maximum(across, 1e-9)
    predicted = sample_depth(now.depth, now.camera, seen.now_px)
    good = (points[:, 2] > 0) & (error < MAX_DEPTH_ERROR) & np.isfinite(predicted) & (predicted > 0)
    if good.sum() < MIN_CORNERS:
        return Refusal(UNSEEN, f'{int(good.sum())} corners have parallax enough')
    return distance_m * middle_of(points[good, 2] / predicted[good])


def sample_depth(depth: npt.NDArray[np.float32], camera: Camera, pixels: Floats) -> Floats:
    """Return the depth at pixels (N, 2) of a camera's image, (N,), by the nearest pixel of a map of any size."""
    height, width = depth.shape
    u, v = ((pixels + 0.5) * (width / camera.width, height / camera.height)).T
    columns, rows = (np.clip(x.astype(np.int64), 0, size - 1) for x, size in ((u, width), (v, height)))
    return np.asarray(depth[rows, columns], np.float64)


class TravelMeter:
    """Chooses pairs of images that odometry covers, and measures each pair once.

    Odometry may come later than the image it belongs to: the later image of a pair waits for it.

    Args:
        min_distance_m: Shorter ways give no parallax worth measuring.
        interval_s: Pause between two pairs, seconds: each costs some thirty milliseconds.
    """

    def __init__(self, min_distance_m: float = 0.2, interval_s: float = 0.5) -> None:
        self.min_distance_m = min_distance_m
        self.interval_s = interval_s
        self._before: Look | None = None
        self._waiting: Look | None = None
        self._measured_ns: int | None = None

    def reset(self) -> None:
        """Forget the images: time went back, or the camera was changed."""
        self._before = self._waiting = None
        self._measured_ns = None

    def wants(self, stamp_ns: int) -> bool:
        """Return whether an image of that time is worth to be given to `__call__`, which costs a copy of its pixels."""
        if self._waiting is not None or self._before is not None or self._measured_ns is None:
            return True
        return not 0 <= stamp_ns - self._measured_ns < self.interval_s * 1e9

    def __call__(self, look: Look, log: TravelLog, T_body_camera: Floats | None = None) -> Timed | None:
        """Take an image; return the time of a pair's later image and what it says, or None where no pair is complete.

        Args:
            look: The newest image with its depth.
            log: What the odometry said so far.
            T_body_camera: As `measure_travel` takes it.
        """
        before, waiting = self._before, self._waiting
        if before is None or not 0 < look.stamp_ns - before.stamp_ns <= MAX_PAIR_S * 1e9:
            lost = before if waiting is not None else None
            self._before, self._waiting = look, None
            if lost is not None and waiting is not None:
                refused = log.between(lost.stamp_ns, waiting.stamp_ns)
                return (waiting.stamp_ns, refused) if isinstance(refused, Refusal) else None
            return None
        if waiting is None:
            return self._try(look, log, T_body_camera)
        found = log.between(before.stamp_ns, waiting.stamp_ns)
        if isinstance(found, Refusal):
            if look.stamp_ns - waiting.stamp_ns < MAX_PAIR_S / 2 * 1e9:
                return None  # odometry may still come
            self._next()
            return waiting.stamp_ns, found
        return self._measure(before, waiting, found, T_body_camera)

    def _try(self, look: Look, log: TravelLog, T_body_camera: Floats | None) -> Timed | None:
        """See whether an image makes a pair with the one before."""
        before = self._before
        assert before is not None  # noqa: S101 - the caller looked
        newest_ns = log.newest_ns
        if newest_ns is None or newest_ns < look.stamp_ns:
            self._waiting = look
            return None
        found = log.between(before.stamp_ns, look.stamp_ns)
        if isinstance(found, Refusal):
            self._next()
            return look.stamp_ns, found
        return self._measure(before, look, found, T_body_camera)

    def _measure(self, before: Look, now: Look, travelled: Travelled, T_body_camera: Floats | None) -> Timed | None:
        self._waiting = None
        if travelled.distance_m < self.min_distance_m:
            if now.stamp_ns - before.stamp_ns < MAX_PAIR_S / 2 * 1e9:
                return None  # the first image of the pair stays until the robot has come far enough
            self._next()
            stuck = two_view_geometry(before.image, now.image, now.camera.matrix) is not None
            detail = f'{travelled.distance_m:.3f} m in {(now.stamp_ns - before.stamp_ns) / 1e9:.1f} s'
            return now.stamp_ns, Refusal(STUCK if stuck else STANDING, detail)
        self._next()
        self._measured_ns = now.stamp_ns
        return now.stamp_ns, measure_travel(before, now, travelled, T_body_camera)

    def _next(self) -> None:
        self._before = self._waiting = None
