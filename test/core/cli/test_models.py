"""The commands predict, inspect and benchmark, as a user types them."""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from sidepth_core.benchmarks import BENCHMARKS, ELSEWHERE, Request, Row, module_of
from sidepth_core.benchmarks.inference import median_ms
from sidepth_core.benchmarks.plain_form import materialised_attention
from sidepth_core.camera import Camera
from sidepth_core.checkpoint import Checkpoint, CheckpointInfo, save_checkpoint
from sidepth_core.cli import benchmark, main
from sidepth_core.data.folders.image_folders import read_depth
from sidepth_core.data.sources import open_source
from sidepth_core.engines import FACTORIES
from sidepth_core.engines.verification import probe
from sidepth_core.errors import DatasetError
from sidepth_core.inference import DepthEstimator
from sidepth_core.models import DepthNet
from sidepth_core.outputs.videos import CODECS

INFO = CheckpointInfo(
    backbone='tf_efficientnet_lite0',
    image_width=96,
    image_height=64,
    scale='metric',
    scale_note='wheel [odometry]',
    training_data=('a drive',),
    licence='CC0',
)
CPU = torch.device('cpu')
LENS = Camera(160, 96, 120.0, 118.0, 80.5, 47.0, 'plumb_bob', (-0.2, 0.03, 0.001, 0.0))


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp('checkpoint')
    save_checkpoint(folder, Checkpoint(DepthNet('tf_efficientnet_lite0').eval(), None, INFO))
    return str(folder)


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """A folder of three images, one of them cut short, and their distorted camera."""
    folder = tmp_path / 'drive'
    folder.mkdir()
    image = (probe(96, 160)[0].permute(1, 2, 0) * 255).byte().numpy()
    for name in ('left_2.png', 'left_10.png', 'left_30.png'):
        cv2.imwrite(str(folder / name), image)
    (folder / 'left_10.png').write_bytes((folder / 'left_10.png').read_bytes()[:60])
    (folder / 'camera.json').write_text(json.dumps(LENS.to_dict()))
    return folder


