"""Preparing drives: what is kept, what is dropped and why, and that nothing done is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch

from sidepth_core.camera import Camera
from sidepth_core.data.clips import collate
from sidepth_core.data.folders.image_folders import FolderSource
from sidepth_core.data.frames import Frame, SourceReport, WeightedSource
from sidepth_core.data.prepare.cache import Progress, missing_sources, prepare, prepare_share
from sidepth_core.data.prepare.dataset import PreparedDataset
from sidepth_core.data.prepare.report import PrepareReport
from sidepth_core.data.prepare.settings import PrepareSettings
from sidepth_core.data.prepare.shards import ShardWriter
from sidepth_core.data.share import Share
from sidepth_core.errors import ConfigError, DatasetError

WIDTH, HEIGHT = 160, 64
CAMERA = Camera(WIDTH, HEIGHT, 100, 110, 70, 30)
SETTINGS = PrepareSettings(width=96, height=32, margin=1.25, workers=2)
STEP_PX = 2


Change = Callable[[int, Frame], Frame | None]


class Scene:
    """A wide textured wall that a camera moves along: a FrameSource."""

    def __init__(self, name: str = 'wall', change: Change | None = None, count: int = 30) -> None:
        self.name = name
        self.count = count
        self.change = change
        self.report = SourceReport(name)
        noise = np.random.default_rng(0).integers(0, 255, (HEIGHT // 4, 250, 3), dtype=np.uint8)
        self.wall = np.asarray(cv2.resize(noise, (1000, HEIGHT), interpolation=cv2.INTER_CUBIC), np.uint8)

    def view(self, x: int) -> npt.NDArray[np.uint8]:
        return self.wall[:, x : x + WIDTH]

    def __iter__(self) -> Iterator[Frame]:
        self.report = SourceReport(self.name, claimed=self.count)
        for index in range(self.count):
            depth = np.full((HEIGHT, WIDTH), 4.0, np.float32)
            depth[: HEIGHT // 2] = np.inf
            frame = Frame(index * 100_000_000, self.view(STEP_PX * index), CAMERA, 1.5, None, depth)
            changed = self.change(index, frame) if self.change else frame
            if changed is not None:
                self.report.read += 1
                self.report.used += 1
                yield changed


def prepared(
    tmp_path: Path, source: Scene, settings: PrepareSettings = SETTINGS
) -> tuple[PrepareReport, PreparedDataset]:
    report = prepare([source], tmp_path / 'cache', settings)
    return report, PreparedDataset(tmp_path / 'cache')


def targets(dataset: PreparedDataset) -> list[int]:
    return [int(stamp // 100_000_000) for stamp in dataset.clips.stamp_ns]


def test_a_good_drive_is_kept_whole(tmp_path: Path) -> None:
    report, dataset = prepared(tmp_path, Scene())
    (summary,) = report.sources
    assert (summary.read, summary.kept, summary.clips, summary.stride, summary.sequences) == (30, 30, 28, 1, 1)
    assert summary.dropped == {}
    assert summary.no_clip == {'a neighbour is missing': 2}
    assert summary.frame_motion_px == pytest.approx(STEP_PX, abs=0.1)
    assert targets(dataset) == list(range(1, 29))
    assert (tmp_path / 'cache' / 'report.png').stat().st_size > 5000
    assert cv2.imread(str(tmp_path / 'cache' / 'report.png')).std() > 10
    assert PrepareReport.load(tmp_path / 'cache' / 'report.json') == report


def test_a_clip_is_what_its_documentation_says(tmp_path: Path) -> None:
    _, dataset = prepared(tmp_path, Scene())
    clip = dataset[3]
    assert clip.images.shape == (3, 3, 40, 120)
    assert clip.images.dtype == torch.uint8
    assert dataset.size == (40, 120)
    wall = Scene()
    for image, index in zip(clip.images, (3, 4, 5), strict=True):
        expected = cv2.resize(wall.view(STEP_PX * index), (120, 40), interpolation=cv2.INTER_AREA)
        assert (image.permute(1, 2, 0).numpy() == expected).all()
    # 160 x 64 to 120 x 40: fx * 0.75, (cx + 0.5) * 0.75 - 0.5, fy * 0.625, (cy + 0.5) * 0.625 - 0.5
    assert clip.intrinsics.tolist() == [[75, 0, 52.375], [0, 68.75, 18.5625], [0, 0, 1]]
    assert clip.dt_s.tolist() == pytest.approx([0.1, 0.1])
    assert clip.distance_m.tolist() == pytest.approx([0.15, 0.15])
    assert clip.depth_m.shape == (1, 40, 120)
    assert clip.depth_m[0, 0, 0] == float('inf')
    assert clip.depth_m[0, -1, 0] == 4.0
    batch = collate([clip, dataset[4]])
    assert batch.images.shape == (2, 3, 3, 40, 120)
    assert batch.intrinsics.shape == (2, 3, 3)
    with pytest.raises(IndexError, match='clip 28 of 28'):
        dataset[28]


def test_still_stretches_and_copies_are_dropped_and_make_no_clips_across(tmp_path: Path) -> None:
    def stop(index: int, frame: Frame) -> Frame:
        # From 10 to 24 it stands, with sensor noise; 5 is a copy of 4.
        x = 4 if index == 5 else min(index, 10) if index < 25 else index - 14
        image = Scene().view(STEP_PX * x)
        if 10 < index < 25:
            image = np.clip(image + np.random.default_rng(index).normal(0, 2, image.shape), 0, 255).astype(np.uint8)
        return replace(frame, image=image)

    report, dataset = prepared(tmp_path, Scene(change=stop))
    assert report.sources[0].dropped == {'still': 14, 'duplicate': 1}
    assert report.sources[0].kept == 15
    assert report.sources[0].sequences == 2
    assert targets(dataset) == [1, 2, 3, 4, 6, 7, 8, 9, 26, 27, 28]


def test_bad_exposure_blur_and_cuts_are_dropped(tmp_path: Path) -> None:
    def spoil(index: int, frame: Frame) -> Frame:
        image = frame.image
        if index == 4:
            image = np.full_like(image, 255)
            image[:, :40] = frame.image[:, :40]
        if index == 10:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), 5), np.uint8)
        if index >= 20:
            image = np.ascontiguousarray(image[::-1, ::-1])
        return replace(frame, image=image)

    report, dataset = prepared(tmp_path, Scene(change=spoil))
    (summary,) = report.sources
    assert summary.dropped == {'over-exposed': 1}
    assert summary.no_clip['blurred'] == 1
    assert summary.no_clip['a neighbour is blurred'] == 2
    assert summary.sequences == 2
    assert targets(dataset) == [1, 2, 3, 5, 6, 7, 8, 12, 13, 14, 15, 16, 17, 18, *range(21, 29)]
    assert len({int(s) for t, s in zip(targets(dataset), dataset.clips.sequence, strict=True) if t > 20}) == 1


def test_gaps_and_clocks_set_back_cut_the_drive(tmp_path: Path) -> None:
    def late(index: int, frame: Frame) -> Frame:
        shift_s = 0 if index < 10 else 3 if index < 20 else -5
        return replace(frame, stamp_ns=frame.stamp_ns + int(shift_s * 1e9))

    report, dataset = prepared(tmp_path, Scene(change=late))
    assert report.sources[0].sequences == 3
    assert report.sources[0].clips == 24
    assert dataset.clips.dt_s == pytest.approx(0.1)


def test_a_missing_frame_drops_the_clips_that_would_need_it_only_if_the_gap_is_long(tmp_path: Path) -> None:
    _, dataset = prepared(tmp_path, Scene(change=lambda index, frame: None if index == 15 else frame))
    # One lost frame of 10 Hz is a longer step, with its true time.
    assert 14 in targets(dataset)
    assert dataset.clips.dt_s.max() == pytest.approx(0.2)
    assert dataset.clips.distance_m[targets(dataset).index(14)].tolist() == pytest.approx([0.15, 0.3])


def test_stride_is_obeyed_and_measured(tmp_path: Path) -> None:
    report, dataset = prepared(tmp_path, Scene(), replace(SETTINGS, stride=3, clip_frames=5))
    assert dataset[0].images.shape[0] == 5
    assert dataset.clips.frames[0].tolist() == [0, 3, 6, 9, 12]
    assert dataset.clips.distance_m[0].tolist() == pytest.approx([0.45] * 4)
    assert report.sources[0].clip_motion_px == pytest.approx(3 * STEP_PX, abs=0.2)


def test_distances_come_from_poses_where_there_are_any(tmp_path: Path) -> None:
    def posed(index: int, frame: Frame) -> Frame:
        pose = np.eye(4)
        pose[0, 3] = 0.5 * index
        return replace(frame, T_world_camera=pose)

    _, dataset = prepared(tmp_path, Scene(change=posed))
    assert dataset[0].distance_m.tolist() == pytest.approx([0.5, 0.5])
    assert dataset.pose(0)[:, 0, 3].tolist() == [0, 0.5, 1.0]


def test_unknown_distance_and_depth_are_nan(tmp_path: Path) -> None:
    _, dataset = prepared(tmp_path, Scene(change=lambda _, frame: replace(frame, speed_mps=None, depth_m=None)))
    clip = dataset[0]
    assert clip.distance_m.isnan().all()
    assert clip.depth_m.isnan().all()


def test_sparse_depth_loses_what_shows_through_a_near_thing(tmp_path: Path) -> None:
    def through_a_car(_: int, frame: Frame) -> Frame:
        depth = np.full((HEIGHT, WIDTH), np.nan, np.float32)
        depth[10:40:2, ::2] = 20.0
        depth[(20, 30, 50), 40:80] = 4.0
        return replace(frame, depth_m=depth)

    _, dataset = prepared(tmp_path, Scene(change=through_a_car))
    depth_m = dataset[0].depth_m[0]
    assert (depth_m[14:, 31:59] > 10).sum() == 0
    assert (depth_m[14:, 62:] > 10).sum() > 100


def test_an_unknown_camera_is_refused_or_left_to_training(tmp_path: Path) -> None:
    scene = Scene(change=lambda _, frame: replace(frame, camera=None))
    with pytest.raises(DatasetError, match=r'wall: the camera .* is not calibrated.*camera=FILE.*camera=learned'):
        prepare([scene], tmp_path / 'refused', SETTINGS)
    _, dataset = prepared(tmp_path, scene, replace(SETTINGS, unknown_camera='learned'))
    assert dataset[0].intrinsics[:2].diagonal().isnan().all()
    assert dataset[0].intrinsics[2].tolist() == [0, 0, 1]


def test_a_distorted_camera_is_rectified(tmp_path: Path) -> None:
    bent = replace(CAMERA, distortion_model='plumb_bob', distortion=(-0.2, 0.05, 0, 0))
    _, dataset = prepared(tmp_path, Scene(change=lambda _, frame: replace(frame, camera=bent)))
    _, straight = prepared(tmp_path / 'straight', Scene())
    # A barrel is cut to its middle: a longer focal length.
    assert (dataset[0].intrinsics.diagonal() < straight[0].intrinsics.diagonal()).tolist() == [True, True, False]
    assert not torch.equal(dataset[0].images, straight[0].images)
    assert dataset[0].depth_m[0, -1, 0] == 4.0


def test_jpeg_is_close_and_smaller(tmp_path: Path) -> None:
    _, raw = prepared(tmp_path / 'raw', Scene())
    report, jpeg = prepared(tmp_path / 'jpeg', Scene(), replace(SETTINGS, codec='jpeg'))
    assert report.sources[0].codec == 'jpeg'
    # Colours are stored at half the size, so that grey levels are compared.
    difference = (raw[0].images.float().mean(dim=1) - jpeg[0].images.float().mean(dim=1)).abs()
    assert 0 < difference.mean() < 8
    sizes = [sum(file.stat().st_size for file in (tmp_path / codec).rglob('images.bin')) for codec in ('raw', 'jpeg')]
    assert sizes[1] < 0.5 * sizes[0]


def test_sources_are_drawn_by_weight_and_groups_share_theirs(tmp_path: Path) -> None:
    short, long, other = Scene('short', count=12), Scene('long', count=22), Scene('other', count=7)
    sources = [WeightedSource(short, 2, 'kitti'), WeightedSource(long, 2, 'kitti'), WeightedSource(other, 1)]
    prepare(sources, tmp_path / 'cache', SETTINGS)
    dataset = PreparedDataset(tmp_path / 'cache')
    share = [dataset.weights[dataset.clips.source == number].sum() for number in range(3)]
    assert share == pytest.approx([2 / 3 * 10 / 30, 2 / 3 * 20 / 30, 1 / 3])
    assert len(set(dataset.clips.sequence.tolist())) == 3
    clip = dataset[len(dataset) - 1]
    assert torch.equal(clip.images, dataset[4].images)


def test_a_second_call_does_nothing_and_another_cache_is_not_overwritten(tmp_path: Path) -> None:
    first, _ = prepared(tmp_path, Scene())
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / 'cache').rglob('*') if path.name != '.lock'}
    assert prepare([Scene()], tmp_path / 'cache', SETTINGS) == first
    assert {path: path.stat().st_mtime_ns for path in files} == files
    with pytest.raises(DatasetError, match='height is 32, asked for is 64'):
        prepare([Scene()], tmp_path / 'cache', replace(SETTINGS, height=64))
    with pytest.raises(DatasetError, match=r"sources are .*'wall'.*'other'"):
        prepare([Scene('other')], tmp_path / 'cache', SETTINGS)


def test_a_recording_that_changed_is_not_taken_for_the_one_in_the_cache(tmp_path: Path) -> None:
    images = tmp_path / 'images'
    images.mkdir()
    (images / 'camera.json').write_text(json.dumps(CAMERA.to_dict()))
    for index, frame in enumerate(Scene(count=8)):
        cv2.imwrite(str(images / f'{index}.png'), frame.image)
    prepare([FolderSource(images, fps=10)], tmp_path / 'cache', SETTINGS)
    (images / '7.png').unlink()
    with pytest.raises(DatasetError, match=r'9 files.*asked for are.*8 files'):
        prepare([FolderSource(images, fps=10)], tmp_path / 'cache', SETTINGS)


def test_a_damaged_cache_is_refused(tmp_path: Path) -> None:
    prepared(tmp_path, Scene(count=8))
    images = next((tmp_path / 'cache').rglob('images.bin'))
    images.write_bytes(images.read_bytes()[:-1])
    with pytest.raises(DatasetError, match='expected 115200: prepare the cache again'):
        PreparedDataset(tmp_path / 'cache')


def test_images_squeezed_out_of_shape_are_mentioned(tmp_path: Path) -> None:
    report, _ = prepared(tmp_path, Scene(), replace(SETTINGS, width=160, height=32))
    (note,) = report.sources[0].notes
    assert note == 'images of 160x64 are squeezed to 160x32: a height of 64 would keep their shape'


def test_progress_is_told(tmp_path: Path) -> None:
    steps: list[Progress] = []
    prepare([Scene()], tmp_path / 'cache', SETTINGS, progress=steps.append)
    assert steps[-1] == Progress('wall', 0, 1, 30, 30, 30)
    assert [step.seen for step in steps] == list(range(1, 31))


def test_a_full_disk_keeps_what_is_complete_and_the_next_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('sidepth_core.data.prepare.frame_selection.SHARD_FRAMES', 8)
    add = ShardWriter.add

    def full_after_20(writer: ShardWriter, row: object, image: bytes, depth: object) -> None:
        if getattr(row, 'position', 0) >= 20:
            with Path('/dev/full').open('wb') as full:
                full.write(image)
        add(writer, row, image, depth)  # type: ignore[arg-type]

    monkeypatch.setattr(ShardWriter, 'add', full_after_20)
    with pytest.raises(DatasetError, match='is full: what is complete stays'):
        prepare([Scene()], tmp_path / 'cache', SETTINGS)
    source = tmp_path / 'cache' / 'source-000'
    assert sorted(path.name for path in source.glob('*shard*')) == ['shard-00000', 'shard-00001']
    with pytest.raises(DatasetError, match='is not complete: run `sidepth prepare` again'):
        PreparedDataset(tmp_path / 'cache')
    monkeypatch.setattr(ShardWriter, 'add', add)
    before = (source / 'shard-00001' / 'images.bin').stat().st_mtime_ns
    resumed, _ = prepared(tmp_path, Scene())
    assert (source / 'shard-00001' / 'images.bin').stat().st_mtime_ns == before
    whole, _ = prepared(tmp_path / 'whole', Scene())
    assert replace(resumed, folder='') == replace(whole, folder='')


KILLED = """
import os, signal, sys
from pathlib import Path
from sidepth_core.data.prepare import frame_selection
from sidepth_core.data.folders.image_folders import FolderSource
from sidepth_core.data.prepare.cache import prepare
from sidepth_core.data.prepare.settings import PrepareSettings
frame_selection.SHARD_FRAMES, frame_selection.SHARD_S = int(sys.argv[3]), float(sys.argv[4])
def tell(step):
    if step.seen == 21:
        os.kill(os.getpid(), signal.SIGKILL)
