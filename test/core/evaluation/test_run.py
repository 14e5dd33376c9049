"""Evaluation end to end: one who knows the truth scores perfectly, and everything measured is written down."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from rich.console import Console

from sidepth_core.camera import Camera
from sidepth_core.checkpoint import Checkpoint, CheckpointInfo, save_checkpoint
from sidepth_core.cli import evaluate as command
from sidepth_core.data.frames import DepthMap, Frame, Image
from sidepth_core.data.rectified import rectified
from sidepth_core.data.synthetic import SyntheticSource
from sidepth_core.errors import ConfigError, DatasetError
from sidepth_core.evaluation.comparison import Comparison, Row, before_after, compare, draw_comparison
from sidepth_core.evaluation.depth_metrics import DepthProtocol, DepthScores
from sidepth_core.evaluation.evaluated_model import EvaluatedModel, load_model
from sidepth_core.evaluation.figures import draw_sample
from sidepth_core.evaluation.report import print_drive
from sidepth_core.evaluation.run import DriveEvaluation, EvaluationSettings, evaluate, evaluate_frames
from sidepth_core.evaluation.shared_poses import fit_with_shared_poses
from sidepth_core.evaluation.zoom_metrics import zoomed_depth
from sidepth_core.models import DepthNet, PoseNet

SOURCE = SyntheticSource('street', seed=5, frames=6, width=208, height=64)
FRAMES = list(SOURCE)


class Oracle(EvaluatedModel):
    """A network that knows the world: its depth is the truth times `factor`, its motion the truth."""

    factor = 1.0

    def depth(self, image: Image, camera: Camera | None) -> DepthMap:
        """Return the truth of the frame, or of its middle when it is asked about a zoomed view."""
        frame = next((frame for frame in FRAMES if np.array_equal(frame.image, image)), None)
        if frame is not None:
            object.__setattr__(self, '_last', frame)
            return self._known(frame.depth_m)
        last: Frame = self._last  # type: ignore[attr-defined]
        assert camera is not None
        assert last.camera is not None
        return self._known(zoomed_depth(last.depth_m, last.camera.fx / camera.fx))

    def _known(self, depth: DepthMap | None) -> DepthMap:
        assert depth is not None
        return np.asarray(depth.clip(max=1e4) * np.float32(self.factor))

    def pose(self, before: Image, now: Image) -> npt.NDArray[np.float64]:
        """Return the true motion."""
        first, second = (
            next(frame for frame in FRAMES if np.array_equal(frame.image, image)) for image in (before, now)
        )
        assert first.T_world_camera is not None
        assert second.T_world_camera is not None
        return np.asarray(np.linalg.inv(second.T_world_camera) @ first.T_world_camera)


class Shrunk(Oracle):
    """The same world at a quarter of its size."""

    factor = 0.25


@pytest.fixture(scope='module')
def checkpoint_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    info = CheckpointInfo('tf_efficientnet_lite0', 128, 64, 128, 64, scale='relative')
    folder = tmp_path_factory.mktemp('checkpoint')
    save_checkpoint(folder, Checkpoint(DepthNet('tf_efficientnet_lite0'), PoseNet(size=(64, 128)), info))
    return folder


@pytest.fixture(scope='module')
def model(checkpoint_folder: Path) -> EvaluatedModel:
    return load_model(checkpoint_folder, device='cpu')


@pytest.fixture(scope='module')
def oracle(model: EvaluatedModel) -> Oracle:
    return Oracle('oracle', model.estimator, model.pose_net)


@pytest.fixture(scope='module')
def perfect(oracle: Oracle) -> DriveEvaluation:
    return evaluate(oracle, SOURCE, EvaluationSettings(zoom_every=3))


def test_who_knows_the_depth_has_no_error_and_beats_the_constant(perfect: DriveEvaluation) -> None:
    assert perfect.depth is not None
    assert perfect.depth.scaled.abs_rel == pytest.approx(0, abs=1e-6)
    assert perfect.depth.unscaled.d1 == 1
    assert perfect.depth.ratio == pytest.approx(1)
    assert perfect.depth.constant.abs_rel > 0.2
    assert perfect.depth.row_prior is not None
    assert 0.02 < perfect.depth.row_prior.abs_rel < perfect.depth.constant.abs_rel
    assert len(perfect.depth.rows) == perfect.frames == len(FRAMES)


def test_who_knows_the_motion_has_no_trajectory_error(perfect: DriveEvaluation) -> None:
    assert perfect.pose is not None
    assert perfect.pose.ate_m == pytest.approx(0, abs=1e-6)
    assert perfect.pose.scale_ratio == pytest.approx(1)
    assert perfect.pose.path_m > 1


def test_true_depth_hardly_flickers_and_does_not_drift_with_the_zoom(perfect: DriveEvaluation) -> None:
    assert perfect.flicker is not None
    assert perfect.flicker.pairs == len(FRAMES) - 1
    assert perfect.flicker.total < 0.01
    assert [row.images for row in perfect.zoom] == [2] * 6
    assert all(row.full.abs_rel < 1e-6 and row.drift_std < 1e-6 for row in perfect.zoom)


def test_true_depth_and_motion_explain_the_next_frame(perfect: DriveEvaluation) -> None:
    assert perfect.synthesis is not None
    assert perfect.synthesis.error < 0.6 * perfect.synthesis.still
    assert perfect.synthesis.explained > 0.6


def test_relative_depth_is_put_to_scale_once_for_flicker(oracle: Oracle, perfect: DriveEvaluation) -> None:
    shrunk = Shrunk('shrunk', oracle.estimator, oracle.pose_net)
    relative = evaluate(shrunk, SOURCE, EvaluationSettings(metrics=('depth', 'flicker')))
    assert relative.depth is not None
    assert relative.depth.ratio == pytest.approx(4)
    assert relative.flicker is not None
    assert perfect.flicker is not None
    assert relative.flicker.total == pytest.approx(perfect.flicker.total, abs=1e-3)


def test_a_gap_in_time_is_no_motion(oracle: Oracle) -> None:
    torn = [*FRAMES[:4], *(replace(frame, stamp_ns=frame.stamp_ns + 5_000_000_000) for frame in FRAMES[4:])]
    result = evaluate_frames(oracle, torn, EvaluationSettings(), 'torn')
    assert result.pose is not None
    assert result.pose.frames == 4  # the longest stretch
    assert result.flicker is not None
    assert result.flicker.pairs == len(FRAMES) - 2


def test_what_a_drive_does_not_allow_is_said(model: EvaluatedModel) -> None:
    bare = [replace(frame, depth_m=None, T_world_camera=None) for frame in FRAMES[:2]]
    result = evaluate_frames(model, bare, EvaluationSettings(), 'bare')
    assert result.depth is result.pose is result.flicker is None
    assert result.synthesis is not None
    assert len(result.notes) == 1
    assert result.notes[0].startswith('not measured: depth (no frame has known depth); pose (')
    assert 'synthesis' not in result.notes[0]


def test_every_and_limit_choose_the_frames(model: EvaluatedModel) -> None:
    result = evaluate_frames(model, FRAMES, EvaluationSettings(metrics=('depth',), every=2, limit=2), 'few')
    assert result.depth is not None
    assert [row.place for row in result.depth.rows] == [0, 2]


def test_pictures_are_spread_over_the_drive_and_end_with_the_worst(model: EvaluatedModel) -> None:
    result = evaluate_frames(model, FRAMES, EvaluationSettings(metrics=('depth',), figures=2), 'few')
    assert result.depth is not None
    worst = max(result.depth.rows, key=lambda row: row.score.scaled.abs_rel)
    assert [sample.is_worst for sample in result.samples] == [False, False, True]
    assert result.samples[0].place == 0
    assert result.samples[-1].place == worst.place
    assert draw_sample(result.samples[0]).shape[1] == 1600


def test_a_distorted_frame_is_rectified_with_its_depth() -> None:
    camera = Camera(208, 64, 150, 150, 103.5, 31.5, 'plumb_bob', (-0.2, 0.05, 0, 0, 0))
    frame = rectified(replace(FRAMES[0], camera=camera))
    assert frame.camera is not None
    assert frame.camera.is_rectified
    assert frame.depth_m is not None
    assert frame.depth_m.shape == (64, 208)
    assert FRAMES[0].depth_m is not None
    assert np.isin(frame.depth_m[np.isfinite(frame.depth_m)], FRAMES[0].depth_m).all()
    assert not np.array_equal(frame.depth_m, FRAMES[0].depth_m)


def test_tables_print_every_measure_within_80_characters(perfect: DriveEvaluation) -> None:
    console = Console(file=io.StringIO(), width=80)
    assert perfect.depth is not None
    wide = DepthScores(0.352, 114.191, 10.333, 0.463, 143.92, 0.448, 0.717, 0.8)
    print_drive(console, replace(perfect, depth=perfect.depth._replace(unscaled=wide)), DepthProtocol())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert '…' not in text
    for word in ('AbsRel', 'best constant', 'best by row', '2.00x', 'ATE', 'flicker', 'view synthesis'):
        assert word in text


def test_the_command_writes_what_it_measured(checkpoint_folder: Path, tmp_path: Path) -> None:
    arguments = ['--checkpoint', str(checkpoint_folder), '--depth', '--zoom', '--post', 'flip', '--crop', 'garg']
    source = 'synthetic:street?seed=3&frames=3&width=128&height=64'
    assert command.main([*arguments, '--device', 'cpu', '--figures', '2', '--out', str(tmp_path), source]) == 0
    scores = json.loads((tmp_path / 'scores.json').read_text())
    drive = scores['drives'][0]
    assert scores['checkpoint']['flip'] is True
    assert scores['settings']['protocol']['crop'] == 'garg'
    assert drive['depth']['images'] == 3
    assert len(drive['zoom']) == 6
    assert drive['pose'] is None
    rows = list(csv.DictReader((tmp_path / 'scores.csv').open()))
    assert np.mean([float(row['abs_rel']) for row in rows]) == pytest.approx(drive['depth']['median_scaled']['abs_rel'])
    figures = sorted((tmp_path / 'figures').rglob('*.png'))
    assert len(figures) == 3
    assert cv2.imread(str(figures[0])).shape[1] == 1600


def test_drives_that_were_evaluated_are_written_whatever_becomes_of_the_next(
    checkpoint_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / 'broken').mkdir()
    (tmp_path / 'broken' / '1.png').write_bytes(b'no image')
    first = 'synthetic:street?seed=3&frames=1&width=64&height=64'
    arguments = ['--checkpoint', str(checkpoint_folder), '--device', 'cpu', '--figures', '0', '--depth']
    with pytest.raises(DatasetError, match='no usable image'):
        command.main([*arguments, '--out', str(tmp_path / 'out'), first, str(tmp_path / 'broken')])
    assert len(json.loads((tmp_path / 'out' / 'scores.json').read_text())['drives']) == 1


def test_scores_of_several_tasks_are_joined_to_those_of_one(checkpoint_folder: Path, tmp_path: Path) -> None:
    drives = [f'synthetic:street?seed={seed}&frames=2&width=64&height=64' for seed in (3, 4, 5)]
    arguments = ['--checkpoint', str(checkpoint_folder), '--device', 'cpu', '--figures', '0', '--depth', *drives]
    whole, shared = tmp_path / 'whole', tmp_path / 'shared'
    assert command.main([*arguments, '--out', str(whole)]) == 0
    for task in ('2/4', '4/4', '3/4'):
        assert command.main([*arguments, '--out', str(shared), '--shard', task]) == 0
        assert not (shared / 'scores.json').exists()
    assert command.main([*arguments, '--out', str(shared), '--shard', '1/4']) == 0
    assert (shared / 'shard-1-of-4' / 'report.html').is_file()
    for name in ('scores.json', 'scores.csv'):
        assert (shared / name).read_text() == (whole / name).read_text()
    with pytest.raises(DatasetError, match=r'shards 1/4 and 2/4 .* differ in settings'):
        command.main([*arguments, '--cap', '40', '--out', str(shared), '--shard', '1/4'])


def test_shard_without_a_place_to_join_is_refused() -> None:
    with pytest.raises(ConfigError, match='--shard needs --out DIR'):
        command.main(['--depth', '--shard', '1/2', 'synthetic:street?frames=1'])


def test_unknown_measures_and_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"measure 'dept' is not one of .*; alignment 'x' .*; every"):
        EvaluationSettings(metrics=('dept',), alignment='x', every=0)


def test_a_comparison_says_which_checkpoint_is_better(model: EvaluatedModel, oracle: Oracle) -> None:
    settings = EvaluationSettings(metrics=('depth', 'synthesis'), figures=2)
    comparison = compare(model, oracle, FRAMES[:4], settings)
    assert comparison.is_better
    assert comparison.rows[0].name.startswith('AbsRel')
    assert comparison.rows[0].gain == pytest.approx(1, abs=1e-4)
    assert not compare(oracle, model, FRAMES[:4], settings).is_better
    console = Console(file=io.StringIO(), width=120)
    console.print(before_after(comparison))
    assert 'better in AbsRel' in console.file.getvalue()  # type: ignore[attr-defined]
    assert draw_comparison(comparison).shape[1] == 1600
    assert json.dumps(comparison.to_dict())


@pytest.mark.parametrize(
    ('synthesis', 'step', 'is_metric', 'verdict'),
    [
        (0.198, 0.02, True, r'^the new checkpoint is better in view synthesis error, shared poses \(\+1\.0%\)$'),
        (0.199, 0.02, True, r'is not better: view synthesis error, shared poses \(\+0\.5%\) gains less than 1%'),
        (0.150, 0.06, True, 'is better'),
        (0.150, 0.08, True, r'is not better: it gains in .* loses its scale: .* 0\.020 to 0\.080, more than 0\.05'),
        (0.150, math.nan, True, 'loses its scale'),
        (0.150, 0.08, False, 'is better'),
    ],
)
def test_better_weights_gain_enough_and_keep_their_metres(
    synthesis: float, step: float, is_metric: bool, verdict: str
) -> None:
    rows = (
        Row('view synthesis error, shared poses', 0.2, synthesis),
        Row('ATE in m', 0.1, 0.9),
        Row('scale error with true poses, |ln|', 0.02, step),
    )
    drive = DriveEvaluation('drive', 5)
    comparison = Comparison(rows, drive, drive, is_metric)
    assert re.search(verdict, comparison.verdict)
    assert comparison.is_better == ('not better' not in verdict and 'loses' not in verdict)
    assert comparison.to_dict()['verdict'] == comparison.verdict


class Flat(Oracle):
    """A network that says the same depth everywhere."""

    def depth(self, image: Image, camera: Camera | None) -> DepthMap:
        """Return 12 m."""
        del camera
        return np.full(image.shape[:2], 12, np.float32)


def test_flat_depth_is_found_out_however_good_its_motion_is(model: EvaluatedModel, oracle: Oracle) -> None:
    # The model's pose network is untrained: with motion of its own, even true depth explains nothing.
    layout = Oracle('layout', model.estimator, None)
    flat = Flat('flat', model.estimator, model.pose_net)
    first, second = fit_with_shared_poses(layout, flat, FRAMES[:4])
    assert first.error < 0.7 * second.error
    bare = [replace(frame, T_world_camera=None) for frame in FRAMES[:4]]
    first, second = fit_with_shared_poses(layout, oracle, bare)
    assert first.error == pytest.approx(second.error)
    assert math.isnan(first.factor)


class Lost(Flat):
    """A network that knows how far it went, and not where."""

    def pose(self, before: Image, now: Image) -> npt.NDArray[np.float64]:
        """Return a turn by 10 degrees, and the true length to the side."""
        angle = np.radians(10)
        motion = np.eye(4)
        motion[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        motion[0, 3] = np.linalg.norm(super().pose(before, now)[:3, 3])
        return motion


def test_without_odometry_corners_show_which_depth_is_flat(oracle: Oracle) -> None:
    layout, lost = Oracle('layout', oracle.estimator, None), Lost('lost', oracle.estimator, oracle.pose_net)
    bare = [replace(frame, T_world_camera=None) for frame in FRAMES[:4]]
    first, second = fit_with_shared_poses(layout, lost, bare)
    assert first.error < 0.8 * second.error


def test_depth_is_judged_without_any_pose_network(oracle: Oracle) -> None:
    layout, flat = Oracle('layout', oracle.estimator, None), Flat('flat', oracle.estimator, None)
    bare = [replace(frame, T_world_camera=None) for frame in FRAMES[:4]]
    first, second = fit_with_shared_poses(layout, flat, bare)
    assert first.error < 0.8 * second.error
    assert first.error == pytest.approx(fit_with_shared_poses(layout, oracle, bare)[0].error, rel=0.05)


def test_a_true_path_tells_how_far_depth_is_from_metres(oracle: Oracle) -> None:
    near = Oracle('near', oracle.estimator, None)
    object.__setattr__(near, 'factor', 0.8)
    first, second = fit_with_shared_poses(oracle, near, FRAMES[:4])
    assert first.factor == pytest.approx(1, rel=0.03)
    assert second.factor == pytest.approx(1.25, rel=0.03)


def test_metres_are_judged_by_known_depth_where_there_is_some() -> None:
    rows = (
        Row('AbsRel, median-scaled', 0.3, 0.2),
        Row('AbsRel, unscaled', 0.3, 0.25),
        Row('scale error with true poses, |ln|', 0.0, 0.5),
    )
    drive = DriveEvaluation('drive', 5)
    assert Comparison(rows, drive, drive, is_metric=True).is_better
    worse = (rows[0], Row('AbsRel, unscaled', 0.3, 0.36))
    assert 'AbsRel, unscaled 0.300 to 0.360' in Comparison(worse, drive, drive, is_metric=True).verdict


def test_a_comparison_without_labels_is_decided_by_view_synthesis(model: EvaluatedModel, oracle: Oracle) -> None:
    bare = [replace(frame, depth_m=None, T_world_camera=None) for frame in FRAMES[:4]]
    comparison = compare(model, oracle, bare, EvaluationSettings())
    assert comparison.rows[0].name == 'view synthesis error, shared poses'
    assert comparison.is_better
    with pytest.raises(DatasetError, match='give no metric to compare the checkpoints by'):
        compare(model, oracle, bare[:1], EvaluationSettings())


def test_lidar_sweeps_score_images_of_every_size(real_data: Path, checkpoint_folder: Path, tmp_path: Path) -> None:
    source = str(real_data / 'lidar_samples' / 'kitti_object_000000-1')
    arguments = ['--checkpoint', str(checkpoint_folder), '--device', 'cpu', '--depth', '--crop', 'garg']
    assert command.main([*arguments, '--out', str(tmp_path), source]) == 0
    depth = json.loads((tmp_path / 'scores.json').read_text())['drives'][0]['depth']
    assert depth['images'] == 2
    assert depth['constant_median_scaled']['abs_rel'] == pytest.approx(0.3, abs=0.15)
    pixels = [int(row['pixels']) for row in csv.DictReader((tmp_path / 'scores.csv').open())]
    assert min(pixels) > 5000
