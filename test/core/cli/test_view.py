"""The commands view, camera and inspect, as a user types them."""

from __future__ import annotations

import json
import re
import shutil
import threading
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from sidepth_core.checkpoint import Checkpoint, CheckpointInfo, save_checkpoint
from sidepth_core.cli import camera, main, reports
from sidepth_core.cli.live_page import LivePage
from sidepth_core.cli.reports import summarise_run
from sidepth_core.models import DepthNet
from sidepth_core.outputs import VideoFile
from sidepth_core.training.recipes import load_recipe, render_recipe
from sidepth_core.training.run_folder import CONFIG_FILE, ENVIRONMENT_FILE, METRICS_FILE

STREET = 'synthetic:street?seed=1&frames=5&width=96&height=64'


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp('checkpoint')
    info = CheckpointInfo(backbone='tf_efficientnet_lite0', image_width=96, image_height=64, scale='metric')
    save_checkpoint(folder, Checkpoint(DepthNet('tf_efficientnet_lite0').eval(), None, info))
    return str(folder)


def page_data(path: Path) -> dict[str, list[dict[str, list[dict[str, object]]]]]:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.DOTALL)
    return json.loads(text.replace('<\\/', '</'))


def test_view_shows_frames_spread_over_a_drive_and_fuses_them(checkpoint: str, tmp_path: Path) -> None:
    out = tmp_path / 'view.html'
    command = ['view', STREET, '--checkpoint', checkpoint, '--device', 'cpu', '--frames', '3', '--out', str(out)]
    assert main(command) == 0
    frames, fused = page_data(out)['viewers']
    assert [frame['name'] for frame in frames['frames']] == ['000000', '000002', '000004']
    assert fused['frames'][0]['cloud']['count'] > 100
    assert all(frame['image'].startswith('data:image/jpeg') for frame in frames['frames'])


def test_view_of_a_single_image_without_a_camera_says_how_its_metres_are_known(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / 'desk.png'), np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8))
    out = tmp_path / 'desk.html'
    arguments = ['--checkpoint', checkpoint, '--device', 'cpu', '--out', str(out)]
    assert main(['view', str(tmp_path / 'desk.png'), *arguments]) == 0
    assert len(page_data(out)['viewers']) == 1
    assert '1 frame,' in capsys.readouterr().out


def test_a_page_calls_depth_relative_where_metres_need_a_camera_that_nobody_knows(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / 'desk.png'), np.zeros((64, 96, 3), np.uint8))
    info = CheckpointInfo(
        backbone='tf_efficientnet_lite0', image_width=96, image_height=64, scale='metric', scale_note='learned',
        zoom_convention='canonical', focal_px=96.0,
    )  # fmt: skip
    save_checkpoint(tmp_path / 'canonical', Checkpoint(DepthNet('tf_efficientnet_lite0').eval(), None, info))
    out = tmp_path / 'desk.html'
    command = ['view', str(tmp_path / 'desk.png'), '--checkpoint', str(tmp_path / 'canonical'), '--device', 'cpu']
    for options, said in (([], 'relative: the camera is not calibrated'), (['--fov', '60'], 'metric: learned')):
        assert main([*command, '--out', str(out), *options]) == 0
        page = out.read_text()
        assert said in page
        assert ('Depth is metric' in page) == bool(options)


def test_view_writes_a_video_of_every_frame(checkpoint: str, tmp_path: Path) -> None:
    out = tmp_path / 'view.mp4'
    assert main(['view', STREET, '--checkpoint', checkpoint, '--device', 'cpu', '--out', str(out)]) == 0
    video = cv2.VideoCapture(str(out))
    assert sum(iter(lambda: video.read()[0], False)) == 5


def test_view_refuses_another_kind_of_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['view', STREET, '--out', 'view.gif']) == 2
    assert 'expected NAME.html, NAME.mp4 or NAME.webm' in capsys.readouterr().err


