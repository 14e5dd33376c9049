"""Recordings as robots really leave them: clocks that differ, transforms in the wrong topic, numbers that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorded_robot import OPTICAL, PERIOD_NS, START_NS, Robot, stamps, write

from sidepth_core.data.bags.source import BagSource
from sidepth_core.data.bags.topics import Choice
from sidepth_core.data.prepare.cache import prepare
from sidepth_core.errors import BagError, DatasetError

BOOT_NS = START_NS - 10**9
"""What the clock of a sensor that counts from its own start is behind by."""


def calibrated(robot: Robot) -> None:
    robot.tf_static('base_link', 'optical', (0.5, 0, 1), OPTICAL)
    robot.tf_static('base_link', 'lidar', (0, 0, 1), (0, 0, 0, 1))
    for stamp in stamps(3):
        robot.camera_info(stamp)
        robot.image(stamp)


def test_topics_stamped_by_another_clock_are_compared_by_the_times_of_recording(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        calibrated(robot)
        for stamp in stamps(3):
            robot.odometry(stamp - BOOT_NS, 0, (stamp - START_NS) / PERIOD_NS, log_ns=stamp)
            robot.cloud(stamp - BOOT_NS, [(5, 0, 0)], log_ns=stamp)

    source = BagSource(write(tmp_path / 'bag', drive), Choice(lidar=None))
    frames = list(source)
    assert [frame.speed_mps for frame in frames] == pytest.approx([0, 1, 2])
    assert [frame.depth_m is not None for frame in frames] == [True] * 3
    told = [note for note in source.report.notes if 'another clock' in note]
    assert [note.split()[0] for note in told] == ['/odom', '/lidar']


def test_times_of_recording_count_for_nothing_where_one_clock_stamps_all(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        calibrated(robot)
        for index, stamp in enumerate(stamps(3)):
            # A tool that converted the recording wrote topic after topic.
            robot.odometry(stamp, 0, index, log_ns=START_NS + 10**12 + index)

    source = BagSource(write(tmp_path / 'bag', drive))
    assert [frame.speed_mps for frame in source] == pytest.approx([0, 1, 2])
    assert not any('another clock' in note for note in source.report.notes)


def test_images_without_a_time_take_that_of_recording_and_say_so(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        for stamp in stamps(3):
            robot.image(0, log_ns=stamp)

    source = BagSource(write(tmp_path / 'bag', drive))
    assert [frame.stamp_ns for frame in source] == stamps(3)
    assert '3 images carry no time: that at which they were recorded is taken' in source.report.notes


def test_what_never_moves_in_tf_stands_in_for_a_missing_tf_static(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        for index, stamp in enumerate(stamps(3)):
            robot.image(stamp)
            robot.camera_info(stamp)
            robot.odometry(stamp, index, 10)
            robot.cloud(stamp, [(5, 0, 0)])
            for child, xyz, turn in (('optical', (0.5, 0, 1), OPTICAL), ('lidar', (0, 0, 1), (0, 0, 0, 1))):
                robot.tf_static('base_link', child, xyz, turn, topic='/tf', log_ns=stamp)
            robot.tf_static('odom', 'base_link', (index, 0, 0), (0, 0, 0, 1), topic='/tf', log_ns=stamp)

    source = BagSource(write(tmp_path / 'bag', drive), Choice(lidar=None))
    last = list(source)[-1]
    assert last.T_world_camera is not None
    assert last.T_world_camera[:3, 3] == pytest.approx([2.5, 0, 1])
    assert last.depth_m is not None
    assert last.depth_m[24, 32] == pytest.approx(4.5)
    assert "/tf_static does not know 'optical': what never moves in /tf is taken" in source.report.notes


def test_odometry_that_is_no_number_is_left_out(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        calibrated(robot)
        for index, stamp in enumerate(stamps(3)):
            robot.odometry(stamp, 0, 7 if index else float('nan'))

    assert [frame.speed_mps for frame in BagSource(write(tmp_path / 'bag', drive))] == [7, 7, 7]


def test_images_of_another_view_are_counted_and_the_others_kept(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        calibrated(robot)
        robot.image(START_NS + 10 * PERIOD_NS, size=(64, 32))

    source = BagSource(write(tmp_path / 'bag', drive))
    assert len(list(source)) == 3
    assert source.report.skipped == {'size does not fit the calibration': 1}
    assert any(note.startswith('first image of another view: images are 64x32') for note in source.report.notes)


def test_images_that_all_show_another_view_are_refused(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        robot.camera_info(START_NS)
        robot.image(START_NS, size=(64, 32))

    with pytest.raises(DatasetError, match=r'1 x size does not fit the calibration.*the proportions differ'):
        list(BagSource(write(tmp_path / 'bag', drive)))


def test_calibrations_of_other_namespaces_are_named(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        robot.image(START_NS)
        for topic in ('/front/camera_info', '/rear/camera_info'):
            robot.camera_info(START_NS, topic=topic)

    source = BagSource(write(tmp_path / 'bag', drive))
    list(source)
    assert any('camera_info_topic: /front/camera_info (CameraInfo, 1), /rear' in note for note in source.report.notes)


def test_why_nobody_knows_the_camera_is_said_where_it_is_needed(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        robot.camera_info(START_NS, k=(0,) * 9)
        robot.image(START_NS)

    source = BagSource(write(tmp_path / 'bag', drive))
    with pytest.raises(DatasetError, match=r'is not calibrated.*camera_info are no calibration.*fx=0'):
        prepare([source], tmp_path / 'cache')


def test_a_lidar_topic_of_another_type_is_refused(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        calibrated(robot)
        robot.speed(START_NS, 3)

    with pytest.raises(BagError, match="topic '/vehicle/speed' is std_msgs/msg/Float32, expected one of: none is here"):
        list(BagSource(write(tmp_path / 'bag', drive), Choice(lidar='/vehicle/speed')))


def test_what_is_wrong_with_the_files_is_said_with_what_is_missing(tmp_path: Path) -> None:
    def drive(robot: Robot) -> None:
        robot.image(START_NS)

    bag = write(tmp_path / 'bag', drive)
    file = next(bag.glob('*.mcap'))
    file.chmod(0o600)
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(BagError, match=r'no camera images.*was cut off'):
        list(BagSource(bag))
