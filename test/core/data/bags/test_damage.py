"""Bags cut off and flipped at many places: what is whole is read and counted, or one error says why; none is changed.

`make test` tries a sample; `SIDEPTH_CASES=500` tries as many places, which `make soak` does.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from sidepth_core.data.bags import mcap_scan
from sidepth_core.data.bags.files import BagFiles
from sidepth_core.data.bags.mcap_scan import MAGIC, ScannedMcap
from sidepth_core.errors import BagError

CASES = min(int(os.environ.get('SIDEPTH_CASES', '20')), 500)
"""Places at which each bag is damaged."""
MESSAGES = 40
STRING = 'std_msgs/msg/String'
TYPES = get_typestore(Stores.LATEST)
STORAGES = [StoragePlugin.MCAP, StoragePlugin.SQLITE3]


@pytest.fixture(scope='module', params=STORAGES, ids=['mcap', 'sqlite3'])
def bag(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a bag of one topic with a Unicode name, in a folder with one, and return its storage file."""
    path = tmp_path_factory.mktemp('bag') / 'Fahrt für あ'
    random = np.random.default_rng(0)
    with Writer(path, version=8, storage_plugin=request.param) as writer:
        topic = writer.add_connection('/a', STRING, typestore=TYPES)
        for index in range(MESSAGES):
            text = random.bytes(500).hex()
            writer.write(topic, 1_000_000_000 + index, TYPES.serialize_cdr(TYPES.types[STRING](data=text), STRING))
    return next(file for file in path.iterdir() if file.name != 'metadata.yaml')


def damaged(content: bytes, how: str) -> Iterator[bytes]:
    """Yield the content cut off, or with one bit flipped, at CASES places of its whole length."""
    random = np.random.default_rng(1)
    for place in np.linspace(0, len(content) - 1, CASES).astype(int):
        if how == 'cut':
            yield content[:place]
        else:
            flipped = bytearray(content)
            flipped[place] ^= 1 << int(random.integers(8))
            yield bytes(flipped)


@pytest.mark.parametrize('how', ['cut', 'flipped'])
def test_a_damaged_bag_gives_what_is_whole_or_one_error_and_stays_as_it_is(
    bag: Path, how: str, tmp_path: Path
) -> None:
    whole = set(messages(bag.parent))
    assert len(whole) == MESSAGES
    folder = tmp_path / 'damaged'
    folder.mkdir()
    metadata = (bag.parent / 'metadata.yaml').read_bytes()
    file = folder / bag.name
    refused = most = 0
    for content in damaged(bag.read_bytes(), how):
        file.write_bytes(content)
        (folder / 'metadata.yaml').write_bytes(metadata)
        try:
            with BagFiles(folder) as files:
                found = [each.data for each in files.messages(files.topics)]
                assert len(found) <= MESSAGES
                assert len(found) == MESSAGES or files.notes, 'messages lost without a word'
                most = max(most, len(whole & set(found)))
        except BagError as error:
            assert folder.name in str(error)  # noqa: PT017 - most cases are read
            refused += 1
        assert file.read_bytes() == content
        assert (folder / 'metadata.yaml').read_bytes() == metadata
        assert sorted(path.name for path in folder.iterdir()) == sorted([bag.name, 'metadata.yaml'])
    assert refused < CASES
    assert most >= MESSAGES - 2


def messages(path: Path) -> list[bytes]:
    with BagFiles(path) as files:
        return [each.data for each in files.messages(files.topics)]


def chunk_that_expands(size: int, claimed: int, compression: str) -> bytes:
    import lz4.frame  # noqa: PLC0415 - for this alone

    packed = lz4.frame.compress(bytes(size)) if compression == 'lz4' else mcap_scan.zstd.compress(bytes(size))
    name = compression.encode()
    data = struct.pack('<QQQII', 0, 0, claimed, 0, len(name)) + name + struct.pack('<Q', len(packed)) + packed
    return struct.pack('<BQ', mcap_scan.CHUNK, len(data)) + data


@pytest.mark.parametrize('compression', ['zstd', 'lz4'])
@pytest.mark.parametrize('claimed', [100, 1 << 40], ids=['claims little', 'claims a terabyte'])
def test_a_chunk_that_expands_beyond_its_claim_or_the_limit_is_lost_and_not_allocated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str, claimed: int
) -> None:
    monkeypatch.setattr(mcap_scan, 'LARGEST_CHUNK', 1 << 20)
    file = tmp_path / 'bomb.mcap'
    file.write_bytes(MAGIC + chunk_that_expands(64 << 20, claimed, compression))
    assert file.stat().st_size < 1 << 19
    expanded = []
    usual = mcap_scan._expanded
    monkeypatch.setattr(mcap_scan, '_expanded', lambda *given: expanded.append(usual(*given)) or expanded[-1])
    scan = ScannedMcap(file)
    assert (scan.lost_chunks, scan.connections) == (1, [])
    assert all(len(content) <= (1 << 20) + 1 for content in expanded)


def test_a_compressed_message_that_expands_too_far_is_nothing() -> None:
    from sidepth_core.data.bags import files as module  # noqa: PLC0415

    bomb = mcap_scan.zstd.compress(bytes(64 << 20))
    assert module._expanded(bomb, limit=1 << 20) == b''
    assert module._expanded(mcap_scan.zstd.compress(b'small'), limit=1 << 20) == b'small'


def test_links_that_lead_in_circles_and_folders_named_like_files_are_no_bag(tmp_path: Path) -> None:
    folder = tmp_path / 'bag'
    folder.mkdir()
    (folder / 'a.mcap').symlink_to(folder / 'b.mcap')
    (folder / 'b.mcap').symlink_to(folder / 'a.mcap')
    (folder / 'c.mcap').mkdir()
    (folder / 'again').symlink_to(folder)
    with pytest.raises(BagError, match='bag'), BagFiles(folder):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason='root may read everything')
def test_a_file_that_may_not_be_read_is_an_error_that_names_it(bag: Path, tmp_path: Path) -> None:
    copy = tmp_path / bag.name
    copy.write_bytes(bag.read_bytes())
    copy.chmod(0)
    with pytest.raises((BagError, PermissionError), match=copy.stem), BagFiles(copy):
        pass
