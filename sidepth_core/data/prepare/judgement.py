"""Whether a drive is fit to learn from without labels, and why not: motion, blur, light, camera, metres, length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from sidepth_core.camera import Camera
from sidepth_core.data.frames import Frame, SourceReport
from sidepth_core.data.prepare.motion import (
    TARGET_SHARE,
    FrameSelection,
    ImageStatistics,
    blurred,
    choose_stride,
    exposure_fault,
    image_statistics,
    measure_motion,
    motion_fault,
)

Floats = npt.NDArray[np.float64]
Level = Literal['good', 'doubtful', 'bad']

ENOUGH_IMAGES, FEW_IMAGES = 200, 60
"""Images fit to learn from that make a drive long enough, and that are too few: 268 of one KITTI drive took 15 to 40 %
off AbsRel on others (training/README.md)."""
FASTEST = 4.0
"""Motion from frame to frame, as a multiple of what is wanted, beyond which corners are lost."""
MANY, MOST = 0.1, 0.4
"""Shares of images that are worth a doubt, and that spoil a drive."""
LEAST_TRACKED = 0.3
"""Share of corners that a textured, sharp pair of images has in common."""
SPOILT = ('blurred', 'over-exposed', 'under-exposed', 'empty')
"""What is wrong with an image by itself."""
KNOWN_SHARE = 0.5
"""Share of the images whose speed or pose must be known for metres to be learned."""


class Finding(NamedTuple):
    """What one look at a drive says.

    Attributes:
        topic: What was looked at.
        level: 'good', 'doubtful' (worth mending) or 'bad' (training would learn little or nothing).
        found: What was found, with the numbers.
        advice: What to do; '' where it is good.
    """

    topic: str
    level: Level
    found: str
    advice: str = ''


@dataclass(frozen=True)
class Judgement:
    """A drive as training sees it.

    Attributes:
        findings: One for each look.
        time_s: (N,) time of each image since the first, seconds.
        motion_px: (N,) motion since the image before, source pixels; NaN where not known.
        sharpness: (N,) see ImageStatistics.
        faults: Images that are not fit, by reason.
        width: Width of the images, pixels.
        stride: Frames from one image of a clip to the next.
        worst: Positions of the most blurred image and of the one that moved most.
    """

    findings: tuple[Finding, ...]
    time_s: Floats
    motion_px: Floats
    sharpness: Floats
    faults: dict[str, int]
    width: int
    stride: int
    worst: tuple[int, int]

    @property
    def level(self) -> Level:
        """The worst of the findings."""
        levels = {finding.level for finding in self.findings}
        return 'bad' if 'bad' in levels else 'doubtful' if 'doubtful' in levels else 'good'

    @property
    def verdict(self) -> str:
        """In one sentence, whether the drive is good to train on, and why not."""
        wrong = [f'{finding.topic} ({finding.found})' for finding in self.findings if finding.level == self.level]
        if self.level == 'good':
            return 'good to train on'
        start = 'not fit to train on as it is' if self.level == 'bad' else 'fit to train on, with doubts'
        return f'{start}: {"; ".join(wrong)}'


class Judge:
    """Looks at the frames of a drive, one after the other.

    Args:
        limits: Which images are not fit to learn from.
    """

    def __init__(self, limits: FrameSelection | None = None) -> None:
        self._limits = limits or FrameSelection()
        self._before: ImageStatistics | None = None
        self._stamps_ns: list[int] = []
        self._motion: list[float] = []
        self._tracked: list[float] = []
        self._sharpness: list[float] = []
        self._faults: list[str | None] = []
        self._measured = 0
        self._cameras: set[Camera | None] = set()
        self._width = 0

    def look(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield frames as they come, and remember what is needed of them."""
        for frame in frames:
            self._add(frame)
            yield frame

    def _add(self, frame: Frame) -> None:
        statistics = image_statistics(frame.image)
        motion = measure_motion(self._before, statistics) if self._before is not None else None
        self._width = frame.image.shape[1]
        fault = exposure_fault(statistics, self._limits)
        if fault is None and motion is not None:
            fault = motion_fault(motion, self._width, self._limits)
        self._stamps_ns.append(frame.stamp_ns)
        self._motion.append(motion.pixels if motion else float('nan'))
        self._tracked.append(motion.tracked_share if motion else float('nan'))
        self._sharpness.append(statistics.sharpness)
        self._faults.append(fault)
        self._measured += frame.speed_mps is not None or frame.T_world_camera is not None
        self._cameras.add(frame.camera)
        self._before = statistics

    def result(self, report: SourceReport) -> Judgement:
        """Return the judgement of the frames so far.

        Args:
            report: What became of the source's images.
        """
        sharpness, motion = np.array(self._sharpness), np.array(self._motion)
        blur = blurred(sharpness, self._limits) if len(sharpness) else np.zeros(0, bool)
        faults = [fault or ('blurred' if soft else None) for fault, soft in zip(self._faults, blur, strict=True)]
        time_s = (np.array(self._stamps_ns, np.float64) - (self._stamps_ns or [0])[0]) / 1e9
        steps = np.diff(time_s)
        step_s = float(np.median(steps)) if len(steps) else 0.0
        stride = choose_stride(motion, self._width, step_s)
        counts = Counter(fault for fault in faults if fault)
        findings = (
            self._length(faults, report),
            self._move(motion, counts, len(faults), stride),
            _quality(counts, len(faults)),
            self._camera(),
            self._metres(len(faults)),
            _time(steps, step_s, self._limits, report),
        )
        relative = sharpness / max(float(np.median(sharpness)), 1e-9) if len(sharpness) else sharpness
        fastest = int(np.nanargmax(motion)) if np.isfinite(motion).any() else 0
        worst = int(np.argmin(relative)) if len(relative) else 0, fastest
        return Judgement(findings, time_s, motion, sharpness, dict(counts), self._width, stride, worst)

    def _length(self, faults: list[str | None], report: SourceReport) -> Finding:
        fit, seen = sum(fault is None for fault in faults), len(faults)
        whole = report.claimed if report.claimed and report.claimed > seen else seen
        usable = round(fit / seen * whole) if seen else 0
        about = f'about {usable} of {whole}' if whole > seen else f'{usable} of {seen}'
        found = f'{about} images are fit to learn from'
        if usable >= ENOUGH_IMAGES:
            return Finding('length', 'good', found)
        return Finding(
            'length',
            'doubtful' if usable >= FEW_IMAGES else 'bad',
            found,
            f'drive longer: {ENOUGH_IMAGES} images in motion are a start, minutes in all kinds of places are better',
        )

    def _move(self, motion: Floats, counts: Counter[str], seen: int, stride: int) -> Finding:
        wanted = TARGET_SHARE * self._width
        known = motion[np.isfinite(motion)]
        tracked = float(np.nanmedian(self._tracked)) if len(known) else 0.0
        if not len(known):
            return Finding('motion', 'bad', 'nothing could be tracked from image to image',
                           'neighbouring images must look alike: more light, a higher rate')  # fmt: skip
        typical = float(np.median(known))
        found = f'median {typical:.1f} px a frame, {wanted:.0f} wanted: clips with a stride of {stride}'
        still = counts['still'] + counts['duplicate']
        if still > MOST * seen:
            level: Level = 'bad' if still > (1 - MANY) * seen else 'doubtful'
            return Finding('motion', level, f'{still} of {seen} images stand still; {found}',
                           'record while driving only: record.launch.py pauses while the robot stands')  # fmt: skip
        if typical > FASTEST * wanted or tracked < LEAST_TRACKED:
            return Finding('motion', 'doubtful', f'{found}; {tracked:.0%} of the corners are found again',
                           'drive slower or record at a higher rate')  # fmt: skip
        return Finding('motion', 'good', found)

    def _camera(self) -> Finding:
        known = [camera for camera in self._cameras if camera]
        if not known:
            return Finding('calibration', 'bad', 'the camera is not calibrated',
                           'calibrate it (ros2 run camera_calibration cameracalibrator) and add ?camera=FILE; '
                           'or camera=learned, which finds the focal length on drives with turns')  # fmt: skip
        doubts = [doubt for camera in known for doubt in camera.doubts()]
        if doubts:
            return Finding('calibration', 'doubtful', doubts[0], 'calibrate the camera at the size that it records')
        horizontal, vertical = known[0].field_of_view_deg
        lens = 'rectified' if known[0].is_rectified else f'{known[0].distortion_model}, rectified while preparing'
        return Finding('calibration', 'good', f'{horizontal:.0f} x {vertical:.0f} degrees, {lens}')

    def _metres(self, seen: int) -> Finding:
        found = f'speed or pose of {self._measured} of {seen} images is known'
        if seen and self._measured >= KNOWN_SHARE * seen:
            return Finding('odometry', 'good', f'{found}: metres can be learned')
        return Finding(
            'odometry',
            'doubtful',
            found,
            "record nav_msgs/Odometry too; without it the starting checkpoint's metres are held, not measured",
        )


