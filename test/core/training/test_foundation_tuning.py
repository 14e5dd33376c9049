"""Fine-tuning depth networks of `transformers`: whole, decoder or adapters, and the checkpoints that come of it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('transformers', reason='transformers is not installed (requirements/transformers.txt)')
pytest.importorskip('peft', reason='peft is not installed (requirements/transformers.txt)')

from tiny_foundation import save_model

from sidepth_core.checkpoint import Checkpoint, load_checkpoint, load_info, save_checkpoint
from sidepth_core.cli import main
from sidepth_core.data.synthetic import SyntheticSource
from sidepth_core.engines import PACKAGES, Target, make_engine
from sidepth_core.errors import CheckpointError, ConfigError
from sidepth_core.inference import DepthEstimator
from sidepth_core.models.foundation.image_scale import ImageScale
from sidepth_core.models.foundation.network import FoundationNet
from sidepth_core.training.metrics import read_metric
from sidepth_core.training.networks import Average, Networks, make_networks
from sidepth_core.training.settings import ModelSettings, ObjectiveSettings, Recipe

TUNED = ('whole', 'decoder', 'adapters')


@pytest.fixture(scope='module')
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp('base'))


def networks_of(base: Path, tune: str, learned_scale: str = 'run') -> Networks:
    settings = ModelSettings(
        tune=tune,  # type: ignore[arg-type]
        learned_scale=learned_scale,  # type: ignore[arg-type]
        adapter_rank=2,
        width=96,
        height=64,
        pose_width=96,
        pose_height=64,
        pose_backbone='tf_efficientnet_lite0',
    )
    return make_networks(Recipe(checkpoint=str(base), model=settings, objective=ObjectiveSettings(depth=1.0)))


@pytest.fixture(scope='module')
def world() -> tuple[torch.Tensor, torch.Tensor]:
    """Return images of the synthetic world, (2, 3, 64, 96), and their depth, (2, 1, 64, 96) metres."""
    frames = [
        frame
        for scene in ('street', 'corridor')
        for frame in SyntheticSource(scene, seed=2, frames=1, width=96, height=64)
    ]
    images = torch.stack([torch.from_numpy(frame.image).permute(2, 0, 1) for frame in frames]) / 255
    return images, torch.stack([torch.from_numpy(np.asarray(frame.depth_m))[None] for frame in frames])


def learned(networks: Networks, world: tuple[torch.Tensor, torch.Tensor], steps: int) -> list[float]:
    """Learn the metres of the synthetic world for some steps, and return the loss of each."""
    image, depth_m = world
    wanted = depth_m.clamp(0.3, 80).log()
    depth_net = networks.depth_net
    scale = {id(parameter) for parameter in depth_net.scale_parameters}
    weights = [one for one in depth_net.parameters() if one.requires_grad and id(one) not in scale]
    optimiser = torch.optim.Adam([
        {'params': weights, 'lr': 1e-3},
        {'params': depth_net.scale_parameters, 'lr': 1e-2},
    ])
    K = torch.eye(3).expand(2, 3, 3)
    losses = []
    for _ in range(steps):
        loss = (networks.depth(networks.disparity(image), K).log() - wanted).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize('learned_scale', ['run', 'image'])
@pytest.mark.parametrize('tune', TUNED)
def test_each_mode_learns_what_it_says_and_runs_from_its_checkpoint(
    base: Path, tune: str, learned_scale: str, world: tuple[torch.Tensor, torch.Tensor], tmp_path: Path
) -> None:
    networks = networks_of(base, tune, learned_scale)
    depth_net = networks.depth_net
    assert isinstance(depth_net, FoundationNet)
    before = {name: tensor.clone() for name, tensor in depth_net.state_dict().items()}
    losses = learned(networks, world, 40)
    assert losses[-1] < 0.8 * losses[0]
    changed = {name for name, tensor in depth_net.state_dict().items() if not torch.equal(tensor, before[name])}
    encoder = {name for name in changed if name.startswith('model.backbone.')}
    scale = {name for name in depth_net.state_dict() if not name.startswith('model.')} - {'mean', 'std'}
    assert scale <= changed
    assert ('image_scale.layout' in scale) == (learned_scale == 'image')
    assert bool(encoder) == (tune != 'decoder')
    if tune == 'adapters':
        assert all('lora_' in name for name in changed - scale)
    info = replace(networks.info, scale='metric', training_data=('a plane',))
    save_checkpoint(tmp_path / 'run', Checkpoint(depth_net, networks.pose_net, info))
    loaded = load_checkpoint(tmp_path / 'run')
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(
            loaded.depth_net(image).disparity, depth_net.eval()(image).disparity, rtol=1e-3, atol=1e-5
        )
    assert loaded.info.foundation is not None
    assert loaded.info.foundation.scale_per_image == (learned_scale == 'image')
    assert loaded.info.scale == 'metric'
    assert not loaded.info.has_shift


def test_maps_that_a_model_scales_each_by_itself_come_closer_to_metres_by_their_layout() -> None:
    """Learned on some drives and measured on others: one pair for all images, and one changed for each."""

    def depths(seeds: tuple[int, ...]) -> torch.Tensor:
        sources = [
            SyntheticSource(scene, seed=seed, frames=3, width=64, height=48)
            for scene in ('street', 'corridor')
            for seed in seeds
        ]
        frames = [frame for source in sources for frame in source]
        return torch.stack([torch.from_numpy(np.asarray(frame.depth_m))[None] for frame in frames])

    drives, others = depths((1, 2, 3, 4)), depths((7, 8))

    def error(depth_m: torch.Tensor, pair: list[torch.Tensor], per_image: ImageScale | None) -> torch.Tensor:
        inverse = 1 / depth_m.clamp(0.3, 80)
        low, high = (limit(inverse, (2, 3), keepdim=True) for limit in (torch.amin, torch.amax))
        said = pair[0].exp() * (inverse - low) / (high - low)
        if per_image is not None:
            factor, shift = per_image(said)
            said = factor * said + shift
        return ((said + pair[1]).clamp(min=1 / 80).log() - inverse.log()).abs().mean()

    errors = []
    for per_image in (None, ImageScale()):
        pair = [torch.zeros(1, requires_grad=True), torch.full((1,), 0.02, requires_grad=True)]
        optimiser = torch.optim.Adam([*pair, *(per_image.parameters() if per_image else ())], lr=1e-2)
        for _ in range(300):
            optimiser.zero_grad()
            error(drives, pair, per_image).backward()
            optimiser.step()
        errors.append(error(others, pair, per_image).item())
    assert errors[1] < 0.85 * errors[0]


def test_the_average_follows_adapters(base: Path, world: tuple[torch.Tensor, torch.Tensor]) -> None:
    networks = networks_of(base, 'adapters', 'image')
    average = Average(networks, 0.0)
    learned(networks, world, 2)
    average.follow(networks, 100)
    for name, tensor in networks.depth_net.state_dict().items():
        torch.testing.assert_close(average.networks.depth_net.state_dict()[name], tensor)


def test_adapters_are_a_small_file_that_needs_the_very_weights_they_belong_to(base: Path, tmp_path: Path) -> None:
    place = shutil.copytree(base, tmp_path / 'base')
    networks = networks_of(place, 'adapters')
    save_checkpoint(tmp_path / 'run', Checkpoint(networks.depth_net, None, networks.info))
    foundation = load_info(tmp_path / 'run').foundation
    assert foundation is not None
    assert foundation.adapter_rank == 2
    whole = (base / 'model.safetensors').stat().st_size
    assert (tmp_path / 'run' / 'model.safetensors').stat().st_size < 0.25 * whole
    save_model(place, seed=1)
    with pytest.raises(CheckpointError, match=r'low-rank adapters only.*has others \(sha256'):
        load_checkpoint(tmp_path / 'run')
    shutil.rmtree(place)
    with pytest.raises(CheckpointError, match=r'low-rank adapters only.*no checkpoint at.*Copy them there, or to'):
        load_checkpoint(tmp_path / 'run')
    shutil.copytree(base, tmp_path / 'run' / 'base')  # as it travels to a robot
    assert isinstance(load_checkpoint(tmp_path / 'run').depth_net, FoundationNet)


def test_adapters_and_a_learned_scale_on_a_network_of_ours_are_refused() -> None:
    for settings, words in (
        (ModelSettings(tune='adapters'), 'tune adapters is for networks of transformers.*choose whole or decoder'),
        (ModelSettings(learned_scale='image'), 'learned_scale image is for networks of transformers.*choose run'),
    ):
        with pytest.raises(ConfigError, match=words):
            make_networks(Recipe(checkpoint='default', model=settings))


@pytest.mark.parametrize('engine', ['onnxruntime', 'openvino'])
def test_engines_run_a_network_with_a_scale_of_each_image(
    base: Path, world: tuple[torch.Tensor, torch.Tensor], engine: str
) -> None:
    pytest.importorskip(PACKAGES[engine], reason=f'{PACKAGES[engine]} is not installed')
    networks = networks_of(base, 'decoder', 'image')
    learned(networks, world, 5)
    running = make_engine(engine, networks.depth_net.eval(), Target(torch.device('cpu'), 'float32', (64, 96)))
    assert (running.name, running.note) == (engine, '')


def test_a_foundation_model_is_trained_without_labels_into_metres(base: Path, tmp_path: Path) -> None:
    """Through the command: adapters and a scale of each image on a drive with odometry, then any user's estimator."""
    drive = 'synthetic:street?seed=3&frames=16&width=144&height=96&sensor=0'
    run = tmp_path / 'run'
    sizes = ['--model.width', '96', '--model.height', '64', '--model.pose_width', '96', '--model.pose_height', '64']
    tuned = ['--model.tune', 'adapters', '--model.learned_scale', 'image', '--model.adapter_rank', '2']
    steps = ['--steps', '2', '--watch.log_every', '1', '--optimiser.batch_size', '2', '--data.stride', '1']
    shares = ['--data.validation_share', '0.2', '--data.test_share', '0.2', '--data.workers', '0', '--device', 'cpu']
    arguments = ['--recipe', 'finetune_bag', '--bag', drive, '--checkpoint', str(base), '--out', str(run)]
    assert main(['train', *arguments, *sizes, *tuned, *steps, *shares]) == 0
    assert len(read_metric(run / 'metrics.csv', 'train/photometric')) == 2
    estimator = DepthEstimator.load(run, device='cpu')
    assert estimator.info.scale == 'metric'
    assert 'driven distance' in estimator.info.scale_note
    depth_m = estimator(np.zeros((90, 120, 3), np.uint8))
    assert np.isfinite(depth_m).all()
    assert (run / 'comparison.json').is_file()


def test_another_backbone_than_the_starts_is_refused(base: Path) -> None:
    with pytest.raises(ConfigError, match=r'resnet18.*depth_anything of transformers'):
        make_networks(Recipe(checkpoint=str(base), model=ModelSettings(backbone='resnet18')))
