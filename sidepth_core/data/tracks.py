"""What a robot says about its own motion, brought to the time of each image: speed, pose, and its fixed transforms.

Convention: T_a_b maps points of frame b into frame a; a TransformStamped with header.frame_id a and child_frame_id b
is T_a_b.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

MAX_GAP_S = 0.5
"""No value is interpolated across a longer gap, nor taken from further beyond the ends."""


class Track(NamedTuple):
    """Speed, and where known the pose, of one moving frame over time.

    Attributes:
        stamps_ns: (N,) int64, strictly rising.
        speed_mps: (N,) float64, never negative.
        T_world_body: (N, 4, 4) float64; None where no pose was recorded.
    """

    stamps_ns: npt.NDArray[np.int64]
    speed_mps: FloatArray
    T_world_body: FloatArray | None = None

    def speed_at(self, stamp_ns: int) -> float | None:
        """Return the speed at a time, metres a second; None outside of the track and in its gaps."""
        place = self._place(stamp_ns)
        if place is None:
            return None
        before, after, share = place
        return float((1 - share) * self.speed_mps[before] + share * self.speed_mps[after])

    def pose_at(self, stamp_ns: int) -> FloatArray | None:
        """Return the pose at a time, (4, 4); None where the track has none there."""
        place = self._place(stamp_ns)
        if place is None or self.T_world_body is None:
            return None
        before, after, share = place
        return interpolate_pose(self.T_world_body[before], self.T_world_body[after], share)

    def _place(self, stamp_ns: int) -> tuple[int, int, float] | None:
        """Return the indices before and after a time, and how far between them it lies."""
        count = len(self.stamps_ns)
        if count == 0:
            return None
        after = int(np.clip(np.searchsorted(self.stamps_ns, stamp_ns), 1, max(count - 1, 1))) if count > 1 else 0
        before = max(after - 1, 0)
        start, end = int(self.stamps_ns[before]), int(self.stamps_ns[after])
        outside = max(start - stamp_ns, stamp_ns - end, 0)
        if outside > MAX_GAP_S * 1e9 or (end - start > MAX_GAP_S * 1e9 and start < stamp_ns < end):
            return None
        share = 0.0 if end == start else min(max((stamp_ns - start) / (end - start), 0.0), 1.0)
        return before, after, share


def make_track(
    stamps_ns: npt.ArrayLike,
    velocity_mps: FloatArray,
    *,
    angular_rps: FloatArray | None = None,
    T_world_body: FloatArray | None = None,
    T_body_camera: FloatArray | None = None,
) -> Track:
    """Build the track of a camera from a robot's odometry.

    Args:
        stamps_ns: N times, any order; the later of two equal ones is dropped, and all whose numbers are not finite.
        velocity_mps: (N, 3) linear velocity of the body in its own axes.
        angular_rps: (N, 3) angular velocity in the body's axes: a camera ahead of the axle moves in turns.
        T_world_body: (N, 4, 4) poses.
        T_body_camera: Where the camera sits; with it the track is the camera's, without it the body's.
    """
    stamps, order = np.unique(np.asarray(stamps_ns, dtype=np.int64), return_index=True)
    told = [np.asarray(velocity_mps), *(array for array in (angular_rps, T_world_body) if array is not None)]
    # A filter that has not settled yet, or has diverged, sends NaN.
    settled = np.all([np.isfinite(array.reshape(len(array), -1)).all(axis=1) for array in told], axis=0)
    stamps, order = stamps[settled[order]], order[settled[order]]
    velocity = np.asarray(velocity_mps, dtype=np.float64)[order]
    if T_body_camera is not None and angular_rps is not None:
        velocity = velocity + np.cross(np.asarray(angular_rps)[order], T_body_camera[:3, 3])
    poses = None if T_world_body is None else np.asarray(T_world_body, dtype=np.float64)[order]
    if poses is not None and T_body_camera is not None:
        poses = poses @ T_body_camera
    return Track(stamps, np.linalg.norm(velocity, axis=1), poses)


def with_speed_of_poses(track: Track) -> Track:
    """Return the track with its speed taken from its poses: many drivers leave the twist of their odometry empty."""
    if track.T_world_body is None or len(track.stamps_ns) < 2:
        return track
    seconds = (track.stamps_ns - track.stamps_ns[0]) / 1e9
    velocity = np.gradient(track.T_world_body[:, :3, 3], seconds, axis=0)
    return track._replace(speed_mps=np.linalg.norm(velocity, axis=1))


def rotation_of_quaternion(x: float, y: float, z: float, w: float) -> FloatArray:
    """Return the (3, 3) rotation of a quaternion, which need not be of unit length; identity if it is zero."""
    norm = np.sqrt(x * x + y * y + z * z + w * w)
    if norm < 1e-12:
        return np.eye(3)
    x, y, z, w = x / norm, y / norm, z / norm, w / norm
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def rigid(rotation: FloatArray, translation: npt.ArrayLike) -> FloatArray:
    """Return the (4, 4) transform of a (3, 3) rotation and a translation."""
    T = np.eye(4)
    T[:3, :3] = rotation
    T[:3, 3] = translation
    return T


def interpolate_pose(first: FloatArray, second: FloatArray, share: float) -> FloatArray:
    """Return the pose `share` of the way from one (4, 4) pose to another, turning at constant rate."""
    turn = first[:3, :3].T @ second[:3, :3]
    angle = np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))
    rotation = first[:3, :3]
    if 1e-9 < angle < np.pi - 1e-6:
        axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
        rotation = rotation @ _rotation_about(axis / (2 * np.sin(angle)), share * angle)
    elif share >= 0.5:
        rotation = second[:3, :3]
    return rigid(rotation, (1 - share) * first[:3, 3] + share * second[:3, 3])


def chain(transforms: Mapping[tuple[str, str], FloatArray], target: str, source: str) -> FloatArray | None:
    """Return T_target_source through a set of T_parent_child, keyed (parent, child); None if they do not connect."""
    target, source = target.lstrip('/'), source.lstrip('/')
    found = {source: np.eye(4)}
    queue = deque([source])
    while queue:
        frame = queue.popleft()
        for (parent, child), T_parent_child in transforms.items():
            step = {child: (parent, T_parent_child), parent: (child, np.linalg.inv(T_parent_child))}.get(frame)
            if step is not None and step[0] not in found:
                found[step[0]] = step[1] @ found[frame]
                queue.append(step[0])
    return found.get(target)


def _rotation_about(axis: FloatArray, angle: float) -> FloatArray:
    """Return the rotation by an angle (radians) about a unit axis (Rodrigues)."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)
