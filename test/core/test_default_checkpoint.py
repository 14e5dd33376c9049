"""The checkpoint that comes with the package, on scenes of the synthetic world that training never saw."""

from __future__ import annotations

import numpy as np
import pytest

from sidepth_core.checkpoint import DEFAULT_CHECKPOINT, load_checkpoint, load_info
from sidepth_core.data.frames import Frame
from sidepth_core.data.synthetic import SyntheticSource
from sidepth_core.evaluation.depth_metrics import DepthProtocol, score_constant, score_image
from sidepth_core.evaluation.evaluated_model import load_model
from sidepth_core.inference import DepthEstimator

SCENES = ('street', 'highway', 'corridor')
"""The scenes of its training."""
TAKES = 5
"""Worlds a scene; training used seeds from 1000 on."""


def held_out(scene: str, takes: int = TAKES, fov_deg: float = 70.0) -> list[Frame]:
    """Return a frame of each of several worlds."""
    frames = SyntheticSource(
        scene, seed=31, frames=2 * takes, width=416, height=256, sequence_frames=2, fov_deg=fov_deg
    )
    return [frame for index, frame in enumerate(frames) if index % 2]


def test_it_fits_into_the_repository_and_says_what_it_is() -> None:
    assert (DEFAULT_CHECKPOINT / 'model.safetensors').stat().st_size < 40e6
    info = load_info()
    assert info.licence == 'Apache-2.0'
    assert info.scale == 'metric'
    assert 'synthetic world' in ' '.join(info.training_data)
    assert 'exact depth' in info.scale_note
    assert {'val/abs_rel', 'val/abs_rel_unscaled'} <= set(info.metrics)
    assert {'sidepth', 'torch', 'lightning'} <= set(info.versions)


def test_it_brings_the_pose_network_that_fine_tuning_needs() -> None:
    assert load_checkpoint().pose_net is not None


def test_on_held_out_scenes_it_has_less_than_half_the_error_of_the_best_constant_depth() -> None:
    estimator = DepthEstimator.load(device='cpu')
    protocol = DepthProtocol()
    errors, constants = {}, {}
    for scene in SCENES:
        frames = held_out(scene)
        scores = [score_image(estimator(frame.image, frame.camera), frame.depth_m, protocol) for frame in frames]
        flat = [score_constant(frame.depth_m, protocol) for frame in frames]
        errors[scene] = np.mean([score.scaled.abs_rel for score in scores])
        constants[scene] = np.mean([score.scaled.abs_rel for score in flat])
    print({scene: (round(errors[scene], 3), round(constants[scene], 3)) for scene in SCENES})
    assert np.mean(list(errors.values())) < 0.5 * np.mean(list(constants.values()))
    assert all(errors[scene] < 0.75 * constants[scene] for scene in SCENES)


@pytest.mark.parametrize('fov_deg', [50.0, 90.0])
def test_its_depth_is_in_metres_through_narrow_and_wide_lenses(fov_deg: float) -> None:
    estimator = DepthEstimator.load(device='cpu')
    ratios = []
    for scene in SCENES:
        for frame in held_out(scene, 3, fov_deg):
            score = score_image(estimator(frame.image, frame.camera), frame.depth_m, DepthProtocol())
            assert score is not None
            ratios.append(score.ratio)
    assert np.median(ratios) == pytest.approx(1, rel=0.2)


def test_its_pose_network_sees_the_direction_of_travel() -> None:
    model = load_model(None, device='cpu')
    frames = list(SyntheticSource('street', seed=32, frames=6, width=416, height=256, sequence_frames=2))
    for before, now in zip(frames[::2], frames[1::2], strict=True):
        T_now_before = model.pose(before.image, now.image)
        # Driving forwards, what was seen before is nearer now.
        assert T_now_before[2, 3] < 0
        assert abs(T_now_before[0, 3]) < abs(T_now_before[2, 3])
