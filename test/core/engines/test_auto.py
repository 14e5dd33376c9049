"""engine 'auto': the fastest engine that agrees with the plain network, and what it was chosen from."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sidepth_core import engines
from sidepth_core.engines import Engine, Target, candidates, make_engine
from sidepth_core.engines.torch_engines import eager
from sidepth_core.models import DepthNet

TARGET = Target(torch.device('cpu'), 'float32', (32, 64))


@pytest.fixture(autouse=True)
def _builds_of_this_test_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))


@pytest.fixture
def net() -> DepthNet:
    torch.manual_seed(0)
    return DepthNet('tf_efficientnet_lite0').eval()


def slowed(seconds: float, wrong: float = 0) -> engines.Factory:
    """Return a factory of engines that take longer than the plain one, and are wrong by so much."""

    def factory(net: DepthNet, target: Target) -> Engine:
        plain = eager(net, target)

        def run(images: Tensor) -> Tensor:
            time.sleep(seconds)
            return plain(images) * (1 - wrong)

        return run

    return factory


def replaced(monkeypatch: pytest.MonkeyPatch, **factories: engines.Factory) -> None:
    monkeypatch.setattr(engines, 'FACTORIES', {**engines.FACTORIES, **factories})
    monkeypatch.setattr(engines, 'CPU_CANDIDATES', tuple(factories))
    monkeypatch.setattr(engines, 'PACKAGES', {})


def test_the_fastest_of_those_that_agree_is_taken(net: DepthNet, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced(
        monkeypatch, eager=slowed(0.3), channels_last=slowed(0.2), openvino=slowed(0.1), onnxruntime=slowed(0, 0.3)
    )
    monkeypatch.setattr(engines, 'eager', engines.FACTORIES['eager'])
    running = make_engine('auto', net, TARGET)
    assert (running.name, running.precision, running.note) == ('openvino', 'float32', '')
    ranked, refused = running.measured.split('; not used: ')
    assert [part.split()[0] for part in ranked.split(', ')] == ['openvino', 'channels_last', 'eager']
    assert refused.startswith('onnxruntime float32: 5 % of its depths differ')


def test_eager_runs_where_nothing_is_faster(net: DepthNet, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced(monkeypatch, channels_last=slowed(0.3))
    running = make_engine('auto', net, TARGET)
    assert (running.name, running.precision, running.note) == ('eager', 'float32', '')


def test_a_precision_is_measured_too_where_it_is_left_open(net: DepthNet) -> None:
    running = make_engine('channels_last', net, TARGET._replace(precision='auto'))
    for pair in ('eager float32', 'channels_last float32', 'channels_last bf16'):
        assert pair in running.measured
    assert 'fp16' not in running.measured


def test_engines_without_their_package_are_no_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, 'PACKAGES', {'openvino': 'a_package_that_nobody_has', 'onnxruntime': 'torch'})
    assert candidates('auto', TARGET) == [('channels_last', 'float32'), ('onnxruntime', 'float32')]


def test_an_engine_asked_for_without_its_package_says_what_to_install(
    net: DepthNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys  # noqa: PLC0415

    for engine, package in engines.PACKAGES.items():
        monkeypatch.setitem(sys.modules, package, None)
        running = make_engine(engine, net, TARGET)
        assert running.name == 'eager'
        assert f'pip install {package}' in running.note


def test_engines_of_gpus_that_are_not_here_say_so(net: DepthNet) -> None:
    for engine, package, words in (
        ('openvino_gpu', 'openvino', 'OpenVINO finds no GPU here'),
        ('onnxruntime_tensorrt', 'onnxruntime', 'has no TensorrtExecutionProvider'),
    ):
        pytest.importorskip(package, reason=f'{package} is not installed')
        running = make_engine(engine, net, TARGET)
        if running.name == engine:
            pytest.skip('this machine has it')
        assert words in running.note
