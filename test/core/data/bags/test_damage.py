"""Bags cut off and flipped at many places: what is whole is read and counted, or one error says why; none is changed.

`make test` tries a sample, `make soak` 500 places each.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mcap_parts import CHANNELS, HEADER, chunk, indexed, message
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from soak_cases import few_or_many

from sidepth_core.data.bags import files as bag_files
from sidepth_core.data.bags import mcap_records
from sidepth_core.data.bags.files import BagFiles
from sidepth_core.errors import BagError

CASES = few_or_many(20, 500)
"""Places at which each bag is damaged."""
MESSAGES = 40
STRING = 'std_msgs/msg/String'
TYPES = get_typestore(Stores.LATEST)
METADATA = 'rosbag2_bagfile_information:\n  version: 8\n  storage_identifier: mcap\n'
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


@pytest.mark.parametrize('compression', ['zstd', 'lz4'])
@pytest.mark.parametrize('claimed', [100, 64 << 20, 1 << 40], ids=['claims little', 'is honest', 'claims a terabyte'])
@pytest.mark.parametrize('has_index', [True, False])
def test_a_chunk_that_expands_beyond_its_claim_or_the_limit_is_lost_and_not_allocated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str, claimed: int, *, has_index: bool
) -> None:
    monkeypatch.setattr(mcap_records, 'LARGEST_CHUNK', 1 << 20)
    good, bomb = chunk(message(1, 7)), chunk(bytes(64 << 20), compression, claimed=claimed)
    content = indexed((7, {1: 1}, good), (8, {1: 3}, bomb)) if has_index else HEADER + CHANNELS + good + bomb
    assert len(content) < 1 << 19
    folder = tmp_path / 'bag'
    folder.mkdir()
    (folder / 'bag_0.mcap').write_bytes(content)
    (folder / 'metadata.yaml').write_text(METADATA)
    tracemalloc.start()
    try:
        with BagFiles(folder) as files:
            found = [each.log_ns for each in files.messages(files.topics)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == [7]
    assert 'bag_0.mcap: 1 chunks are damaged, their messages are lost' in files.notes
    assert not files.whole
    assert peak < 8 << 20


def test_a_compressed_message_that_expands_too_far_is_nothing() -> None:
    bomb = mcap_records.zstd.compress(bytes(64 << 20))
    assert bag_files._expanded(bomb, limit=1 << 20) == b''
    assert bag_files._expanded(mcap_records.zstd.compress(b'small'), limit=1 << 20) == b'small'


@pytest.mark.parametrize(
    'wrong',
    [
        'relative_file_paths: 5',
        'relative_file_paths: [5, null, [], "", "..", "a\\0b", bag_0.mcap]',
        'topics_with_message_count: {a: b}',
        'topics_with_message_count: [5, {topic_metadata: [], message_count: 1}]',
        'topics_with_message_count: [{topic_metadata: {name: [a]}, message_count: .inf}]',
        'topics_with_message_count: [{topic_metadata: {name: /a, offered_qos_profiles: [[]]}, message_count: 1}]',
        'topics_with_message_count: [{topic_metadata: {name: /a, offered_qos_profiles: "["}, message_count: 1}]',
        'compression_mode: [file]',
    ],
)
def test_metadata_that_says_anything_at_all_costs_no_message(tmp_path: Path, wrong: str) -> None:
    (tmp_path / 'bag_0.mcap').write_bytes(indexed((7, {1: 1}, chunk(message(1, 7)))))
    (tmp_path / 'metadata.yaml').write_text(f'{METADATA}  {wrong}\n')
    assert len(messages(tmp_path)) == 1


def test_links_that_lead_in_circles_and_folders_named_like_files_are_no_bag(tmp_path: Path) -> None:
    folder = tmp_path / 'bag'
    folder.mkdir()
    (folder / 'a.mcap').symlink_to(folder / 'b.mcap')
    (folder / 'b.mcap').symlink_to(folder / 'a.mcap')
    (folder / 'c.mcap').mkdir()
    (folder / 'again').symlink_to(folder)
    with pytest.raises(BagError, match='bag'), BagFiles(folder):
        pass


def test_a_file_that_may_not_be_read_is_an_error_that_names_it(bag: Path, tmp_path: Path) -> None:
    copy = tmp_path / bag.name
    copy.write_bytes(bag.read_bytes())
    copy.chmod(0)
    # Root may read everything, until it has given up its capabilities.
    start = ['setpriv', '--bounding-set=-all', '--inh-caps=-all'] if os.geteuid() == 0 else []
    if start and shutil.which('setpriv') is None:
        pytest.skip('root may read everything, and setpriv is missing')
    command = 'import sys; from sidepth_core.cli import main; sys.exit(main(["inspect", sys.argv[1]]))'
    done = subprocess.run(
        [*start, sys.executable, '-c', command, str(copy)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith('error: ')
    assert copy.name in done.stderr
    assert 'Permission denied' in done.stderr