def test_predict_writes_depth_that_reads_back_under_the_names_of_the_images(
    checkpoint: str, drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'out'
    assert main(['predict', str(drive), '--out', str(out), '--checkpoint', checkpoint, '--device', 'cpu']) == 0
    assert sorted(path.name for path in (out / 'depth').iterdir()) == ['left_2.png', 'left_30.png']
    assert sorted(path.name for path in (out / 'colour').iterdir()) == ['left_2.jpg', 'left_30.jpg']
    text = capsys.readouterr().out
    assert '2 depth maps, tf_efficientnet_lite0 96x64 on cpu (eager), metric' in text.replace('\n', ' ')
    assert '1 images not used: damaged image' in text
    description = json.loads((out / 'prediction.json').read_text())
    assert (description['depth_scale'], description['scale']) == (1000, 'metric')
    camera = json.loads((out / 'camera.json').read_text())
    assert (camera['width'], camera['distortion'], camera['depth_scale']) == (160, [], 1000)
    depth = read_depth(out / 'depth' / 'left_2.png', 1000)
    assert depth.shape == (96, 160)
    assert 1 < np.nanmedian(depth) < 20


@pytest.mark.parametrize(('format_', 'tolerance'), [('npy', 1e-6), ('mm', 6e-4), ('kitti', 2.1e-3)])
def test_predict_of_one_image_is_the_estimators_depth(
    format_: str, tolerance: float, checkpoint: str, drive: Path, tmp_path: Path
) -> None:
    image = drive / 'left_2.png'
    arguments = ['predict', str(image), '--out', str(tmp_path), '--checkpoint', checkpoint, '--format', format_]
    assert main([*arguments, '--device', 'cpu', '--no-figures', '--size', '64x32', '--post', 'flip']) == 0
    (path,) = (tmp_path / 'depth').iterdir()
    found = read_depth(path, {'kitti': 256}.get(format_, 1000))
    pixels = cv2.cvtColor(cv2.imread(str(image)), cv2.COLOR_BGR2RGB)
    expected = DepthEstimator.load(checkpoint, device='cpu', size=(32, 64), flip=True)(pixels)
    np.testing.assert_allclose(found, expected, atol=tolerance)
    assert not (tmp_path / 'colour').exists()


def test_predict_says_metres_of_a_canonical_network_only_where_the_camera_or_its_view_is_known(
    drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    canonical = replace(INFO, zoom_convention='canonical', focal_px=96.0)
    save_checkpoint(tmp_path / 'canonical', Checkpoint(DepthNet('tf_efficientnet_lite0').eval(), None, canonical))
    (drive / 'camera.json').unlink()
    found = {}
    for name, extra in (('unknown', []), ('narrow', ['--fov', '45']), ('wide', ['--fov', '90'])):
        command = ['predict', str(drive), '--out', str(tmp_path / name), '--checkpoint', str(tmp_path / 'canonical')]
        assert main([*command, '--device', 'cpu', '--format', 'npy', '--limit', '1', *extra]) == 0
        printed = capsys.readouterr()
        found[name] = np.load(tmp_path / name / 'depth' / 'left_2.npy')
        scale = json.loads((tmp_path / name / 'prediction.json').read_text())['scale']
        assert scale == ('metric' if extra else 'relative')
        # Both are wrapped, where depends on the length of the folder's name.
        out, err = (' '.join(text.split()) for text in printed)
        assert (f', {scale}' in out, 'give --fov' in err) == (True, not extra)
        assert (tmp_path / name / 'camera.json').exists() == bool(extra)
    ratio = math.tan(math.radians(45)) / math.tan(math.radians(22.5))
    np.testing.assert_allclose(found['narrow'], ratio * found['wide'], rtol=1e-5)


def test_predict_saves_depth_where_opencv_encodes_no_video(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CODECS, '.webm', ())
    drive = 'synthetic:street?seed=1&frames=3&width=96&height=64'
    assert main(['predict', drive, '--out', str(tmp_path), '--checkpoint', checkpoint, '--device', 'cpu']) == 0
    assert len(list((tmp_path / 'depth').iterdir())) == 3
    assert capsys.readouterr().err.count('no video') == 1


def test_predict_of_a_drive_leaves_a_video_a_trajectory_and_a_cloud_in_one_frame_of_reference(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drive = 'synthetic:street?seed=1&frames=4&width=96&height=64'
    command = ['predict', drive, '--out', str(tmp_path), '--checkpoint', checkpoint, '--device', 'cpu', '--json']
    assert main([*command, '--format', 'none']) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed['files'] == ['depth.webm', 'cloud.ply', 'trajectory.txt']
    assert (printed['depth_maps'], printed['scale'], printed['whole']) == (4, 'metric', True)
    video = cv2.VideoCapture(str(tmp_path / 'depth.webm'))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    assert sum(iter(lambda: video.read()[0], False)) == 4
    truth = [frame.T_world_camera for frame in open_source(drive)]
    rows = np.loadtxt(tmp_path / 'trajectory.txt')
    np.testing.assert_allclose(rows[:, 1:4], np.stack(truth)[:, :3, 3], atol=1e-6)
    assert b'element vertex' in (tmp_path / 'cloud.ply').read_bytes()[:120]


def test_predict_with_a_calibration_is_that_of_a_source_which_names_it(
    checkpoint: str, drive: Path, tmp_path: Path
) -> None:
    (drive / 'camera.json').rename(tmp_path / 'front.json')
    command = ['predict', str(drive), '--checkpoint', checkpoint, '--device', 'cpu', '--format', 'none', '--no-figures']
    assert main([*command, '--out', str(tmp_path / 'out'), '--camera', str(tmp_path / 'front.json')]) == 0
    assert json.loads((tmp_path / 'out' / 'camera.json').read_text())['width'] == LENS.width


def test_predict_takes_every_nth_frame_up_to_a_limit(checkpoint: str, tmp_path: Path) -> None:
    source = 'synthetic:street?seed=1&frames=6&width=96&height=64'
    arguments = ['predict', source, '--out', str(tmp_path), '--checkpoint', checkpoint, '--device', 'cpu']
    assert main([*arguments, '--every', '2', '--limit', '2', '--no-figures', '--format', 'npy']) == 0
    assert sorted(path.name for path in (tmp_path / 'depth').iterdir()) == ['000000.npy', '000002.npy']


def test_predict_keeps_images_apart_that_differ_by_their_suffix_only(
    checkpoint: str, drive: Path, tmp_path: Path
) -> None:
    other = cv2.imread(str(drive / 'left_2.png'))[::-1]
    cv2.imwrite(str(drive / 'left_2.jpg'), other)
    command = ['predict', str(drive), '--out', str(tmp_path / 'out'), '--checkpoint', checkpoint, '--device', 'cpu']
    assert main([*command, '--format', 'npy', '--no-figures']) == 0
    depth = {path.name: np.load(path) for path in (tmp_path / 'out' / 'depth').iterdir()}
    assert sorted(depth) == ['left_2.jpg.npy', 'left_2.png.npy', 'left_30.npy']
    assert not np.array_equal(depth['left_2.jpg.npy'], depth['left_2.png.npy'])


def test_predict_takes_file_names_that_are_not_utf_8(
    checkpoint: str, drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b'/dr\xefve'))
    strange.mkdir()
    name = os.fsdecode(b'caf\xe9.png')
    (strange / name).write_bytes((drive / 'left_2.png').read_bytes())
    for source, out in ((strange, strange / 'out'), (strange / name, strange / 'single')):
        assert main(['predict', str(source), '--out', str(out), '--checkpoint', checkpoint, '--device', 'cpu']) == 0
        assert [path.name for path in (out / 'depth').iterdir()] == [name]
        assert r'dr\udcefve' in capsys.readouterr().out.replace('\n', '')
    (strange / 'empty').mkdir()
    assert main(['predict', str(strange / 'empty'), '--out', str(tmp_path / 'x'), '--checkpoint', checkpoint]) == 2
    assert 'no images' in capsys.readouterr().err


def test_predict_refuses_a_folder_with_another_prediction(
    checkpoint: str, drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'out' / 'depth').mkdir(parents=True)
    command = ['predict', str(drive), '--out', str(tmp_path / 'out'), '--checkpoint', checkpoint, '--device', 'cpu']
    assert main(command) == 2
    assert 'holds a prediction already (depth): choose another --out' in capsys.readouterr().err
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['depth']


def test_predict_says_that_a_source_was_cut_off_and_exits_with_status_one(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, cut = tmp_path / 'drive.avi', tmp_path / 'cut.avi'
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*'MJPG'), 10, (96, 64))
    for index in range(20):
        writer.write(np.random.default_rng(index).integers(0, 255, (64, 96, 3), np.uint8))
    writer.release()
    cut.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    for path, status in ((video, 0), (cut, 1)):
        command = ['predict', str(path), '--out', str(tmp_path / path.stem), '--checkpoint', checkpoint]
        assert main([*command, '--device', 'cpu', '--no-figures', '--format', 'npy']) == status
        assert ('not all of the source could be read' in capsys.readouterr().err) == bool(status)
    assert 5 < len(list((tmp_path / 'cut' / 'depth').iterdir())) < 15


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--size', '640'], "--size '640' is not of the form WIDTHxHEIGHT"),
        (['--size', '100x64'], 'network size 100x64 is no multiple of 32'),
        (['--camera', 'front.yaml'], "calibration 'front.yaml' does not exist"),
        (['--voxel', '0'], 'voxel size 0.0 is not positive'),
        (['--every', '0'], '--every 0 and --limit 0 must be positive'),
    ],
)
def test_predict_refuses_what_cannot_be(
    arguments: list[str],
    message: str,
    checkpoint: str,
    drive: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / 'out'
    command = ['predict', str(drive), '--out', str(out), '--checkpoint', checkpoint, '--device', 'cpu', *arguments]
    assert main(command) == 2
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(capsys.readouterr().err)
    assert not out.exists()


def test_inspect_shows_what_a_checkpoint_says_of_itself(checkpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['inspect', f'{checkpoint}/model.json']) == 0
    text = capsys.readouterr().out
    for words in ('tf_efficientnet_lite0, ', '96x64', 'metric: wheel [odometry]', 'a drive', 'CC0', 'none'):
        assert words in text


def test_inspect_shows_what_a_drive_holds(drive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['inspect', str(drive)]) == 0
    text = ' '.join(capsys.readouterr().out.split())
    for words in ('3 claimed, 2 read to the end', '160x96', 'fx 120.0', 'plumb_bob', 'damaged image 1'):
        assert words in text


def test_inspect_of_nothing_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['inspect', str(tmp_path / 'nothing')]) == 2
    assert 'nothing' in capsys.readouterr().err