def test_camera_serves_depth_of_a_video_to_a_browser(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with VideoFile(tmp_path / 'desk.mp4', 20) as file:
        for index in range(6):
            file.add(np.full((64, 96, 3), 40 * index, np.uint8))
    seen: dict[str, bytes] = {}

    def open_browser(address: str) -> bool:
        def browse() -> None:
            seen['page'] = urllib.request.urlopen(address, timeout=20).read()  # noqa: S310 - our own server
            with urllib.request.urlopen(f'{address}stream', timeout=20) as stream:  # noqa: S310
                seen['stream'] = stream.read(6000)

        threading.Thread(target=browse, daemon=True).start()
        return True

    monkeypatch.setattr(camera.webbrowser, 'open', open_browser)
    command = ['camera', str(tmp_path / 'desk.mp4'), '--checkpoint', checkpoint, '--device', 'cpu', '--port', '0']
    assert main([*command, '--loop', '--frames', '8']) == 0
    assert b'<img src="/stream"' in seen['page']
    head, _, picture = seen['stream'].partition(b'\r\n\r\n')
    assert head.startswith(b'--picture\r\nContent-Type: image/jpeg')
    assert picture.startswith(b'\xff\xd8')
    assert '8 images' in capsys.readouterr().out


def test_a_port_in_use_is_one_error_that_says_what_to_do(capsys: pytest.CaptureFixture[str], checkpoint: str) -> None:
    with LivePage('first', 0) as page:
        port = page.address.rstrip('/').rpartition(':')[2]
        assert main(['camera', __file__, '--port', port, '--checkpoint', checkpoint, '--no-browser']) == 2
        assert 'cannot be opened' in capsys.readouterr().err  # the camera comes first
        with pytest.raises(Exception, match=rf'port {port} cannot be used: .*Choose another --port, or 0'):
            LivePage('second', int(port))


def test_inspect_says_whether_a_drive_is_good_to_train_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'drive.html'
    assert main(['inspect', STREET, '--json', '--out', str(out)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed['kind'] == 'drive'
    assert printed['verdict'].startswith('not fit to train on as it is: length (5 of 5 images are fit to learn from)')
    assert [finding['topic'] for finding in printed['findings']] == [
        'length', 'motion', 'images', 'calibration', 'odometry', 'time'
    ]  # fmt: skip
    assert page_data(out)['plots'][0]['layout']['title']['text'] == 'motion from image to image'


@pytest.fixture
def run(tmp_path: Path, checkpoint: str) -> Path:
    """A run's folder as training leaves it: half way, learning."""
    recipe = load_recipe(Path(__file__).parents[3] / 'training' / 'debug.yaml')
    (tmp_path / CONFIG_FILE).write_text(render_recipe(recipe, 'test'))
    (tmp_path / ENVIRONMENT_FILE).write_text('{}')
    rows = ('step,name,value', '0,train/loss,0.4', '0,val/photometric,0.2', '1,train/loss,0.3', '1,val/photometric,.15')
    (tmp_path / METRICS_FILE).write_text('\n'.join(rows) + '\n')
    shutil.copytree(checkpoint, tmp_path / 'best')
    return tmp_path


def test_the_files_of_a_run_are_called_as_training_calls_them() -> None:
    assert (reports.CONFIG_FILE, reports.ENVIRONMENT_FILE, reports.METRICS_FILE) == (
        CONFIG_FILE, ENVIRONMENT_FILE, METRICS_FILE
    )  # fmt: skip


def test_inspect_of_a_run_says_whether_it_learned_with_its_curves(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run / 'page.html'
    assert main(['inspect', str(run), '--json', '--out', str(out)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed['kind'], printed['steps']) == ('run', '2 of 2')
    assert printed['verdict'] == 'it learned: the validation score fell by 25.0%'
    plots = {plot['layout']['title']['text']: plot['data'] for plot in page_data(out)['plots']}
    assert plots['what is minimised'][0] == {
        'type': 'scatter', 'mode': 'lines+markers', 'name': 'loss', 'x': [1, 2], 'y': [0.4, 0.3]
    }  # fmt: skip


def test_a_run_that_gained_nothing_is_said_to_be_so(run: Path) -> None:
    said = {'is_better': False, 'verdict': 'the new checkpoint is not better'}
    (run / 'comparison.json').write_text(json.dumps(said))
    summary = summarise_run(run)
    assert (summary.level, summary.verdict) == ('doubtful', 'the new checkpoint is not better')


def test_inspect_of_a_checkpoint_draws_its_depth_of_a_rendered_street(checkpoint: str, tmp_path: Path) -> None:
    out = tmp_path / 'checkpoint.html'
    assert main(['inspect', checkpoint, '--out', str(out)]) == 0
    assert page_data(out)['viewers'][0]['frames'][0]['cloud']['count'] > 1000
    assert out.read_text().count('data:image/jpeg') == 3
