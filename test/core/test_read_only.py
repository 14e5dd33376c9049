"""Folders that may be read and not written: sources, weights and caches serve, and what is to be written is one error.

A mount that is read-only stands for the disk.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mounts import READ_ONLY, run_commands

from sidepth_core.checkpoint import Checkpoint, CheckpointInfo, save_checkpoint
from sidepth_core.cli import main
from sidepth_core.models import DepthNet

RECIPE = Path(__file__).parents[2] / 'training' / 'debug.yaml'
SIZE = ['--width', '96', '--height', '64']


@pytest.fixture(scope='module')
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of sources, weights and a cache."""
    disk = tmp_path_factory.mktemp('disk')
    for kind in ('mcap', 'sqlite3', 'folder'):
        assert main(['synth', *SIZE, '--frames', '16', '--perfect', '--format', kind, '--out', str(disk / kind)]) == 0
    # A killed recorder's: messages still in the journal, which has to be folded in somewhere else.
    shutil.copytree(disk / 'sqlite3', disk / 'killed')
    (disk / 'killed' / 'sqlite3.db3-journal').write_bytes(b'no journal that SQLite would follow')
    assert main(['prepare', str(disk / 'mcap'), '--out', str(disk / 'cache'), *SIZE, '--stride', '1']) == 0
    info = CheckpointInfo('tf_efficientnet_lite0', 96, 64)
    save_checkpoint(disk / 'weights', Checkpoint(DepthNet('tf_efficientnet_lite0').eval(), None, info))
    cv2.imwrite(str(disk / 'one.png'), np.zeros((64, 96, 3), np.uint8))
    return disk


def run(disk: Path, commands: list[list[str]]) -> list[dict[str, Any]]:
    """Run commands with the disk read-only, and return what each did; nothing on the disk has changed."""
    before = sorted((path, path.stat().st_mtime_ns) for path in disk.rglob('*'))
    rows = run_commands(disk, READ_ONLY, commands)
    assert sorted((path, path.stat().st_mtime_ns) for path in disk.rglob('*')) == before
    return rows


def test_sources_weights_and_caches_serve_from_a_read_only_disk(disk: Path, tmp_path: Path) -> None:
    weights = ['--checkpoint', str(disk / 'weights')]
    train = ['train', '--recipe', str(RECIPE), '--objective.two_view_pose', '0', '--out', str(tmp_path / 'run')]
    rows = run(
        disk,
        [
            *(['inspect', str(disk / kind)] for kind in ('mcap', 'sqlite3', 'folder', 'killed', 'cache', 'weights')),
            ['predict', str(disk / 'sqlite3'), *weights, '--out', str(tmp_path / 'depth')],
            ['evaluate', str(disk / 'folder'), *weights, '--limit', '2', '--depth', '--out', str(tmp_path / 'scores')],
            ['prepare', str(disk / 'killed'), '--out', str(tmp_path / 'cache'), *SIZE, '--stride', '1'],
            [*train, '--data.sources', f'[{disk / "cache"}]'],
        ],
    )
    assert [row for row in rows if row['status'] != 0] == []
    assert len(list((tmp_path / 'depth' / 'depth').iterdir())) == 16
    assert (tmp_path / 'run' / 'best' / 'model.safetensors').is_file()


def test_what_cannot_be_written_to_a_read_only_disk_is_one_error_that_names_the_place(disk: Path) -> None:
    weights = ['--checkpoint', str(disk / 'weights')]
    rows = run(
        disk,
        [
            ['predict', str(disk / 'folder'), *weights, '--out', str(disk / 'depth')],
            ['evaluate', str(disk / 'folder'), *weights, '--limit', '2', '--depth', '--out', str(disk / 'scores')],
            ['inspect', str(disk / 'mcap'), '--out', str(disk / 'page.html')],
            ['view', str(disk / 'one.png'), *weights, '--out', str(disk / 'view.html')],
            ['view', str(disk / 'mcap'), *weights, '--out', str(disk / 'view.webm')],
            ['prepare', str(disk / 'mcap'), '--out', str(disk / 'other')],
            ['export', str(disk / 'weights'), '--engine', 'onnx', '--out', str(disk / 'depth.onnx')],
            *(
                ['synth', *SIZE, '--frames', '2', '--format', kind, '--out', str(disk / f'new{suffix}')]
                for kind, suffix in (('mcap', ''), ('sqlite3', ''), ('folder', ''), ('video', '.mp4'))
            ),
            ['train', '--recipe', str(RECIPE), '--out', str(disk / 'run')],
            ['train', '--recipe', str(RECIPE), '--out', str(disk / 'run'), '--data.sources', f'[{disk / "cache"}]'],
        ],
    )
    for row in rows:
        error = row['said'].strip().splitlines()[-1]
        assert row['status'] == 2, row
        assert 'Traceback' not in row['said'], row
        assert error.startswith('error: '), row
        assert str(disk) in error, row
        assert 'Read-only file system' in error or 'cannot be written' in error, row