def test_benchmark_measures_engines_against_eager(checkpoint: str, tmp_path: Path) -> None:
    out = tmp_path / 'bench.json'
    arguments = ['--quick', '--checkpoint', checkpoint, '--device', 'cpu', '--json', str(out)]
    assert main(['benchmark', 'inference', *arguments]) == 0
    rows = json.loads(out.read_text())['rows']
    labels = [row['what'].split(', ')[2] for row in rows]
    assert labels[:4] == ['plain form', 'eager float32', 'channels_last float32', 'channels_last bf16']
    assert {label.split()[0] for label in labels[1:]} <= set(FACTORIES) - {'compiled', 'openvino_gpu'}
    assert all(row['value'] > 0 and row['figures']['floor ms'] > 0 for row in rows)
    assert rows[1]['ratio'] == pytest.approx(rows[1]['value'] / rows[0]['value'])


def test_benchmark_fails_when_a_promise_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {
        'loading': [Row('ours', 2.0, 'images/s', 'theirs', 2.0, 'at least 3', met=False)],
        'inference': [Row('fast', 1.0, 'ms')],
    }
    monkeypatch.setattr(benchmark, 'run', lambda name, _request: iter(rows[name]))
    assert main(['benchmark', 'inference', '--device', 'cpu']) == 0
    assert main(['benchmark', 'loading', '--device', 'cpu']) == 1
    assert 'at least 3: NOT reached' in capsys.readouterr().out