def _quality(counts: Counter[str], seen: int) -> Finding:
    spoilt = {reason: counts[reason] for reason in SPOILT if counts[reason]}
    share = sum(spoilt.values()) / seen if seen else 1.0
    found = ', '.join(f'{count} {reason}' for reason, count in spoilt.items()) or 'no image blurred or badly exposed'
    if share <= MANY:
        return Finding('images', 'good', f'{found} of {seen}' if spoilt else found)
    advice = 'shorten the exposure, add light, and fix the focus'
    return Finding('images', 'bad' if share > MOST else 'doubtful', f'{found} of {seen}', advice)


def _time(steps: Floats, step_s: float, limits: FrameSelection, report: SourceReport) -> Finding:
    gaps = int((steps > limits.gap_ratio * step_s).sum()) if step_s > 0 else len(steps)
    lost = sum(report.skipped.values())
    found = f'{1 / step_s:.1f} Hz, {gaps} gaps' if step_s > 0 else 'no usable time stamps'
    if lost:
        found += f', {lost} images not readable'
    if step_s > 0 and gaps <= max(1, MANY * len(steps)) and lost <= MANY * max(report.read, 1) and report.whole:
        return Finding('time', 'good', found)
    advice = 'look at the notes below: messages were lost while recording (disk, DDS buffers), or the file was cut off'
    return Finding('time', 'doubtful', found, advice)
