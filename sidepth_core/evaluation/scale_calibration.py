"""The scale of a checkpoint on a drive, by every source that the drive allows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from sidepth_core.data.frames import Frame
from sidepth_core.data.rectified import rectified
from sidepth_core.data.tracks import rigid
from sidepth_core.evaluation.evaluated_model import EvaluatedModel
from sidepth_core.scale import GroundMeter, Measurement, Mount, Ranges, Refusal, Report, TravelLog
from sidepth_core.scale.meter import SHARES
from sidepth_core.scale.odometry import Look, TravelMeter, small
from sidepth_core.scale.ranges import depth_image_points, measure_ranges


class SourceScale(NamedTuple):
    """What one source says of a drive.

    Attributes:
        factor: Median of its measurements, metres a unit of the network's depth.
        spread: Standard deviation of their logarithm: how much the scale changes along the drive.
        std: How sure of it one can be, as a share: the spread of the mean, what regions of the images disagree about,
            and how far the weights are off the scale of an image in any one place.
        measurements: How many there are.
        refused: How many frames or pairs said nothing, by reason.
    """

    factor: float
    spread: float
    std: float
    measurements: int
    refused: Mapping[str, int]


@dataclass
class _Taken:
    """What came of one source."""

    found: list[Measurement] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    def take(self, found: Measurement | Refusal) -> None:
        """Keep a measurement, or count its refusal."""
        if isinstance(found, Measurement):
            self.found.append(found)
        else:
            self.refused[found.reason] += 1

    def result(self, shape_error: float) -> SourceScale:
        """Return what they say together."""
        if not self.found:
            return SourceScale(math.nan, math.nan, math.nan, 0, self.refused)
        logs = np.log([one.factor for one in self.found])
        spread = float(logs.std())
        bias = float(np.median([one.bias for one in self.found]))
        own = shape_error if math.isfinite(shape_error) else 0.0
        std = math.hypot(spread / math.sqrt(len(logs)), bias, own)
        return SourceScale(float(np.exp(np.median(logs))), spread, std, len(logs), self.refused)


def calibrate_scale(
    model: EvaluatedModel, frames: Iterable[Frame], mount: Mount | None = None
) -> dict[str, SourceScale]:
    """Return what each source says of a checkpoint's scale on one drive, by the names of `scale_source`.

    Args:
        model: The checkpoint.
        frames: The drive in order of time. Its poses or speeds are the odometry, its known depth is the range sensor.
        mount: Height and tilt of the camera; None where nobody knows.
    """
    taken = {name: _Taken() for name in ('camera_height', 'odometry', 'range')}
    ground, travel, log = GroundMeter(), TravelMeter(interval_s=0), TravelLog()
    for raw in frames:
        frame = rectified(raw)
        if frame.camera is None:
            continue
        camera = frame.camera
        depth = torch.from_numpy(model.depth(frame.image, camera))[None]
        if mount is not None:
            taken['camera_height'].take(ground(depth, camera, mount))
        if frame.depth_m is not None:
            points = depth_image_points(frame.depth_m.astype(np.float64), camera)
            taken['range'].take(measure_ranges(depth, camera, Ranges(frame.stamp_ns, points)))
        report = _report(frame)
        if report is not None:
            log.add(report)
            look = Look(frame.stamp_ns, *small(frame.image, camera), depth[0].numpy())
            # The report is the camera's own: its body is the camera.
            found = travel(look, log, None if report.T_world_body is None else np.eye(4))
            if found is not None:
                taken['odometry'].take(found[1])
    own = model.estimator.info.shape_error
    return {name: one.result(SHARES[name] * own) for name, one in taken.items() if one.found or one.refused}


def _report(frame: Frame) -> Report | None:
    """Return what a frame says of the camera's motion; None where it says nothing."""
    if frame.T_world_camera is not None:
        pose = rigid(frame.T_world_camera[:3, :3], frame.T_world_camera[:3, 3])
        return Report(frame.stamp_ns, np.zeros(3), np.zeros(3), pose)
    if frame.speed_mps is not None:
        return Report(frame.stamp_ns, np.array([0.0, 0.0, frame.speed_mps]), np.zeros(3))
    return None