def test_benchmarks_go_on_after_one_that_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(name: str, _request: Request) -> list[Row]:
        if name == 'loading':
            raise DatasetError('no room for images')
        return [Row('fast', 1.0, 'ms')]

    monkeypatch.setattr(benchmark, 'run', run)
    assert main(['benchmark', 'loading', 'inference', '--device', 'cpu']) == 1
    said = capsys.readouterr().out
    assert said.index('loading failed: no room for images') < said.index('fast')


def test_benchmark_names_what_there_is_to_measure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match='2'):
        main(['benchmark', 'speed'])
    assert f"no benchmark 'speed': choose from {', '.join(BENCHMARKS)}" in capsys.readouterr().err


def test_median_time_is_in_milliseconds() -> None:
    spent = median_ms({'short': lambda: time.sleep(0.002), 'long': lambda: time.sleep(0.02)}, CPU, rounds=3)
    assert 2 <= spent['short'] < 20 <= spent['long'] < 200


def test_materialised_attention_is_the_fused_one_in_another_form() -> None:
    query, key, value = torch.randn(3, 2, 1, 20, 8).unbind()
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, scale=1.0)
    torch.testing.assert_close(materialised_attention(query, key, value, scale=1.0), expected)


def test_every_benchmark_has_its_rows() -> None:
    for name in BENCHMARKS:
        assert name in ELSEWHERE or callable(module_of(name).rows)
    assert Request(torch.device('cpu')).quick is False