settings = PrepareSettings(width=96, height=32, margin=1.25, workers=2)
prepare([FolderSource(Path(sys.argv[1]), fps=10)], Path(sys.argv[2]), settings, progress=tell)
"""


@pytest.mark.parametrize(('frames', 'seconds', 'complete'), [(8, 1e9, 2), (128, 0.0, 19)])
def test_a_killed_run_is_continued_and_ends_like_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: int, seconds: float, complete: int
) -> None:
    images = tmp_path / 'images'
    images.mkdir()
    for index, frame in enumerate(Scene()):
        content = cv2.imencode('.png', frame.image)[1].tobytes()
        # 5 is damaged, 12 is a copy, 25 is damaged after the kill.
        name = images / f'{index:03d}.png'
        name.write_bytes((images / '011.png').read_bytes() if index == 12 else b'x' if index in {5, 25} else content)
    (images / 'camera.json').write_text(json.dumps(CAMERA.to_dict()))
    environment = {**os.environ, 'PYTHONPATH': str(Path(__file__).parents[4])}
    command = [sys.executable, '-c', KILLED, str(images), str(tmp_path / 'cache'), str(frames), str(seconds)]
    killed = subprocess.run(command, env=environment, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert len(list((tmp_path / 'cache' / 'source-000').glob('shard-*'))) == complete
    monkeypatch.setattr('sidepth_core.data.prepare.frame_selection.SHARD_FRAMES', frames)
    resumed = prepare([FolderSource(images, fps=10)], tmp_path / 'cache', SETTINGS)
    whole = prepare([FolderSource(images, fps=10)], tmp_path / 'whole', SETTINGS)
    assert replace(resumed.sources[0], notes=()) == replace(whole.sources[0], notes=())
    assert sorted(resumed.sources[0].notes) == sorted(whole.sources[0].notes)
    assert resumed.sources[0].skipped == {'damaged image': 2}
    assert resumed.sources[0].dropped == {'duplicate': 1}
    first, second = PreparedDataset(tmp_path / 'cache'), PreparedDataset(tmp_path / 'whole')
    assert len(first) == len(second) > 10
    for one, other in zip(first, second, strict=True):  # type: ignore[call-overload] # a Dataset with __len__
        assert all(torch.allclose(a.float(), b.float(), 0, 0, equal_nan=True) for a, b in zip(one, other, strict=True))


def test_two_runs_do_not_write_into_one_folder(tmp_path: Path) -> None:
    def again(_: Progress) -> None:
        with pytest.raises(DatasetError, match='another process prepares'):
            prepare([Scene()], tmp_path / 'cache', SETTINGS)

    prepare([Scene(count=5)], tmp_path / 'cache', SETTINGS, progress=again)


def test_what_gives_no_clip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match='name at least one source'):
        prepare([], tmp_path / 'a', SETTINGS)
    two = r'wall: 2 images read, 2 kept; dropped: none; of those kept, 2 a neighbour is missing'
    with pytest.raises(DatasetError, match=f'no clip can be made: {two}'):
        prepare([Scene(count=2)], tmp_path / 'b', SETTINGS)
    dark = Scene(change=lambda _, frame: replace(frame, image=np.zeros_like(frame.image)))
    with pytest.raises(DatasetError, match=r"no image fit to learn from: dropped {'empty': 30}"):
        prepare([dark], tmp_path / 'c', SETTINGS)
    with pytest.raises(DatasetError, match='is no prepared cache'):
        PreparedDataset(tmp_path)


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigError, match=r'size 8x8 is below.*margin 9 is not.*clip_frames 2.*stride -1'):
        PrepareSettings(width=8, height=8, margin=9, clip_frames=2, stride=-1)


def test_a_loader_with_workers_gives_the_same_clips(tmp_path: Path) -> None:
    _, dataset = prepared(tmp_path, Scene())
    loader = torch.utils.data.DataLoader(dataset, batch_size=4, num_workers=1, collate_fn=collate)
    images = torch.cat([batch.images for batch in loader])
    assert torch.equal(images[5], dataset[5].images)
    assert len(images) == 28


def contents(cache: Path) -> dict[str, bytes]:
    """Return the files of a cache that training reads."""
    return {
        str(path.relative_to(cache)): path.read_bytes()
        for path in sorted(cache.rglob('*'))
        if path.is_file() and path.suffix != '.png' and path.name not in {'.lock', 'report.json'}
    }


def drives() -> list[Scene]:
    return [Scene(f'wall {number}', count=12 + number) for number in range(3)]


def test_shares_of_several_tasks_make_the_cache_that_one_run_makes(tmp_path: Path) -> None:
    whole = prepare(drives(), tmp_path / 'whole', SETTINGS)
    shared = tmp_path / 'shared'
    assert prepare_share(drives(), shared, Share(2, 2), SETTINGS) is None
    assert missing_sources(shared, 3) == [0, 2]
    with pytest.raises(DatasetError, match='is not complete'):
        PreparedDataset(shared)
    report = prepare_share(drives(), shared, Share(1, 2), SETTINGS)
    assert report is not None
    assert replace(report, folder=whole.folder) == whole
    assert prepare_share(drives(), shared, Share(2, 2), SETTINGS) == report
    found, expected = contents(shared), contents(tmp_path / 'whole')
    assert len(expected) > 8
    assert found == expected


def test_more_tasks_than_recordings_at_the_same_time_finish_one_cache(tmp_path: Path) -> None:
    def task(number: int) -> PrepareReport | None:
        return prepare_share(drives(), tmp_path / 'cache', Share(number, 4), SETTINGS)

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(task, range(1, 5)))
    assert [outcome for outcome in outcomes if outcome is not None]
    assert len(PreparedDataset(tmp_path / 'cache')) == 10 + 11 + 12


def test_two_tasks_do_not_prepare_the_same_recording(tmp_path: Path) -> None:
    def meanwhile(index: int, frame: Frame) -> Frame:
        if index == 3:
            with pytest.raises(DatasetError, match='another process prepares'):
                prepare_share([Scene()], tmp_path / 'cache', Share(1, 1), SETTINGS)
        return frame

    assert prepare_share([Scene(change=meanwhile)], tmp_path / 'cache', Share(1, 1), SETTINGS) is not None


@pytest.mark.parametrize('text', ['0/4', '5/4', '3', 'a/b', '-1/4', '1/0', '1/2/3'])
def test_share_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r'is none: expected I/N'):
        Share.parse(text)


def test_shares_cover_every_recording_once() -> None:
    assert sorted(place for number in range(1, 5) for place in Share(number, 4).of(11)) == list(range(11))
