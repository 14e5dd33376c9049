"""Encoders: equal to timm's, and started from the weights of a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sidepth_core.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from sidepth_core.errors import CheckpointError, ConfigError
from sidepth_core.models import DepthNet
from sidepth_core.models.depth_decoder import LIGHT_CHANNELS
from sidepth_core.models.efficientnet_lite import SCALING, EfficientNetLite, SameConv2d
from sidepth_core.models.pretrained import load_weights
from sidepth_core.training.networks import make_networks
from sidepth_core.training.settings import ModelSettings, Recipe


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def lively(network: nn.Module) -> nn.Module:
    """Give batch norms statistics of their own, as training would, and return the network in evaluation mode."""
    for buffer in network.buffers():
        if buffer.is_floating_point():
            buffer.add_(0.1 * torch.rand_like(buffer))
    return network.eval()


@pytest.mark.parametrize('variant', SCALING)
def test_efficientnet_lite_is_timms(variant: str) -> None:
    timm = pytest.importorskip('timm', reason='timm is not installed: requirements/train.txt brings it')
    theirs, ours = lively(timm.create_model(variant, features_only=True)), EfficientNetLite(variant).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    image = torch.rand(2, 3, 96, 160)
    with torch.no_grad():
        torch.testing.assert_close(ours(image), tuple(theirs(2 * image - 1)), rtol=1e-4, atol=1e-4)
    assert ours.channels == tuple(theirs.feature_info.channels())


@pytest.mark.parametrize(('kernel', 'first', 'last'), [(3, 0, 1), (5, 1, 2)])
def test_convention_a_strided_convolution_pads_more_after_than_before(kernel: int, first: int, last: int) -> None:
    """Convention: TensorFlow's SAME. Of ones, the sums tell how many pixels of each window lie in the image."""
    convolution = SameConv2d(1, 1, kernel, 2, bias=False)
    nn.init.ones_(convolution.weight)
    inside = convolution(torch.ones(1, 1, 8, 8))[0, 0]
    assert inside.shape == (4, 4)
    assert inside[0, 1].item() == (kernel - first) * kernel
    assert inside[3, 1].item() == (kernel - last) * kernel


def full_file(variant: str = 'tf_efficientnet_lite0') -> dict[str, Tensor]:
    """Return what a published file holds: the encoder's tensors, then the classifier's."""
    tensors = {name: tensor.clone() for name, tensor in lively(EfficientNetLite(variant)).state_dict().items()}
    return {**tensors, 'conv_head.weight': torch.rand(1280, 320, 1, 1), 'classifier.weight': torch.rand(1000, 1280)}


def renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f'tensor_{place}.{name.split(".")[-1]}': tensor for place, (name, tensor) in enumerate(tensors.items())}


@pytest.mark.parametrize('name', ['lite0.safetensors', 'lite0.pth', 'lite0.bin'])
def test_weights_of_a_file_are_taken_by_name_and_the_classifier_is_left_out(name: str, tmp_path: Path) -> None:
    tensors = full_file()
    (save_file if name.endswith('safetensors') else torch.save)(tensors, tmp_path / name)
    encoder = EfficientNetLite()
    assert load_weights(encoder, tmp_path / name).startswith(f'{name} (sha256 ')
    torch.testing.assert_close(encoder.state_dict(), {key: tensors[key] for key in encoder.state_dict()})


def test_weights_under_other_names_are_taken_by_order_and_shape(tmp_path: Path) -> None:
    tensors = full_file()
    torch.save(renamed(tensors), tmp_path / 'other.pth')
    encoder = EfficientNetLite()
    load_weights(encoder, tmp_path / 'other.pth')
    torch.testing.assert_close(encoder.state_dict(), {key: tensors[key] for key in encoder.state_dict()})


def test_weights_of_another_network_are_refused_at_the_first_tensor_that_differs(tmp_path: Path) -> None:
    torch.save(renamed(full_file('tf_efficientnet_lite2')), tmp_path / 'lite2.pth')
    expected = r'tensor 51 of 240 should be blocks\.2\.0\.conv_dw\.weight \(144, 1, 5, 5\).*of shape \(144, 1, 3, 3\)'
    with pytest.raises(CheckpointError, match=rf'lite2\.pth.* another network.*{expected}'):
        load_weights(EfficientNetLite(), tmp_path / 'lite2.pth')


