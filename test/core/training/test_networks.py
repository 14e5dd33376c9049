"""What the networks of a run start from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sidepth_core.checkpoint import load_checkpoint
from sidepth_core.errors import ConfigError
from sidepth_core.models.backbones import make_encoder
from sidepth_core.training.networks import Average, make_networks
from sidepth_core.training.settings import ModelSettings, ObjectiveSettings, Recipe

BACKBONE = 'tf_efficientnet_lite0'


@pytest.fixture(scope='module')
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of other weights for the encoder of `small`."""
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp('weights') / 'encoder.pth'
    torch.save(make_encoder(BACKBONE).state_dict(), path)
    return path


def test_a_start_goes_its_share_of_the_way_back_to_pretrained_weights(pretrained: Path) -> None:
    settings = ModelSettings(pretrained=str(pretrained), pretrained_share=0.25, pretrained_licence='CC0-1.0')
    networks = make_networks(Recipe(checkpoint='small', model=settings))
    start = load_checkpoint('small').depth_net.state_dict()
    origin = torch.load(pretrained, weights_only=True)
    for name, tensor in networks.depth_net.state_dict().items():
        expected = start[name]
        if name.startswith('encoder.') and tensor.is_floating_point():
            expected = 0.75 * expected + 0.25 * origin[name.removeprefix('encoder.')]
        torch.testing.assert_close(tensor, expected, msg=name)
    assert networks.info.pretrained.startswith('encoder.pth (sha256 ')
    assert networks.info.pretrained.endswith('; licence: CC0-1.0')


@pytest.mark.parametrize(
    ('settings', 'words'),
    [({'pretrained_share': 0.5}, 'needs weights'), ({'pretrained_share': 1.5, 'pretrained': 'hub'}, r'1\.5 is not in')],
)
def test_a_share_without_weights_or_beyond_the_whole_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ModelSettings(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ('checkpoint', 'train_pose', 'known'), [('base', False, False), ('base', True, True), ('small', False, True)]
)
def test_a_pose_network_that_never_learned_is_known_as_such(checkpoint: str, train_pose: bool, known: bool) -> None:
    objective = ObjectiveSettings(two_view_pose=1.0, train_pose=train_pose)
    networks = make_networks(Recipe(checkpoint=checkpoint, objective=objective))
    assert networks.knows_motion is known
    assert Average(networks, 0.9).networks.knows_motion is known
