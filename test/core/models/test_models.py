"""The networks: shapes, encoders, attention, precision and where training starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file
from torch import Tensor

from sidepth_core.errors import CheckpointError, ConfigError, ImageFormatError
from sidepth_core.geometry import disparity_to_depth
from sidepth_core.models import BACKBONES, STRIDE, DepthNet, PoseNet, size_of_shape
from sidepth_core.models.backbones import make_encoder
from sidepth_core.models.cross_attention import AttentionBranch, DynamicCrossAttention
from sidepth_core.models.hrnet import HRNet
from sidepth_core.models.mobilenet import mobilenet_v3_large
from sidepth_core.models.residual import Bottleneck, ResNet18


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize('backbone', BACKBONES)
def test_disparity_has_the_size_of_the_image(backbone: str) -> None:
    disparity = DepthNet(backbone)(torch.rand(2, 3, 64, 96)).disparity
    assert disparity.shape == (2, 1, 64, 96)
    assert disparity.dtype == torch.float32
    assert 0 < disparity.min() <= disparity.max() < 1


@pytest.mark.parametrize('backbone', BACKBONES)
def test_encoder_returns_its_channels_at_five_strides(backbone: str) -> None:
    encoder = make_encoder(backbone)
    maps = encoder(torch.rand(2, 3, 64, 96))
    strides = (2, 4, 8, 16, 32)
    expected = [(2, channels, 64 // s, 96 // s) for channels, s in zip(encoder.channels, strides, strict=True)]
    assert [tuple(features.shape) for features in maps] == expected


@pytest.mark.parametrize('backbone', BACKBONES)
def test_every_parameter_learns(backbone: str) -> None:
    network = DepthNet(backbone)
    network(torch.rand(2, 3, 64, 64)).disparity.log().var().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent


@pytest.mark.parametrize(
    ('size', 'nearest'), [((191, 640), '640x192'), ((192, 650), '640x192'), ((16, 32), '32x32'), ((0, 32), '32x32')]
)
def test_a_size_that_does_not_fit_is_refused_with_the_nearest_that_does(size: tuple[int, int], nearest: str) -> None:
    with pytest.raises(ImageFormatError, match=f'multiples of 32, the nearest is {nearest}'):
        DepthNet('mobilenet_v3_large')(torch.rand(1, 3, *size))


@pytest.mark.parametrize('shape', [(3, 64, 64), (1, 1, 64, 64), (1, 64, 64, 3)])
def test_a_tensor_that_is_no_batch_of_rgb_images_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageFormatError, match=r'expected \(B, 3, H, W\)'):
        DepthNet('mobilenet_v3_large')(torch.rand(shape))


def test_an_unknown_backbone_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'vgg16' is not known.*mobilenet_v3_large"):
        DepthNet('vgg16')


@pytest.mark.parametrize('backbone', BACKBONES)
def test_training_starts_at_a_depth_of_some_metres(backbone: str) -> None:
    depth_m = disparity_to_depth(DepthNet(backbone)(torch.rand(2, 3, 64, 96)).disparity)
    assert 2 < depth_m.median() < 12


def test_segmentation_hrnet_raises_coarse_branches_bilinearly_with_aligned_corners() -> None:
    """Convention: corner values of a coarse branch reach the corners of the fine one unchanged."""
    encoder = HRNet().eval()
    module = encoder.stage2[0]
    for branch in module.branches:
        branch.forward = lambda features: features
    module.fuse_layers[0][1] = torch.nn.Conv2d(36, 18, 1)
    coarse = torch.rand(1, 36, 3, 4)
    fine = module([torch.zeros(1, 18, 6, 8), coarse])[0]
    brought = F.relu(module.fuse_layers[0][1](coarse))
    torch.testing.assert_close(fine[..., ::5, ::7], brought[..., ::2, ::3])


def published_attention(module: DynamicCrossAttention, sources: list[Tensor], x: Tensor, context: Tensor) -> Tensor:
    """Compute it as the paper writes it: attention maps made, four maps stacked and weighed."""
    candidates = [x]
    for branch, source, (dq, dv) in zip(module.branches, sources, ((2, 4), (1, 4), (1, 8)), strict=True):
        query = branch.query(F.avg_pool2d(source, dq)).flatten(2)
        key = branch.key(F.avg_pool2d(source, dq)).flatten(2)
        pooled = F.avg_pool2d(x, dv)
        value = branch.value(pooled).flatten(2)
        attention = torch.softmax(query.transpose(1, 2) @ key, dim=-1)  # queries x keys
        attended = (value @ attention.transpose(1, 2)).reshape(pooled.shape)
        candidates.append(F.interpolate(attended, scale_factor=dv, mode='nearest') + x)
    weights = module.weigh(F.relu(module.squeeze(context.mean((2, 3), keepdim=True)))).softmax(1)
    return (torch.stack(candidates, dim=1) * weights[:, :, None]).sum(1)


def attention_inputs(height: int, width: int) -> tuple[list[Tensor], Tensor, Tensor]:
    sources = [torch.rand(2, c, height // s, width // s) for c, s in ((64, 4), (128, 8), (256, 16))]
    return sources, torch.rand(2, 32, height // 2, width // 2), torch.rand(2, 144, height // 32, width // 32)


def test_attention_equals_the_published_formula() -> None:
    module = DynamicCrossAttention((64, 128, 256), 32, 144)
    sources, x, context = attention_inputs(96, 64)
    with torch.no_grad():
        for branch in module.branches:
            branch.query.weight.mul_(8)
        torch.nn.init.normal_(module.weigh.weight, std=2.0)
        expected = published_attention(module, sources, x, context)
        assert (expected - x).abs().mean() > 0.05
        torch.testing.assert_close(module(sources, x, context), expected, atol=1e-5, rtol=0)


def test_attention_has_the_gradient_of_the_published_formula() -> None:
    module = DynamicCrossAttention((64, 128, 256), 32, 144)
    sources, x, context = attention_inputs(64, 64)
    weight = module.branches[0].key.weight
    target = torch.rand_like(x)
    (expected,) = torch.autograd.grad(F.mse_loss(published_attention(module, sources, x, context), target), weight)
    (found,) = torch.autograd.grad(F.mse_loss(module(sources, x, context), target), weight)
    torch.testing.assert_close(found, expected, atol=1e-8, rtol=1e-3)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_large_logits_survive_half_precision(dtype: torch.dtype) -> None:
    branch = AttentionBranch(64, 32, pool_source=2, pool_value=4)
    with torch.no_grad():
        branch.query.weight.mul_(300)
        branch.key.weight.mul_(300)
    source, x = torch.rand(1, 64, 16, 24), torch.rand(1, 32, 32, 48)
    exact = branch(source, x)
    with torch.autocast('cpu', dtype=dtype):
        mixed = branch(source, x)
    torch.testing.assert_close(mixed, exact, atol=1e-5, rtol=0)


@pytest.mark.parametrize('backbone', BACKBONES)
def test_bfloat16_training_gives_finite_gradients_on_black_and_flat_images(backbone: str) -> None:
    network = DepthNet(backbone)
    images = torch.cat([torch.zeros(1, 3, 64, 64), torch.full((1, 3, 64, 64), 0.5)])
    with torch.autocast('cpu', dtype=torch.bfloat16):
        disparity = network(images).disparity
    assert disparity.dtype == torch.float32
    disparity.log().square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_bfloat16_disparity_is_finer_than_bfloat16_itself() -> None:
    network = DepthNet('mobilenet_v3_large')
    with torch.autocast('cpu', dtype=torch.bfloat16):
        disparity = network(torch.rand(2, 3, 64, 64)).disparity
    assert len(disparity.unique()) > 4 * len(disparity.bfloat16().unique())


def test_pose_net_resizes_to_its_own_size() -> None:
    network = PoseNet(size=(64, 96)).eval()
    first, second = torch.rand(2, 3, 100, 130), torch.rand(2, 3, 100, 130)
    pose = network(first, second)
    small = network(*(F.interpolate(image, size=(64, 96), mode='bilinear') for image in (first, second)))
    assert (pose.axis_angle.shape, pose.translation.shape) == ((2, 3), (2, 3))
    torch.testing.assert_close(pose.translation, small.translation)


@pytest.mark.parametrize('shape', [(1, 3, 64, 64), (2, 3, 64, 96), (2, 1, 64, 64)])
def test_pose_net_refuses_images_that_are_no_pair(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageFormatError, match='pose images have shapes'):
        PoseNet()(torch.rand(2, 3, 64, 64), torch.rand(shape))


def test_pose_net_refuses_a_size_too_small_for_it() -> None:
    with pytest.raises(ConfigError, match='32 pixels or more'):
        PoseNet(size=(16, 640))


def test_resnet_is_torchvisions() -> None:
    ours, theirs = ResNet18().eval(), torchvision.models.resnet18().eval()
    weights = {name: tensor for name, tensor in theirs.state_dict().items() if not name.startswith('fc.')}
    ours.load_state_dict(weights)
    theirs.avgpool, theirs.fc = torch.nn.Identity(), torch.nn.Identity()
    image = torch.rand(2, 3, 64, 96)
    torch.testing.assert_close(ours(image).flatten(1), theirs(image))


def test_bottleneck_is_torchvisions() -> None:
    widen = torch.nn.Sequential(torch.nn.Conv2d(8, 16, 1, bias=False), torch.nn.BatchNorm2d(16))
    ours, theirs = Bottleneck(8, 4).eval(), torchvision.models.resnet.Bottleneck(8, 4, downsample=widen).eval()
    ours.load_state_dict(theirs.state_dict())
    features = torch.rand(2, 8, 6, 7)
    torch.testing.assert_close(ours(features), theirs(features.clone()))


def test_mobilenet_is_torchvisions() -> None:
    ours, theirs = mobilenet_v3_large().eval(), torchvision.models.mobilenet_v3_large().features[:16].eval()
    ours.load_state_dict(theirs.state_dict())
    image = torch.rand(2, 3, 64, 96)
    torch.testing.assert_close(ours(image), theirs(image))


def test_estimating_depth_does_not_import_torchvision() -> None:
    # Nor torch's compiler, which it brings: together half of the time in which a node starts.
    code = (
        'import sys; from sidepth_core.inference import DepthEstimator;'
        "DepthEstimator.load(device='cpu').warm_up();"
        "print(*({'torchvision', 'torch._dynamo', 'huggingface_hub'} & set(sys.modules)), 'done')"
    )
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, check=False).stdout == b'done\n'


@pytest.fixture
def imagenet_resnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> torchvision.models.ResNet:
    """Put weights where torchvision keeps those that it has downloaded, and return their network."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    folder = tmp_path / 'hub' / 'checkpoints'
    folder.mkdir(parents=True)
    network = torchvision.models.resnet18()
    torch.save(network.state_dict(), folder / 'resnet18-f37072fd.pth')
    return network


