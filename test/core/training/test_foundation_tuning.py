"""Fine-tuning depth networks of `transformers`: whole, decoder or adapters, and the checkpoints that come of it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip('transformers', reason='transformers is not installed (requirements/transformers.txt)')
pytest.importorskip('peft', reason='peft is not installed (requirements/transformers.txt)')

from tiny_foundation import save_model

from sidepth_core.checkpoint import Checkpoint, load_checkpoint, load_info, save_checkpoint
from sidepth_core.errors import CheckpointError, ConfigError
from sidepth_core.models.foundation.network import FoundationNet
from sidepth_core.training.networks import Average, Networks, make_networks
from sidepth_core.training.settings import ModelSettings, ObjectiveSettings, Recipe

TUNED = ('whole', 'decoder', 'adapters')


@pytest.fixture(scope='module')
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp('base'))


def networks_of(base: Path, tune: str) -> Networks:
    settings = ModelSettings(
        tune=tune,  # type: ignore[arg-type]
        adapter_rank=2,
        width=96,
        height=64,
        pose_width=96,
        pose_height=64,
        pose_backbone='tf_efficientnet_lite0',
    )
    return make_networks(Recipe(checkpoint=str(base), model=settings, objective=ObjectiveSettings(depth=1.0)))


def learned(networks: Networks, steps: int) -> list[float]:
    """Learn the metres of a slanted plane for some steps, and return the loss of each."""
    image = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    rows = torch.linspace(20.0, 2.0, 64).view(1, 1, 64, 1)
    wanted = rows.expand(2, 1, 64, 96).log()
    depth_net = networks.depth_net
    weights = [parameter for parameter in depth_net.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam([
        {'params': [one for one in weights if one.numel() > 1], 'lr': 1e-3},
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


@pytest.mark.parametrize('tune', TUNED)
def test_each_mode_learns_what_it_says_and_runs_from_its_checkpoint(base: Path, tune: str, tmp_path: Path) -> None:
    networks = networks_of(base, tune)
    depth_net = networks.depth_net
    assert isinstance(depth_net, FoundationNet)
    before = {name: tensor.clone() for name, tensor in depth_net.state_dict().items()}
    losses = learned(networks, 40)
    assert losses[-1] < 0.8 * losses[0]
    changed = {name for name, tensor in depth_net.state_dict().items() if not torch.equal(tensor, before[name])}
    encoder = {name for name in changed if name.startswith('model.backbone.')}
    assert {'log_scale', 'shift'} <= changed
    assert bool(encoder) == (tune != 'decoder')
    if tune == 'adapters':
        assert all('lora_' in name for name in changed - {'log_scale', 'shift'})
    info = replace(networks.info, scale='metric', training_data=('a plane',))
    save_checkpoint(tmp_path / 'run', Checkpoint(depth_net, networks.pose_net, info))
    loaded = load_checkpoint(tmp_path / 'run')
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(
            loaded.depth_net(image).disparity, depth_net.eval()(image).disparity, rtol=1e-3, atol=1e-5
        )
    assert loaded.info.scale == 'metric'
    assert not loaded.info.has_shift


def test_the_average_follows_adapters(base: Path) -> None:
    networks = networks_of(base, 'adapters')
    average = Average(networks, 0.0)
    learned(networks, 2)
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


def test_adapters_on_a_network_of_ours_are_refused() -> None:
    with pytest.raises(ConfigError, match=r'adapters is for networks of transformers'):
        make_networks(Recipe(checkpoint='default', model=ModelSettings(tune='adapters')))


def test_another_backbone_than_the_starts_is_refused(base: Path) -> None:
    with pytest.raises(ConfigError, match=r'resnet18.*depth_anything of transformers'):
        make_networks(Recipe(checkpoint=str(base), model=ModelSettings(backbone='resnet18')))
