"""Mcap files read by the index at their end."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from mcap_parts import chunk, indexed, message
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from sidepth_core.data.bags import mcap_index
from sidepth_core.data.bags.files import BagFiles
from sidepth_core.data.bags.mcap_index import open_indexed

TYPES = get_typestore(Stores.LATEST)
STRING = 'std_msgs/msg/String'


def written(folder: Path, compression: CompressionMode) -> Path:
    """Write a bag of many chunks with two topics, and return its storage file."""
    writer = Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    random = np.random.default_rng(0)
    with writer:
        topics = [writer.add_connection(name, STRING, typestore=TYPES) for name in ('/a', '/b')]
        for index in range(30):
            data = TYPES.serialize_cdr(TYPES.types[STRING](data=random.bytes(100_000).hex()), STRING)
            writer.write(topics[index % 3 == 0], 1_000 + index, data)
    return folder / f'{folder.name}.mcap'


@pytest.mark.parametrize('compression', [CompressionMode.NONE, CompressionMode.STORAGE])
@pytest.mark.parametrize('topics', [('/a',), ('/a', '/b')])
def test_messages_are_those_that_rosbags_reads(
    tmp_path: Path, compression: CompressionMode, topics: tuple[str, ...]
) -> None:
    file = written(tmp_path / 'bag', compression)
    reader = open_indexed(file)
    assert reader is not None
    with Reader(file) as other:
        expected = [each for each in other.connections if each.topic in topics]
        wanted = [each for each in reader.connections if each.topic in topics]
        assert [each._replace(owner=None) for each in expected] == wanted
        assert reader.start_time == other.start_time
        read = [(topic.topic, log_ns, data) for topic, log_ns, data in reader.messages(wanted)]
        assert read == [(topic.topic, log_ns, data) for topic, log_ns, data in other.messages(expected)]
    assert len(read) == (30 if '/b' in topics else 20)


OVERLAPPING = (
    (1, {1: 2}, chunk(message(1, 1) + message(1, 8), 'zstd')),
    (3, {1: 2}, chunk(message(1, 9) + message(1, 3), 'lz4')),
    (2, {1: 1, 2: 1}, chunk(message(1, 2) + message(2, 5))),
)


def test_chunks_that_overlap_come_in_the_order_of_time(tmp_path: Path) -> None:
    file = tmp_path / 'a.mcap'
    file.write_bytes(indexed(*OVERLAPPING))
    with BagFiles(file) as files:
        assert [each.log_ns for each in files.messages(['/a', '/b'])] == [1, 2, 3, 5, 8, 9]
        assert files.notes == []


def test_more_than_may_wait_for_earlier_ones_comes_chunk_by_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcap_index, 'MOST_WAITING', 10)
    file = tmp_path / 'a.mcap'
    file.write_bytes(indexed(*OVERLAPPING))
    with BagFiles(file) as files:
        assert [each.log_ns for each in files.messages(['/a', '/b'])] == [1, 8, 2, 5, 3, 9]


@pytest.mark.parametrize(
    'bad',
    [chunk(message(1, 5), crc=1), chunk(message(1, 5), claimed=9), message(1, 5), b'\0' * 40],
    ids=['check sum', 'size', 'no chunk', 'nothing'],
)
def test_a_damaged_chunk_costs_its_own_messages_and_is_said_once(tmp_path: Path, bad: bytes) -> None:
    file = tmp_path / 'a.mcap'
    file.write_bytes(indexed((1, {1: 1}, chunk(message(1, 1))), (5, {1: 1}, bad), (7, {1: 1}, chunk(message(1, 7)))))
    with BagFiles(file) as files:
        for _ in range(2):
            assert [each.log_ns for each in files.messages(['/a'])] == [1, 7]
        assert files.notes == ['a.mcap: 1 chunks are damaged, their messages are lost']
        assert not files.whole


def test_an_index_that_promises_more_than_there_is_is_contradicted(tmp_path: Path) -> None:
    file = tmp_path / 'a.mcap'
    file.write_bytes(indexed((1, {1: 3}, chunk(message(1, 1)))))
    with BagFiles(file) as files:
        assert [each.log_ns for each in files.messages(['/a'])] == [1]
        assert files.notes == ['a.mcap: 2 messages that its index promises are not there']


def test_an_index_that_points_out_of_the_file_loses_the_chunk(tmp_path: Path) -> None:
    content = indexed((1, {1: 1}, chunk(message(1, 1))), crc=0)
    offset = struct.pack('<Q', content.index(chunk(message(1, 1))))
    assert content.count(offset) == 1
    place = content.index(offset)
    file = tmp_path / 'a.mcap'
    file.write_bytes(content[:place] + b'\xff' * 8 + content[place + 8 :])
    with BagFiles(file) as files:
        assert list(files.messages(['/a'])) == []
        assert files.notes == ['a.mcap: 1 chunks are damaged, their messages are lost']


def test_a_summary_that_its_check_sum_contradicts_is_not_used(tmp_path: Path) -> None:
    file = tmp_path / 'a.mcap'
    file.write_bytes(indexed((1, {1: 9}, chunk(message(1, 1))), crc=12345))
    assert open_indexed(file) is None
    with BagFiles(file) as files:
        assert files.topics['/a'].messages == 1
        assert [each.log_ns for each in files.messages(['/a'])] == [1]
        assert files.notes == []


def test_a_file_that_is_cut_has_no_index(tmp_path: Path) -> None:
    file = tmp_path / 'a.mcap'
    content = indexed((1, {1: 1}, chunk(message(1, 1))))
    file.write_bytes(content)
    assert open_indexed(file) is not None
    file.write_bytes(content[:-1])
    assert open_indexed(file) is None