def test_weights_by_name_of_another_width_are_refused_with_every_tensor(tmp_path: Path) -> None:
    save_file(full_file('tf_efficientnet_lite2'), tmp_path / 'lite2.safetensors')
    with pytest.raises(CheckpointError, match=r'do not fit the network[\s\S]*blocks\.2\.0\.conv_pwl\.weight has shape'):
        load_weights(EfficientNetLite(), tmp_path / 'lite2.safetensors')


def test_a_file_that_ends_too_early_is_refused(tmp_path: Path) -> None:
    tensors = dict(list(renamed(full_file()).items())[:100])
    torch.save(tensors, tmp_path / 'short.pth')
    with pytest.raises(CheckpointError, match='the file has nothing and ends there'):
        load_weights(EfficientNetLite(), tmp_path / 'short.pth')


def test_a_missing_file_of_weights_is_named(tmp_path: Path) -> None:
    for name in ('none.safetensors', 'none.pth'):
        with pytest.raises(CheckpointError, match=rf'no file .*{name}'):
            load_weights(EfficientNetLite(), tmp_path / name)


def test_a_run_starts_from_the_file_and_its_checkpoint_says_so(tmp_path: Path) -> None:
    tensors = full_file()
    torch.save(tensors, tmp_path / 'lite0.pth')
    model = ModelSettings(
        'tf_efficientnet_lite0',
        decoder_channels=LIGHT_CHANNELS,
        pretrained=str(tmp_path / 'lite0.pth'),
        pretrained_licence='Apache-2.0',
        pose_width=64,
        pose_height=32,
    )
    networks = make_networks(Recipe(model=model))
    torch.testing.assert_close(networks.depth_net.encoder.conv_stem.weight.contiguous(), tensors['conv_stem.weight'])
    save_checkpoint(tmp_path / 'run', Checkpoint(networks.depth_net, networks.pose_net, networks.info))
    found = load_checkpoint(tmp_path / 'run')
    assert found.depth_net.decoder_channels == found.info.decoder_channels == LIGHT_CHANNELS
    assert found.info.pretrained.startswith('lite0.pth (sha256 ')
    assert found.info.pretrained.endswith('licence: Apache-2.0')
    again = make_networks(Recipe(checkpoint=str(tmp_path / 'run')))
    assert again.info.pretrained == found.info.pretrained


@pytest.mark.parametrize(('value', 'meaning'), [(True, 'hub'), (False, 'none')])
def test_recipes_that_say_true_or_false_keep_their_meaning(value: bool, meaning: str) -> None:
    assert ModelSettings(pretrained=value).pretrained == meaning


def test_a_sub_pixel_decoder_starts_without_a_chequerboard_and_each_pixel_learns_on_its_own() -> None:
    network = DepthNet('tf_efficientnet_lite0', decoder_channels=LIGHT_CHANNELS).eval()
    disparity = network(torch.rand(1, 3, 64, 96)).disparity
    assert disparity.shape == (1, 1, 64, 96)
    blocks = disparity.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
    torch.testing.assert_close(blocks, blocks[..., :1].expand_as(blocks))
    disparity[..., ::2, 1::2].sum().backward()
    gradients = network.decoder.head.weight.grad.abs().sum(dim=(1, 2, 3))
    assert gradients[1] > 0
    assert gradients[[0, 2, 3]].sum() == 0


@pytest.mark.parametrize('channels', [(16, 32, 64, 128), (16, 0, 64, 128, 256), (-1, 32, 64, 128, 256)])
def test_decoder_channels_that_cannot_be_are_refused(channels: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match='expected five numbers for strides 1, 2, 4, 8 and 16'):
        DepthNet('tf_efficientnet_lite0', decoder_channels=channels)
    with pytest.raises(ConfigError, match='expected five numbers'):
        ModelSettings(decoder_channels=channels)
