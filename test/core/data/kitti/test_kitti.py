"""KITTI raw, odometry and object data, in folders of its layout."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from sidepth_core.camera import Camera
from sidepth_core.data.kitti.files import pose_of_oxts, read_oxts, read_timestamps
from sidepth_core.data.kitti.lists import BENCHMARK_VAL_DRIVES, EIGEN_TEST_FRAMES, EIGEN_TRAIN_DRIVES
from sidepth_core.data.kitti.source import KittiDrive, KittiObject, KittiOdometry
from sidepth_core.data.kitti.splits import (
    is_kitti_drive,
    is_kitti_object,
    is_kitti_odometry,
    is_kitti_root,
    kitti_drives,
)
from sidepth_core.data.sources import open_source
from sidepth_core.errors import ConfigError, DatasetError

P_RECT_02 = '50 0 32 10 0 50 24 0 0 0 1 0'
IDENTITY = '1 0 0 0 1 0 0 0 1'
# The Velodyne's x ahead, y left, z up into the camera's axes.
VELO_R = '0 -1 0 0 0 -1 1 0 0'


def drive(root: Path, name: str, count: int = 3, date: str = '2011_09_26') -> Path:
    folder = root / date
    path = folder / f'{date}_drive_{name}_sync'
    (path / 'image_02' / 'data').mkdir(parents=True)
    (path / 'oxts' / 'data').mkdir(parents=True)
    (path / 'velodyne_points' / 'data').mkdir(parents=True)
    (folder / 'calib_cam_to_cam.txt').write_text(
        f'calib_time: 09-Jan-2012 13:57:47\nR_rect_00: {IDENTITY}\nP_rect_02: {P_RECT_02}\nP_rect_03: {P_RECT_02}\n'
    )
    (folder / 'calib_velo_to_cam.txt').write_text(f'R: {VELO_R}\nT: 0 0 0\n')
    (folder / 'calib_imu_to_velo.txt').write_text(f'R: {IDENTITY}\nT: 0 0 0\n')
    (path / 'image_02' / 'timestamps.txt').write_text(
        '\n'.join(f'2011-09-26 13:02:25.{1 + index}00000001' for index in range(count)) + '\n'
    )
    for index in range(count):
        cv2.imwrite(str(path / 'image_02' / 'data' / f'{index:010d}.png'), np.full((48, 64, 3), index, np.uint8))
        # North by a metre a frame, at the equator: 1 / 6378137 rad.
        packet = [np.degrees(index / 6378137), 0, 100, 0, 0, np.pi / 2, 10, 0, 3, 4, 0, 0]
        (path / 'oxts' / 'data' / f'{index:010d}.txt').write_text(' '.join(map(str, packet)))
        sweep = np.array([[8.0, 0, 0, 0.5], [-8, 0, 0, 0.5]], '<f4')
        sweep.tofile(path / 'velodyne_points' / 'data' / f'{index:010d}.bin')
    return path


def test_a_raw_drive_has_camera_times_speed_and_pose(tmp_path: Path) -> None:
    path = drive(tmp_path, '0001')
    frames = list(KittiDrive(path))
    assert len(frames) == 3
    camera = frames[0].camera
    assert camera is not None
    assert (camera.width, camera.fx, camera.cx, camera.cy, camera.distortion) == (64, 50, 32, 24, ())
    assert frames[1].stamp_ns - frames[0].stamp_ns == 100_000_000
    assert frames[0].stamp_ns % 10**9 == 100_000_001
    assert frames[0].speed_mps == 5.0
    # Yaw of 90 degrees: the vehicle looks north, and so does the camera.
    first, second = frames[0].T_world_camera, frames[1].T_world_camera
    assert first is not None
    assert second is not None
    assert (np.linalg.inv(first) @ second)[:3, 3] == pytest.approx([0, 0, 1], abs=1e-6)


def test_raw_lidar_is_projected_as_in_the_published_tables(tmp_path: Path) -> None:
    path = drive(tmp_path, '0001')
    assert next(iter(KittiDrive(path))).depth_m is None
    depth = next(iter(KittiDrive(path, truth='lidar'))).depth_m
    assert depth is not None
    # P_rect_02[0, 3] = 10 puts the camera 10 / 50 m to the left: u = 50 * 0.2 / 8 + 32 = 33.25, counted from one.
    assert np.argwhere(np.isfinite(depth)).tolist() == [[23, 32]]
    assert depth[23, 32] == 8.0


def test_improved_ground_truth_is_read_where_there_is_some(tmp_path: Path) -> None:
    path = drive(tmp_path, '0001')
    truth = path / 'proj_depth' / 'groundtruth' / 'image_02'
    truth.mkdir(parents=True)
    values = np.zeros((48, 64), np.uint16)
    values[5, 6] = 512
    cv2.imwrite(str(truth / f'{1:010d}.png'), values)
    depths = [frame.depth_m for frame in KittiDrive(path, truth='improved')]
    assert depths[0] is None
    assert depths[1] is not None
    assert depths[1][5, 6] == 2.0
    assert np.isfinite(depths[1]).sum() == 1


@pytest.mark.parametrize('place', ['val', 'data_depth_annotated/train', '../data_depth_annotated/val', '../train'])
def test_improved_ground_truth_is_found_where_it_is_published(tmp_path: Path, place: str) -> None:
    path = drive(tmp_path / 'raw', '0001')
    folder = tmp_path / 'raw' / place / path.name / 'proj_depth' / 'groundtruth' / 'image_02'
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / '0000000001.png'), np.full((48, 64), 512, np.uint16))
    source = KittiDrive(path, truth='improved')
    assert [frame.depth_m is not None for frame in source] == [False, True, False]
    assert '2 of 3 images have no improved depth' in source.report.notes


def test_strange_files_in_a_drive_are_left_alone(tmp_path: Path) -> None:
    path = drive(tmp_path, '0001')
    (path / 'image_02' / 'data' / 'cover.png').write_bytes(b'no image')
    (path / 'oxts' / 'data' / 'notes.txt').write_text('no packet')
    assert len(list(KittiDrive(path))) == 3


def test_a_drive_without_its_calibration_is_told_so(tmp_path: Path) -> None:
    path = drive(tmp_path, '0001')
    (path.parent / 'calib_cam_to_cam.txt').unlink()
    with pytest.raises(DatasetError, match=r"calib_cam_to_cam.txt' is missing"):
        list(open_source(str(path)))


@pytest.mark.parametrize(
    ('first', 'poses', 'frames'), [(0, 3, [0, 1, 2]), (4, 3, [0, 1, 2]), (4, 9, [4, 5, 6]), (0, 9, [0, 1, 2])]
)
def test_a_part_of_an_odometry_sequence_takes_the_rows_of_its_numbers(
    tmp_path: Path, first: int, poses: int, frames: list[int]
) -> None:
    sequence = tmp_path / 'sequences' / '06'
    (sequence / 'image_0').mkdir(parents=True)
    (tmp_path / 'poses').mkdir()
    (sequence / 'calib.txt').write_text('P0: 50 0 32 0 0 50 24 0 0 0 1 0\n')
    (sequence / 'times.txt').write_text(''.join(f'{row / 10}\n' for row in range(poses)))
    (tmp_path / 'poses' / '06.txt').write_text(''.join(f'1 0 0 0 0 1 0 0 0 0 1 {row}\n' for row in range(poses)))
    for number in range(first, first + 3):
        cv2.imwrite(str(sequence / 'image_0' / f'{number:06d}.png'), np.zeros((48, 64, 3), np.uint8))
    found = list(KittiOdometry(sequence))
    assert [frame.stamp_ns for frame in found] == [row * 100_000_000 for row in frames]
    assert [frame.T_world_camera[2, 3] for frame in found if frame.T_world_camera is not None] == frames


def test_tables_that_do_not_belong_to_a_sequence_are_refused(tmp_path: Path) -> None:
    (tmp_path / 'image_0').mkdir()
    (tmp_path / 'calib.txt').write_text('P0: 50 0 32 0 0 50 24 0 0 0 1 0\n')
    cv2.imwrite(str(tmp_path / 'image_0' / '000002.png'), np.zeros((48, 64, 3), np.uint8))
    (tmp_path / 'times.txt').write_text('0\n1\n')
    with pytest.raises(DatasetError, match=r"times.txt' holds 2 rows for 1 images"):
        list(KittiOdometry(tmp_path))


def test_what_a_drive_lacks_is_named(tmp_path: Path) -> None:
    path = drive(tmp_path, '0001')
    with pytest.raises(DatasetError, match='no P_rect_01 of 3x4 numbers'):
        list(KittiDrive(path, side=1))
    with pytest.raises(ConfigError, match=r'side 7 is not 0\.\.3'):
        KittiDrive(path, side=7)
    (path.parent / 'calib_cam_to_cam.txt').unlink()
    with pytest.raises(DatasetError, match=r'calib_cam_to_cam\.txt. is missing'):
        list(KittiDrive(path))


def test_splits_hold_out_the_published_drives(tmp_path: Path) -> None:
    assert (len(EIGEN_TRAIN_DRIVES), len(EIGEN_TEST_FRAMES), len(BENCHMARK_VAL_DRIVES)) == (33, 28, 13)
    assert not EIGEN_TRAIN_DRIVES & EIGEN_TEST_FRAMES.keys()
    for name in ('0001', '0002', '0003', '0005', '0009'):
        drive(tmp_path, name, count=1)

    def names(split: str) -> list[str]:
        return [source.path.name[17:21] for source in kitti_drives(tmp_path, split)]

    assert names('all') == ['0001', '0002', '0003', '0005', '0009']
    assert names('eigen_zhou') == names('eigen') == ['0001', '0005']
    assert names('eigen_test') == ['0002', '0009']
    assert names('benchmark') == ['0001', '0003', '0009']
    assert names('benchmark_val') == ['0002', '0005']
    with pytest.raises(DatasetError, match="split 'eigne' is neither a file nor one of all, eigen"):
        kitti_drives(tmp_path, 'eigne')
    with pytest.raises(DatasetError, match='none of split'):
        kitti_drives(tmp_path / '2011_09_26' / '2011_09_26_drive_0001_sync')


def test_the_rules_give_exactly_the_697_images_of_the_published_tables() -> None:
    lines = sorted(
        f'{drive[:10]}/{drive} {number:010d} l' for drive, numbers in EIGEN_TEST_FRAMES.items() for number in numbers
    )
    assert len(lines) == 697
    # Of the lines of the published list, sorted: it is in no order that matters.
    digest = hashlib.sha256('\n'.join(lines).encode()).hexdigest()
    assert digest == '05336d44d5423a539ace628dbf9add23a3de885ae157ac5612e3b79dc380eb73'


def test_the_eigen_test_is_read_from_the_left_camera_and_says_what_is_missing(tmp_path: Path) -> None:
    drive(tmp_path, '0002', count=5)
    (source,) = kitti_drives(tmp_path, 'eigen_test')
    assert [frame.image[0, 0, 0] for frame in source] == [0, 3]
    whole, images = source.report.notes
    assert whole.startswith("split 'eigen_test' is not whole: 27 of its 28 drives with 672 of its 697 images are not")
    assert images == '23 images of the split are not there, as number 6'


def test_a_list_of_triplets_is_read_with_their_neighbours(tmp_path: Path) -> None:
    drive(tmp_path, '0001', count=9)
    split = tmp_path / 'train_files.txt'
    split.write_text('2011_09_26/2011_09_26_drive_0001_sync 2 l\n2011_09_26/2011_09_26_drive_0001_sync 6 l\n')
    source = open_source(f'{tmp_path}?split={split}&neighbours=1')
    assert [frame.image[0, 0, 0] for frame in source] == [1, 2, 3, 5, 6, 7]


def test_a_split_file_gives_exactly_its_images(tmp_path: Path) -> None:
    drive(tmp_path, '0002')
    split = tmp_path / 'test_files.txt'
    split.write_text(
        '2011_09_26/2011_09_26_drive_0002_sync 0000000002 l\n2011_09_26/2011_09_26_drive_0002_sync 0 l\n'
        '2011_09_26/2011_09_26_drive_0099_sync 0000000002 l\n'
    )
    (source,) = kitti_drives(tmp_path, str(split))
    assert [frame.image[0, 0, 0] for frame in source] == [0, 2]
    split.write_text('one line\n')
    with pytest.raises(DatasetError, match="'one line' is not"):
        kitti_drives(tmp_path, str(split))


def test_a_split_file_may_hold_paths_of_images(tmp_path: Path) -> None:
    path = drive(tmp_path, '0001')
    image = f'2011_09_26/{path.name}/image_02/data/0000000001.png'
    split = tmp_path / 'files.txt'
    for line in (image, f'{image} {path.name}/proj_depth/groundtruth/image_02/0000000001.png 721.5377'):
        split.write_text(f'{line}\n')
        [only] = kitti_drives(tmp_path, str(split))
        assert (only.side, only.numbers) == (2, {1})


def test_the_selection_of_the_depth_benchmark_is_read(tmp_path: Path) -> None:
    for folder in ('image', 'groundtruth_depth', 'intrinsics'):
        (tmp_path / folder).mkdir()
    for number in (5, 8):
        name = f'2011_09_26_drive_0002_sync_image_{number:010d}_image_02'
        cv2.imwrite(str(tmp_path / 'image' / f'{name}.png'), np.zeros((48, 64, 3), np.uint8))
        (tmp_path / 'intrinsics' / f'{name}.txt').write_text('50 0 32 0 51 24 0 0 1')
    truth = '2011_09_26_drive_0002_sync_groundtruth_depth_0000000005_image_02.png'
    cv2.imwrite(str(tmp_path / 'groundtruth_depth' / truth), np.full((48, 64), 512, np.uint16))
    source = open_source(str(tmp_path))
    first, second = source
    assert first.camera == Camera(64, 48, 50, 51, 32, 24)
    assert first.depth_m is not None
    assert first.depth_m[0, 0] == 2.0
    assert second.depth_m is None
    assert source.report.notes == ['1 of 2 images have no improved depth']
    next((tmp_path / 'intrinsics').iterdir()).write_text('50')
    with pytest.raises(DatasetError, match='are missing, or not the nine numbers of K'):
        list(source)


@pytest.mark.parametrize(('packet', 'message'), [('1 2 3', 'has 3 numbers'), ('north ' * 11, "'north'")])
def test_an_oxts_packet_that_is_none_is_named(packet: str, message: str, tmp_path: Path) -> None:
    (tmp_path / '0000000007.txt').write_text(packet)
    with pytest.raises(DatasetError, match=rf'0000000007\.txt.*{message}'):
        read_oxts(tmp_path / '0000000007.txt')


def test_convention_oxts_poses_are_metres_east_north_up() -> None:
    first = np.array([48.0, 8.0, 100, 0, 0, 0, 0, 0, 0, 0, 0])
    north, east = first.copy(), first.copy()
    north[0] += 0.001
    east[1] += 0.001
    # A thousandth of a degree is 111.3 m along a meridian, times cos(48 deg) along the parallel.
    assert pose_of_oxts(north, first)[:3, 3] == pytest.approx([0, 111.32, 0], abs=0.01)
    assert pose_of_oxts(east, first)[:3, 3] == pytest.approx([74.49, 0, 0], abs=0.01)
    turned = first.copy()
    turned[5] = np.pi / 2
    assert pose_of_oxts(turned, first)[:3, :3] @ [1, 0, 0] == pytest.approx([0, 1, 0])


def test_times_that_are_none_are_refused(tmp_path: Path) -> None:
    assert read_timestamps(tmp_path / 'none.txt') is None
    (tmp_path / 'times.txt').write_text('yesterday\n')
    with pytest.raises(DatasetError, match="'yesterday' is no time"):
        read_timestamps(tmp_path / 'times.txt')


def test_kinds_of_kitti_are_told_apart(tmp_path: Path) -> None:
    path = drive(tmp_path, '0001', count=1)
    assert is_kitti_drive(path)
    assert not is_kitti_drive(tmp_path)
    assert is_kitti_root(tmp_path)
    assert is_kitti_root(path.parent)
    assert not is_kitti_root(path)
    assert not is_kitti_odometry(path)
    assert not is_kitti_object(path)


def test_published_odometry_is_read(real_data: Path) -> None:
    path = real_data / 'kitti_odometry_06'
    assert is_kitti_odometry(path)
    frames = list(KittiOdometry(path))
    assert len(frames) == 51
    assert frames[0].camera is not None
    assert frames[0].camera.fx == 707.0912
    places = np.array([frame.T_world_camera for frame in frames])[:, :3, 3]
    assert np.linalg.norm(np.diff(places, axis=0), axis=1).sum() == pytest.approx(59.9, abs=0.1)
    with pytest.raises(DatasetError, match='no folder image_2'):
        KittiOdometry(path, side=2)


def test_lidar_of_published_images_lies_where_the_road_is(real_data: Path) -> None:
    path = real_data / 'lidar_samples' / 'kitti_object_000000-1'
    assert is_kitti_object(path)
    frames = list(KittiObject(path))
    assert len(frames) == 2
    for frame in frames:
        assert frame.depth_m is not None
        height, width = frame.image.shape[:2]
        assert frame.depth_m.shape == (height, width)
        known = np.isfinite(frame.depth_m)
        assert 0.03 < known.mean() < 0.06
        # No returns in the sky, and the road comes nearer towards the lower edge.
        assert not known[: height // 4].any()
        rows = [np.nanmedian(frame.depth_m[row : row + 20, width // 3 : 2 * width // 3]) for row in (230, 270, 320)]
        assert rows == sorted(rows, reverse=True)
        assert 4 < rows[-1] < 12
