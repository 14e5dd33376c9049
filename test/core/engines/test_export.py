"""Exported files: they run without sidepth, say what they hold, and do not stay where their depth differs."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from sidepth_core.checkpoint import CheckpointInfo
from sidepth_core.engines import export as module
from sidepth_core.engines.export import export
from sidepth_core.engines.openvino_engine import openvino_core
from sidepth_core.engines.verification import probe
from sidepth_core.errors import ConfigError
from sidepth_core.geometry import disparity_to_depth
from sidepth_core.models import DepthNet

SIZE = (32, 64)
INFO = CheckpointInfo(
    'tf_efficientnet_lite0', 64, 32, scale='metric', zoom_convention='canonical', focal_px=50.0, licence='of the test'
)


@pytest.fixture(scope='module')
def net() -> DepthNet:
    torch.manual_seed(0)
    return DepthNet('tf_efficientnet_lite0').eval()


def expected(net: DepthNet) -> torch.Tensor:
    with torch.no_grad():
        return disparity_to_depth(net(probe(*SIZE)).disparity, INFO.min_depth_m, INFO.max_depth_m)


def test_an_onnx_file_runs_by_itself_and_says_what_it_takes_and_gives(net: DepthNet, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    parity = export(net, INFO, tmp_path / 'depth.onnx', 'onnx', 'fp32', SIZE)
    session = onnxruntime.InferenceSession(str(tmp_path / 'depth.onnx'), providers=['CPUExecutionProvider'])
    (depth,) = session.run(['depth'], {'image': probe(*SIZE).numpy()})
    torch.testing.assert_close(torch.from_numpy(depth), expected(net), rtol=1e-3, atol=0)
    assert parity.worst < 1e-3
    facts = session.get_modelmeta().custom_metadata_map
    assert 'float32 (1, 3, 32, 64), RGB planes, 0..1' in facts['input']
    assert 'metres' in facts['output']
    assert 'sqrt(fx * fy) / 50' in facts['focal length']
    beside = json.loads((tmp_path / 'depth.json').read_text())
    assert {key: beside[key] for key in facts} == facts
    assert 'median' in beside['parity']


def test_an_openvino_file_runs_by_itself_and_is_half_as_large_in_fp16(net: DepthNet, tmp_path: Path) -> None:
    pytest.importorskip('openvino', reason='openvino is not installed')
    export(net, INFO, tmp_path / 'half.xml', 'openvino', 'fp16', SIZE)
    core = openvino_core()
    model = core.read_model(tmp_path / 'half.xml')
    depth = core.compile_model(model, 'CPU')({'image': probe(*SIZE).numpy()})['depth']
    torch.testing.assert_close(torch.from_numpy(depth.copy()), expected(net), rtol=0.05, atol=0)
    assert model.get_rt_info(['sidepth', 'licence']).astype(str) == 'of the test'
    weights = sum(tensor.numel() for tensor in net.parameters())
    assert (tmp_path / 'half.bin').stat().st_size < 2.2 * weights


def test_a_file_whose_depth_differs_does_not_stay(
    net: DepthNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(job: module.Job) -> module.Runner:
        job.out.write_bytes(b'')
        return lambda _image: 1.5 * expected(net)

    monkeypatch.setitem(module.WRITERS, 'onnx', wrong)
    for before in ((), ('depth.onnx', 'depth.json')):  # an export of before is left as it was
        for name in before:
            tmp_path.joinpath(name).write_text('of before')
        with pytest.raises(ConfigError, match=r'differ by more than 50.0% .* allowed are 1%: nothing is written'):
            export(net, INFO, tmp_path / 'depth.onnx', 'onnx', 'fp32', SIZE)
        assert {path.name for path in tmp_path.iterdir()} == set(before)
        assert all(tmp_path.joinpath(name).read_text() == 'of before' for name in before)


@pytest.mark.parametrize(
    ('engine', 'precision', 'name', 'message'),
    [
        ('onnx', 'bf16', 'd.onnx', "precision 'bf16' is not one of fp32, int8 that onnx can hold"),
        ('onnx', 'fp32', 'd.xml', 'does not end in .onnx'),
        ('onnx', 'int8', 'd.onnx', 'int8 needs images of where it will run, 0 were given'),
        ('steam', 'fp32', 'd.onnx', "'steam' is not one of onnx, openvino, tensorrt"),
    ],
)
def test_what_cannot_be_written_is_refused(
    engine: str, precision: str, name: str, message: str, net: DepthNet, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        export(net, INFO, tmp_path / name, engine, precision, SIZE)


def test_tensorrt_where_it_is_missing_says_what_to_install(net: DepthNet, tmp_path: Path) -> None:
    if importlib.util.find_spec('tensorrt'):
        pytest.skip('tensorrt is installed')
    with pytest.raises(ConfigError, match='pip install tensorrt'):
        export(net, INFO, tmp_path / 'depth.plan', 'tensorrt', 'fp32', SIZE)
    assert not list(tmp_path.iterdir())
