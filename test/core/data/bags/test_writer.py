"""Bags are whole or not there, say what they hold, and give back what was written."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from rosbags.highlevel import AnyReader

from sidepth_core.camera import Camera
from sidepth_core.data.bags.source import BagSource
from sidepth_core.data.bags.writer import BagWriter, quaternion_of_rotation
from sidepth_core.data.tracks import rotation_of_quaternion
from sidepth_core.errors import BagError, ConfigError, ImageFormatError

STAMP_NS = 1_600_000_000_123_456_789
LENS = Camera(24, 16, 20.0, 21.0, 11.0, 8.0, 'plumb_bob', (-0.1, 0.01, 0.001, 0.0, 0.002))
IMAGE = np.random.default_rng(1).integers(0, 256, (16, 24, 3), dtype=np.uint8)
STORAGES = ('mcap', 'sqlite3')
T_BASE_CAMERA = np.array([[0.0, 0, 1, 0.3], [-1, 0, 0, 0.1], [0, -1, 0, 1.2], [0, 0, 0, 1]])


def messages(path: Path) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    with AnyReader([path]) as reader:
        for connection, log_ns, data in reader.messages():
            assert log_ns >= STAMP_NS
            found.setdefault(connection.topic, []).append(reader.deserialize(data, connection.msgtype))
    return found


def write_drive(path: Path, storage: str, count: int = 3) -> None:
    with BagWriter(path, storage) as bag:
        bag.add_static_transforms({('base_link', 'camera'): T_BASE_CAMERA}, STAMP_NS)
        for index in range(count):
            stamp_ns = STAMP_NS + index * 100_000_000
            T_odom_base = np.eye(4)
            T_odom_base[0, 3] = 0.5 * index
            bag.add_odometry('/odom', T_odom_base, stamp_ns, linear_mps=(5.0, 0, 0), angular_radps=(0, 0, 0.1))
            bag.add_camera_info('/camera/camera_info', LENS, stamp_ns, 'camera')
            bag.add_image('/camera/image_raw', IMAGE, stamp_ns, 'camera')


@pytest.mark.parametrize('storage', STORAGES)
def test_a_drive_comes_back_as_it_was_written(tmp_path: Path, storage: str) -> None:
    write_drive(tmp_path / 'drive', storage)
    source = BagSource(tmp_path / 'drive')
    frames = list(source)
    assert [frame.stamp_ns - STAMP_NS for frame in frames] == [0, 100_000_000, 200_000_000]
    assert all(np.array_equal(frame.image, IMAGE) for frame in frames)
    assert all(frame.camera == LENS for frame in frames)
    assert [frame.speed_mps for frame in frames] == pytest.approx([5.0] * 3, rel=0.01)
    pose = frames[2].T_world_camera
    assert pose is not None
    np.testing.assert_allclose(pose[:3, 3] - frames[0].T_world_camera[:3, 3], [1.0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(pose[:3, :3], T_BASE_CAMERA[:3, :3], atol=1e-9)
    assert not source.report.skipped


@pytest.mark.parametrize('storage', STORAGES)
def test_metadata_are_what_rosbag2_reads(tmp_path: Path, storage: str) -> None:
    path = tmp_path / 'drive'
    write_drive(path, storage)
    name = f'drive.{"mcap" if storage == "mcap" else "db3"}'
    assert sorted(file.name for file in path.iterdir()) == sorted([name, 'metadata.yaml'])
    facts = yaml.safe_load((path / 'metadata.yaml').read_text())['rosbag2_bagfile_information']
    assert facts['version'] == 8
    assert facts['storage_identifier'] == storage
    assert facts['relative_file_paths'] == [name]
    assert facts['message_count'] == 10
    assert facts['starting_time']['nanoseconds_since_epoch'] == STAMP_NS
    assert facts['duration']['nanoseconds'] == 200_000_000
    topics = {topic['topic_metadata']['name']: topic for topic in facts['topics_with_message_count']}
    assert {name: topic['message_count'] for name, topic in topics.items()} == {
        '/tf_static': 1, '/odom': 3, '/camera/camera_info': 3, '/camera/image_raw': 3,
    }  # fmt: skip
    assert topics['/camera/image_raw']['topic_metadata']['type'] == 'sensor_msgs/msg/Image'
    # Humble reads QoS as text that is YAML itself, with numbers for names: 1 is transient local, 2 volatile.
    qos = {name: yaml.safe_load(topic['topic_metadata']['offered_qos_profiles']) for name, topic in topics.items()}
    assert [profile['durability'] for profile in qos['/tf_static']] == [1]
    assert [profile['durability'] for profile in qos['/odom']] == [2]


def test_sqlite3_holds_as_many_messages_as_it_says(tmp_path: Path) -> None:
    write_drive(tmp_path / 'drive', 'sqlite3')
    with sqlite3.connect(tmp_path / 'drive' / 'drive.db3') as database:
        assert database.execute('select count(*) from messages').fetchone() == (10,)


def test_headers_carry_the_stamp_and_the_frame(tmp_path: Path) -> None:
    write_drive(tmp_path / 'drive', 'mcap', count=1)
    found = messages(tmp_path / 'drive')
    for topic, frame in (('/camera/image_raw', 'camera'), ('/camera/camera_info', 'camera'), ('/odom', 'odom')):
        header = found[topic][0].header
        assert (header.stamp.sec, header.stamp.nanosec) == divmod(STAMP_NS, 10**9)
        assert header.frame_id == frame
    transform = found['/tf_static'][0].transforms[0]
    assert (transform.header.frame_id, transform.child_frame_id) == ('base_link', 'camera')
    rotation = transform.transform.rotation
    back = rotation_of_quaternion(rotation.x, rotation.y, rotation.z, rotation.w)
    np.testing.assert_allclose(back, T_BASE_CAMERA[:3, :3], atol=1e-9)
    assert found['/odom'][0].child_frame_id == 'base_link'
    assert found['/odom'][0].twist.twist.angular.z == pytest.approx(0.1)


def test_camera_info_keeps_the_lens_and_projects_without_it(tmp_path: Path) -> None:
    flat = Camera(24, 16, 20.0, 21.0, 11.0, 8.0)
    with BagWriter(tmp_path / 'infos') as bag:
        bag.add_camera_info('/lens', LENS, STAMP_NS, 'camera')
        bag.add_camera_info('/flat', flat, STAMP_NS, 'camera')
    found = messages(tmp_path / 'infos')
    lens, info = found['/lens'][0], found['/flat'][0]
    assert lens.distortion_model == info.distortion_model == 'plumb_bob'
    assert lens.d.tolist() == list(LENS.distortion)
    assert info.d.tolist() == [0.0] * 5
    assert info.p.tolist() == [20, 0, 11, 0, 0, 21, 8, 0, 0, 0, 1, 0]
    assert lens.k.tolist() == info.k.tolist() == [20, 0, 11, 0, 21, 8, 0, 0, 1]
    assert lens.p[0] != lens.k[0]
    assert lens.r.tolist() == np.eye(3).ravel().tolist()


@pytest.mark.parametrize(
    ('array', 'encoding', 'step'),
    [
        (IMAGE, 'rgb8', 72),
        (IMAGE[..., 0], 'mono8', 24),
        (IMAGE[..., 0].astype(np.uint16) * 200, '16UC1', 48),
        (IMAGE[..., 0].astype(np.float32), '32FC1', 96),
    ],
)
def test_arrays_find_their_encoding(tmp_path: Path, array: np.ndarray, encoding: str, step: int) -> None:
    with BagWriter(tmp_path / 'images') as bag:
        bag.add_image('/image', array, STAMP_NS, 'camera')
    image = messages(tmp_path / 'images')['/image'][0]
    assert (image.encoding, image.step, image.height, image.width) == (encoding, step, 16, 24)
    assert image.data.tobytes() == array.tobytes()


def test_an_array_without_a_usual_encoding_needs_a_name(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'images') as bag:
        with pytest.raises(ImageFormatError, match=r'float64 \(16, 24\) has no usual encoding: name one'):
            bag.add_image('/image', np.zeros((16, 24)), STAMP_NS, 'camera')
        bag.add_image('/image', np.zeros((16, 24)), STAMP_NS, 'camera', encoding='64FC1')
    assert messages(tmp_path / 'images')['/image'][0].encoding == '64FC1'


def test_image_bytes_may_lie(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'images') as bag:
        bag.add_image_bytes('/image', np.zeros(7, np.uint8), (24, 16, 99), 'bgr16', STAMP_NS, 'c', is_bigendian=True)
    image = messages(tmp_path / 'images')['/image'][0]
    assert (image.step, len(image.data), image.encoding, image.is_bigendian) == (99, 7, 'bgr16', 1)


@pytest.mark.parametrize(('kind', 'tolerance'), [('png', 0), ('jpeg', 40)])
def test_compressed_images_decode_to_the_image(tmp_path: Path, kind: str, tolerance: int) -> None:
    smooth = cv2.GaussianBlur(IMAGE, (0, 0), 3)
    with BagWriter(tmp_path / 'images') as bag:
        bag.add_compressed_image('/image/compressed', smooth, STAMP_NS, 'camera', kind=kind)
        bag.add_compressed_image('/grey/compressed', smooth[..., 0], STAMP_NS, 'camera', kind=kind)
    found = messages(tmp_path / 'images')
    image = found['/image/compressed'][0]
    assert image.format == f'rgb8; {kind} compressed bgr8'
    back = cv2.imdecode(image.data, cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(back.astype(int) - smooth).max() <= tolerance
    assert cv2.imdecode(found['/grey/compressed'][0].data, cv2.IMREAD_UNCHANGED).shape == (16, 24)


def test_a_bag_is_not_there_before_its_end_and_never_after_a_fault(tmp_path: Path) -> None:
    path = tmp_path / 'deep' / 'drive'
    with BagWriter(path) as bag:
        bag.add_image('/image', IMAGE, STAMP_NS, 'camera')
        assert not path.exists()
    assert path.is_dir()
    with pytest.raises(ImageFormatError, match='name one'):
        _write_something_that_cannot_be(tmp_path / 'deep' / 'other')
    assert [file.name for file in path.parent.iterdir()] == ['drive']


def _write_something_that_cannot_be(path: Path) -> None:
    with BagWriter(path) as bag:
        bag.add_image('/image', IMAGE, STAMP_NS, 'camera')
        bag.add_image('/image', np.zeros((16, 24)), STAMP_NS, 'camera')


def test_a_path_that_exists_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BagError, match='exists already: name another folder'):
        BagWriter(tmp_path)


def test_a_path_that_appears_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / 'drive'
    with pytest.raises(BagError, match='exists already'):
        _write_while_somebody_takes_the_place(path)
    assert [file.name for file in tmp_path.iterdir()] == ['drive']
    assert not list(path.iterdir())


def _write_while_somebody_takes_the_place(path: Path) -> None:
    with BagWriter(path) as bag:
        bag.add_image('/image', IMAGE, STAMP_NS, 'camera')
        path.mkdir()


def test_unknown_storages_and_types_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="bag storage 'zip' is not one of mcap, sqlite3"):
        BagWriter(tmp_path / 'drive', 'zip')
    with BagWriter(tmp_path / 'drive') as bag:
        with pytest.raises(ConfigError, match="'sensor_msgs/msg/Photo' is not a message type"):
            bag.add_topic('/image', 'sensor_msgs/msg/Photo')
        bag.add_topic('/image', 'sensor_msgs/msg/Image')
        with pytest.raises(ConfigError, match="topic '/image' holds sensor_msgs/msg/Image, not std_msgs/msg/String"):
            bag.write('/image', bag.message('std_msgs/msg/String', data=''), STAMP_NS)
        with pytest.raises(ConfigError, match="topic '/image' is in the bag already"):
            bag.add_topic('/image', 'sensor_msgs/msg/Image')


def test_raw_messages_are_kept_byte_by_byte(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'drive') as bag:
        data = bytes(bag.types.serialize_cdr(bag.message('std_msgs/msg/String', data='hello'), 'std_msgs/msg/String'))
        bag.write_raw('/chatter', 'std_msgs/msg/String', STAMP_NS, data)
        assert bag.counts == {'/chatter': 1}
    with AnyReader([tmp_path / 'drive']) as reader:
        assert [bytes(message) for _, _, message in reader.messages()] == [data]


def test_quaternions_turn_as_their_rotations_do() -> None:
    rng = np.random.default_rng(2)
    cases = [np.diag([1.0, 1, 1]), np.diag([1.0, -1, -1]), np.diag([-1.0, 1, -1]), np.diag([-1.0, -1, 1])]
    cases += [cv2.Rodrigues(rng.normal(0, 2, 3))[0] for _ in range(20)]
    for rotation in cases:
        quaternion = quaternion_of_rotation(rotation)
        assert quaternion[3] >= 0
        np.testing.assert_allclose(rotation_of_quaternion(*quaternion), rotation, atol=1e-9)
