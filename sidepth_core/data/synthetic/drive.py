"""A drive through a world: where the camera is at any time, and what it sees."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sidepth_core.camera import Camera
from sidepth_core.data.synthetic.corridor import Corridor
from sidepth_core.data.synthetic.highway import Highway
from sidepth_core.data.synthetic.jam import jam
from sidepth_core.data.synthetic.rays import camera_rays
from sidepth_core.data.synthetic.render import Rendering, render
from sidepth_core.data.synthetic.room import Room
from sidepth_core.data.synthetic.sensor import image_motion
from sidepth_core.data.synthetic.street import Street
from sidepth_core.data.synthetic.world import Scene, World
from sidepth_core.errors import ConfigError

Array = npt.NDArray[np.float64]
SCENES: dict[str, Callable[[np.random.Generator], Scene]] = {
    'street': Street,
    'highway': Highway,
    'corridor': Corridor,
    'room': Room,
    'jam': jam,
}
CEILING_GAP_M = 0.3
"""A camera is at least this far below the ceiling."""
HALF_STEP_S = 1e-3
"""Half the time over which speeds are measured on the exact path."""


class Mount(NamedTuple):
    """How the camera sits: height in metres; pitch (down is positive), roll and yaw in radians."""

    height_m: float
    pitch: float
    roll: float
    yaw: float


class MountChoice(NamedTuple):
    """What of a camera's mount is given, not drawn: height in metres, pitch (down is positive) and roll in degrees."""

    height_m: float | None = None
    pitch_deg: float | None = None
    roll_deg: float | None = None

    def over(self, drawn: Mount, ceiling_m: float) -> Mount:
        """Return the drawn mount with what is given in its place, below a ceiling."""
        height = drawn.height_m if self.height_m is None else min(self.height_m, ceiling_m - CEILING_GAP_M)
        pitch = drawn.pitch if self.pitch_deg is None else math.radians(self.pitch_deg)
        roll = drawn.roll if self.roll_deg is None else math.radians(self.roll_deg)
        return Mount(height, pitch, roll, drawn.yaw)


DRAWN = MountChoice()


class Pace:
    """Distance travelled by time: speed changes and stops, drawn as far ahead as anyone asks.

    Args:
        rng: Source of the changes.
        low: Least cruising speed, metres a second; 0 makes the drive stop now and then.
        high: Greatest.
        reach_m: How far it goes at most: it slows down on the way, and comes no farther; inf: no end.
    """

    def __init__(self, rng: np.random.Generator, low: float, high: float, reach_m: float = math.inf) -> None:
        self._rng, self._low, self._high, self._reach = rng, low, high, reach_m
        self._knots = [(0.0, 0.0, self._cruise())]

    def _cruise(self) -> float:
        return float(self._rng.uniform(max(self._low, 0.35 * self._high), self._high))

    def __call__(self, time_s: float) -> float:
        """Return the distance travelled at a time, metres."""
        while time_s >= self._knots[-1][0]:
            self._extend()
        index = next(i for i in range(len(self._knots) - 1, -1, -1) if self._knots[i][0] <= time_s)
        (t0, s0, v0), (t1, _, v1) = self._knots[index], self._knots[index + 1]
        part = time_s - t0
        distance = s0 + v0 * part + (v1 - v0) / (t1 - t0) * part * part / 2
        return distance if math.isinf(self._reach) else self._reach * -math.expm1(-distance / self._reach)

    def _extend(self) -> None:
        t, s, v = self._knots[-1]
        hold = float(self._rng.uniform(2, 8)) if v else float(self._rng.uniform(0.5, 2.5))
        t, s = t + hold, s + v * hold
        self._knots.append((t, s, v))
        stop = self._low == 0 and v > 0 and self._rng.random() < 0.15
        target = 0.0 if stop else self._cruise()
        change = max(abs(target - v) / (0.22 * self._high), 0.2)
        self._knots.append((t + change, s + (v + target) / 2 * change, target))


