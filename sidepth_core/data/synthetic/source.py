"""The synthetic world as a source of frames, like any recorded drive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import numpy as np

from sidepth_core.camera import Camera
from sidepth_core.data.frames import Frame, SourceReport
from sidepth_core.data.synthetic.drive import SCENES, Drive, MountChoice
from sidepth_core.data.synthetic.sensor import CAMERA, Sensor, expose
from sidepth_core.errors import ConfigError, did_you_mean
from sidepth_core.old_names import current_source

PERFECT = Sensor()
MOUNT_LIMITS = {'camera_height_m': (0.1, 5.0), 'pitch_deg': (-60.0, 60.0), 'roll_deg': (-60.0, 60.0)}
"""What a camera's mount may be: metres and degrees."""
SEQUENCE_GAP_S = 10.0
"""Time between two sequences of a source: no reader may take them for neighbours."""


@dataclass
class SyntheticSource:
    """A procedural drive with exact depth, pose and speed: a FrameSource that needs no file.

    The same arguments give the same bytes on one machine, and frame i is the same however many frames are asked for.

    Attributes:
        scene: 'street', 'highway', 'corridor', 'room', or 'mixed': sequences of all of them.
        seed: Everything follows from it: the world, its light, the camera's mount, the drive.
        frames: How many.
        width: Image width, pixels; ignored where camera is given.
        height: Image height, pixels; ignored where camera is given.
        camera: The camera to look through, distorted or not; None: a pinhole of fov_deg.
        fov_deg: Horizontal field of view of that pinhole, degrees.
        fps: Frames a second.
        moving_objects: Whether traffic and people move.
        camera_height_m: Height of the camera above the ground, metres; None: drawn for the scene. Indoors it stays
            CEILING_GAP_M below the ceiling.
        pitch_deg: How far the camera looks down, degrees, negative looks up; None: drawn.
        roll_deg: How far it is turned clockwise about its axis, degrees; None: drawn.
        sensor: Effects of the sensor; Sensor() has none.
        sequence_frames: After so many frames a new world begins, 10 s later; None: never, in a mixed source 50.
        device: Where to render, 'cpu' or 'cuda'.
        report: What was rendered.
        camera_or_default: The camera, given or made of fov_deg.

    Raises:
        ConfigError: If a value cannot work.
    """

    scene: str = 'street'
    seed: int = 0
    frames: int = 300
    width: int = 416
    height: int = 128
    camera: Camera | None = None
    fov_deg: float = 70.0
    fps: float = 10.0
    moving_objects: bool = False
    camera_height_m: float | None = None
    pitch_deg: float | None = None
    roll_deg: float | None = None
    sensor: Sensor = CAMERA
    sequence_frames: int | None = None
    device: str = 'cpu'
    report: SourceReport = field(init=False)
    camera_or_default: Camera = field(init=False)

    def __post_init__(self) -> None:
        """Refuse what cannot be rendered."""
        scenes = (*SCENES, 'mixed')
        if self.scene not in scenes:
            raise ConfigError(f'no synthetic scene {self.scene!r}: {did_you_mean(str(self.scene), scenes)}')
        for name in ('frames', 'width', 'height', 'fps'):
            if not getattr(self, name) > 0:
                raise ConfigError(f'{name} of a synthetic drive is {getattr(self, name)!r}: it must be positive')
        if self.seed < 0 or (self.sequence_frames is not None and self.sequence_frames < 1):
            raise ConfigError(
                f'seed {self.seed!r} must be 0 or more, sequence_frames {self.sequence_frames!r} at least 1'
            )
        for name, (low, high) in MOUNT_LIMITS.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ConfigError(f'{name} of a synthetic drive is {value!r}: it must be {low:g} to {high:g}')
        self.camera_or_default = self.camera or Camera.pinhole(self.width, self.height, self.fov_deg)
        self._sequence = self.sequence_frames or (50 if self.scene == 'mixed' else self.frames)
        self.report = self._fresh_report()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in order."""
        self.report = self._fresh_report()
        drive = None
        for index in range(self.frames):
            sequence, part = self.place_of(index)
            if part == 0 or drive is None:
                drive = self.drive(sequence)
            self.report.read += 1
            self.report.used += 1
            yield self._frame(drive, sequence, part)

    def drive(self, sequence: int = 0) -> Drive:
        """Return the drive of a sequence, to look at any of its moments through any camera."""
        scene = self.scene
        if scene == 'mixed':
            scene = tuple(SCENES)[(self.seed + sequence) % len(SCENES)]
        seed = self.seed if sequence == 0 else int(np.random.SeedSequence([self.seed, sequence]).generate_state(1)[0])
        mount = MountChoice(self.camera_height_m, self.pitch_deg, self.roll_deg)
        return Drive(scene, seed, fps=self.fps, moving_objects=self.moving_objects, mount=mount, device=self.device)

    def place_of(self, index: int) -> tuple[int, int]:
        """Return the sequence that a frame belongs to, and its number in that sequence."""
        return divmod(index, self._sequence)

    def frame(self, index: int) -> Frame:
        """Return one frame without those before it."""
        sequence, part = self.place_of(index)
        return self._frame(self.drive(sequence), sequence, part)

    def _frame(self, drive: Drive, sequence: int, part: int) -> Frame:
        camera = self.camera_or_default
        time_s = part / self.fps
        rendering = drive.render(part, camera)
        motion = drive.motion(part, camera, rendering.depth_m, self.sensor.shutter) if self.sensor.shutter else None
        return Frame(
            round((sequence * (self._sequence / self.fps + SEQUENCE_GAP_S) + time_s) * 1e9),
            expose(rendering.image, self.sensor, drive.seed, part, time_s, motion),
            camera,
            drive.speed_mps(time_s),
            drive.pose(time_s),
            rendering.depth_m.cpu().numpy(),
        )

    def _fresh_report(self) -> SourceReport:
        return SourceReport(f'synthetic:{self.scene}?seed={self.seed}&frames={self.frames}', claimed=self.frames)

    @classmethod
    def from_text(cls, text: str) -> SyntheticSource:
        """Return the source that a text like 'synthetic:street?seed=3&frames=300&width=416&height=128' names.

        Keys: seed, frames, width, height (of the image), fov, fps, moving (0 or 1), camera_height (metres), pitch and
        roll (degrees), sensor (0 or 1), sequence, device. What names many drives is for `ranges.expand`.

        Raises:
            ConfigError: If a key is unknown (the nearest valid one is named) or a value cannot work.
        """
        scene, options = options_of(text)
        values: dict[str, object] = {}
        for key, value in options.items():
            if key not in _KEYS:
                raise ConfigError(f'synthetic drive {text!r} has no key {key!r}: {did_you_mean(key, _KEYS)}')
            name, convert = _KEYS[key]
            try:
                values[name] = convert(value)
            except ValueError:
                raise ConfigError(f'synthetic drive {text!r}: {key}={value!r} is not a number it can take') from None
        return cls(scene, **values)  # type: ignore[arg-type]  # each converter gives its field's type


def options_of(text: str) -> tuple[str, dict[str, str]]:
    """Return the scene that a text names ('street' where it names none) and the values of its keys, as written."""
    scene, _, query = current_source(text).removeprefix('synthetic:').partition('?')
    return scene or 'street', dict(parse_qsl(query, keep_blank_values=True))


def _switch(text: str) -> bool:
    if text not in {'0', '1'}:
        raise ValueError(text)
    return text == '1'


_KEYS: dict[str, tuple[str, Callable[[str], object]]] = {
    'seed': ('seed', int),
    'frames': ('frames', int),
    'width': ('width', int),
    'height': ('height', int),
    'fov': ('fov_deg', float),
    'fps': ('fps', float),
    'moving': ('moving_objects', _switch),
    'camera_height': ('camera_height_m', float),
    'pitch': ('pitch_deg', float),
    'roll': ('roll_deg', float),
    'sensor': ('sensor', lambda text: CAMERA if _switch(text) else PERFECT),
    'sequence': ('sequence_frames', int),
    'device': ('device', str),
}
