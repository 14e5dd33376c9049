"""`sidepth synth` writes what it says, readable by every reader of ours."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from sidepth_core import cli
from sidepth_core.camera import Camera
from sidepth_core.cli import synth
from sidepth_core.data.bags.files import BagFiles
from sidepth_core.data.frames import Frame
from sidepth_core.data.sources import open_source
from sidepth_core.data.synthetic import SyntheticSource
from sidepth_core.data.synthetic.export import depth_png

SIZE = ['--width', '64', '--height', '48', '--frames', '4', '--seed', '2']


def expected(**more: object) -> list[Frame]:
    return list(SyntheticSource('street', seed=2, frames=4, width=64, height=48, **more))  # type: ignore[arg-type]


def assert_poses_agree(frames: list[Frame], truth: list[Frame]) -> None:
    for frame, exact in zip(frames, truth, strict=True):
        assert frame.T_world_camera is not None
        np.testing.assert_allclose(frame.T_world_camera, exact.T_world_camera, atol=1e-6)
        assert frame.speed_mps == pytest.approx(exact.speed_mps, rel=0.03, abs=0.02)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_bag_holds_images_camera_motion_and_where_the_camera_sits(tmp_path: Path, storage: str) -> None:
    out = tmp_path / 'drive'
    assert synth.main([*SIZE, '--out', str(out), '--format', storage, '--depth']) == 0
    frames, truth = list(open_source(str(out))), expected()
    assert all(np.array_equal(frame.image, exact.image) for frame, exact in zip(frames, truth, strict=True))
    assert all(frame.camera == exact.camera for frame, exact in zip(frames, truth, strict=True))
    assert np.diff([frame.stamp_ns for frame in frames]).tolist() == [100_000_000] * 3
    assert_poses_agree(frames, truth)
    with BagFiles(out) as bag:
        counts = {topic.name: topic.messages for topic in bag.topics.values()}
    assert counts == {
        '/tf_static': 1, '/odom': 4, '/camera/camera_info': 4, '/camera/image_raw': 4, '/camera/depth/image': 4,
    }  # fmt: skip


def test_a_folder_holds_the_truth_beside_the_images(tmp_path: Path) -> None:
    out = tmp_path / 'drive'
    assert synth.main([*SIZE, '--out', str(out), '--format', 'folder']) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        'camera.json', 'depth', 'image', 'poses.txt', 'speeds.txt', 'times.txt',
    ]  # fmt: skip
    fields = json.loads((out / 'camera.json').read_text())
    assert (fields['fps'], fields['depth_scale']) == (10.0, 256.0)
    frames, truth = list(open_source(str(out))), expected()
    assert_poses_agree(frames, truth)
    for frame, exact in zip(frames, truth, strict=True):
        assert frame.camera == exact.camera
        assert frame.depth_m is not None
        assert exact.depth_m is not None
        np.testing.assert_array_equal(frame.image, exact.image)
        near = exact.depth_m < 255
        np.testing.assert_allclose(frame.depth_m[near], exact.depth_m[near], atol=0.5 / 256 + 1e-4)
        assert np.isnan(frame.depth_m[~near]).all()


def test_a_video_plays_and_brings_its_camera(tmp_path: Path) -> None:
    out = tmp_path / 'drive.mp4'
    assert synth.main([*SIZE, '--out', str(out), '--fps', '5']) == 0
    frames = list(open_source(f'{out}?camera={out.with_suffix(".json")}'))
    assert len(frames) == 4
    assert frames[0].camera == expected()[0].camera
    assert np.diff([frame.stamp_ns for frame in frames]).tolist() == pytest.approx([2e8] * 3, rel=1e-3)
    assert np.abs(frames[0].image.astype(int) - expected(fps=5.0)[0].image).mean() < 12


def test_jpeg_makes_compressed_topics_and_jpg_files(tmp_path: Path) -> None:
    assert synth.main([*SIZE, '--out', str(tmp_path / 'bag'), '--compressed', 'jpeg']) == 0
    with BagFiles(tmp_path / 'bag') as bag:
        assert '/camera/image_raw/compressed' in {topic.name for topic in bag.topics.values()}
    assert synth.main([*SIZE, '--out', str(tmp_path / 'f'), '--format', 'folder', '--compressed', 'jpeg']) == 0
    assert len(list((tmp_path / 'f' / 'image').glob('*.jpg'))) == 4


def test_a_drive_is_seen_through_the_camera_of_a_file(tmp_path: Path) -> None:
    camera = Camera(80, 60, 60.0, 62.0, 41.0, 28.0, 'plumb_bob', (-0.2, 0.05, 0.0, 0.0, 0.01))
    (tmp_path / 'camera.json').write_text(json.dumps(camera.to_dict()))
    out = tmp_path / 'drive'
    arguments = ['--frames', '1', '--camera', str(tmp_path / 'camera.json'), '--out', str(out), '--perfect']
    assert synth.main(arguments) == 0
    frame = next(iter(open_source(str(out))))
    assert frame.camera == camera
    assert frame.image.shape == (60, 80, 3)


def test_moving_and_scene_change_what_is_written(tmp_path: Path) -> None:
    images = []
    for name, more in (('still', []), ('moving', ['--moving']), ('wide', ['--fov', '110'])):
        out = tmp_path / name
        assert synth.main(['--scene', 'highway', '--frames', '1', '--out', str(out), '--format', 'folder', *more]) == 0
        images.append(cv2.imread(str(out / 'image' / '000000.png')))
    assert not np.array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])


def test_the_last_lines_say_how_to_look_and_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / 'd'
    assert synth.main([*SIZE, '--out', str(out)]) == 0
    said = capsys.readouterr().out.replace('\n', '')
    assert '4 frames of 64x48, mcap' in said
    assert f'ros2 bag play {out}' in said
    assert f'sidepth train --bag {out}' in said


def test_a_place_that_is_taken_is_refused_and_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'kept.txt').write_text('mine')
    for kind in ('mcap', 'folder', 'video'):
        assert cli.main(['synth', *SIZE, '--out', str(tmp_path), '--format', kind]) == 2
        assert 'exists already' in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ['kept.txt']


def test_depth_that_does_not_fit_sixteen_bits_is_unknown() -> None:
    depth = np.array([[1.0, 255.9, 256.1, np.inf, np.nan]], np.float32)
    assert depth_png(depth).tolist() == [[256, 65510, 0, 0, 0]]
