"""Depth networks of `transformers`: loaded from folders as their library saves them, behind the interface of ours."""

from __future__ import annotations

import copy
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip('transformers', reason='transformers is not installed (requirements/transformers.txt)')

import transformers
from safetensors.torch import load_file, save_file
from tiny_foundation import KINDS, save_model

from sidepth_core.benchmarks.plain_form import plain_engine
from sidepth_core.camera import Camera
from sidepth_core.checkpoint import load_checkpoint, load_digest, load_info, save_checkpoint
from sidepth_core.cli import main
from sidepth_core.engines import FACTORIES, PACKAGES, Target, make_engine
from sidepth_core.engines.verification import depth_difference, probe
from sidepth_core.errors import CheckpointError, ConfigError, ScaleError
from sidepth_core.inference import DepthEstimator
from sidepth_core.models.foundation import FoundationInfo
from sidepth_core.models.foundation.network import START_DISTANCE, FoundationNet

IMAGE = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8).repeat(10, 0).repeat(10, 1)
CAMERA = Camera.pinhole(120, 90, fov_deg=70)
METRIC_BY = {'depth_anything': 'relative', 'dpt': 'relative', 'depth_pro': 'field_of_view'}


@pytest.fixture(scope='module')
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: save_model(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


def loaded(folder: Path) -> FoundationNet:
    network = load_checkpoint(folder).depth_net
    assert isinstance(network, FoundationNet)
    return network


@pytest.mark.parametrize('kind', KINDS)
def test_every_kind_says_depth_and_declares_what_it_means(folders: dict[str, Path], kind: str) -> None:
    info = load_info(folders[kind])
    estimator = DepthEstimator.load(folders[kind], device='cpu')
    depth = estimator(IMAGE, CAMERA)
    assert estimator.info == info
    assert info.foundation is not None
    assert info.foundation.convention == METRIC_BY.get(kind, 'metric')
    assert info.scale == ('relative' if info.foundation.convention == 'relative' else 'metric')
    assert info.licence == 'apache-2.0'
    assert (depth.shape, depth.dtype) == ((90, 120), np.float32)
    factor = CAMERA.fx / CAMERA.width if kind == 'depth_pro' else 1.0
    assert info.min_depth_m * factor * 0.999 <= depth.min() < depth.max() <= info.max_depth_m * factor * 1.001
    assert depth.std() > 0.01 * depth.mean()


@pytest.mark.parametrize('size', [(90, 120), (480, 640), (720, 1280), (640, 480), (40, 50)])
@pytest.mark.parametrize(('kind', 'processor'), [
    ('depth_anything', 'DPTImageProcessor'), ('dpt', 'DPTImageProcessor'), ('zoedepth', 'ZoeDepthImageProcessor'),
])  # fmt: skip
def test_images_have_the_size_that_the_models_own_processor_gives_them(
    folders: dict[str, Path], kind: str, processor: str, size: tuple[int, int]
) -> None:
    info = load_info(folders[kind])
    assert info.foundation is not None
    multiple = {'depth_anything': 14, 'dpt': 16, 'zoedepth': 32}[kind]
    theirs = getattr(transformers, processor)(
        size=KINDS[kind][1]['size'],
        keep_aspect_ratio=KINDS[kind][1]['keep_aspect_ratio'],
        ensure_multiple_of=multiple,
        do_pad=False,
    )
    seen = theirs(np.zeros((*size, 3), np.uint8), return_tensors='pt')['pixel_values']
    assert info.foundation.input_size((info.image_height, info.image_width), size) == tuple(seen.shape[-2:])


def test_pixels_are_normalised_as_the_models_own_processor_does(folders: dict[str, Path]) -> None:
    network, seen = loaded(folders['depth_anything']), []
    network.model.register_forward_pre_hook(lambda _model, _args, named: seen.append(named), with_kwargs=True)
    image = np.random.default_rng(1).integers(0, 256, (56, 70, 3), dtype=np.uint8)
    network(torch.from_numpy(image).permute(2, 0, 1)[None] / 255)
    theirs = transformers.AutoImageProcessor.from_pretrained(
        folders['depth_anything'], image_processor_type='DPTImageProcessor'
    )
    expected = theirs(image, do_resize=False, return_tensors='pt')['pixel_values']
    torch.testing.assert_close(seen[0]['pixel_values'], expected, rtol=0, atol=1e-5)


def test_a_metric_model_says_the_metres_of_its_own_output(folders: dict[str, Path]) -> None:
    network = loaded(folders['depth_anything_metric'])
    image = torch.rand(1, 3, 56, 70, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs = network.model(pixel_values=(image - network.mean) / network.std).predicted_depth
        estimator = DepthEstimator(network, load_info(folders['depth_anything_metric']), device='cpu')
        ours = estimator.depth(image, size=(56, 70))[:, 0]
    torch.testing.assert_close(ours, theirs.clamp(0.1, 80.0), rtol=1e-3, atol=0)


def test_a_relative_model_says_inverse_depth_that_starts_in_range(folders: dict[str, Path]) -> None:
    network = loaded(folders['dpt'])
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        said = network.said(image)
        depth = DepthEstimator(network, load_info(folders['dpt']), device='cpu').depth(image, size=(64, 64))
    inside = (depth > 0.11) & (depth < 190)
    assert inside.float().mean() > 0.5
    product = (said * depth)[inside]  # inverse depth times depth: one scale, no shift yet
    torch.testing.assert_close(product, product.mean().expand_as(product), rtol=1e-3, atol=0)
    assert 0.05 * START_DISTANCE < depth.median() < 20 * START_DISTANCE


def test_depth_pro_grows_with_the_focal_length_over_the_width(folders: dict[str, Path]) -> None:
    estimator = DepthEstimator.load(folders['depth_pro'], device='cpu')
    narrow, wide = (Camera(120, 90, focal, focal, 59.5, 44.5) for focal in (200.0, 100.0))
    np.testing.assert_allclose(estimator(IMAGE, narrow), 2 * estimator(IMAGE, wide), rtol=1e-5)
    # By hand: at a focal length of the width, depth is 1 / what the model says.
    with torch.no_grad():
        image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        said = loaded(folders['depth_pro']).said(image)
        depth = estimator.depth(image, torch.tensor([64.0]))
    torch.testing.assert_close(depth, (1 / said).clamp(0.02, 1000.0), rtol=1e-3, atol=0)
    with pytest.raises(ScaleError, match=r'width.*field_of_view.*give the camera'):
        estimator(IMAGE)


def test_what_is_known_is_read_without_importing_transformers(folders: dict[str, Path]) -> None:
    code = (
        'import sys; from sidepth_core.checkpoint import load_info, load_digest; import sidepth_core.inference; '
        f'load_info({str(folders["dpt"])!r}); load_digest({str(folders["dpt"])!r}); '
        'sys.exit("transformers" in sys.modules or "peft" in sys.modules)'
    )
    subprocess.run([sys.executable, '-c', code], check=True)


@pytest.mark.parametrize(
    ('licence', 'words'),
    [
        ('apache-2.0', ''),
        ('cc-by-nc-4.0', 'licence cc-by-nc-4.0 allows no commercial use'),
        ('apple-amlr', 'licence apple-amlr allows no commercial use'),
        ('other\nlicense_name: acme-non-commercial', 'licence acme-non-commercial allows no commercial use'),
        ('', 'names no licence'),
    ],
)
def test_a_licence_without_commercial_use_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, licence: str, words: str
) -> None:
    save_model(tmp_path, 'depth_anything', licence=licence)
    with caplog.at_level(logging.WARNING, 'sidepth_core'):
        info = load_checkpoint(tmp_path).info
    assert info.licence == licence.removeprefix('other\nlicense_name: ')
    assert (words in caplog.text) if words else not caplog.text


@pytest.mark.parametrize('kind', ['depth_anything', 'depth_anything_metric', 'dpt', 'zoedepth'])
@pytest.mark.parametrize(
    ('engine', 'precision'),
    [('channels_last', 'float32'), ('eager', 'bf16'), ('openvino', 'float32'), ('onnxruntime', 'float32')],
)
def test_engines_run_them(folders: dict[str, Path], kind: str, engine: str, precision: str) -> None:
    if package := PACKAGES.get(engine):
        pytest.importorskip(package, reason=f'{package} is not installed')
    checkpoint = load_checkpoint(folders[kind])
    size = (checkpoint.info.image_height, checkpoint.info.image_width)
    running = make_engine(engine, checkpoint.depth_net, Target(torch.device('cpu'), precision, size))
    assert (running.name, running.precision, running.note) == (engine, precision, '')


@pytest.mark.parametrize('kind', ['depth_anything', 'zoedepth', 'depth_pro'])
def test_the_command_exports_them(
    folders: dict[str, Path], kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    assert main(['export', str(folders[kind]), '--engine', 'onnx', '--out', str(tmp_path / 'depth.onnx')]) == 0
    assert 'parity with PyTorch float32' in capsys.readouterr().out
    described = json.loads((tmp_path / 'depth.json').read_text())
    words = 'inverse right up to an unknown factor and shift' if kind == 'depth_anything' else 'metres'
    assert words in described['output']


def test_they_are_benchmarked_beside_their_plain_form(folders: dict[str, Path]) -> None:
    network = loaded(folders['depth_anything'])
    target, image = Target(torch.device('cpu'), 'float32', (56, 56)), probe(56, 56)
    plain = plain_engine(copy.deepcopy(network), target)
    assert depth_difference(FACTORIES['channels_last'](network, target)(image), plain(image)) < 1e-3


@pytest.mark.parametrize('kind', ['depth_anything', 'zoedepth', 'depth_pro'])
def test_saved_as_one_of_ours_it_says_the_same(folders: dict[str, Path], kind: str, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / 'ours', load_checkpoint(folders[kind]))
    assert json.loads((tmp_path / 'ours' / 'model.json').read_text())['format'] == 3
    theirs, ours = (DepthEstimator.load(path, device='cpu') for path in (folders[kind], tmp_path / 'ours'))
    assert ours.info == theirs.info
    np.testing.assert_allclose(ours(IMAGE, CAMERA), theirs(IMAGE, CAMERA), rtol=1e-5)


def test_other_weights_at_the_same_place_have_another_digest(tmp_path: Path) -> None:
    before = load_digest(save_model(tmp_path, seed=0))
    assert load_digest(tmp_path) == before
    assert load_digest(save_model(tmp_path, seed=1)) != before


def test_loading_leaves_random_numbers_alone(folders: dict[str, Path]) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    load_checkpoint(folders['dpt'])
    assert torch.rand(1) == expected


def test_a_size_of_its_own_patches_or_of_ours_is_taken_and_another_one_refused(folders: dict[str, Path]) -> None:
    for size in ((42, 70), (32, 64)):
        assert DepthEstimator.load(folders['depth_anything'], device='cpu', size=size)(IMAGE).shape == (90, 120)
    with pytest.raises(ConfigError, match='network size 50x50'):
        DepthEstimator.load(folders['depth_anything'], device='cpu', size=(50, 50))


def _without_processor(folder: Path) -> None:
    (folder / 'preprocessor_config.json').unlink()


def _of_another_task(folder: Path) -> None:
    (folder / 'config.json').write_text('{"model_type": "bert"}')


def _only_pickled(folder: Path) -> None:
    (folder / 'model.safetensors').rename(folder / 'pytorch_model.bin')


def _truncated(folder: Path) -> None:
    path = folder / 'model.safetensors'
    path.write_bytes(path.read_bytes()[:-1000])


def _of_another_model(folder: Path) -> None:
    config = json.loads((folder / 'config.json').read_text())
    (folder / 'config.json').write_text(json.dumps({**config, 'fusion_hidden_size': 12}))


def _with_a_tensor_missing(folder: Path) -> None:
    tensors = load_file(folder / 'model.safetensors')
    del tensors['head.conv3.weight']
    save_file(tensors, folder / 'model.safetensors', {'format': 'pt'})


def _not_finite(folder: Path) -> None:
    tensors = load_file(folder / 'model.safetensors')
    tensors['head.conv3.weight'].fill_(torch.nan)
    save_file(tensors, folder / 'model.safetensors', {'format': 'pt'})


def _cut_config(folder: Path) -> None:
    (folder / 'config.json').write_text('{"model_type": ')


def _odd_mean(folder: Path) -> None:
    said = json.loads((folder / 'preprocessor_config.json').read_text())
    (folder / 'preprocessor_config.json').write_text(json.dumps({**said, 'image_mean': 'grey'}))


@pytest.mark.parametrize(
    ('damage', 'words'),
    [
        (_without_processor, 'has no preprocessor_config.json'),
        (_of_another_task, "model_type 'bert': expected a depth network .* depth_anything, dpt"),
        (_only_pickled, r'has no weights.*pytorch_model.bin could run code'),
        (_truncated, 'cannot be loaded'),
        (_of_another_model, 'head.conv1|have another shape|size mismatch|mismatch'),
        (_with_a_tensor_missing, r'1 tensors are missing .* head.conv3.weight'),
        (_not_finite, 'head.conv3.weight'),
        (_cut_config, 'is not JSON'),
        (_odd_mean, 'describes no depth network'),
    ],
)
def test_a_bad_folder_is_refused_with_what_is_wrong(tmp_path: Path, damage: Any, words: str) -> None:
    damage(save_model(tmp_path))
    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(tmp_path)


def test_without_a_connection_the_error_names_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    with pytest.raises(CheckpointError, match=r'hf download depth/large --local-dir FOLDER.*name the copied FOLDER'):
        load_checkpoint('hf://depth/large')


def test_a_description_is_refused_by_every_fault() -> None:
    with pytest.raises(ConfigError, match=r"convention is 'inches'.*sizing is 'any'.*std above 0.*multiple 0"):
        FoundationInfo('', {}, 'inches', (64, 64), 0, 'any', std=(0.0, 1.0, 1.0))
