"""The running model: one pass for images of any sizes, and loading beside it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from ros_graph import PATIENCE_S, write_checkpoint

from sidepth_core.errors import CheckpointError
from sidepth_ros.node.model import Loader, Model, load_estimator, make_scale, resized_image, same_model
from sidepth_ros.node.parameters import Settings


@pytest.fixture(scope='module')
def settings(tiny_checkpoint: Path) -> Settings:
    return Settings(checkpoint=str(tiny_checkpoint), device='cpu')


def depth(model: Model, images: list[torch.Tensor], focal_px: list[float]) -> torch.Tensor:
    return model.depth(model.sight(images, focal_px, model.network_size(images)))


def test_pictures_of_different_sizes_go_through_in_one_pass(settings: Settings) -> None:
    estimator = load_estimator(settings, 2)
    model = Model(estimator, make_scale(settings, estimator.info))
    generator = torch.Generator().manual_seed(0)
    images = [
        torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8, generator=generator) for size in ((96, 160), (64, 128))
    ]
    together = depth(model, images, [100.0, 80.0])
    assert together.shape == (2, 1, 32, 64)
    for index, image in enumerate(images):
        alone = depth(model, [image], [100.0])
        torch.testing.assert_close(together[index : index + 1], alone, rtol=1e-3, atol=0)


def test_image_shrunk_first_gives_the_depth_that_the_estimator_gives_it(settings: Settings) -> None:
    estimator = load_estimator(settings, 1)
    model = Model(estimator, make_scale(settings, estimator.info))
    image = torch.randint(0, 256, (1, 3, 90, 170), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(depth(model, [image], [100.0]), estimator.depth(image, torch.tensor([100.0])))


def test_canonical_weights_say_metres_by_each_cameras_focal_length(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, seed=0, zoom_convention='canonical', focal_px=50.0)
    settings = Settings(checkpoint=str(path), device='cpu')
    estimator = load_estimator(settings, 2)
    model = Model(estimator, make_scale(settings, estimator.info))
    large = torch.randint(0, 256, (1, 3, 64, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    small = resized_image(large, 32, 64)
    # The same camera, once with half of the pixels across and down; then one that sees half as wide.
    together = depth(model, [large, small], [100.0, 50.0])
    torch.testing.assert_close(together[:1], together[1:], rtol=0.02, atol=0)
    tele = depth(model, [large], [200.0])
    torch.testing.assert_close(tele, 2 * depth(model, [large], [100.0]))
    # Twice the focal length at twice the size of what it was trained at: as far as there; the telephoto twice.
    size = model.network_size([large])
    far = estimator.info.max_depth_m
    assert model.farthest(model.sight([large], [100.0], size)).item() == pytest.approx(far)
    assert model.farthest(model.sight([large], [200.0], size)).item() == pytest.approx(2 * far)


def test_missing_checkpoint_is_named() -> None:
    with pytest.raises(CheckpointError, match='/no/such/place'):
        load_estimator(Settings(checkpoint='/no/such/place'), 1)


def test_loader_gives_the_outcome_once(settings: Settings) -> None:
    ready = threading.Event()
    loader = Loader(1, ready.set)
    loader.request(settings)
    assert ready.wait(PATIENCE_S)
    outcome = loader.outcome()
    assert outcome is not None
    assert outcome.estimator is not None
    assert outcome.settings is settings
    assert loader.outcome() is None


def test_loader_says_why_it_could_not(tmp_path: Path) -> None:
    ready = threading.Event()
    loader = Loader(1, ready.set)
    loader.request(Settings(checkpoint=str(tmp_path / 'nothing')))
    assert ready.wait(PATIENCE_S)
    outcome = loader.outcome()
    assert outcome is not None
    assert outcome.estimator is None
    assert 'nothing' in outcome.reason


def test_last_of_several_requests_counts(settings: Settings, tmp_path: Path) -> None:
    ready = threading.Event()
    loader = Loader(1, ready.set)
    last = settings.changed({'checkpoint': str(write_checkpoint(tmp_path, seed=3))})
    for wanted in (settings, settings.changed({'network_size': '96x64'}), last):
        loader.request(wanted)
    assert ready.wait(PATIENCE_S)
    outcome = loader.outcome()
    assert outcome is not None
    assert outcome.settings is last


def test_cancelled_request_has_no_outcome(settings: Settings) -> None:
    ready = threading.Event()
    loader = Loader(1, ready.set)
    loader.request(settings)
    loader.cancel()
    assert not ready.wait(3.0)
    assert loader.outcome() is None


def test_only_model_parameters_make_another_model() -> None:
    assert same_model(Settings(), Settings(edge_gate=True, scale_source='relative'))
    assert not same_model(Settings(), Settings(precision='bf16'))
