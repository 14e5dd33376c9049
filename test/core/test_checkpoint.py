"""Checkpoints: what goes in comes out, writing is atomic, and what cannot be used says why."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from safetensors.torch import load_file, save

from sidepth_core.camera import Camera
from sidepth_core.checkpoint import (
    DEFAULT_CHECKPOINT,
    Checkpoint,
    CheckpointInfo,
    load_checkpoint,
    load_info,
    locate_checkpoint,
    save_checkpoint,
)
from sidepth_core.errors import CheckpointError, ConfigError
from sidepth_core.models import DepthNet, PoseNet

INFO = CheckpointInfo(
    backbone='tf_efficientnet_lite0',
    image_width=96,
    image_height=64,
    pose_width=64,
    pose_height=32,
    max_depth_m=80.0,
    scale='metric',
    scale_note='speed from odometry',
    zoom_convention='canonical',
    focal_px=70.5,
    camera=Camera(96, 64, 70.0, 71.0, 47.0, 30.0),
    training_data=('a drive', 'another'),
    licence='CC0',
    versions={'torch': '2.6'},
    metrics={'abs_rel': 0.1},
)


def make(seed: int = 0) -> Checkpoint:
    torch.manual_seed(seed)
    return Checkpoint(DepthNet('tf_efficientnet_lite0').eval(), PoseNet(size=(32, 64)).eval(), INFO)


@pytest.fixture(scope='module')
def original() -> Checkpoint:
    return make()


@pytest.fixture(scope='module')
def master(original: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('master')
    save_checkpoint(folder, original._replace(pose_net=None))
    return folder


@pytest.fixture
def saved(master: Path, tmp_path: Path) -> Path:
    """A checkpoint of a depth network alone, which a test may damage."""
    return Path(shutil.copytree(master, tmp_path / 'model'))


def edit(directory: Path, **changes: Any) -> None:
    """Change fields of model.json; None removes one."""
    path = directory / 'model.json'
    fields = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in fields.items() if value is not None}))


def forge(directory: Path, weights: bytes) -> None:
    """Put other weights into a checkpoint, with their digest."""
    (directory / 'model.safetensors').write_bytes(weights)
    edit(directory, weights_sha256=hashlib.sha256(weights).hexdigest())


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    mine, theirs = first.state_dict(), second.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())


def test_smooth_attention_is_written_in_the_newer_format_and_comes_back(original: Checkpoint, tmp_path: Path) -> None:
    network = DepthNet('tf_efficientnet_lite0', smooth_attention=True).eval()
    network.load_state_dict(original.depth_net.state_dict())
    with pytest.raises(CheckpointError, match='smooth attention False, but the network has True'):
        save_checkpoint(tmp_path, Checkpoint(network, None, original.info))
    save_checkpoint(tmp_path, Checkpoint(network, None, replace(original.info, smooth_attention=True)))
    fields = json.loads((tmp_path / 'model.json').read_text())
    assert (fields['smooth_attention'], fields['format']) == (True, 3)
    loaded = load_checkpoint(tmp_path).depth_net
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(loaded(image).disparity, network(image).disparity)
        assert not torch.equal(network(image).disparity, original.depth_net(image).disparity)


def test_a_checkpoint_comes_back_as_it_was(original: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, original)
    loaded = load_checkpoint(tmp_path)
    assert loaded.info == INFO
    assert loaded.pose_net is not None
    assert loaded.pose_net.size == (32, 64)
    assert same(loaded.depth_net, original.depth_net)
    assert same(loaded.pose_net, original.pose_net)
    assert not loaded.depth_net.training
    assert all(parameter.requires_grad for parameter in loaded.depth_net.parameters())
    assert sorted(path.name for path in tmp_path.iterdir()) == ['model.json', 'model.safetensors', 'pose.safetensors']
    for file, network in (('model', 'depth_net'), ('pose', 'pose_net')):
        names = load_file(tmp_path / f'{file}.safetensors').keys()
        assert {name.split('.')[0] for name in names} == {network}


def test_the_pose_network_is_read_only_where_it_is_wanted_and_there(original: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, original)
    (tmp_path / 'pose.safetensors').write_bytes(b'damaged')
    assert load_checkpoint(tmp_path, pose=False).pose_net is None
    with pytest.raises(CheckpointError, match=r'pose\.safetensors.* has 7 bytes and is not what model\.json describes'):
        load_checkpoint(tmp_path)
    (tmp_path / 'pose.safetensors').unlink()
    loaded = load_checkpoint(tmp_path)
    assert loaded.pose_net is None
    assert same(loaded.depth_net, original.depth_net)


def test_a_checkpoint_of_the_first_format_holds_its_pose_network_in_the_same_file(
    original: Checkpoint, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path, original)
    both = {
        name: tensor
        for file in ('model', 'pose')
        for name, tensor in load_file(tmp_path / f'{file}.safetensors').items()
    }
    (tmp_path / 'pose.safetensors').unlink()
    (tmp_path / 'model.safetensors').write_bytes(safetensors.torch.save(both))
    digest = hashlib.sha256((tmp_path / 'model.safetensors').read_bytes()).hexdigest()
    newer = dict.fromkeys(('pose_sha256', 'pretrained', 'decoder_channels', 'pose_backbone'))
    edit(tmp_path, weights_sha256=digest, format=1, **newer)
    loaded = load_checkpoint(tmp_path)
    assert same(loaded.depth_net, original.depth_net)
    assert same(loaded.pose_net, original.pose_net)
    assert load_checkpoint(tmp_path, pose=False).pose_net is None


def test_saving_without_a_pose_network_removes_the_one_before(original: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, original)
    save_checkpoint(tmp_path, original._replace(pose_net=None))
    assert not (tmp_path / 'pose.safetensors').exists()


@pytest.mark.parametrize('name', ['model.json', 'model.safetensors'])
def test_either_file_names_the_checkpoint(name: str, saved: Path) -> None:
    assert load_checkpoint(str(saved / name)).info == INFO
    assert load_info(saved / name) == INFO


def test_the_folder_of_a_training_run_stands_for_its_best_checkpoint(original: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / 'last', original)
    assert load_checkpoint(tmp_path).pose_net is not None
    save_checkpoint(tmp_path / 'best', original._replace(pose_net=None))
    assert load_checkpoint(tmp_path).pose_net is None


def test_a_checkpoint_without_pose_has_none(original: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, original._replace(pose_net=None))
    assert load_checkpoint(tmp_path).pose_net is None


def test_half_storage_halves_the_file_and_loads_as_float32(original: Checkpoint, saved: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / 'half', original._replace(pose_net=None), half=True)
    small, full = ((path / 'model.safetensors').stat().st_size for path in (tmp_path / 'half', saved))
    assert small < 0.52 * full
    loaded = load_checkpoint(tmp_path / 'half')
    assert {p.dtype for p in loaded.depth_net.parameters()} == {torch.float32}
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        found, expected = (network(image).disparity for network in (loaded.depth_net, original.depth_net))
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_a_kernel_too_large_for_float16_keeps_float32(tmp_path: Path) -> None:
    checkpoint = make()._replace(pose_net=None)
    with torch.no_grad():
        checkpoint.depth_net.decoder.half_conv.weight[0, 0, 0, 0] = 1e6
    save_checkpoint(tmp_path, checkpoint, half=True)
    assert same(load_checkpoint(tmp_path).depth_net.decoder.half_conv, checkpoint.depth_net.decoder.half_conv)


def test_weights_that_are_not_finite_are_not_saved(saved: Path) -> None:
    broken = make()
    with torch.no_grad():
        broken.depth_net.decoder.head.weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(CheckpointError, match=r'not finite, such as depth_net\.decoder\.head\.weight'):
        save_checkpoint(saved, broken)
    assert load_checkpoint(saved).info == INFO


def test_info_of_another_network_is_not_saved(original: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"backbone 'resnet18', but the network has 'tf_efficientnet_lite0'"):
        save_checkpoint(tmp_path, original._replace(info=replace(INFO, backbone='resnet18')))
    with pytest.raises(CheckpointError, match=r'pose size \(64, 64\), but the network has \(32, 64\)'):
        save_checkpoint(tmp_path, original._replace(info=replace(INFO, pose_height=64)))
    assert not list(tmp_path.iterdir())


def test_loading_changes_no_random_numbers(saved: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    load_checkpoint(saved)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize('step', ['weights', 'info', 'rename'])
def test_a_save_that_dies_leaves_a_whole_checkpoint(
    step: str, original: Checkpoint, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is killed while it writes the weights, while it writes the info, or before the last rename."""
    new = make(seed=1)._replace(pose_net=None)
    old_replace, calls = Path.replace, []

    def dying_replace(path: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == ['weights', 'info', 'rename'].index(step) + 1:
            raise KeyboardInterrupt('killed')
        return old_replace(path, target)

    monkeypatch.setattr(Path, 'replace', dying_replace)
    with pytest.raises(KeyboardInterrupt, match='killed'):
        save_checkpoint(saved, new)
    monkeypatch.undo()
    expected = new if step == 'rename' else original
    assert same(load_checkpoint(saved).depth_net, expected.depth_net)
    save_checkpoint(saved, new)
    assert same(load_checkpoint(saved).depth_net, new.depth_net)
    assert sorted(path.name for path in saved.iterdir()) == ['model.json', 'model.safetensors']


SAVE_FOREVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import torch
from sidepth_core.checkpoint import load_checkpoint, save_checkpoint
checkpoint = load_checkpoint(sys.argv[1])
print('ready', flush=True)
while True:
    with torch.no_grad():
        checkpoint.depth_net.decoder.head.bias.add_(1)
    save_checkpoint(sys.argv[1], checkpoint)
"""


def test_a_reader_beside_a_writer_and_after_its_kill_finds_whole_checkpoints(saved: Path) -> None:
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, '-c', SAVE_FOREVER, str(saved), root], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == 'ready\n'
        biases = {load_checkpoint(saved).depth_net.decoder.head.bias.item() for _ in range(4)}
        os.kill(writer.pid, signal.SIGKILL)
    assert len(biases) > 1
    assert load_checkpoint(saved).info == INFO


def test_checkpoints_load_in_threads_side_by_side(original: Checkpoint, saved: Path) -> None:
    results: list[bool] = []
    work = [
        threading.Thread(target=lambda: results.append(same(load_checkpoint(saved).depth_net, original.depth_net)))
        for _ in range(4)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert results == [True] * 4


def test_a_missing_checkpoint_is_named_with_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere'.*expected a folder with model\.safetensors and model\.json"):
        load_checkpoint(tmp_path / 'nowhere')


def test_a_relative_path_that_leads_nowhere_is_named_with_the_folder_it_starts_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=f"no checkpoint at 'runs/best' in '{tmp_path}'"):
        load_info('runs/best')


@pytest.mark.parametrize('name', ['model.json', 'model.safetensors'])
def test_a_checkpoint_without_one_of_its_files_names_it(name: str, saved: Path) -> None:
    (saved / name).unlink()
    with pytest.raises(CheckpointError, match=rf'not complete: missing {name}$'):
        load_checkpoint(saved)


def test_a_pth_file_is_sent_to_the_importer(tmp_path: Path) -> None:
    (tmp_path / 'dabnet.pth').touch()
    with pytest.raises(CheckpointError, match=r'dabnet\.pth.*sidepth import-weights'):
        load_checkpoint(tmp_path / 'dabnet.pth')


@pytest.mark.parametrize('damage', [lambda data: data[:-100], lambda data: data[:0], lambda data: data[:-1] + b'\x55'])
def test_damaged_weights_are_told_by_their_digest(damage: Any, saved: Path) -> None:
    path = saved / 'model.safetensors'
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match=rf'model\.safetensors. has {path.stat().st_size} bytes.*truncated'):
        load_checkpoint(saved)


def test_weights_of_another_checkpoint_are_told_by_their_digest(saved: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / 'other', make(seed=2)._replace(pose_net=None))
    (tmp_path / 'other' / 'model.safetensors').replace(saved / 'model.safetensors')
    with pytest.raises(CheckpointError, match='of another checkpoint'):
        load_checkpoint(saved)


@pytest.mark.parametrize('text', ['', '{"format": 1,', '[]', '{}', 'null'])
def test_a_json_that_describes_no_checkpoint_is_named(text: str, saved: Path) -> None:
    (saved / 'model.json').write_text(text)
    with pytest.raises(CheckpointError, match=r'model\.json. (is not JSON|describes no checkpoint)'):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'format': 99}, 'format 99 is newer than this sidepth, which knows 3: update sidepth'),
        ({'format': 'one'}, "format is 'one': expected a whole number"),
        ({'colour': 'red'}, r"unknown \['colour'\]"),
        ({'backbone': None}, r"missing \['backbone'\]"),
        ({'image_width': 'wide'}, 'a field is of another kind'),
        ({'image_width': 100}, 'image size 100x64 is no multiple of 32'),
        ({'camera': {'width': 3}}, 'camera needs'),
        ({'scale': 'imperial'}, "scale is 'imperial', expected one of metric, relative"),
    ],
)
def test_a_field_that_cannot_be_is_named_with_its_file(changes: dict[str, Any], message: str, saved: Path) -> None:
    edit(saved, **changes)
    with pytest.raises(CheckpointError, match=rf'model\.json.*{message}'):
        load_checkpoint(saved)


def test_weights_of_another_backbone_than_the_json_says_are_listed(saved: Path) -> None:
    edit(saved, backbone='tf_efficientnet_lite2')
    with pytest.raises(CheckpointError, match=r"backbone 'tf_efficientnet_lite2' says model\.json") as caught:
        load_checkpoint(saved)
    assert 'missing depth_net.encoder.blocks.1.2.conv_pw.weight' in str(caught.value)
    assert 'blocks.2.0.conv_pwl.weight has shape (40, 144, 1, 1), expected (48, 144, 1, 1)' in str(caught.value)


def test_a_backbone_that_nobody_has_is_refused_with_the_checkpoints_name(saved: Path) -> None:
    edit(saved, backbone='vgg')
    with pytest.raises(CheckpointError, match=rf"{saved}' cannot be used: backbone 'vgg' is known neither here"):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'focal_px': None}, 'canonical zoom convention needs a focal length'),
        ({'zoom_convention': 'invariant'}, 'but zoom convention invariant has none'),
        ({'min_depth_m': 90.0}, r'depth range 90\.\.80 m is empty'),
        ({'pose_height': 8}, 'pose size 64x8 is below 32'),
    ],
)
def test_an_info_that_contradicts_itself_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(INFO, **changes)


def test_a_metric_that_is_not_finite_is_null_in_json(original: Checkpoint, tmp_path: Path) -> None:
    info = replace(INFO, metrics={'abs_rel': float('nan')})
    save_checkpoint(tmp_path, Checkpoint(original.depth_net, None, info))
    text = (tmp_path / 'model.json').read_text()
    assert json.loads(text, parse_constant=pytest.fail)['metrics'] == {'abs_rel': None}
    assert str(load_info(tmp_path).metrics['abs_rel']) == 'nan'


class Hub:
    """Stands in for the Hugging Face Hub: a folder of files made here, served from its own path."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[tuple[str, str | None, list[str]]] = []

    def __call__(
        self, repository: str, *, revision: str | None, allow_patterns: list[str], local_files_only: bool
    ) -> str:
        assert not local_files_only
        self.calls.append((repository, revision, allow_patterns))
        if not (self.root / repository).is_dir():
            raise OSError(f'404: no repository {repository}')
        return str(self.root / repository)


@pytest.fixture
def hub(tmp_path: Path, original: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> Hub:
    save_checkpoint(tmp_path / 'hub' / 'robots' / 'depth', original)
    save_checkpoint(tmp_path / 'hub' / 'robots' / 'depth' / 'small', original._replace(pose_net=None))
    served = Hub(tmp_path / 'hub')
    monkeypatch.setattr('huggingface_hub.snapshot_download', served)
    monkeypatch.setattr('sidepth_core.checkpoint.location.hub_answers', lambda: True)
    return served


def test_a_checkpoint_on_the_hub_is_downloaded(hub: Hub) -> None:
    assert load_checkpoint('hf://robots/depth').pose_net is not None
    assert load_checkpoint('hf://robots/depth/small@refs/pr/1').pose_net is None
    assert [call[:2] for call in hub.calls] == [('robots/depth', None), ('robots/depth', 'refs/pr/1')]
    names = ['model.json', 'model.safetensors', 'pose.safetensors']
    assert [call[2][:3] for call in hub.calls] == [names, [f'small/{name}' for name in names]]


@pytest.mark.parametrize(
    ('address', 'message'),
    [
        ('hf://robots', 'names no repository: expected hf://ORGANISATION/REPOSITORY'),
        ('hf://robots/absent', 'cannot be downloaded: 404'),
        ('hf://robots/depth/large', r'holds no checkpoint: missing large/model\.json and large/model\.safetensors'),
    ],
)
@pytest.mark.usefixtures('hub')
def test_a_hub_address_that_does_not_work_says_why(address: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(address)


def test_a_hub_that_cannot_be_reached_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    monkeypatch.setattr('huggingface_hub.constants.ENDPOINT', 'http://127.0.0.1:9')  # nobody listens there
    since = time.perf_counter()
    with pytest.raises(CheckpointError, match=r'does not answer.*name the copied FOLDER .*or take the one of'):
        load_checkpoint('hf://robots/depth')
    assert time.perf_counter() - since < 10  # the Hub's own client takes 39 s


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_weights_that_are_no_numbers_are_refused(value: float, saved: Path) -> None:
    tensors = load_file(saved / 'model.safetensors')
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 4)
    tensors[name].view(-1)[3] = value
    forge(saved, save(tensors))
    with pytest.raises(CheckpointError, match=f'1 tensors with weights that are NaN or infinite, such as {name!r}'):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    'weights',
    [
        b'',
        (2**62).to_bytes(8, 'little') + b'{}',
        (64).to_bytes(8, 'little') + b'{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,4]}}'[:64],
        (2).to_bytes(8, 'little') + b'{}' + bytes(10**6),
        (60_000).to_bytes(8, 'little') + b'[' * 60_000,
    ],
    ids=['empty', 'a header longer than the file', 'a shape longer than the file', 'more than it says', 'deep'],
)
def test_a_forged_safetensors_file_is_refused(weights: bytes, saved: Path) -> None:
    forge(saved, weights)
    with pytest.raises(CheckpointError, match='no safetensors file'):
        load_checkpoint(saved)


def test_a_pickle_in_disguise_is_not_run(saved: Path, tmp_path: Path) -> None:
    trap = tmp_path / 'ran'

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (trap,)

    torch.save({'weights': Trap()}, tmp_path / 'trap.pth')
    contents = [pickle.dumps(Trap()), (tmp_path / 'trap.pth').read_bytes()]
    for content in contents:
        forge(saved, content)
        with pytest.raises(CheckpointError, match='no safetensors file'):
            load_checkpoint(saved)
    for content in contents:
        (saved / 'model.json').write_bytes(content)
        with pytest.raises(CheckpointError, match='is not JSON'):
            load_checkpoint(saved)
    assert not trap.exists()


def test_more_weights_than_any_network_has_are_not_read(saved: Path) -> None:
    with (saved / 'model.safetensors').open('wb') as file:
        file.truncate(2**40)  # a hole: it takes no space on the disk
    with pytest.raises(CheckpointError, match='1099511627776 bytes, expected weights of at most 4294967296'):
        load_checkpoint(saved)


@pytest.mark.parametrize('text', ['[' * 100_000, '{"a":' * 100_000, '1' * 5000], ids=['lists', 'mappings', 'digits'])
def test_json_that_no_parser_takes_is_refused(text: str, saved: Path) -> None:
    (saved / 'model.json').write_text(text)
    with pytest.raises(CheckpointError, match='is not JSON'):
        load_info(saved)


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'image_width': 2**30}, '1073741824 pixels is beyond 8192'),
        ({'pose_height': 10**9}, '1000000000 pixels is beyond 8192'),
        ({'focal_px': 10**400}, 'of another kind: .*too large'),
    ],
)
def test_sizes_that_no_network_has_are_refused(changes: dict[str, Any], words: str, saved: Path) -> None:
    edit(saved, **changes)
    with pytest.raises(CheckpointError, match=words):
        load_info(saved)


@pytest.mark.parametrize(
    'address',
    ['hf://org/repo/../../../etc', 'hf://../repo', 'hf://org/..', 'hf://org/repo/./x', 'hf://org/repo@../../main',
     'hf://org/re\\po', 'hf://org/repo/\0', 'hf://~/repo', 'hf://org/*'],
)  # fmt: skip
def test_an_address_that_leads_out_of_its_folder_is_refused_without_asking_the_hub(address: str) -> None:
    with pytest.raises(CheckpointError, match='expected letters, digits'):
        load_checkpoint(address)


def test_built_in_checkpoints_go_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert locate_checkpoint('small') == locate_checkpoint('default') == locate_checkpoint() == DEFAULT_CHECKPOINT
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'small').mkdir()  # a folder of the user's own comes first
    with pytest.raises(CheckpointError, match=r"checkpoint 'small' is not complete"):
        locate_checkpoint('small')
