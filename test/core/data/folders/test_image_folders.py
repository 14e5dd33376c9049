"""Folders of images as drives."""

from __future__ import annotations

import json
import pickle
import struct
import zlib
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
from PIL import Image

from sidepth_core.camera import Camera
from sidepth_core.data.folders.image_folders import FolderSource, images_in, read_depth, read_poses
from sidepth_core.errors import ConfigError, DatasetError

CAMERA = Camera(64, 48, 50, 50, 31.5, 23.5)


def image(path: Path, red: int = 0, size: tuple[int, int] = (64, 48)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((size[1], size[0], 3), (0, 0, red), np.uint8))


def drive(path: Path, count: int = 3) -> Path:
    """Write the whole layout."""
    for index in range(count):
        image(path / 'image' / f'{index}.png', red=10 * index)
        (path / 'depth').mkdir(exist_ok=True)
        np.save(path / 'depth' / f'{index}.npy', np.full((48, 64), index + 0.5, np.float32))
    (path / 'camera.json').write_text(json.dumps(CAMERA.to_dict()))
    np.savetxt(path / 'times.txt', 0.1 * np.arange(count))
    np.savetxt(path / 'speeds.txt', 2.0 + np.arange(count))
    np.savetxt(path / 'poses.txt', [[1, 0, 0, index, 0, 1, 0, 0, 0, 0, 1, 0] for index in range(count)])
    return path


def test_the_whole_layout_is_read(tmp_path: Path) -> None:
    source = FolderSource(drive(tmp_path / 'drive'))
    frames = list(source)
    assert [frame.stamp_ns for frame in frames] == [0, 100_000_000, 200_000_000]
    assert [frame.image[0, 0].tolist() for frame in frames] == [[0, 0, 0], [10, 0, 0], [20, 0, 0]]
    assert all(frame.camera == CAMERA for frame in frames)
    assert [frame.speed_mps for frame in frames] == [2, 3, 4]
    assert frames[2].T_world_camera is not None
    assert frames[2].T_world_camera[:, 3].tolist() == [2, 0, 0, 1]
    assert frames[1].depth_m is not None
    assert frames[1].depth_m.dtype == np.float32
    assert (frames[1].depth_m == 1.5).all()
    assert source.report.skipped == {}


