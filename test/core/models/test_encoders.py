"""Encoders: equal to timm's, and started from the weights of a file."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sidepth_core.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from sidepth_core.errors import CheckpointError, ConfigError
from sidepth_core.models import DepthNet, PoseNet
from sidepth_core.models.depth_decoder import LIGHT_CHANNELS
from sidepth_core.models.efficientnet_lite import SCALING, EfficientNetLite, SameConv2d
from sidepth_core.models.pretrained import load_weights
from sidepth_core.models.timm_encoder import TimmEncoder
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


FAMILIES = ('mobilenetv3_large_100', 'mobilenetv4_conv_small', 'resnet18', 'fastvit_t8', 'hrnet_w18')


@pytest.mark.parametrize('name', FAMILIES)
def test_a_network_of_timm_gives_its_own_maps_and_depth(name: str) -> None:
    timm = pytest.importorskip('timm', reason='timm is not installed: requirements/train.txt brings it')
    network = DepthNet(name, decoder_channels=LIGHT_CHANNELS).eval()
    theirs = timm.create_model(name, features_only=True).eval()
    theirs.load_state_dict(network.encoder.network.state_dict())
    image = torch.rand(1, 3, 64, 96)
    mean, std = (torch.tensor(theirs.default_cfg[key])[:, None, None] for key in ('mean', 'std'))
    with torch.no_grad():
        maps, expected = network.encoder(image), theirs((image - mean) / std)
        disparity = network(image).disparity
    torch.testing.assert_close(maps[-4:], tuple(expected[-4:]))
    assert [tuple(features.shape[1:]) for features in maps] == [
        (channels, 64 // stride, 96 // stride)
        for channels, stride in zip(network.encoder.channels, (2, 4, 8, 16, 32), strict=True)
    ]
    assert disparity.shape == (1, 1, 64, 96)


def test_a_network_without_the_maps_is_refused_with_those_that_it_has() -> None:
    pytest.importorskip('timm', reason='timm is not installed: requirements/train.txt brings it')
    with pytest.raises(ConfigError, match=r"'vit_tiny_patch16_224' has maps at strides \[16.*it lacks \[4, 8, 32\]"):
        DepthNet('vit_tiny_patch16_224')


def test_without_timm_its_networks_name_the_command_that_brings_it() -> None:
    code = (
        "import sys; sys.modules['timm'] = None\n"
        'from sidepth_core.errors import ConfigError\n'
        'from sidepth_core.models import DepthNet\n'
        "DepthNet('tf_efficientnet_lite0')\n"
        "try: DepthNet('resnet18')\n"
        'except ConfigError as error: print(error)'
    )
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert "'resnet18' is a network of timm, which is not installed: run `pip install timm`" in result.stdout


@pytest.mark.parametrize(('backbone', 'first'), [('resnet18', 'conv1'), ('tf_efficientnet_lite0', 'conv_stem')])
def test_a_pose_network_sees_a_pair_of_equal_images_as_its_encoder_saw_one(
    backbone: str, first: str, tmp_path: Path
) -> None:
    single = TimmEncoder(backbone).network
    save_file(single.state_dict(), tmp_path / 'weights.safetensors')
    pair = PoseNet(backbone, pretrained=str(tmp_path / 'weights.safetensors'), size=(32, 32))
    image = torch.rand(1, 3, 32, 32)
    found = getattr(pair.encoder, first)(torch.cat([image, image], 1))
    torch.testing.assert_close(found, getattr(single, first)(image), atol=1e-5, rtol=1e-4)


def test_weights_of_timm_come_from_a_file_and_others_are_refused(tmp_path: Path) -> None:
    timm = pytest.importorskip('timm', reason='timm is not installed: requirements/train.txt brings it')
    weights = timm.create_model('resnet18').state_dict()
    save_file(weights, tmp_path / 'resnet18.safetensors')
    encoder = DepthNet('resnet18', pretrained=str(tmp_path / 'resnet18.safetensors')).encoder
    torch.testing.assert_close(encoder.network.layer4[1].conv2.weight, weights['layer4.1.conv2.weight'])
    with pytest.raises(CheckpointError, match=r'weights of mobilenetv4_conv_small cannot be taken from .*resnet18\.'):
        DepthNet('mobilenetv4_conv_small', pretrained=str(tmp_path / 'resnet18.safetensors'))
    with pytest.raises(CheckpointError, match=r'no file .*none\.pth'):
        DepthNet('resnet18', pretrained=str(tmp_path / 'none.pth'))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Hub's cache, which holds what has been downloaded, and no network connection."""
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    return tmp_path


def cached(hub: Path, repository: str, tensors: dict[str, Tensor]) -> None:
    """Put a repository with weights into the Hub's cache as a download does."""
    folder = hub / f'models--{repository.replace("/", "--")}'
    (folder / 'refs').mkdir(parents=True)
    (folder / 'refs' / 'main').write_text('0' * 40)
    snapshot = folder / 'snapshots' / ('0' * 40)
    snapshot.mkdir(parents=True)
    save_file(tensors, snapshot / 'model.safetensors')


