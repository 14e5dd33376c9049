"""A disk that takes no more bytes: an error that says so, nothing half written, and what was there before is whole.

A limit on the size of files stands for the full disk: as there, the write itself fails, in the middle of a file. A
small mount stands for the one that a compressed bag is expanded to.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from mounts import SMALL, run_commands

from sidepth_core.checkpoint import Checkpoint, CheckpointInfo, load_checkpoint, save_checkpoint
from sidepth_core.cli import main
from sidepth_core.data.bags import BagWriter
from sidepth_core.data.bags.mcap_records import zstd
from sidepth_core.models import DepthNet


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope='module')
def checkpoint() -> Checkpoint:
    return Checkpoint(DepthNet('tf_efficientnet_lite0').eval(), None, CheckpointInfo('tf_efficientnet_lite0', 64, 32))


def test_a_checkpoint_that_does_not_fit_leaves_the_old_one(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint)
    before = sorted(path.name for path in tmp_path.iterdir())
    with room_for(1_000_000), pytest.raises(OSError, match='File too large'):
        save_checkpoint(tmp_path, Checkpoint(DepthNet('tf_efficientnet_lite0').eval(), None, checkpoint.info))
    loaded = load_checkpoint(tmp_path, pose=False)
    first, second = (next(net.parameters()) for net in (loaded.depth_net, checkpoint.depth_net))
    assert bool((first == second).all())
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_bag_that_does_not_fit_is_not_there(storage: str, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (96, 160, 3), dtype=np.uint8)

    def write() -> None:
        with BagWriter(tmp_path / 'bag', storage) as bag:
            for index in range(40):
                bag.add_image('/image', image, index, 'camera')

    with room_for(500_000), pytest.raises(Exception, match=r'File too large|full|disk I/O'):
        write()
    assert list(tmp_path.iterdir()) == []


def test_predict_says_what_it_cannot_write(
    checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / 'weights', checkpoint)
    (tmp_path / 'images').mkdir()
    image = np.random.default_rng(0).integers(0, 256, (192, 320, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / 'images' / '0.png'), image)
    images, weights, out = (str(tmp_path / name) for name in ('images', 'weights', 'out'))
    with room_for(4096):
        status = main(['predict', images, '--checkpoint', weights, '--out', out])
    said = capsys.readouterr().err
    assert status == 2, said
    assert 'File too large' in said or 'cannot be written' in said
    assert 'Traceback' not in said


def test_a_compressed_bag_is_not_expanded_until_the_disk_is_full(tmp_path: Path) -> None:
    bomb = tmp_path / 'bomb.mcap.zstd'
    bomb.write_bytes(zstd.compress(bytes(256 << 20)))
    assert bomb.stat().st_size < 1 << 15
    (tmp_path / 'small').mkdir()
    place = str(tmp_path / 'small')
    (row,) = run_commands(tmp_path / 'small', SMALL, [['inspect', str(bomb)]], TMPDIR=place)
    assert row['status'] == 2, row
    assert row['said'].startswith(f'error: bag {str(bomb)!r} is compressed, and {place!r} has no room for what it')
