"""Engines: each gives the plain network's depth, and one that does not is never used."""

from __future__ import annotations

import copy
import functools
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sidepth_core import engines
from sidepth_core.engines import Target, make_engine
from sidepth_core.engines.folding import fold_batch_norms
from sidepth_core.engines.openvino_engine import openvino_core
from sidepth_core.engines.verification import disagreement, probe
from sidepth_core.errors import ConfigError
from sidepth_core.models import DepthNet

CPU = torch.device('cpu')
BACKBONES = ('hrnet18', 'resnet18', 'mobilenetv4_conv_small', 'tf_efficientnet_lite0')
TARGET = Target(CPU, 'float32', (64, 96))


def lively(backbone: str) -> DepthNet:
    """Return an untrained network with statistics of real activations, in evaluation mode."""
    torch.manual_seed(0)
    net = DepthNet(backbone)
    with torch.no_grad():
        for _ in range(4):
            net(torch.rand(2, 3, 64, 96) * torch.rand(2, 3, 1, 1))
        net.decoder.head.weight.mul_(8)
    return net.eval()


def installed(engine: str) -> None:
    """Skip the test where the package of an engine is not installed."""
    if package := engines.PACKAGES.get(engine):
        pytest.importorskip(package, reason=f'{package} is not installed')


def openvino_capabilities() -> list[str]:
    pytest.importorskip('openvino', reason='openvino is not installed')
    return list(openvino_core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES'))


@pytest.fixture(autouse=True)
def _builds_of_this_test_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))


@pytest.fixture(scope='module')
def small() -> DepthNet:
    return lively('tf_efficientnet_lite0')


@pytest.mark.parametrize(
    ('name', 'precision', 'tolerance'),
    [
        ('eager', 'float32', 0),
        ('channels_last', 'float32', 1e-4),
        ('openvino', 'float32', 1e-3),
        ('onnxruntime', 'float32', 1e-3),
        ('eager', 'bf16', 0.1),
        ('channels_last', 'bf16', 0.1),
        ('openvino', 'bf16', 0.2),
    ],
)
def test_every_engine_gives_the_depth_of_the_network(
    name: str, precision: str, tolerance: float, small: DepthNet
) -> None:
    installed(name)
    if (name, precision) == ('openvino', 'bf16') and 'BF16' not in openvino_capabilities():
        pytest.skip('this processor has no bf16')
    image = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = small(image).disparity
    running = make_engine(name, copy.deepcopy(small), TARGET._replace(precision=precision))
    assert running[1:4] == (name, precision, '')
    found = running.engine(image)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=0)


