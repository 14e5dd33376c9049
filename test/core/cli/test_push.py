"""`sidepth push`, through the real client of the Hugging Face Hub, to a Hub on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from fake_hub import TOKEN, FakeHub

from sidepth_core.checkpoint import Checkpoint, CheckpointInfo, load_checkpoint, save_checkpoint
from sidepth_core.cli import main
from sidepth_core.models import DepthNet, PoseNet

INFO = CheckpointInfo(
    backbone='tf_efficientnet_lite0', image_width=96, image_height=64, pose_width=96, pose_height=64, scale='metric',
    scale_note='learned from odometry', training_data=('drives/monday, 300 images',), licence='CC BY 4.0',
    metrics={'val/abs_rel': 0.125},
)  # fmt: skip


@pytest.fixture(scope='module')
def networks() -> Checkpoint:
    torch.manual_seed(0)
    return Checkpoint(DepthNet('tf_efficientnet_lite0').eval(), PoseNet(size=(64, 96)).eval(), INFO)


@pytest.fixture
def checkpoint(networks: Checkpoint, tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / 'best', networks, half=True)
    return tmp_path / 'best'


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    constants = 'huggingface_hub.constants'
    with FakeHub() as running:
        monkeypatch.setattr(f'{constants}.ENDPOINT', running.endpoint)
        template = f'{running.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}'
        monkeypatch.setattr(f'{constants}.HUGGINGFACE_CO_URL_TEMPLATE', template)
        monkeypatch.setattr(f'{constants}.HF_HUB_CACHE', str(tmp_path / 'cache'))
        monkeypatch.setattr(f'{constants}.HF_TOKEN_PATH', str(tmp_path / 'token'))
        monkeypatch.setattr(f'{constants}.HF_HUB_DISABLE_XET', True)
        monkeypatch.setattr(f'{constants}.HF_HUB_OFFLINE', False)
        monkeypatch.setenv('HF_TOKEN', TOKEN)
        yield running


def test_what_was_pushed_is_loaded_from_the_hub(
    checkpoint: Path, hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['push', str(checkpoint), 'hf://robots/monday', '--message', 'First drive', '--json']) == 0
    assert hub.private == {'robots/monday': True}
    names = ['README.md', 'model.json', 'model.safetensors', 'pose.safetensors']
    assert hub.commits == [('First drive', names)]
    said = json.loads(capsys.readouterr().out)
    assert (said['visibility'], said['commit'], said['files']) == ('private', hub.commit, names)
    there, here = load_checkpoint('hf://robots/monday'), load_checkpoint(checkpoint)
    assert there.info == here.info
    for name, tensor in here.depth_net.state_dict().items():
        assert torch.equal(tensor, there.depth_net.state_dict()[name])
    assert there.pose_net is not None


def test_a_second_push_takes_the_place_of_the_first_and_leaves_no_pose_network_behind(
    checkpoint: Path, networks: Checkpoint, hub: FakeHub
) -> None:
    assert main(['push', str(checkpoint), 'robots/monday']) == 0
    save_checkpoint(checkpoint, networks._replace(pose_net=None))
    assert main(['push', str(checkpoint), 'robots/monday']) == 0
    assert sorted(hub.files['robots/monday']) == ['README.md', 'model.json', 'model.safetensors']
    assert 'pose.safetensors' in hub.commits[1][1]


def test_a_public_repository_is_made_and_added_to_only_where_that_is_said(
    checkpoint: Path, hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['push', str(checkpoint), 'hf://robots/open', '--public']) == 0
    assert hub.private == {'robots/open': False}
    assert '(public)' in capsys.readouterr().out
    assert main(['push', str(checkpoint), 'hf://robots/open']) == 2
    assert 'is public on the Hub already: say --public' in capsys.readouterr().err
    assert len(hub.commits) == 1


def test_the_card_has_what_a_stranger_asks_and_what_the_hub_reads(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['push', str(checkpoint), 'hf://robots/monday', '--dry-run']) == 0
    _, head, text = capsys.readouterr().out.split('---\n', 2)
    found = yaml.safe_load(head)
    assert (found['license'], found['pipeline_tag']) == ('cc-by-4.0', 'depth-estimation')
    for words in ('hf://robots/monday', 'metric: learned from odometry', 'drives/monday, 300', 'abs_rel | 0.125'):
        assert words in text


def test_the_card_beside_a_checkpoint_is_kept(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkpoint / 'README.md').write_text('# Of my own\n')
    assert main(['push', str(checkpoint), 'hf://robots/monday', '--dry-run']) == 0
    assert capsys.readouterr().out.endswith('---\n\n# Of my own\n')
    (checkpoint / 'README.md').write_text('---\nlicense: mit\n---\n# Of my own\n')
    assert main(['push', str(checkpoint), 'hf://robots/monday', '--dry-run']) == 0
    assert capsys.readouterr().out == '---\nlicense: mit\n---\n# Of my own\n'


def test_a_licence_is_asked_for_and_goes_into_the_checkpoint(
    checkpoint: Path, networks: Checkpoint, hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(checkpoint, networks._replace(info=replace(INFO, licence='')))
    assert main(['push', str(checkpoint), 'hf://robots/monday']) == 2
    assert 'names no licence, and others need one: give --licence' in capsys.readouterr().err
    assert main(['push', str(checkpoint), 'hf://robots/monday', '--licence', 'Ours only']) == 0
    assert json.loads(hub.files['robots/monday']['model.json'])['licence'] == 'Ours only'
    assert b'license: other\nlicense_name: ours-only\n' in hub.files['robots/monday']['README.md']
    assert load_checkpoint('hf://robots/monday').info.licence == 'Ours only'


@pytest.mark.parametrize(
    ('token', 'repository', 'said'),
    [
        ('', 'hf://robots/monday', 'nobody is logged in to the Hub: run `hf auth login`'),
        ('hf_wrong', 'hf://robots/monday', "'robots/monday' cannot be uploaded to: the token is not valid"),
        (TOKEN, 'hf://others/monday', "the token may not write to 'others'"),
        (TOKEN, 'hf://monday', "'hf://monday' is no repository to push to: expected hf://ORGANISATION/NAME"),
    ],
)
def test_who_may_not_push_is_told_what_to_do(
    token: str, repository: str, said: str, checkpoint: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv('HF_TOKEN', token)
    assert main(['push', str(checkpoint), repository]) == 2
    assert said in capsys.readouterr().err
    assert hub.commits == []


def test_without_a_network_connection_it_says_so(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr('huggingface_hub.constants.ENDPOINT', 'http://127.0.0.1:9')  # nobody listens there
    assert main(['push', str(checkpoint), 'hf://robots/monday']) == 2
    assert 'the Hub does not answer, so nothing was uploaded' in capsys.readouterr().err


def test_a_damaged_checkpoint_does_not_go_up(
    checkpoint: Path, hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = checkpoint / 'model.safetensors'
    weights.write_bytes(weights.read_bytes()[:-100])
    assert main(['push', str(checkpoint), 'hf://robots/monday']) == 2
    assert 'truncated, damaged' in capsys.readouterr().err
    assert hub.files == {}
