"""Bags as drives: topics chosen, images, camera, motion and depth joined, every loss counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recorded_robot import OPTICAL, PERIOD_NS, START_NS, Robot, plain, stamps, write

from sidepth_core.camera import Camera
from sidepth_core.data.bags.source import BagSource
from sidepth_core.data.bags.topics import Choice
from sidepth_core.errors import BagError, DatasetError


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_raw_images_come_with_their_sibling_camera(tmp_path: Path, storage: str) -> None:
    source = BagSource(write(tmp_path / 'bag', plain, storage))
    frames = list(source)
    assert [frame.stamp_ns for frame in frames] == stamps(3)
    assert frames[0].image.shape == (48, 64, 3)
    assert frames[0].image[0, 0].tolist() == [30, 20, 10]
    assert frames[0].camera == Camera(64, 48, 50, 51, 32, 24, 'plumb_bob', (-0.1, 0.01, 0, 0))
    assert frames[0].speed_mps is None
    assert frames[0].T_world_camera is None
    assert (source.report.claimed, source.report.read, source.report.used) == (3, 3, 3)
    assert source.expected() == 3
    # A second reading is the same as the first.
    assert [frame.stamp_ns for frame in source] == stamps(3)
    assert source.report.read == 3


def test_compressed_images_are_decoded_and_damaged_ones_counted(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        for stamp in stamps(4):
            robot.jpeg(stamp, data=b'\xff\xd8\xff garbage' if stamp == START_NS + PERIOD_NS else None)

    source = BagSource(write(tmp_path / 'bag', drive))
    frames = list(source)
    assert len(frames) == 3
    assert np.abs(frames[0].image.astype(int) - [30, 20, 10]).max() <= 2
    assert source.report.read == 4
    assert source.report.skipped == {'damaged image': 1}
    assert any('first damaged image' in note for note in source.report.notes)
    assert any('calibrates the camera' in note for note in source.report.notes)


def test_messages_cut_short_are_counted(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        plain(robot)
        kind = 'sensor_msgs/msg/Image'
        image = robot.types[kind](robot.header(START_NS, 'optical'), 4, 4, 'rgb8', 0, 12, np.zeros(48, np.uint8))
        whole = bytes(robot.writer.types.serialize_cdr(image, kind))
        for length in (0, 3, 10, 30, len(whole) - 20):
            robot.writer.write_raw('/cam/image_raw', kind, START_NS + 10**9, whole[:length])
        robot.writer.write_raw('/cam/image_raw', kind, START_NS + 10**9, b'\x28\xb5\x2f\xfd no zstd')

    source = BagSource(write(tmp_path / 'bag', drive))
    assert len(list(source)) == 3
    assert source.report.read == source.report.claimed == 9
    assert sum(source.report.skipped.values()) == 6


def test_a_recording_that_was_cut_off_is_said_not_to_be_whole(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        for stamp in stamps(30):
            robot.image(stamp)

    bag = write(tmp_path / 'bag', drive)
    source = BagSource(bag)
    whole = len(list(source))
    assert source.report.whole
    (file,) = (path for path in bag.iterdir() if path.suffix in {'.mcap', '.db3'})
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert 0 < len(list(source)) < whole
    assert not source.report.whole


def test_one_camera_in_two_transports_is_one_camera(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        for stamp in stamps(2):
            robot.image(stamp)
            robot.jpeg(stamp)

    source = BagSource(write(tmp_path / 'bag', drive))
    assert len(list(source)) == 2
    assert '/cam/image_raw (Image, 2)' in source.report.notes[0]


def test_two_cameras_are_listed_and_one_can_be_named(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        plain(robot)
        robot.image(START_NS, topic='/rear/image_raw')
        robot.image(START_NS, topic='/cam/depth/image')

    bag = write(tmp_path / 'bag', drive)
    with pytest.raises(BagError, match=r'several cameras.*/cam/image_raw \(Image, 3\), /rear/image_raw \(Image, 1\)'):
        list(BagSource(bag))
    assert len(list(BagSource(bag, Choice(image='/rear/image_raw')))) == 1
    with pytest.raises(BagError, match=r"'/front' is not there, expected one of: .*/rear/image_raw"):
        list(BagSource(bag, Choice(image='/front')))
    with pytest.raises(BagError, match='is sensor_msgs/msg/CameraInfo, expected one of'):
        list(BagSource(bag, Choice(image='/cam/camera_info')))


def test_a_bag_without_images_lists_what_it_has(tmp_path: Path) -> None:
    bag = write(tmp_path / 'bag', lambda robot: robot.odometry(START_NS, 0, 1))
    with pytest.raises(BagError, match=r'no camera images. Its topics: /odom \(Odometry, 1\)'):
        list(BagSource(bag))


def test_an_empty_bag_says_so(tmp_path: Path) -> None:
    bag = write(tmp_path / 'bag', lambda robot: robot.writer.add_topic('/cam/image_raw', 'sensor_msgs/msg/Image'))
    with pytest.raises(BagError, match=r'no camera images. Its topics: /cam/image_raw \(Image, 0\)'):
        list(BagSource(bag))


def test_mixed_sizes_are_counted(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        for index, stamp in enumerate(stamps(4)):
            robot.image(stamp, size=(32, 24) if index == 2 else (64, 48))

    source = BagSource(write(tmp_path / 'bag', drive))
    assert len(list(source)) == 3
    assert source.report.skipped == {'size 32x24 differs from 64x48': 1}


def test_zero_k_is_no_camera_and_is_said(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        for stamp in stamps(2):
            robot.camera_info(stamp, k=(0.0,) * 9)
            robot.image(stamp)

    source = BagSource(write(tmp_path / 'bag', drive))
    assert [frame.camera for frame in source] == [None, None]
    assert any('2 messages of /cam/camera_info are no calibration' in note for note in source.report.notes)


def test_intrinsics_of_another_size_are_scaled_and_of_another_view_refused(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        robot.camera_info(START_NS, size=(128, 96), k=(100, 0, 64, 0, 102, 48, 0, 0, 1))
        robot.image(START_NS)

    frame = next(iter(BagSource(write(tmp_path / 'bag', drive))))
    assert frame.camera is not None
    assert (frame.camera.fx, frame.camera.cx) == (50, 31.75)

    def cropped(robot: Robot) -> None:
        robot.camera_info(START_NS, size=(64, 36))
        robot.image(START_NS)

    with pytest.raises(DatasetError, match='images are 64x48, the calibration is for 64x36'):
        list(BagSource(write(tmp_path / 'cropped', cropped)))


def test_rectified_topics_take_the_projection_matrix(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        robot.camera_info(START_NS)
        robot.image(START_NS, topic='/cam/image_rect')

    frame = next(iter(BagSource(write(tmp_path / 'bag', drive))))
    assert frame.camera == Camera(64, 48, 45, 46, 31, 23)


def test_a_given_camera_takes_the_place_of_the_bags(tmp_path: Path) -> None:
    bag = write(tmp_path / 'bag', plain)
    camera = Camera(64, 48, 60, 60, 31.5, 23.5)
    assert next(iter(BagSource(bag, camera=camera))).camera == camera
    assert next(iter(BagSource(bag, camera='learned'))).camera is None


def test_late_stamps_are_skipped_and_a_clock_set_back_begins_anew(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        log = iter(range(START_NS, START_NS + 100))
        for offset in (10, 11, 10.5, 11, 12, 2, 3):
            robot.image(START_NS + int(offset * 1e9), log_ns=next(log))

    source = BagSource(write(tmp_path / 'bag', drive))
    assert [(frame.stamp_ns - START_NS) / 1e9 for frame in source] == [10, 11, 12, 2, 3]
    assert source.report.skipped == {'stamp is not after the one before': 2}
    assert any('the clock jumps back by 10.0 s at image 6' in note for note in source.report.notes)


def test_convention_odometry_gives_speed_and_pose_of_the_camera(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        robot.tf_static('base_link', 'mount', (1.0, 0, 0.5), (0, 0, 0, 1))
        robot.tf_static('mount', 'optical', (0, 0.25, 0), OPTICAL)
        for index, stamp in enumerate(stamps(3)):
            robot.odometry(stamp, x_m=0.2 * index, speed_mps=2.0)
            robot.image(stamp + PERIOD_NS // 4)

    frames = list(BagSource(write(tmp_path / 'bag', drive)))
    pose = frames[0].T_world_camera
    assert pose is not None
    # A quarter of the way from x = 0 to 0.2, plus the mount; the camera looks along the body's x.
    assert pose[:3, 3] == pytest.approx([0.05 + 1.0, 0.25, 0.5])
    assert pose[:3, :3] @ [0, 0, 1] == pytest.approx([1, 0, 0])
    assert pose[:3, :3] @ [1, 0, 0] == pytest.approx([0, -1, 0])
    assert [frame.speed_mps for frame in frames] == pytest.approx([2, 2, 2])


def test_a_camera_ahead_of_the_axle_moves_when_the_robot_turns(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        robot.tf_static('base_link', 'optical', (2.0, 0, 0), OPTICAL)
        for stamp in stamps(2):
            robot.odometry(stamp, x_m=0, speed_mps=3.0, yaw_rate=2.0)
            robot.image(stamp)

    # 3 m/s forward and 2 rad/s x 2 m sideways.
    assert [frame.speed_mps for frame in BagSource(write(tmp_path / 'bag', drive))] == pytest.approx([5, 5])


def test_an_empty_twist_is_replaced_by_the_speed_of_the_poses(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        for index, stamp in enumerate(stamps(5)):
            robot.odometry(stamp, x_m=0.3 * index, speed_mps=0)
            robot.image(stamp)

    source = BagSource(write(tmp_path / 'bag', drive))
    assert [frame.speed_mps for frame in source] == pytest.approx([3.0] * 5)
    assert any('speed is taken from its poses' in note for note in source.report.notes)
    assert any("does not lead from 'base_link' to 'optical'" in note for note in source.report.notes)


def test_a_bare_speed_topic_is_read_on_the_recorders_clock(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        for index in range(4):
            robot.speed(START_NS + index * PERIOD_NS, 10.0 + index)
            # The camera's clock is an hour off; the recorder's is not.
            log_ns = START_NS + index * PERIOD_NS + PERIOD_NS // 2
            robot.image(log_ns - 3600 * 10**9, log_ns=log_ns)

    speeds = [frame.speed_mps for frame in BagSource(write(tmp_path / 'bag', drive))]
    assert speeds == pytest.approx([10.5, 11.5, 12.5, 13.0])


def test_no_speed_is_made_up_across_a_gap(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        robot.odometry(START_NS, 0, 1.0)
        robot.odometry(START_NS + 20 * PERIOD_NS, 2, 1.0)
        for stamp in stamps(25):
            robot.image(stamp)

    speeds = [frame.speed_mps for frame in BagSource(write(tmp_path / 'bag', drive))]
    assert speeds[0] == 1.0
    assert speeds[10] is None
    assert speeds[20:] == [1.0] * 5


def test_several_odometries_are_listed(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        plain(robot)
        robot.odometry(START_NS, 0, 1.0)
        robot.odometry(START_NS, 0, 1.0, topic='/visual/odom')

    bag = write(tmp_path / 'bag', drive)
    with pytest.raises(BagError, match=r"name one as odometry_topic \(or 'none'\): /odom .*, /visual/odom"):
        list(BagSource(bag))
    assert next(iter(BagSource(bag, Choice(odometry='none')))).speed_mps is None
    assert next(iter(BagSource(bag, Choice(odometry='/odom')))).speed_mps == 1.0


def test_convention_lidar_becomes_depth_of_the_nearest_sweep(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        robot.tf_static('base_link', 'optical', (0, 0, 0), OPTICAL)
        robot.tf_static('base_link', 'lidar', (0, 0, 1.0), (0, 0, 0, 1))
        for index, stamp in enumerate(stamps(2)):
            robot.camera_info(stamp, k=(50, 0, 32, 0, 50, 24, 0, 0, 1))
            # The lidar sits 1 m above the camera: 1 m below it and 8 m ahead is on the optical axis.
            robot.cloud(stamp + 10_000_000, [(8.0 + index, 0, -1.0), (float('nan'), 0, 0), (-5.0, 0, 0)])
            robot.image(stamp)

    bag = write(tmp_path / 'bag', drive)
    assert next(iter(BagSource(bag))).depth_m is None
    frames = list(BagSource(bag, Choice(lidar=None)))
    for frame, expected in zip(frames, (8.0, 9.0), strict=True):
        assert frame.depth_m is not None
        assert frame.depth_m.shape == (48, 64)
        assert frame.depth_m[24, 32] == expected
        assert np.isfinite(frame.depth_m).sum() == 1


def test_reading_can_start_in_the_middle_and_count_on(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        for index, stamp in enumerate(stamps(6)):
            robot.jpeg(stamp, data=b'no image' if index in {1, 4} else None)

    source = BagSource(write(tmp_path / 'bag', drive))
    first = [position for position, _ in source.frames()][:2]
    whole = source.report
    # As after an interruption that had seen positions 0 to 2.
    earlier = type(whole)(source.name, used=2)
    earlier.skipped['damaged image'] = 1
    rest = [position for position, _ in source.frames(start=2, counted_from=3, earlier=earlier)]
    assert (first, rest) == ([0, 2], [2, 3, 5])
    assert source.report.used == whole.used == 4
    assert source.report.skipped == whole.skipped == {'damaged image': 2}