@pytest.mark.slow
def test_the_compiled_engine_gives_the_depth_of_the_network_for_any_batch(
    small: DepthNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dynamo's graphs run as they are: writing kernels takes minutes and a C++ compiler."""
    monkeypatch.setattr(torch, 'compile', functools.partial(torch.compile, backend='aot_eager'))
    running = make_engine('compiled', copy.deepcopy(small), Target(CPU, 'float32', (64, 96)))
    assert running.name == 'compiled'
    for batch in (1, 2):
        image = torch.rand(batch, 3, 64, 96)
        with torch.no_grad():
            torch.testing.assert_close(running.engine(image), small(image).disparity, rtol=1e-4, atol=0)


@pytest.mark.parametrize('form', [{'attention': False}, {'smooth_attention': True}])
@pytest.mark.parametrize('engine', ['openvino', 'onnxruntime'])
def test_other_forms_of_attention_are_recorded_too(engine: str, form: dict[str, bool]) -> None:
    pytest.importorskip(engine, reason=f'{engine} is not installed')
    net = DepthNet('tf_efficientnet_lite0', **form).eval()
    running = make_engine(engine, copy.deepcopy(net), TARGET)
    assert (running.name, running.note) == (engine, '')
    image = torch.rand(1, 3, *TARGET.size)
    with torch.no_grad():
        torch.testing.assert_close(running.engine(image), net(image).disparity, rtol=1e-3, atol=0)


TWO_FREED = """
import copy, signal, torch
from sidepth_core.engines import Target, make_engine
from sidepth_core.models import DepthNet
net = DepthNet('tf_efficientnet_lite0').eval()
made = [make_engine('openvino', copy.deepcopy(net), Target(torch.device('cpu'), 'float32', (64, 96))) for _ in range(2)]
assert [one.name for one in made] == ['openvino'] * 2, made
del made[0]
del made[0]
came = []
signal.signal(signal.SIGINT, lambda *_: came.append('SIGINT'))
signal.raise_signal(signal.SIGINT)
print(*came)
"""


def test_a_signal_is_handled_after_two_engines_of_openvino_are_freed() -> None:
    pytest.importorskip('openvino', reason='openvino is not installed')
    done = subprocess.run([sys.executable, '-c', TWO_FREED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, 'SIGINT\n'), done.stderr


@pytest.mark.parametrize('backbone', BACKBONES)
def test_folding_removes_every_batch_norm_and_changes_nothing(backbone: str) -> None:
    net = lively(backbone)
    image = probe(64, 96)
    with torch.no_grad():
        expected = net(image).disparity
        folded = fold_batch_norms(net)
        assert not [module for module in folded.modules() if isinstance(module, nn.BatchNorm2d)]
        torch.testing.assert_close(folded(image).disparity, expected, rtol=1e-3, atol=1e-5)


def test_an_unknown_engine_names_its_nearest(small: DepthNet) -> None:
    with pytest.raises(ConfigError, match="no engine 'compile': did you mean 'compiled'"):
        make_engine('compile', small, TARGET)


@pytest.mark.parametrize(
    ('precision', 'message'), [('fp16', 'fp16 is for GPUs'), ('int4', "'int4' is not one of float32, bf16, fp16")]
)
def test_a_precision_that_a_cpu_cannot_do_is_refused_with_the_reason(
    precision: str, message: str, small: DepthNet
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_engine('eager', small, TARGET._replace(precision=precision))


def wrong(_net: DepthNet, _target: Target) -> engines.Engine:
    return lambda images: images.mean(dim=1, keepdim=True)


def not_finite(_net: DepthNet, _target: Target) -> engines.Engine:
    return lambda images: images[:, :1] / 0


def misshapen(_net: DepthNet, _target: Target) -> engines.Engine:
    return lambda images: images[:, :1, ::2]


def failing(_net: DepthNet, _target: Target) -> engines.Engine:
    raise RuntimeError('no compiler found\nand a long trace')


@pytest.mark.parametrize(
    ('factory', 'reason'),
    [
        (wrong, r'5 % of its depths differ by more than .*% from eager, allowed are 1%'),
        (not_finite, 'numbers that are not finite'),
        (misshapen, r'returns \(1, 1, 32, 96\) torch.float32, expected \(1, 1, 64, 96\)'),
        (failing, 'RuntimeError: no compiler found'),
    ],
)
def test_an_engine_that_fails_or_differs_is_replaced_by_eager_and_says_why(
    factory: engines.Factory,
    reason: str,
    small: DepthNet,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(engines.FACTORIES, 'compiled', factory)
    with caplog.at_level(logging.WARNING):
        running = make_engine('compiled', copy.deepcopy(small), TARGET._replace(precision='bf16'))
    assert (running.name, running.precision) == ('eager', 'float32')
    assert running.note in caplog.text
    with pytest.raises(AssertionError, match=reason.replace('1%', '10%')):
        raise AssertionError(running.note)
    image = probe(64, 96)
    with torch.no_grad():
        torch.testing.assert_close(running.engine(image), small(image).disparity)


def test_half_a_wrong_map_is_a_disagreement(small: DepthNet) -> None:
    plain = make_engine('eager', small, TARGET).engine

    def mixed_up(images: Tensor) -> Tensor:
        disparity = plain(images)
        disparity[..., 48:] = disparity[..., 48:].flip(-1)
        return disparity

    assert not disagreement(plain, plain, TARGET)
    assert 'differ by more than' in disagreement(mixed_up, plain, TARGET)