def test_plain_folders_are_read_in_natural_order_and_strangers_counted(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        image(tmp_path / f'frame_{number}.PNG', red=number)
    (tmp_path / 'notes.txt').write_text('x')
    (tmp_path / 'movie.mp4').write_text('x')
    (tmp_path / 'broken.jpg').write_bytes(b'no image')
    image(tmp_path / 'small.png', size=(32, 24))
    source = FolderSource(tmp_path)
    assert [frame.image[0, 0, 0] for frame in source] == [1, 9, 10]
    assert source.report.skipped == {
        'not an image file': 2,
        'damaged image': 1,
        'size 32x24 differs from 64x48': 1,
    }
    assert (source.report.claimed, source.report.read, source.report.used) == (5, 5, 3)
    assert any('10 images a second are assumed' in note for note in source.report.notes)


def test_a_png_that_claims_more_than_memory_holds_is_left_out_and_counted(tmp_path: Path) -> None:
    image(tmp_path / '1.png')
    bomb = bytearray((tmp_path / '1.png').read_bytes())
    bomb[16:24] = struct.pack('>II', 60000, 60000)
    bomb[29:33] = struct.pack('>I', zlib.crc32(bomb[12:29]))
    (tmp_path / '2.png').write_bytes(bomb)
    source = FolderSource(tmp_path)
    assert len(list(source)) == 1
    assert source.report.skipped == {'damaged image: more pixels than are decoded': 1}
    assert any('60000x60000' in note for note in source.report.notes)


@pytest.mark.parametrize(('time', 'words'), [('nan', 'nan is no time'), ('inf', 'inf is no time'),
                                             ('1e300', '1e.300 is no time'), ('-1', 'times do not rise')])  # fmt: skip
def test_times_that_are_none_are_refused(tmp_path: Path, time: str, words: str) -> None:
    (drive(tmp_path) / 'times.txt').write_text(f'0.0\n{time}\n0.2\n')
    with pytest.raises(DatasetError, match=rf'times.txt.*{words}'):
        list(FolderSource(tmp_path))


def test_a_speed_that_nobody_measured_is_none_and_a_negative_one_is_refused(tmp_path: Path) -> None:
    (drive(tmp_path) / 'speeds.txt').write_text('2.0\nnan\n4.0\n')
    assert [frame.speed_mps for frame in FolderSource(tmp_path)] == [2, None, 4]
    (tmp_path / 'speeds.txt').write_text('2.0\n-3.0\n4.0\n')
    with pytest.raises(DatasetError, match='speed -3 is negative'):
        list(FolderSource(tmp_path))


def test_hidden_files_are_no_images(tmp_path: Path) -> None:
    image(tmp_path / '1.png')
    (tmp_path / '._1.png').write_bytes(b'what another system knows of 1.png')
    source = FolderSource(tmp_path)
    assert len(list(source)) == 1
    assert source.report.skipped == {'not an image file': 1}


def test_a_photo_is_turned_upright_unless_it_is_calibrated_as_it_is_stored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side
    Image.new('RGB', (64, 48)).save(tmp_path / 'photo.jpg', exif=exif)

    def size(camera: Camera | Literal['learned']) -> tuple[int, ...]:
        return next(iter(FolderSource(tmp_path, camera))).image.shape[:2]

    assert size('learned') == (64, 48)
    assert size(Camera(64, 48, 50, 50, 31.5, 23.5)) == (48, 64)
    assert size(Camera(48, 64, 50, 50, 23.5, 31.5)) == (64, 48)


def test_depth_under_other_names_and_calibrations_in_doubt_are_mentioned(tmp_path: Path) -> None:
    for folder, name in (('image', '1'), ('image', '2'), ('depth', '1'), ('depth', 'd2')):
        (tmp_path / folder).mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / folder / f'{name}.png'), np.ones((48, 64), np.uint16))
    for name in ('left.yaml', 'right.yaml'):
        (tmp_path / name).write_text('x: 1')
    source = FolderSource(tmp_path)
    assert [frame.depth_m is None for frame in source] == [False, True]
    notes = ' '.join(source.report.notes)
    assert '1 of 2 images have no map in depth/' in notes
    assert 'Name one as camera: left.yaml, right.yaml' in notes


def test_images_below_are_found_and_doubts_refused(tmp_path: Path) -> None:
    image(tmp_path / 'left_eye' / '1.png')
    assert len(list(FolderSource(tmp_path, fps=5))) == 1
    image(tmp_path / 'right_eye' / '1.png')
    with pytest.raises(DatasetError, match='several folders of images, name one: left_eye, right_eye'):
        list(FolderSource(tmp_path))
    image(tmp_path / 'rgb' / '1.png')
    assert len(list(FolderSource(tmp_path))) == 1
    empty = tmp_path / 'empty'
    empty.mkdir()
    with pytest.raises(DatasetError, match='holds no images'):
        list(FolderSource(empty))
    with pytest.raises(DatasetError, match='does not exist'):
        list(FolderSource(tmp_path / 'nowhere'))


def test_a_folder_of_broken_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'a.png').write_bytes(b'no image')
    with pytest.raises(DatasetError, match='no usable image: 1 x damaged image'):
        list(FolderSource(tmp_path))


