"""Snapshots on disk, and the list of checkpoints."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from ros_graph import write_checkpoint

from sidepth_core.camera import Camera
from sidepth_core.depth_maps import packed_rgb, point_cloud, rays
from sidepth_core.scale import Scale
from sidepth_ros.node.processor import Estimate
from sidepth_ros.node.snapshot import list_checkpoints, save_snapshot

CAMERA = Camera(8, 6, 10.0, 11.0, 3.25, 2.5)


@pytest.fixture
def estimate() -> Estimate:
    """Return an estimate with one pixel that was not measured."""
    depth = torch.linspace(1, 5, 48).reshape(6, 8)
    depth[2, 3] = math.nan
    image = torch.arange(144, dtype=torch.uint8).reshape(3, 6, 8)
    return Estimate(depth, CAMERA, image, image, None, Scale(1.0, metric=True, uncertainty=math.nan))


def test_snapshot_can_be_read_back(estimate: Estimate, tmp_path: Path) -> None:
    points = point_cloud(estimate.depth, rays(CAMERA), packed_rgb(estimate.image))
    folder = save_snapshot(tmp_path / 'deep' / 'one', estimate, points, {'frame_id': 'optical'})
    np.testing.assert_array_equal(np.load(folder / 'depth.npy'), estimate.depth.numpy())
    image = cv2.imread(str(folder / 'image.png'))[..., ::-1]
    np.testing.assert_array_equal(image, estimate.image.permute(1, 2, 0).numpy())
    millimetres = cv2.imread(str(folder / 'depth.png'), cv2.IMREAD_UNCHANGED)
    assert (millimetres.dtype, millimetres[2, 3], millimetres[0, 0]) == (np.uint16, 0, 1000)
    fields = json.loads((folder / 'camera.json').read_text())
    assert fields.pop('frame_id') == 'optical'
    assert Camera.from_dict(fields) == CAMERA


def test_cloud_file_holds_the_measured_points_with_their_colours(estimate: Estimate, tmp_path: Path) -> None:
    points = point_cloud(estimate.depth, rays(CAMERA), packed_rgb(estimate.image))
    folder = save_snapshot(tmp_path / 'one', estimate, points, {})
    head, body = (folder / 'cloud.ply').read_bytes().split(b'end_header\n')
    assert b'element vertex 47' in head
    kind = [('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('red', 'u1'), ('green', 'u1'), ('blue', 'u1')]
    rows = np.frombuffer(body, dtype=kind)
    assert rows['z'][0] == 1.0
    assert rows['x'][0] == pytest.approx((0 - 3.25) / 10)
    assert (rows['red'][5], rows['green'][5], rows['blue'][5]) == (5, 53, 101)


def test_second_snapshot_of_a_moment_does_not_replace_the_first(estimate: Estimate, tmp_path: Path) -> None:
    points = point_cloud(estimate.depth, rays(CAMERA))
    folders = [save_snapshot(tmp_path / 'one', estimate, points, {}) for _ in range(2)]
    assert [folder.name for folder in folders] == ['one', 'one_2']


def test_checkpoints_are_listed_newest_first_and_broken_ones_named(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / 'good', seed=0)
    (tmp_path / 'bad').mkdir()
    (tmp_path / 'bad' / 'model.json').write_text('{')
    (tmp_path / 'folder' / 'model.json').mkdir(parents=True)
    (tmp_path / 'gone').mkdir()
    (tmp_path / 'gone' / 'model.json').symlink_to('/nowhere')
    lines = list_checkpoints(tmp_path)[1:]
    assert lines[0].startswith(f'{tmp_path / "bad"}: ')
    assert 'not complete' in lines[0] or 'not JSON' in lines[0]
    assert lines[1:] == [f'{tmp_path / "good"}: tf_efficientnet_lite0 64x32, metric']


def test_missing_folder_lists_the_built_in_checkpoint_only(tmp_path: Path) -> None:
    assert len(list_checkpoints(tmp_path / 'nothing')) == 1