def test_pretrained_resnet_loads_what_torchvision_downloads(imagenet_resnet: torchvision.models.ResNet) -> None:
    encoder = DepthNet('resnet18', pretrained=True).encoder
    torch.testing.assert_close(encoder.stem[0].weight, imagenet_resnet.conv1.weight)
    torch.testing.assert_close(encoder.stages[3][1].conv2.weight, imagenet_resnet.layer4[1].conv2.weight)


def test_pretrained_pose_net_sees_a_pair_of_equal_images_as_imagenet_saw_one(
    imagenet_resnet: torchvision.models.ResNet,
) -> None:
    convolution = PoseNet(pretrained=True).encoder.conv1
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(convolution(torch.cat([image, image], 1)), imagenet_resnet.conv1(image))


def test_pretrained_mobilenet_loads_what_torchvision_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    folder = tmp_path / 'hub' / 'checkpoints'
    folder.mkdir(parents=True)
    network = torchvision.models.mobilenet_v3_large()
    torch.save(network.state_dict(), folder / 'mobilenet_v3_large-5c1a4163.pth')
    encoder = DepthNet('mobilenet_v3_large', pretrained=True).encoder
    torch.testing.assert_close(encoder.stages[0][0][0].weight, network.features[0][0].weight)
    torch.testing.assert_close(encoder.stages[4][-1].block[3][0].weight, network.features[15].block[3][0].weight)