@pytest.mark.parametrize(
    ('name', 'text', 'fault'),
    [
        ('times.txt', '0\n0.2\n0.1\n', 'times do not rise'),
        ('times.txt', '0\n0.1\n', 'holds 2 numbers for 3 images'),
        ('poses.txt', '1 2 3\n', '1 x 3 numbers, expected 3 x 12'),
        ('speeds.txt', 'fast\n', 'no table of numbers'),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path: Path, name: str, text: str, fault: str) -> None:
    drive(tmp_path / 'drive')
    (tmp_path / 'drive' / name).write_text(text)
    with pytest.raises(DatasetError, match=fault):
        list(FolderSource(tmp_path / 'drive'))


def test_intrinsics_in_doubt_are_mentioned(tmp_path: Path) -> None:
    path = drive(tmp_path / 'drive')
    # Those of an image twice as large.
    odd = Camera(64, 48, 100, 100, 63.5, 47.5)
    (path / 'camera.json').write_text(json.dumps(odd.to_dict()))
    source = FolderSource(path)
    list(source)
    assert any('far from the middle' in note for note in source.report.notes)


def test_depth_pngs_have_the_unit_that_camera_json_says(tmp_path: Path) -> None:
    path = drive(tmp_path / 'drive', count=1)
    (path / 'depth' / '0.npy').unlink()
    values = np.zeros((48, 64), np.uint16)
    values[0, 0] = 2560
    cv2.imwrite(str(path / 'depth' / '0.png'), values)

    def depth() -> np.ndarray:
        found = next(iter(FolderSource(path))).depth_m
        assert found is not None
        return found

    assert depth()[0, 0] == 10.0
    assert np.isnan(depth()[1, 1])
    (path / 'camera.json').write_text(json.dumps({**CAMERA.to_dict(), 'depth_scale': 1000}))
    assert depth()[0, 0] == np.float32(2.56)
    assert next(iter(FolderSource(path, depth_scale=100))).depth_m[0, 0] == np.float32(25.6)  # type: ignore[index]
    with pytest.raises(ConfigError, match='depth_scale of folder'):
        FolderSource(path, depth_scale=0)


def test_depth_of_another_size_is_brought_to_the_image_without_mixing(tmp_path: Path) -> None:
    path = drive(tmp_path / 'drive', count=1)
    np.save(path / 'depth' / '0.npy', np.repeat([[1.0, 9.0]], 24, axis=0).repeat(16, axis=1).astype(np.float32))
    depth_m = next(iter(FolderSource(path))).depth_m
    assert depth_m is not None
    assert depth_m.shape == (48, 64)
    assert (depth_m[:, :32] == 1).all()
    assert (depth_m[:, 32:] == 9).all()


def test_depth_of_another_shape_or_kind_is_refused(tmp_path: Path) -> None:
    path = drive(tmp_path / 'drive', count=1)
    np.save(path / 'depth' / '0.npy', np.ones((4, 4), np.float32))
    with pytest.raises(DatasetError, match=r'0.npy. does not fit its image: .* 4x4, the images 64x48'):
        list(FolderSource(path))
    np.save(path / 'depth' / '0.npy', np.ones((4, 4), np.int64))
    with pytest.raises(DatasetError, match=r'expected \(H, W\) floats'):
        read_depth(path / 'depth' / '0.npy')
    image(path / 'depth' / 'colour.png')
    with pytest.raises(DatasetError, match='no 16-bit grey PNG'):
        read_depth(path / 'depth' / 'colour.png')


def test_no_poses_are_none(tmp_path: Path) -> None:
    assert read_poses(tmp_path / 'poses.txt', 3) is None
    assert images_in(tmp_path) == []


def test_real_folders_are_read(real_data: Path) -> None:
    source = FolderSource(real_data / 'kitti_drive_268')
    assert source.expected() == 268
    frame = next(iter(source))
    assert frame.image.shape == (375, 1242, 3)
    assert frame.camera is not None
    assert frame.camera.fx == 721.5377
    assert next(iter(FolderSource(real_data / 'rc_car'))).camera is None


def test_a_depth_file_that_is_no_array_is_refused_without_running_or_allocating(tmp_path: Path) -> None:
    path, trap = tmp_path / 'depth.npy', tmp_path / 'ran'

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (trap,)

    def header(shape: str, kind: str = '<f4') -> bytes:
        text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + '\n'
        return b'\x93NUMPY\1\0' + struct.pack('<H', len(text)) + text.encode()

    whole = header('(2, 2)') + np.float32([[1, 2], [3, 4]]).tobytes()
    path.write_bytes(whole)
    assert read_depth(path).tolist() == [[1, 2], [3, 4]]
    objects = header('(1, 1)', '|O') + pickle.dumps(Trap())
    for content in (b'', whole[:20], whole[:-1], header('(1000000, 1000000)'), pickle.dumps(Trap()), objects, b'PK'):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match=r'is no \.npy of numbers'):
            read_depth(path)
    assert not trap.exists()