class Drive:
    """A seeded drive: any frame, seen through any camera, in any order.

    Args:
        scene: A key of SCENES.
        seed: Everything follows from it.
        fps: Frames a second.
        moving_objects: Whether traffic and people move.
        mount: What of the camera's mount is not drawn from the seed.
        device: Where to render.
    """

    def __init__(
        self,
        scene: str,
        seed: int,
        *,
        fps: float = 10.0,
        moving_objects: bool = False,
        mount: MountChoice = DRAWN,
        device: str = 'cpu',
    ) -> None:
        if scene not in SCENES:
            raise ConfigError(f'no scene {scene!r}: choose one of {", ".join(SCENES)}')
        self.fps = fps
        self.seed = seed
        self._device = torch.device(device)
        code = [seed, *scene.encode()]
        self._scene = SCENES[scene](np.random.default_rng([*code, 1]))
        self._world = World(self._scene, seed, self._device)
        self._pace = Pace(np.random.default_rng([*code, 2]), *self._scene.speed_mps, self._scene.reach_m)
        rng = np.random.default_rng([*code, 4])
        drawn = Mount(
            float(rng.uniform(*self._scene.camera_height_m)),
            *(float(rng.normal(*part)) for part in self._scene.gaze),
        )
        self.mount = mount.over(drawn, self._scene.ceiling_m)
        self._sway = rng.uniform(0, 2 * math.pi, 8)
        if moving_objects:
            self._world.add_movers(self._pace)

    def pose(self, time_s: float) -> Array:
        """Return T_world_camera (4, 4) of the optical frame at a time; world: z up, ground at 0, metres."""
        s = self._pace(time_s)
        a = self._sway
        d = self._scene.ego_d + 0.15 * math.sin(s / 17 + a[0]) + 0.08 * math.sin(s / 5.3 + a[1])
        steer = 0.15 / 17 * math.cos(s / 17 + a[0]) + 0.08 / 5.3 * math.cos(s / 5.3 + a[1])
        place = self._scene.path.at(s, d)
        yaw = place.heading + steer + self.mount.yaw + 0.004 * math.sin(s / 2.9 + a[2])
        pitch = self.mount.pitch + 0.006 * math.sin(s / 2.1 + a[3]) + 0.003 * math.sin(s / 0.7 + a[4])
        roll = self.mount.roll + 0.006 * math.sin(s / 3.7 + a[5])
        height = self.mount.height_m * (1 + 0.006 * math.sin(s / 1.9 + a[6]))
        pose = np.eye(4)
        pose[:3, :3] = _optical(yaw, pitch, roll)
        pose[:3, 3] = place.x, place.y, height
        return pose

    def speed_mps(self, time_s: float) -> float:
        """Return the speed of the camera at a time, metres a second."""
        early, late = max(time_s - HALF_STEP_S, 0.0), time_s + HALF_STEP_S
        return float(np.linalg.norm(self.pose(late)[:3, 3] - self.pose(early)[:3, 3]) / (late - early))

    @property
    def T_base_camera(self) -> Array:  # noqa: N802 - a transform is named by its frames
        """Where the camera is mounted: (4, 4), optical frame to the base on the ground below it (REP 103)."""
        T = np.eye(4)
        T[:3, :3] = _optical(self.mount.yaw, self.mount.pitch, self.mount.roll)
        T[2, 3] = self.mount.height_m
        return T

    def twist(self, time_s: float) -> tuple[Array, Array]:
        """Return the base's velocity, (3,) metres a second, and turn rate, (3,) radians a second, in its own frame."""
        early, late = max(time_s - HALF_STEP_S, 0.0), time_s + HALF_STEP_S
        T_camera_base = np.linalg.inv(self.T_base_camera)
        first, last = self.pose(early) @ T_camera_base, self.pose(late) @ T_camera_base
        here = (self.pose(time_s) @ T_camera_base)[:3, :3]
        turn = first[:3, :3].T @ last[:3, :3]
        rate = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]) / 2
        return here.T @ (last[:3, 3] - first[:3, 3]) / (late - early), rate / (late - early)

    def render(self, index: int, camera: Camera, *, antialias: bool = True) -> Rendering:
        """Render frame `index` through a camera, without the effects of a sensor."""
        time_s = index / self.fps
        moment = self._world.moment(self._pace(time_s), time_s)
        return render(moment, self.pose(time_s), camera, self._device, antialias=antialias)

    def motion(self, index: int, camera: Camera, depth_m: Tensor, shutter: float) -> Tensor:
        """Return the camera's motion in the image (2, H, W), pixels, during `shutter` frame intervals after a frame."""
        now, later = self.pose(index / self.fps), self.pose((index + shutter) / self.fps)
        return image_motion(depth_m, camera_rays(camera, self._device), np.linalg.inv(later) @ now)


def _optical(yaw: float, pitch: float, roll: float) -> Array:
    """Return the rotation of the optical frame in the world: yaw to the left, pitch down, roll clockwise."""
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    forward = np.array([cy * cp, sy * cp, -sp])
    right = np.array([sy, -cy, 0.0])
    down = np.cross(forward, right)
    cr, sr = math.cos(roll), math.sin(roll)
    return np.stack([cr * right + sr * down, cr * down - sr * right, forward], axis=1)
