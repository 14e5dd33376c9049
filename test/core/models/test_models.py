"""The networks: shapes, encoders, attention, precision and where training starts."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sidepth_core.errors import ConfigError, ImageFormatError
from sidepth_core.geometry import disparity_to_depth
from sidepth_core.models import STRIDE, DepthNet, PoseNet, size_of_shape
from sidepth_core.models.backbones import make_encoder
from sidepth_core.models.cross_attention import AttentionBranch, DynamicCrossAttention
from sidepth_core.models.hrnet import HRNet

BACKBONES = ('hrnet18', 'resnet18', 'tf_efficientnet_lite0')


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
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # timm starts residual blocks from zero: they wake up a step later
            torch.nn.init.ones_(module.weight)
    network(torch.rand(2, 3, 64, 64)).disparity.log().var().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent


@pytest.mark.parametrize(
    ('size', 'nearest'), [((191, 640), '640x192'), ((192, 650), '640x192'), ((16, 32), '32x32'), ((0, 32), '32x32')]
)
def test_a_size_that_does_not_fit_is_refused_with_the_nearest_that_does(size: tuple[int, int], nearest: str) -> None:
    with pytest.raises(ImageFormatError, match=f'multiples of 32, the nearest is {nearest}'):
        DepthNet('tf_efficientnet_lite0')(torch.rand(1, 3, *size))


@pytest.mark.parametrize('shape', [(3, 64, 64), (1, 1, 64, 64), (1, 64, 64, 3)])
def test_a_tensor_that_is_no_batch_of_rgb_images_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageFormatError, match=r'expected \(B, 3, H, W\)'):
        DepthNet('tf_efficientnet_lite0')(torch.rand(shape))


def test_an_unknown_backbone_is_refused_with_the_nearest_ones() -> None:
    with pytest.raises(ConfigError, match=r"'tf_efficientnet_lite9' is known neither here nor to timm.*net_lite"):
        DepthNet('tf_efficientnet_lite9')


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
    project = torch.nn.Conv2d(36, 18, 1)
    module.fuse_layers[0][1][0], module.fuse_layers[0][1][1] = project, torch.nn.Identity()
    coarse = torch.rand(1, 36, 3, 4)
    fine = module([torch.zeros(1, 18, 6, 8), coarse])[0]
    brought = F.relu(project(coarse))
    torch.testing.assert_close(fine[..., ::5, ::7], brought[..., ::2, ::3])


def published_attention(
    module: DynamicCrossAttention, sources: list[Tensor], x: Tensor, context: Tensor, mode: str = 'nearest'
) -> Tensor:
    """Compute it as the paper writes it: attention maps made, four maps stacked and weighed."""
    candidates = [x]
    for branch, source, (dq, dv) in zip(module.branches, sources, ((2, 4), (1, 4), (1, 8)), strict=True):
        query = branch.query(F.avg_pool2d(source, dq)).flatten(2)
        key = branch.key(F.avg_pool2d(source, dq)).flatten(2)
        pooled = F.avg_pool2d(x, dv)
        value = branch.value(pooled).flatten(2)
        attention = torch.softmax(query.transpose(1, 2) @ key, dim=-1)  # queries x keys
        attended = (value @ attention.transpose(1, 2)).reshape(pooled.shape)
        candidates.append(F.interpolate(attended, scale_factor=dv, mode=mode) + x)
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


def test_smooth_attention_is_the_published_one_raised_bilinearly() -> None:
    module = DynamicCrossAttention((64, 128, 256), 32, 144)
    module.smooth = True
    sources, x, context = attention_inputs(96, 64)
    with torch.no_grad():
        for branch in module.branches:
            branch.query.weight.mul_(8)
        expected = published_attention(module, sources, x, context, 'bilinear')
        torch.testing.assert_close(module(sources, x, context), expected, atol=1e-5, rtol=0)


def test_smooth_attention_leaves_no_steps_at_the_borders_of_its_squares() -> None:
    torch.manual_seed(0)
    steps = {}
    for smooth in (False, True):
        module = DynamicCrossAttention((64, 128, 256), 32, 144)
        module.smooth = smooth
        sources, x, context = attention_inputs(128, 128)
        with torch.no_grad():
            for branch in module.branches:
                branch.query.weight.mul_(8)
            added = module(sources, x, context) - x
        across = (added[..., 1:] - added[..., :-1]).abs().mean(dim=(0, 1, 2))
        # At stride 2 the squares of stride 8 are four pixels wide.
        border = torch.arange(len(across)) % 4 == 3
        steps[smooth] = float(across[border].mean() / across.mean())
    assert steps[False] > 3.9  # nothing changes within a square
    assert steps[True] < 1.2


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
    network = DepthNet('tf_efficientnet_lite0')
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


def test_estimating_depth_imports_neither_timm_nor_torchvision() -> None:
    # Nor torch's compiler, which they bring: together half of the time in which a node starts.
    code = (
        'import sys; from sidepth_core.inference import DepthEstimator;'
        "DepthEstimator.load(device='cpu').warm_up();"
        "print(*({'timm', 'torchvision', 'torch._dynamo', 'huggingface_hub'} & set(sys.modules)), 'done')"
    )
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, check=False).stdout == b'done\n'


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
        network = DepthNet('tf_efficientnet_lite0', recompute=recompute)
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