def test_weights_come_from_the_hub_for_our_own_encoder_and_for_timms(hub: Path) -> None:
    timm = pytest.importorskip('timm', reason='timm is not installed: requirements/train.txt brings it')
    tensors, theirs = full_file(), timm.create_model('resnet18').state_dict()
    cached(hub, 'timm/tf_efficientnet_lite0.in1k', tensors)
    cached(hub, 'timm/resnet18.tv_in1k', theirs)
    settings = ModelSettings('tf_efficientnet_lite0', pretrained='hub', pose_width=64, pose_height=32)
    networks = make_networks(Recipe(model=settings))
    torch.testing.assert_close(networks.depth_net.encoder.conv_stem.weight.contiguous(), tensors['conv_stem.weight'])
    torch.testing.assert_close(
        networks.pose_net.encoder.layer1[0].conv1.weight.contiguous(), theirs['layer1.0.conv1.weight']
    )
    assert networks.info.pretrained == 'timm/tf_efficientnet_lite0.in1k of the Hugging Face Hub; licence: Apache-2.0'


@pytest.mark.parametrize('backbone', ['tf_efficientnet_lite0', 'resnet18'])
def test_without_a_network_connection_the_hub_says_so(backbone: str, hub: Path) -> None:
    with pytest.raises(CheckpointError, match=r'cannot be (downloaded|taken) from the .*Hub'):
        DepthNet(backbone, pretrained='hub')
    assert not list(hub.glob('models--*/snapshots/*'))


@pytest.mark.parametrize('backbone', ['tf_efficientnet_lite0', 'resnet18'])
def test_a_hub_that_cannot_be_reached_is_asked_once_and_the_ways_out_are_named(
    backbone: str, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', False)
    monkeypatch.setattr('huggingface_hub.constants.ENDPOINT', 'http://127.0.0.1:9')  # nobody listens there
    since = time.perf_counter()
    with pytest.raises(CheckpointError, match=r'does not answer.*--checkpoint default.*--model\.pretrained none'):
        DepthNet(backbone, pretrained='hub')
    assert time.perf_counter() - since < 10  # the Hub's own client takes 39 s
    assert not list(hub.glob('models--*/snapshots/*'))


@pytest.mark.parametrize('learning', [True, False])
@pytest.mark.parametrize(('kernel', 'first', 'last'), [(3, 0, 1), (5, 1, 2)])
def test_convention_a_strided_convolution_pads_more_after_than_before(
    kernel: int, first: int, last: int, learning: bool
) -> None:
    """Convention: TensorFlow's SAME. Of ones, the sums tell how many pixels of each window lie in the image."""
    convolution = SameConv2d(1, 1, kernel, 2, bias=False)
    nn.init.ones_(convolution.weight)
    with torch.set_grad_enabled(learning):
        inside = convolution(torch.ones(1, 1, 8, 8))[0, 0]
    assert inside.shape == (4, 4)
    assert inside[0, 1].item() == (kernel - first) * kernel
    assert inside[3, 1].item() == (kernel - last) * kernel


@pytest.mark.parametrize(('learning', 'expected'), [(True, torch.float32), (False, torch.bfloat16)])
def test_bfloat16_is_left_where_a_cpu_has_no_fast_gradients(learning: bool, expected: torch.dtype) -> None:
    network, image = EfficientNetLite().eval(), torch.rand(1, 3, 64, 64)
    slow: set[torch.dtype] = set()
    others: set[torch.dtype] = set()

    def note(layer: nn.Conv2d, _: object, features: Tensor) -> None:
        fast = layer.groups == 1 or (layer.kernel_size, layer.stride) == ((3, 3), (1, 1))
        (others if fast else slow).add(features.dtype)

    full = network(image)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(note)
    with torch.autocast('cpu', torch.bfloat16), torch.set_grad_enabled(learning):
        half = network(image)
    assert (slow, others) == ({expected}, {torch.bfloat16})
    for ours, exact in zip(half, full, strict=True):
        torch.testing.assert_close(ours.float(), exact, rtol=0.1, atol=0.1 * exact.abs().max().item())


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
    load_weights(encoder, tmp_path / name)
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


def test_a_network_without_cross_attention_is_trained_saved_and_loaded_as_such(tmp_path: Path) -> None:
    small = {'decoder_channels': LIGHT_CHANNELS, 'pose_width': 64, 'pose_height': 32}
    plain, attending = (
        make_networks(Recipe(model=ModelSettings('tf_efficientnet_lite0', attention=flag, **small)))  # type: ignore[arg-type]
        for flag in (False, None)
    )
    assert not any('attention' in name for name in plain.depth_net.state_dict())
    assert any('attention' in name for name in attending.depth_net.state_dict())
    save_checkpoint(tmp_path, Checkpoint(plain.depth_net, None, plain.info))
    written, usual = json.loads((tmp_path / 'model.json').read_text()), attending.info.to_dict()
    assert (written['attention'], written['format']) == (False, 3)
    assert ('attention' in usual, usual['format']) == (False, 2)  # what earlier programs read
    found = load_checkpoint(tmp_path)
    image = torch.rand(1, 3, 64, 96)
    torch.testing.assert_close(found.depth_net.eval()(image).disparity, plain.depth_net.eval()(image).disparity)
    assert make_networks(Recipe(checkpoint=str(tmp_path))).depth_net.decoder.attention is None
    grown = make_networks(Recipe(checkpoint=str(tmp_path), model=ModelSettings(attention=True)))
    assert grown.depth_net.decoder.attention is not None


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