def test_pretrained_hrnet_takes_imagenet_weights_and_leaves_their_classifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {name: tensor.contiguous() for name, tensor in HRNet().state_dict().items()}
    save_file({**weights, 'classifier.weight': torch.zeros(1000, 2048)}, tmp_path / 'model.safetensors')
    monkeypatch.setattr('huggingface_hub.hf_hub_download', lambda _repo, name: str(tmp_path / name))
    encoder = DepthNet('hrnet18', pretrained=True).encoder
    last = encoder.stage4[2].branches[3][3].conv2.weight
    torch.testing.assert_close(last, weights['stage4.2.branches.3.3.conv2.weight'])


def test_pretrained_hrnet_refuses_weights_of_another_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file(torchvision.models.resnet18().state_dict(), tmp_path / 'model.safetensors')
    monkeypatch.setattr('huggingface_hub.hf_hub_download', lambda _repo, name: str(tmp_path / name))
    with pytest.raises(CheckpointError, match=r'ImageNet weights in .*model\.safetensors.* [\s\S]*missing conv2'):
        DepthNet('hrnet18', pretrained=True)


@pytest.mark.parametrize('backbone', BACKBONES)
def test_recomputing_blocks_changes_neither_gradient_nor_statistics(backbone: str) -> None:
    image = torch.rand(2, 3, 64, 64)
    results = []
    for recompute in (False, True):
        torch.manual_seed(1)
        network = DepthNet(backbone, recompute=recompute)
        torch.manual_seed(2)  # the same dropout
        disparity = network(image).disparity
        disparity.log().var().backward()
        gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
        results.append((disparity.detach(), gradients, dict(network.named_buffers())))
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)
    momenta = {module.momentum for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)}
    assert 0.0 not in momenta


def test_recomputing_keeps_fewer_tensors_for_the_backward_pass() -> None:
    kept = []
    for recompute in (False, True):
        network = DepthNet('mobilenet_v3_large', recompute=recompute)
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor, sizes=sizes: sizes.append(tensor.nbytes), id):
            network(torch.rand(1, 3, 128, 128))
        kept.append(sum(sizes))
    assert kept[1] < 0.6 * kept[0]


@pytest.mark.parametrize(
    ('area', 'shape', 'size'),
    [(40960, 1.6, (160, 256)), (61440, 3.31, (128, 416)), (61440, 4 / 3, (224, 288)), (122880, 10 / 3, (192, 640))],
)
def test_a_size_of_a_shape_keeps_area_and_proportions(area: int, shape: float, size: tuple[int, int]) -> None:
    assert size_of_shape(area, shape) == size


@pytest.mark.parametrize('shape', [0.5, 1.0, 1.33, 1.78, 2.4, 3.3])
def test_every_shape_has_a_size_near_it(shape: float) -> None:
    height, width = size_of_shape(61440, shape)
    assert height % STRIDE == width % STRIDE == 0
    assert width / height == pytest.approx(shape, rel=0.16)
    assert height * width == pytest.approx(61440, rel=0.3)
