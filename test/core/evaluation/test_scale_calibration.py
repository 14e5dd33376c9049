"""A drive tells the scale of a checkpoint, by whatever it has."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from sidepth_core.camera import Camera
from sidepth_core.cli.calibrate_scale import main
from sidepth_core.data.frames import DepthMap, Frame, Image
from sidepth_core.data.synthetic import SyntheticSource
from sidepth_core.errors import ScaleError
from sidepth_core.evaluation.depth_metrics import DepthProtocol, score_constant
from sidepth_core.evaluation.evaluated_model import EvaluatedModel, load_model
from sidepth_core.evaluation.metrics import DepthRow, DepthSummary
from sidepth_core.evaluation.scale_calibration import calibrate_scale
from sidepth_core.scale import mount_of

CAMERA = Camera.pinhole(320, 192, 70)
UNIT_M = 2.0


class Known(EvaluatedModel):
    """The model of the package, but its depth is the truth of the frames in units of UNIT_M."""

    truth: dict[bytes, DepthMap]

    def depth(self, image: Image, camera: Camera | None) -> DepthMap:  # noqa: ARG002 - as the model has it
        return (self.truth[image.tobytes()] / np.float32(UNIT_M)).astype(np.float32)


@pytest.fixture(scope='module')
def drive() -> tuple[SyntheticSource, list[Frame]]:
    """Return a street and six of its frames."""
    source = SyntheticSource('street', seed=12, frames=6, camera=CAMERA)
    return source, list(source)


def model_of(frames: list[Frame]) -> Known:
    """Return a model that knows the depth of these frames."""
    loaded = load_model(None)
    known = Known(loaded.name, loaded.estimator, None)
    truth = {frame.image.tobytes(): frame.depth_m for frame in frames}
    object.__setattr__(known, 'truth', truth)
    return known


def test_every_source_finds_the_unit_of_the_depth(drive: tuple[SyntheticSource, list[Frame]]) -> None:
    source, frames = drive
    sits = source.drive().mount
    mount = mount_of(sits.height_m, math.degrees(sits.pitch), math.degrees(sits.roll))
    found = calibrate_scale(model_of(frames), frames, mount)
    assert set(found) == {'camera_height', 'odometry', 'range'}
    for name, one in found.items():
        assert one.factor == pytest.approx(UNIT_M, rel=0.05), name
        assert one.spread < 0.05
        assert one.std >= load_model(None).estimator.info.shape_error
    assert found['range'].measurements == len(frames)


def test_sources_that_the_drive_does_not_have_are_left_out(drive: tuple[SyntheticSource, list[Frame]]) -> None:
    _, frames = drive
    model = model_of(frames)
    bare = [replace(frame, depth_m=None, T_world_camera=None) for frame in frames]
    assert set(calibrate_scale(model, bare)) == {'odometry'}, 'speeds are odometry as well'
    assert calibrate_scale(model, [replace(frame, speed_mps=None) for frame in bare]) == {}


def test_command_prints_the_line_for_the_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['--limit', '3', 'synthetic:corridor?seed=21&frames=3&width=128&height=96']) == 0
    said = capsys.readouterr().out
    assert 'scale_source: fixed' in said
    assert 'scale_factor: ' in said


def test_drive_that_says_nothing_of_scale_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    for index in range(3):
        cv2.imwrite(str(tmp_path / f'{index}.png'), noise)
    with pytest.raises(ScaleError, match=r'neither poses, speeds nor known depth: give --height'):
        main([str(tmp_path)])


def test_drift_compares_the_end_of_a_drive_with_its_beginning() -> None:
    score = score_constant(np.full((2, 2), 3.0, np.float32), DepthProtocol())
    assert score is not None
    ratios = [1.0, 1.0, 1.0, 5.0, 9.0, 9.0, 1.2, 1.2, 1.2]
    rows = tuple(DepthRow(i, i, score._replace(ratio=ratio), score) for i, ratio in enumerate(ratios))
    summary = DepthSummary(score.scaled, score.unscaled, score.scaled, None, 1.2, 0.1, rows)
    assert summary.ratio_drift == pytest.approx(0.2)
    assert math.isnan(summary._replace(rows=rows[:2]).ratio_drift)
