"""Mcap files without an index: what a recorder that was killed leaves, and what other writers leave out."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from mcap_parts import CHANNELS, CLOSE, HEADER, chunk, message, record, text
from rosbags.interfaces import MessageDefinitionFormat

from sidepth_core.data.bags.files import BagFiles
from sidepth_core.data.bags.mcap_scan import ScannedMcap
from sidepth_core.errors import BagError


def logs(path: Path, *topics: str) -> list[int]:
    with BagFiles(path) as files:
        return [found.log_ns for found in files.messages(topics)]


@pytest.mark.parametrize('compression', ['', 'lz4'])
def test_a_last_chunk_that_is_cut_gives_its_whole_messages(tmp_path: Path, compression: str) -> None:
    content = b''.join(message(1, number, 100_000) for number in range(20))
    whole = HEADER + CHANNELS + chunk(content, compression)
    file = tmp_path / 'cut.mcap'
    file.write_bytes(whole[: len(whole) * 3 // 4])
    with BagFiles(file) as files:
        found = [each.log_ns for each in files.messages(['/a'])]
        assert files.notes == ['cut.mcap was cut off: it is read up to the damage']
    assert found == list(range(len(found)))
    assert 12 <= len(found) < 20


@pytest.mark.parametrize('inside', [True, False])
def test_two_topics_are_read_side_by_side_though_nothing_is_indexed(tmp_path: Path, *, inside: bool) -> None:
    content = b''.join(message(1 + number % 2, number) for number in range(20))
    file = tmp_path / 'plain.mcap'
    file.write_bytes(HEADER + CHANNELS + (chunk(content) if inside else content) + CLOSE)
    with BagFiles(file) as files:
        pairs = zip(files.messages(['/a']), files.messages(['/b']), strict=True)
        assert [(first.log_ns, second.log_ns) for first, second in pairs] == [(n, n + 1) for n in range(0, 20, 2)]
        assert files.notes == []


def test_a_recorder_whose_clock_steps_back_loses_nothing(tmp_path: Path) -> None:
    file = tmp_path / 'plain.mcap'
    file.write_bytes(HEADER + CHANNELS + b''.join(message(1, log_ns) for log_ns in (5, 6, 2, 3)) + CLOSE)
    assert logs(file, '/a') == [5, 6, 2, 3]


def test_messages_of_one_chunk_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    file = tmp_path / 'plain.mcap'
    file.write_bytes(HEADER + CHANNELS + chunk(message(1, 7) + message(1, 4)) + CLOSE)
    assert logs(file, '/a') == [4, 7]


def test_a_damaged_chunk_costs_its_own_messages_only_and_is_said(tmp_path: Path) -> None:
    file = tmp_path / 'plain.mcap'
    file.write_bytes(HEADER + CHANNELS + chunk(message(1, 1), crc=1) + chunk(message(1, 2)) + CLOSE)
    with BagFiles(file) as files:
        assert [found.log_ns for found in files.messages(['/a'])] == [2]
        assert files.notes == ['plain.mcap: 1 chunks are damaged, their messages are lost']


@pytest.mark.parametrize(
    'malformed',
    [
        record(3, b'\1'),
        record(3, struct.pack('<H', 1) + text('std_msgs/msg/String') + struct.pack('<I', 1 << 30)),
        record(4, struct.pack('<HH', 1, 1) + text('/c')),
        record(4, struct.pack('<HH', 3, 1) + text('/c') + struct.pack('<I', 1) + b'\xff'),
        record(5, bytes(21)),
        record(6, bytes(20)),
    ],
    ids=['schema', 'length', 'channel', 'not UTF-8', 'message', 'chunk'],
)
def test_a_whole_record_that_is_malformed_costs_itself_only(tmp_path: Path, malformed: bytes) -> None:
    file = tmp_path / 'plain.mcap'
    file.write_bytes(HEADER + CHANNELS + message(1, 1) + malformed + message(1, 2) + CLOSE)
    with BagFiles(file) as files:
        assert [found.log_ns for found in files.messages(['/a'])] == [1, 2]
        assert set(files.topics) == {'/a', '/b'}


def test_what_is_no_mcap_has_no_channels(tmp_path: Path) -> None:
    file = tmp_path / 'text.mcap'
    file.write_bytes(b'no recording at all')
    assert ScannedMcap(file).connections == []


def test_the_definitions_that_the_recorder_stored_are_kept(tmp_path: Path) -> None:
    file = tmp_path / 'plain.mcap'
    file.write_bytes(HEADER + CHANNELS + message(1, 1) + CLOSE)
    first = ScannedMcap(file).connections[0]
    assert (first.msgdef.format, first.msgdef.data) == (MessageDefinitionFormat.MSG, 'string data')


def test_a_recording_of_nothing_is_whole(tmp_path: Path) -> None:
    file = tmp_path / 'nothing.mcap'
    file.write_bytes(HEADER + CLOSE)
    with BagFiles(file) as files:
        assert (files.topics, files.notes) == ({}, [])
    file.write_bytes(HEADER)
    with pytest.raises(BagError, match=r'nothing.mcap cannot be read: it is cut off before its first'), BagFiles(file):
        pass
