"""What is written can be read, in both storages."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidepth_core.data.bag_files import BagFiles
from sidepth_core.data.bag_writer import STORAGES, BagWriter
from sidepth_core.errors import BagError, ConfigError

TEXT = 'std_msgs/msg/String'


@pytest.mark.parametrize('storage', STORAGES)
def test_messages_come_back_in_order_with_their_times(tmp_path: Path, storage: str) -> None:
    with BagWriter(tmp_path / 'bag', storage) as writer:
        kind = writer.types.types[TEXT]
        for index in range(3):
            writer.write('/words', kind(data='x' * index), 10 + index)
    with BagFiles(tmp_path / 'bag') as bag:
        read = list(bag.messages(['/words']))
        assert bag.notes == []
    assert [message.log_ns for message in read] == [10, 11, 12]
    assert [writer.types.deserialize_cdr(message.data, TEXT).data for message in read] == ['', 'x', 'xx']


def test_serialized_messages_are_kept_byte_for_byte(tmp_path: Path) -> None:
    data = bytes([0, 1, 0, 0, 3, 0, 0, 0, ord('a'), ord('b'), 0])
    with BagWriter(tmp_path / 'bag') as writer:
        writer.write_raw('/words', TEXT, 5, memoryview(data))
    with BagFiles(tmp_path / 'bag') as bag:
        (message,) = bag.messages(['/words'])
    assert (message.data, message.type) == (data, TEXT)


def test_announced_topic_may_stay_empty(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag') as writer:
        writer.add_topic('/silent', TEXT)
        writer.write_raw('/words', TEXT, 5, b'\0\1\0\0\1\0\0\0\0')
    with BagFiles(tmp_path / 'bag') as bag:
        assert bag.topics.keys() == {'/silent', '/words'}


def test_nothing_is_left_of_a_bag_whose_writer_fails(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        with BagWriter(path) as writer:
            writer.write_raw('/words', TEXT, 5, b'\0\1\0\0\1\0\0\0\0')
            raise OSError('the disk is full')

    with pytest.raises(OSError, match='the disk is full'):
        fail(tmp_path / 'bag')
    assert list(tmp_path.iterdir()) == []


def test_existing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BagError, match='exists already'):
        BagWriter(tmp_path)


def test_unknown_storage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'rosbag1' is not one of mcap, sqlite3"):
        BagWriter(tmp_path / 'bag', 'rosbag1')
