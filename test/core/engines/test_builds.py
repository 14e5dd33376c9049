"""Builds on disk: loaded where they are whole and of the same weights, else made anew."""

from __future__ import annotations

import copy
import hashlib
import logging
import os
from pathlib import Path

import pytest
import torch

from sidepth_core.engines import PACKAGES, Target, builds, make_engine
from sidepth_core.engines.builds import BuildKey, kept_or_built
from sidepth_core.engines.graph import weights_digest
from sidepth_core.engines.verification import probe
from sidepth_core.models import DepthNet

TARGET = Target(torch.device('cpu'), 'float32', (32, 64))
KEY = BuildKey('weights', 'engine', 'float32', (1, 32, 64), 'version 1', 'processor')


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    return tmp_path / 'sidepth' / 'engines'


def network(seed: int) -> DepthNet:
    torch.manual_seed(seed)
    net = DepthNet('tf_efficientnet_lite0').eval()
    with torch.no_grad():
        net.decoder.head.weight.mul_(8)
    return net


def kept(key: BuildKey, content: bytes) -> tuple[bytes, bool]:
    """Return what is loaded for a key, and whether it had to be built."""
    built = []

    def build() -> bytes:
        built.append(key)
        return content

    return kept_or_built(key, build, lambda data: data), bool(built)


def test_a_build_is_made_once() -> None:
    assert kept(KEY, b'first') == (b'first', True)
    assert kept(KEY, b'second') == (b'first', False)


@pytest.mark.parametrize(
    'other',
    [
        {'weights': 'others'},
        {'engine': 'another'},
        {'precision': 'bf16'},
        {'shape': (2, 32, 64)},
        {'versions': 'version 2'},
        {'device': 'another'},
    ],
)
def test_whatever_a_build_depends_on_makes_it_another_one(other: dict[str, object]) -> None:
    kept(KEY, b'first')
    assert kept(KEY._replace(**other), b'second') == (b'second', True)  # type: ignore[arg-type]  # a field each


def test_the_oldest_builds_go(folder: Path) -> None:
    for number in range(builds.MOST + 2):
        kept(KEY._replace(weights=str(number)), b'content')
        path = folder / KEY._replace(weights=str(number)).file_name
        os.utime(path, (number, number))
    kept(KEY._replace(weights='last'), b'content')
    assert len(list(folder.glob('*.build'))) == builds.MOST
    assert not (folder / KEY._replace(weights='0').file_name).exists()


def test_a_disk_that_takes_nothing_costs_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    assert kept(KEY, b'content') == (b'content', True)
    assert 'is not kept' in caplog.text


def test_the_digest_of_weights_sees_every_number() -> None:
    one, other = network(0), network(0)
    assert weights_digest(one) == weights_digest(other)
    with torch.no_grad():
        other.decoder.head.bias.add_(1e-6)  # type: ignore[union-attr]  # it has one
    assert weights_digest(one) != weights_digest(other)


@pytest.mark.parametrize('engine', sorted(PACKAGES))
def test_an_engine_is_loaded_from_its_build_and_damage_makes_a_new_one(
    engine: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip(PACKAGES[engine], reason=f'{PACKAGES[engine]} is not installed')
    image = probe(*TARGET.size)
    expected = make_engine('eager', network(0), TARGET).engine(image)
    make_engine(engine, network(0), TARGET)
    (path,) = folder.glob('*.build')
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with caplog.at_level(logging.WARNING):
        running = make_engine(engine, network(0), TARGET)
    assert 'is damaged: it is built anew' in caplog.text
    assert (running.name, running.note) == (engine, '')
    torch.testing.assert_close(running.engine(image), expected, rtol=1e-3, atol=0)
    assert hashlib.sha256(path.read_bytes()[builds.DIGEST_BYTES :]).digest() == path.read_bytes()[: builds.DIGEST_BYTES]


def test_a_build_that_is_no_model_is_made_anew(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip('openvino', reason='openvino is not installed')
    make_engine('openvino', network(0), TARGET)
    (path,) = folder.glob('*.build')
    path.write_bytes(hashlib.sha256(b'no model').digest() + b'no model')
    running = make_engine('openvino', network(0), TARGET)
    assert 'cannot be loaded' in caplog.text
    assert (running.name, running.note) == ('openvino', '')


def test_the_build_of_other_weights_is_never_used(folder: Path) -> None:
    """A file that is whole but says other depths is found out by the check at the start: eager runs instead."""
    pytest.importorskip('openvino', reason='openvino is not installed')
    make_engine('openvino', network(0), TARGET)
    (path,) = folder.glob('*.build')
    of_others = path.read_bytes()
    path.unlink()
    net = network(1)
    make_engine('openvino', copy.deepcopy(net), TARGET)
    (path,) = folder.glob('*.build')
    path.write_bytes(of_others)
    running = make_engine('openvino', copy.deepcopy(net), TARGET)
    assert running.name == 'eager'
    assert 'of its depths differ by more than' in running.note
    image = probe(*TARGET.size)
    with torch.no_grad():
        torch.testing.assert_close(running.engine(image), net(image).disparity)
