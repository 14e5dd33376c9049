"""The published network: its weights by name, and its numbers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sidepth_core.checkpoint import load_checkpoint
from sidepth_core.cli import main
from sidepth_core.errors import CheckpointError
from sidepth_core.models.dabnet import load_dabnet_state_dict
from sidepth_core.models.state_dicts import read_pth

GOLDEN = Path(__file__).parents[1] / 'golden'


def generator(name: str) -> np.random.Generator:
    """Return the random numbers that belong to a name."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], 'little')
    return np.random.Generator(np.random.Philox(seed))


def filled(name: str, shape: tuple[int, ...]) -> Tensor:
    """Return the tensor that the golden numbers were computed with."""
    random = generator(name)
    if name.endswith('num_batches_tracked'):
        return torch.tensor(0)
    if name.endswith('running_var'):
        values = random.uniform(0.5, 1.5, shape)
    elif name.endswith('running_mean'):
        values = 0.1 * random.standard_normal(shape)
    elif len(shape) == 4:
        values = random.standard_normal(shape) * np.sqrt(1 / np.prod(shape[1:]))
    elif name.endswith('weight'):
        values = random.uniform(0.6, 1.0, shape)
    else:
        values = 0.1 * random.standard_normal(shape)
    return torch.from_numpy(values.astype(np.float32))


