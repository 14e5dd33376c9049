"""Depth images of a recording: chosen, matched in time, and refused where they show another view."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from sidepth_core import cli
from sidepth_core.camera import Camera
from sidepth_core.cli import synth
from sidepth_core.data.bags.depth import Nearest
from sidepth_core.data.bags.source import BagSource
from sidepth_core.data.bags.writer import BagWriter
from sidepth_core.data.sources import open_source
from sidepth_core.errors import BagError, ConfigError, DatasetError

CAMERA = Camera(64, 48, 50, 51, 32, 24)
ALIGNED = '/camera/aligned_depth_to_color/image_raw'
START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000


class Dated(NamedTuple):
    stamp_ns: int


class Rig:
    """Writes a camera of colour and one of depth."""

    def __init__(self, writer: BagWriter, frames: int = 3) -> None:
        self.writer = writer
        self.stamps = [START_NS + index * PERIOD_NS for index in range(frames)]

    def colour(self, camera: Camera = CAMERA) -> None:
        pixels = np.full((camera.height, camera.width, 3), 90, np.uint8)
        for stamp in self.stamps:
            self.writer.add_camera_info('/camera/color/camera_info', camera, stamp, 'color')
            self.writer.add_image('/camera/color/image_raw', pixels, stamp, 'color')

    def depth(
        self, topic: str = ALIGNED, camera: Camera | None = CAMERA, late_ns: int = 0, frame: str = 'color'
    ) -> None:
        width, height = (camera.width, camera.height) if camera else (64, 48)
        for index, stamp in enumerate(self.stamps):
            values = np.full((height, width), 1000 * (index + 1), np.uint16)
            if camera:
                info = f'{topic.rpartition("/")[0]}/camera_info'
                self.writer.add_camera_info(info, camera, stamp, frame)
            self.writer.add_image(topic, values, stamp + late_ns, frame)


def source_of(path: Path, options: str) -> BagSource:
    source = open_source(f'{path}?{options}')
    assert isinstance(source, BagSource)
    return source


def test_aligned_depth_is_read_where_it_is_asked_for(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag') as writer:
        rig = Rig(writer)
        rig.colour()
        rig.depth(late_ns=12_000_000)
    for options in ('depth=image', f'depth_topic={ALIGNED}'):
        frames = list(source_of(tmp_path / 'bag', options))
        assert [np.unique(frame.depth_m).tolist() for frame in frames if frame.depth_m is not None] == [[1], [2], [3]]
    silent = source_of(tmp_path / 'bag', 'depth=none')
    assert all(frame.depth_m is None for frame in silent)
    assert any(f'depth=image asks for them: {ALIGNED}' in note for note in silent.report.notes)


def test_depth_of_half_the_size_is_aligned_if_its_camera_is(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag') as writer:
        rig = Rig(writer)
        rig.colour()
        rig.depth(camera=CAMERA.resized(32, 24))
    frame = next(iter(source_of(tmp_path / 'bag', 'depth=image')))
    assert frame.depth_m is not None
    assert frame.depth_m.shape == (48, 64)


def test_images_without_depth_near_in_time_are_counted(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag') as writer:
        rig = Rig(writer, frames=5)
        rig.colour()
        rig.stamps = rig.stamps[:3]
        rig.depth(late_ns=15_000_000)
    source = source_of(tmp_path / 'bag', 'depth=image')
    assert [frame.depth_m is not None for frame in source] == [True, True, True, False, False]
    assert f'2 images have no message of {ALIGNED} within 20 ms' in source.report.notes


@pytest.mark.parametrize(
    'camera',
    [
        Camera(64, 48, 42, 43, 32, 24),  # another focal length: depth of its own lens
        Camera(64, 48, 50, 51, 34, 24),
        Camera(64, 48, 50, 51, 32, 24, 'plumb_bob', (-0.3, 0.1, 0, 0, 0)),
        Camera(64, 36, 50, 51, 32, 18),
    ],
)
def test_depth_of_another_camera_is_refused(tmp_path: Path, camera: Camera) -> None:
    with BagWriter(tmp_path / 'bag') as writer:
        rig = Rig(writer)
        rig.colour()
        rig.depth('/camera/depth/image_raw', camera)
    with pytest.raises(BagError, match=r"'/camera/depth/image_raw' is not aligned: .*register it to the images"):
        list(source_of(tmp_path / 'bag', 'depth=image'))


def test_depth_taken_beside_the_camera_is_refused(tmp_path: Path) -> None:
    T_color_depth = np.eye(4)
    T_color_depth[0, 3] = 0.015
    with BagWriter(tmp_path / 'bag') as writer:
        writer.add_static_transforms({('color', 'depth'): T_color_depth}, START_NS)
        rig = Rig(writer)
        rig.colour()
        rig.depth('/camera/depth/image_raw', camera=None, frame='depth')
    with pytest.raises(BagError, match='not aligned: by /tf_static it was taken 15 mm beside the images'):
        list(source_of(tmp_path / 'bag', 'depth=image'))


def test_depth_without_camera_info_is_taken_at_its_word_and_said(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag') as writer:
        rig = Rig(writer)
        rig.colour()
        rig.depth('/depth/image', camera=None)
    source = source_of(tmp_path / 'bag', 'depth=image')
    assert all(frame.depth_m is not None for frame in source)
    assert any('no camera_info says what /depth/image sees' in note for note in source.report.notes)


def test_depth_of_other_proportions_is_refused(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag') as writer:
        Rig(writer).colour()
        writer.add_image('/depth/image', np.ones((48, 96), np.float32), START_NS, 'color')
    with pytest.raises(DatasetError, match='depth images are 96x48, the images 64x48'):
        list(source_of(tmp_path / 'bag', 'depth=image'))


def test_several_depth_topics_are_listed_and_none_is_said(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag') as writer:
        rig = Rig(writer)
        rig.colour()
        rig.depth()
        rig.depth('/camera/depth/image_raw')
        writer.add_image('/depth/image_color', np.zeros((48, 64, 3), np.uint8), START_NS, 'color')
    with pytest.raises(BagError, match=rf'several depth topics, .* as depth_topic: {ALIGNED} \(Image, 3\), /camera/de'):
        list(source_of(tmp_path / 'bag', 'depth=image'))
    with pytest.raises(BagError, match=r"/depth/image_color holds 'rgb8', expected depth: 16UC1"):
        list(source_of(tmp_path / 'bag', 'depth_topic=/depth/image_color'))
    with BagWriter(tmp_path / 'plain') as writer:
        Rig(writer).colour()
    with pytest.raises(BagError, match=r'holds no depth images\. Its topics: /camera/color/camera_info'):
        list(source_of(tmp_path / 'plain', 'depth=image'))


def test_damaged_depth_is_counted_and_its_image_kept(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag') as writer:
        rig = Rig(writer)
        rig.colour()
        for stamp, size in zip(rig.stamps, ((64, 48, 128), (64, 47, 128), (64, 48, 128)), strict=True):
            writer.add_image_bytes('/depth/image', np.ones(64 * 48 * 2, np.uint8), size, '16UC1', stamp, 'color')
    source = source_of(tmp_path / 'bag', 'depth=image')
    assert [frame.depth_m is not None for frame in source] == [True, False, True]
    assert '1 damaged messages of /depth/image' in source.report.notes


def test_contradicting_options_are_refused(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag') as writer:
        Rig(writer).colour()
    for options in ('depth=lidar&depth_topic=/d', 'depth=image&lidar_topic=/l', 'lidar_topic=/l&depth_topic=/d'):
        with pytest.raises(ConfigError, match=r'from LiDAR .* or from depth images .*, not from both'):
            open_source(f'{tmp_path}/bag?{options}')
    with pytest.raises(ConfigError, match="depth='radar' is not one of lidar, image, none"):
        open_source(f'{tmp_path}/bag?depth=radar')
    named = source_of(tmp_path / 'bag', 'depth=lidar&lidar_topic=/top')
    assert (named.topics.lidar, named.topics.depth) == ('/top', 'none')


def test_the_nearest_is_found_across_clocks_that_are_set_back() -> None:
    second = 1_000_000_000
    nearest = Nearest(iter([Dated(int(time * second)) for time in (10, 11, 12, 2, 3)]), second // 10)
    found = [nearest.at(int(time * second)) for time in (10, 11.05, 12, 12.05, 2, 2.5, 3)]
    assert [item and item.stamp_ns / second for item in found] == [10, 11, 12, 12, 2, None, 3]


def test_a_synthetic_bag_scores_as_the_same_folder(tmp_path: Path) -> None:
    drive = ['--width', '96', '--height', '64', '--frames', '4', '--seed', '2']
    assert synth.main([*drive, '--out', str(tmp_path / 'bag'), '--format', 'sqlite3', '--depth']) == 0
    assert synth.main([*drive, '--out', str(tmp_path / 'folder'), '--format', 'folder']) == 0
    scores: list[dict[str, float]] = []
    for name in ('bag?depth=image', 'folder'):
        out = tmp_path / f'scores-{len(scores)}'
        command = ['evaluate', f'{tmp_path}/{name}', '--depth', '--flicker', '--out', str(out), '--figures', '0']
        assert cli.main([*command, '--device', 'cpu']) == 0
        drive_scores = json.loads((out / 'scores.json').read_text())['drives'][0]
        scores.append({**drive_scores['depth']['median_scaled'], **drive_scores['depth']['unscaled']})
    # A folder holds depth in steps of 1/256 m.
    assert scores[0] == pytest.approx(scores[1], rel=2e-3)
