"""Storage files of recordings: whole, split, compressed, cut off, and of other makers."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from sidepth_core.data.bags.files import BagFiles, is_bag
from sidepth_core.errors import BagError

TYPES = get_typestore(Stores.LATEST)
STRING = 'std_msgs/msg/String'
STORAGES = [StoragePlugin.MCAP, StoragePlugin.SQLITE3]


def write(
    path: Path,
    storage: StoragePlugin = StoragePlugin.MCAP,
    *,
    count: int = 40,
    size: int = 100_000,
    compression: CompressionMode = CompressionMode.NONE,
    qos: tuple[Qos, ...] = (),
    kind: str = STRING,
) -> Path:
    """Write a bag of /a and /b, `count` strings each, and return its one storage file."""
    writer = Writer(path, version=8, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    random = np.random.default_rng(0)
    with writer:
        topics = [writer.add_connection(name, kind, typestore=TYPES, offered_qos_profiles=qos) for name in ('/a', '/b')]
        for index in range(count):
            text = random.bytes(size // 2).hex()
            data = TYPES.serialize_cdr(TYPES.types[STRING](data=text), STRING)
            writer.write(topics[index % 2], 1_000_000_000 + index, data)
    return next(file for file in path.iterdir() if file.name != 'metadata.yaml')


def read(path: Path) -> tuple[Counter[str], list[str]]:
    with BagFiles(path) as files:
        messages = list(files.messages(files.topics))
        assert [message.log_ns for message in messages] == sorted(message.log_ns for message in messages)
        assert all(message.data[:4] == b'\0\1\0\0' for message in messages)
        return Counter(message.topic for message in messages), files.notes


@pytest.mark.parametrize('storage', STORAGES)
@pytest.mark.parametrize('compression', [CompressionMode.NONE, CompressionMode.FILE, CompressionMode.MESSAGE])
def test_every_message_of_a_whole_bag_is_read(
    tmp_path: Path, storage: StoragePlugin, compression: CompressionMode
) -> None:
    write(tmp_path / 'bag', storage, compression=compression, size=1000)
    assert read(tmp_path / 'bag') == (Counter({'/a': 20, '/b': 20}), [])


@pytest.mark.parametrize('compression', [CompressionMode.FILE, CompressionMode.MESSAGE, CompressionMode.STORAGE])
def test_compression_needs_no_metadata(tmp_path: Path, compression: CompressionMode) -> None:
    write(tmp_path / 'bag', compression=compression, size=1000)
    (tmp_path / 'bag' / 'metadata.yaml').unlink()
    counts, notes = read(tmp_path / 'bag')
    assert counts == Counter({'/a': 20, '/b': 20})
    assert notes == ['there is no metadata.yaml: the recording may have been cut off']


@pytest.mark.parametrize('storage', STORAGES)
def test_a_storage_file_alone_is_a_bag(tmp_path: Path, storage: StoragePlugin) -> None:
    file = write(tmp_path / 'bag', storage, size=1000)
    assert is_bag(file)
    assert is_bag(file.parent)
    assert not is_bag(tmp_path)
    assert read(file) == (Counter({'/a': 20, '/b': 20}), [])


def test_split_files_are_read_in_order_of_time_and_of_number(tmp_path: Path) -> None:
    bag = tmp_path / 'bag'
    bag.mkdir()
    for number in (10, 2, 1):
        writer = Writer(tmp_path / f'part{number}', version=8, storage_plugin=StoragePlugin.MCAP)
        with writer:
            topic = writer.add_connection('/a', STRING, typestore=TYPES)
            data = TYPES.serialize_cdr(TYPES.types[STRING](data='x'), STRING)
            writer.write(topic, number * 100, data)
        shutil.move(tmp_path / f'part{number}' / f'part{number}.mcap', bag / f'bag_{number}.mcap')
    with BagFiles(bag) as files:
        assert [message.log_ns for message in files.messages(['/a'])] == [100, 200, 1000]


def test_mcap_without_its_end_is_read_up_to_the_last_chunk(tmp_path: Path) -> None:
    file = write(tmp_path / 'bag')
    cut = tmp_path / 'cut.mcap'
    cut.write_bytes(file.read_bytes()[:2_500_000])
    counts, notes = read(cut)
    assert 20 <= counts.total() < 40
    assert len(notes) == 1
    assert 'cut.mcap was cut off' in notes[0]


def test_mcap_that_ends_in_zeros_is_read_up_to_them(tmp_path: Path) -> None:
    file = write(tmp_path / 'bag')
    cut = tmp_path / 'cut.mcap'
    cut.write_bytes(file.read_bytes()[:2_500_000] + bytes(1_000_000))
    assert 20 <= read(cut)[0].total() < 40


def test_mcap_damaged_in_the_middle_loses_a_chunk_and_says_so(tmp_path: Path) -> None:
    file = write(tmp_path / 'bag', compression=CompressionMode.STORAGE)
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20_000] = bytes(20_000)
    file.chmod(0o600)
    file.write_bytes(content)
    counts, notes = read(tmp_path / 'bag')
    assert 20 < counts.total() < 40
    assert notes == ['bag.mcap: 1 chunks are damaged, their messages are lost']


def test_sqlite3_cut_short_is_read_up_to_the_damage(tmp_path: Path) -> None:
    file = write(tmp_path / 'bag', StoragePlugin.SQLITE3)
    cut = tmp_path / 'cut.db3'
    cut.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    counts, notes = read(cut)
    assert 15 <= counts.total() <= 20
    assert 'cut.db3 was cut off' in notes[0]


def test_messages_still_in_the_journal_of_sqlite3_are_read(tmp_path: Path) -> None:
    file = write(tmp_path / 'bag', StoragePlugin.SQLITE3, count=4, size=1000)
    database = sqlite3.connect(file)
    database.execute('PRAGMA journal_mode=WAL')
    database.execute('PRAGMA wal_autocheckpoint=0')
    with database:
        rows = database.execute('SELECT topic_id, timestamp + 10, data FROM messages').fetchall()
        database.executemany('INSERT INTO messages(topic_id, timestamp, data) VALUES(?, ?, ?)', rows)
    # A killed recorder leaves file and journal as they are now.
    killed = tmp_path / 'killed'
    shutil.copytree(file.parent, killed, ignore=shutil.ignore_patterns('metadata.yaml'))
    database.close()
    before = {path.name: path.read_bytes() for path in killed.iterdir()}
    counts, notes = read(killed)
    assert counts == Counter({'/a': 4, '/b': 4})
    assert any('its journal is folded in' in note for note in notes)
    assert {path.name: path.read_bytes() for path in killed.iterdir()} == before


def test_qos_that_differs_between_metadata_and_file_loses_nothing_and_is_said(tmp_path: Path) -> None:
    zero = QosTime(0, 0)
    qos = Qos(
        QosHistory.KEEP_LAST, 5, QosReliability.RELIABLE, QosDurability.VOLATILE, zero, zero,
        QosLiveliness.AUTOMATIC, zero, avoid_ros_namespace_conventions=False,
    )  # fmt: skip
    write(tmp_path / 'bag', qos=(qos,), size=1000)
    metadata = tmp_path / 'bag' / 'metadata.yaml'
    metadata.write_text(metadata.read_text().replace('depth: 5', 'depth: 7'))
    counts, notes = read(tmp_path / 'bag')
    assert counts == Counter({'/a': 20, '/b': 20})
    assert len(notes) == 1
    assert 'QoS differs' in notes[0]
    assert '/a, /b' in notes[0]


def test_metadata_that_claims_more_than_there_is_is_contradicted(tmp_path: Path) -> None:
    write(tmp_path / 'bag', size=1000)
    metadata = tmp_path / 'bag' / 'metadata.yaml'
    metadata.write_text(metadata.read_text().replace('message_count: 20', 'message_count: 21'))
    with BagFiles(tmp_path / 'bag') as files:
        assert files.claimed == {'/a': 21, '/b': 21}
        assert 'metadata.yaml claims 21 messages of /a, the files hold 20' in files.notes


def test_old_type_names_are_respelled(tmp_path: Path) -> None:
    file = write(tmp_path / 'bag', StoragePlugin.SQLITE3, size=1000)
    with sqlite3.connect(file) as database:
        database.execute("UPDATE topics SET type = 'std_msgs/String'")
    with BagFiles(file) as files:
        assert files.topics['/a'].type == STRING
        assert next(files.messages(['/a'])).type == STRING


@pytest.mark.parametrize('content', [b'', b'\x89MCAP0\r\n', b'no recording'], ids=['empty', 'begun', 'foreign'])
def test_what_is_no_recording_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / 'x.mcap').write_bytes(content)
    with pytest.raises(BagError, match=r'x\.mcap cannot be read'), BagFiles(tmp_path):
        pass
    (tmp_path / 'x.mcap').rename(tmp_path / 'x.db3')
    with pytest.raises(BagError, match=r'x\.db3 cannot be read'), BagFiles(tmp_path):
        pass


def test_missing_bags_and_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(BagError, match='does not exist'), BagFiles(tmp_path / 'nowhere'):
        pass
    with pytest.raises(BagError, match='holds no storage file'), BagFiles(tmp_path):
        pass
    file = write(tmp_path / 'bag', size=1000)
    file.unlink()
    with pytest.raises(BagError, match=r'lists are missing: bag\.mcap'), BagFiles(tmp_path / 'bag'):
        pass


def test_genuine_recordings_behave_sensibly(real_data: Path) -> None:
    genuine = real_data / 'bags' / 'genuine'
    counts, notes = read(genuine / 'mcap_talker')
    assert counts == Counter({'/topic': 10, '/rosout': 10})
    assert 'QoS differs' in notes[0]
    assert read(genuine / 'sqlite3_split_wbag')[0].total() == 6074
    assert read(genuine / 'sqlite3_no_metadata')[0] == Counter({'/chatter': 3177})
    assert read(genuine / 'sqlite3_empty')[0] == Counter()
    assert read(genuine / 'old_sqlite_no_metadata')[0].total() == 5
    with pytest.raises(BagError, match=r"not serialized as cdr.*'wrong_format'"), BagFiles(genuine / 'mcap_wrong_rmw'):
        pass