def golden_image(name: str, height: int, width: int) -> Tensor:
    """Return the smooth random image of that name, (1, 3, height, width) in 0..1."""
    coarse = generator(name).uniform(0, 1, (1, 3, height // 16, width // 16)).astype(np.float32)
    return F.interpolate(torch.from_numpy(coarse), size=(height, width), mode='bilinear', align_corners=False)


def golden(name: str) -> dict[str, Tensor]:
    with np.load(GOLDEN / f'{name}.npz') as file:
        return {key: torch.from_numpy(file[key]) for key in file}


@pytest.fixture(scope='module')
def published() -> dict[str, Tensor]:
    """A state dict with every name and shape of the published one."""
    shapes = json.loads((GOLDEN / 'dabnet_state_dict_shapes.json').read_text())
    return {name: filled(name, tuple(shape)) for name, shape in shapes.items()}


@pytest.fixture(scope='module')
def attentive(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same with weights that leave every attention branch its share."""
    changed = dict(published)
    changed['DepthDecoder.attention.dy_att.3.weight'] = changed['DepthDecoder.attention.dy_att.3.weight'] * 0.03
    for branch in ('QKV18', 'QKV36', 'QKV72'):
        name = f'DepthDecoder.{branch}.query_conv.weight'
        changed[name] = changed[name] * 0.002
    return changed


@torch.inference_mode()
def test_published_weights_reproduce_the_golden_disparity_and_pose(published: dict[str, Tensor]) -> None:
    depth_net, pose_net = load_dabnet_state_dict(published)
    expected = golden('dabnet_golden_192x640')
    first, second = golden_image('a192', 192, 640), golden_image('b192', 192, 640)
    disparity = depth_net(first).disparity
    pose = pose_net(first, second)
    torch.testing.assert_close(disparity[0, 0, ::4, ::4], expected['disp_192x640'], atol=1e-4, rtol=0)
    torch.testing.assert_close(pose.axis_angle[0], expected['axisangle_192x640'], atol=1e-6, rtol=0)
    torch.testing.assert_close(pose.translation[0], expected['translation_192x640'], atol=1e-6, rtol=0)


@torch.inference_mode()
def test_golden_disparity_holds_where_attention_matters(attentive: dict[str, Tensor]) -> None:
    depth_net, _ = load_dabnet_state_dict({f'module.{name}': tensor for name, tensor in attentive.items()})
    expected = golden('dabnet_golden_dca_192x640')['disp_192x640']
    image = golden_image('a192', 192, 640)
    disparity = depth_net(image).disparity[0, 0, ::4, ::4]
    torch.testing.assert_close(disparity, expected, atol=1e-4, rtol=0)
    for branch in depth_net.decoder.attention.branches:
        branch.value.weight.zero_()
    without = depth_net(image).disparity[0, 0, ::4, ::4]
    assert (without - expected).abs().max() > 0.01  # so the numbers above do test attention


@torch.inference_mode()
def test_a_batch_is_its_images_one_by_one_at_another_size(attentive: dict[str, Tensor]) -> None:
    depth_net, pose_net = load_dabnet_state_dict(attentive)
    images = torch.cat([golden_image(name, 96, 160) for name in 'xy'])
    together = depth_net(images).disparity
    one_by_one = torch.cat([depth_net(image[None]).disparity for image in images])
    assert together.shape == (2, 1, 96, 160)
    torch.testing.assert_close(together, one_by_one, atol=1e-5, rtol=0)
    poses = pose_net(images, images.flip(0))
    single = pose_net(images[1:], images[:1])
    torch.testing.assert_close(poses.translation[1:], single.translation, atol=1e-7, rtol=0)


def test_size_of_the_published_network_is_the_papers(published: dict[str, Tensor]) -> None:
    depth_net, _ = load_dabnet_state_dict(published)
    count = {name: sum(p.numel() for p in net.parameters()) for name, net in depth_net.named_children()}
    assert count == {'encoder': 9_562_260, 'decoder': 1_357_333}


def test_every_faulty_tensor_is_named(published: dict[str, Tensor]) -> None:
    broken = dict(published)
    del broken['DepthDecoder.QKV36.key_conv.weight'], broken['PoseDecoder.conv2.bias']
    broken['DepthEncoder.conv3.weight'] = torch.zeros(1)
    broken['PoseEncoder.encoder.conv1.weight'] = torch.zeros(64, 3, 7, 7)
    with pytest.raises(CheckpointError, match=r'\(4 faults\)') as caught:
        load_dabnet_state_dict(broken)
    for line in (
        'missing DepthDecoder.QKV36.key_conv.weight',
        'missing PoseDecoder.conv2.bias',
        'unknown DepthEncoder.conv3.weight',
        'PoseEncoder.encoder.conv1.weight has shape (64, 3, 7, 7), expected (64, 6, 7, 7)',
    ):
        assert f'\n  {line}' in str(caught.value)


def test_import_weights_makes_a_checkpoint_of_a_training_file(
    attentive: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parallel = {f'module.{name}': tensor for name, tensor in attentive.items()}
    torch.save({'state_dict': parallel, 'meta': {'epoch': 40}}, tmp_path / 'epoch_40.pth')
    assert main(['import-weights', str(tmp_path / 'epoch_40.pth'), '--out', str(tmp_path / 'imported')]) == 0
    assert str(tmp_path / 'imported') in capsys.readouterr().out
    checkpoint = load_checkpoint(tmp_path / 'imported')
    assert (checkpoint.info.scale, checkpoint.info.backbone) == ('relative', 'hrnet18')
    assert (checkpoint.info.image_width, checkpoint.info.image_height) == (1024, 320)
    assert checkpoint.pose_net is not None
    with torch.inference_mode():
        disparity = checkpoint.depth_net(golden_image('a192', 192, 640)).disparity[0, 0, ::4, ::4]
    torch.testing.assert_close(disparity, golden('dabnet_golden_dca_192x640')['disp_192x640'], atol=1e-4, rtol=0)


class Payload:
    """What a hostile pickle does when it is read: it makes the file that it names."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (self.path,))  # type: ignore[return-value]  # it is only pickled


def test_a_pth_file_runs_no_code(tmp_path: Path) -> None:
    torch.save({'state_dict': {}, 'meta': Payload(tmp_path / 'ran')}, tmp_path / 'hostile.pth')
    # Not torch's own advice, which is to run it.
    with pytest.raises(CheckpointError, match=r'hostile\.pth.*weights_only.*: [\w ]+\. Save its state dict alone$'):
        read_pth(tmp_path / 'hostile.pth')
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize(
    ('content', 'message'),
    [(None, 'no file'), (b'', 'cannot be read'), (b'PK\x03\x04 half a file', 'cannot be read')],
    ids=['missing', 'empty', 'truncated'],
)
def test_a_pth_file_that_cannot_be_read_is_named(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / 'weights.pth'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf'{message}.*weights\.pth|weights\.pth.*{message}'):
        read_pth(path)


def test_a_pth_file_without_tensors_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / 'list.pth')
    with pytest.raises(CheckpointError, match='holds no state dict'):
        read_pth(tmp_path / 'list.pth')
