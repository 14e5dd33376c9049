"""How good the metres of each source of scale are on synthetic drives that nobody trained on, and what they cost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from sidepth_core.benchmarks.row import Request, Row
from sidepth_core.camera import Camera
from sidepth_core.data.frames import DepthMap, Image
from sidepth_core.data.synthetic import CAMERA, Drive
from sidepth_core.data.synthetic.drive import MountChoice
from sidepth_core.data.synthetic.sensor import expose
from sidepth_core.evaluation.depth_metrics import DepthProtocol, score_image
from sidepth_core.inference import DepthEstimator
from sidepth_core.scale import (
    GroundMeter,
    MeterSettings,
    Moment,
    Ranges,
    Report,
    ScaleMeter,
    Surroundings,
    TravelLog,
    mount_of,
)
from sidepth_core.scale.odometry import Look, measure_travel
from sidepth_core.scale.ranges import measure_ranges
from sidepth_core.scale.travel import Travelled

Floats = npt.NDArray[np.float64]

SOURCES = ('camera_height', 'odometry', 'range')
FIRST_SEED = 7000
DRIVES = 20
FRAMES = {'room': 40}
DEFAULT_FRAMES = 12
"""Frames of a drive, by scene: in a room a camera moves slowly, and odometry needs a way to compare."""
RATE_HZ = 10.0
LENSES_DEG = (50, 70, 90)
HEIGHTS_M = {'street': (0.24, 2.4), 'highway': (0.8, 2.4), 'corridor': (0.16, 1.8), 'room': (0.16, 2.16)}
"""Low and high places of the camera: a fifth below and above all that the synthetic world gives to training."""
PITCH_STD_DEG = 0.5
HEIGHT_STD = 0.01
"""How well a user knows pitch, and height as a share."""
SPEED_STD = 0.01
RANGE_STD = 0.01
BEAMS_DEG = np.linspace(-15, 1, 9)
MAX_RANGE_M = 60.0
WANTED_RATIO = 1.1
WANTED_COVERAGE = 0.9
WANTED_MS = 1.0
IMAGE_SIZE = (416, 256)
MAP_SIZE = (256, 160)


class Scene(NamedTuple):
    """One moment of a drive.

    Attributes:
        stamp_ns: Its time.
        image: RGB.
        truth_m: True depth.
        T_world_camera: True pose.
        report: What the robot's odometry says.
    """

    stamp_ns: int
    image: Image
    truth_m: DepthMap
    T_world_camera: Floats
    report: Report


class Result(NamedTuple):
    """One frame with a scale.

    Attributes:
        published: AbsRel with the weights' own metres.
        scaled: AbsRel with the median of the truth.
        measured: AbsRel with the measured scale.
        error: Logarithm of the measured scale over that of the medians.
        std: What the filter claims of it.
    """

    published: float
    scaled: float
    measured: float
    error: float
    std: float


def rows(request: Request) -> Iterator[Row]:
    """Yield errors and coverage for each scene and source, then the time that a frame costs."""
    estimator = DepthEstimator.load(request.checkpoint, device=request.device)
    for scene in HEIGHTS_M:
        found: dict[str, list[Result]] = {name: [] for name in SOURCES}
        silent = dict.fromkeys(SOURCES, 0)
        count = 3 if request.quick else DRIVES
        for number in range(count):
            for name, results in drive_results(estimator, scene, number).items():
                found[name] += results
                silent[name] += not results
        for name, results in found.items():
            yield from _rows_of(scene, name, results, count, silent[name])
    yield from cost(request.device)


def _rows_of(scene: str, name: str, results: Sequence[Result], drives: int, silent: int) -> Iterator[Row]:
    what = f'{name}, {scene}'
    if not results:
        yield Row(f'{what}: no estimate', float(drives), 'drives', wanted='some', met=False)
        return
    published, scaled, measured = (float(np.mean([getattr(r, k) for r in results])) for k in Result._fields[:3])
    errors, stds = (np.array([getattr(r, k) for r in results]) for k in ('error', 'std'))
    note = f'as published {published:.3f}; {len(results)} frames of {drives - silent} of {drives} drives'
    ratio = measured / scaled
    yield Row(
        f'{what}: AbsRel unscaled', measured, '', f'{scaled:.3f} median-scaled', ratio,
        f'up to {WANTED_RATIO:g}', ratio <= WANTED_RATIO, note,
    )  # fmt: skip
    inside = float((np.abs(errors) <= 2 * stds).mean())
    within_one = float((np.abs(errors) <= stds).mean())
    yield Row(
        f'{what}: frames within two claimed standard deviations', inside, '',
        wanted=f'from {WANTED_COVERAGE:g}', met=inside >= WANTED_COVERAGE,
        note=f'{within_one:.2f} within one; claimed {np.median(stds):.2f}, rms error {np.sqrt((errors**2).mean()):.2f}',
    )  # fmt: skip


def drive_results(estimator: DepthEstimator, scene: str, number: int) -> dict[str, list[Result]]:
    """Return what each source made of one drive."""
    rng = np.random.default_rng([FIRST_SEED, number])
    height = MountChoice(HEIGHTS_M[scene][number % 2])
    drive = Drive(scene, FIRST_SEED + number, fps=RATE_HZ, mount=height)
    camera = Camera.pinhole(*IMAGE_SIZE, LENSES_DEG[number % len(LENSES_DEG)])
    told = mount_of(
        drive.mount.height_m * (1 + HEIGHT_STD * rng.normal()),
        math.degrees(drive.mount.pitch) + PITCH_STD_DEG * rng.normal(),
        math.degrees(drive.mount.roll) + PITCH_STD_DEG * rng.normal(),
    )
    settings = {name: MeterSettings(name, shape_error=estimator.info.shape_error, interval_s=0) for name in SOURCES}
    meters = {name: ScaleMeter(one) for name, one in settings.items()}
    log, results = TravelLog(), {name: list[Result]() for name in SOURCES}
    wheel = 1 + SPEED_STD * rng.normal()
    for moment in moments(drive, camera, wheel, FRAMES.get(scene, DEFAULT_FRAMES)):
        log.add(moment.report)
        depth_m = estimator(moment.image, camera)
        around = Surroundings(told, log, drive.T_base_camera, scan(moment, camera, rng))
        for name, meter in meters.items():
            depth = torch.from_numpy(depth_m.copy())[None]
            scale = meter(Moment(depth, camera, moment.stamp_ns, partial(_view, moment.image, camera)), around)
            # A scale in ERROR is said to be none to rely on, and is not judged as one.
            known = scale.metric and not scale.fault
            if known and (result := result_of(depth_m, moment.truth_m, scale.factor, scale.uncertainty)):
                results[name].append(result)
    return results


def _view(image: Image, camera: Camera) -> tuple[Image, Camera]:
    return image, camera


def result_of(depth: DepthMap, truth_m: DepthMap, factor: float, std: float) -> Result | None:
    """Return the errors of one frame with a scale; None where its truth is not known."""
    own = score_image(depth, truth_m, DepthProtocol())
    measured = score_image(depth * np.float32(factor), truth_m, DepthProtocol())
    if own is None or measured is None:
        return None
    error = math.log(factor / own.ratio)
    return Result(own.unscaled.abs_rel, own.scaled.abs_rel, measured.unscaled.abs_rel, error, std)


def moments(drive: Drive, camera: Camera, wheel: float, count: int) -> Iterator[Scene]:
    """Yield the frames of a drive as a robot has them.

    Args:
        drive: The drive.
        camera: Its camera.
        wheel: What the robot takes a metre for: its wheels are not of the size it thinks.
        count: How many frames.
    """
    for index in range(count):
        time_s = index / RATE_HZ
        rendering = drive.render(index, camera)
        velocity, turn = drive.twist(time_s)
        pose = drive.pose(time_s)
        body = pose @ np.linalg.inv(drive.T_base_camera)
        body[:3, 3] *= wheel
        stamp_ns = round(time_s * 1e9)
        image = expose(rendering.image, CAMERA, drive.seed, index, time_s, None)
        report = Report(stamp_ns, velocity * wheel, turn, body)
        yield Scene(stamp_ns, image, rendering.depth_m.cpu().numpy(), pose, report)


def scan(moment: Scene, camera: Camera, rng: np.random.Generator) -> Ranges:
    """Return what a scanner of some beams beside the camera measures."""
    turns = np.radians(np.linspace(-40, 40, 60))
    points = []
    for beam in np.radians(BEAMS_DEG):
        direction = np.stack([np.sin(turns) * math.cos(beam), np.full(60, -math.sin(beam)), np.cos(turns)], axis=-1)
        u = np.floor(direction[:, 0] / direction[:, 2] * camera.fx + camera.cx + 0.5).astype(int)
        v = np.floor(direction[:, 1] / direction[:, 2] * camera.fy + camera.cy + 0.5).astype(int)
        inside = (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
        z = moment.truth_m[v[inside], u[inside]].astype(np.float64) * (1 + RANGE_STD * rng.normal(size=inside.sum()))
        echo = np.isfinite(z) & (z < MAX_RANGE_M)
        points.append((direction[inside] / direction[inside, 2:])[echo] * z[echo, None])
    return Ranges(moment.stamp_ns, np.concatenate(points))


def cost(device: torch.device) -> Iterator[Row]:
    """Yield the processor time that a frame costs at 256x160, and a pair of images for odometry at 416x256."""
    drive, camera = Drive('street', FIRST_SEED), Camera.pinhole(*MAP_SIZE, 70)
    moment = next(moments(drive, camera, 1.0, 1))
    depth = torch.from_numpy(moment.truth_m.copy())[None].clamp(max=100).to(device)
    ranges, mount = scan(moment, camera, np.random.default_rng(0)), mount_of(drive.mount.height_m)
    ground = GroundMeter()
    works: dict[str, Callable[[], object]] = {
        'camera_height': partial(ground, depth, camera, mount),
        'range': partial(measure_ranges, depth, camera, ranges),
    }
    for name, work in works.items():
        took_ms = _processor_ms(work, 200)
        yield Row(
            f'{name}: processor time a frame', took_ms, 'ms', wanted=f'up to {WANTED_MS:g} ms', met=took_ms <= WANTED_MS
        )
    wide = Camera.pinhole(*IMAGE_SIZE, 70)
    first, second = moments(drive, wide, 1.0, 2)
    before, now = (Look(one.stamp_ns, one.image, wide, one.truth_m) for one in (first, second))
    driven = Travelled(np.linalg.inv(first.T_world_camera) @ second.T_world_camera, SPEED_STD)
    took_ms = _processor_ms(partial(measure_travel, before, now, driven, np.eye(4)), 20)
    yield Row('odometry: processor time a pair of images', took_ms, 'ms')


def _processor_ms(work: Callable[[], object], times: int) -> float:
    """Return the processor time that something takes, milliseconds."""
    work()
    start = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - start) / times * 1e3
