"""The synthetic world as a source: reproducible, random access, honest about speed, and its errors help."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from sidepth_core.camera import Camera
from sidepth_core.data.frames import Frame
from sidepth_core.data.synthetic import CAMERA, SCENES, Drive, Sensor, SyntheticSource
from sidepth_core.data.synthetic.drive import Pace
from sidepth_core.data.synthetic.rays import camera_rays
from sidepth_core.data.synthetic.sensor import expose, image_motion
from sidepth_core.errors import ConfigError

SMALL = {'width': 64, 'height': 32}


def same(first: Frame, second: Frame) -> bool:
    assert first.T_world_camera is not None
    assert second.T_world_camera is not None
    assert first.depth_m is not None
    assert second.depth_m is not None
    return (
        np.array_equal(first.image, second.image)
        and np.array_equal(first.depth_m, second.depth_m)
        and np.array_equal(first.T_world_camera, second.T_world_camera)
        and first.stamp_ns == second.stamp_ns
        and first.speed_mps == second.speed_mps
    )


@pytest.mark.parametrize('scene', SCENES)
def test_a_seed_gives_the_same_drive_again_however_long_it_is(scene: str) -> None:
    long = list(SyntheticSource(scene, seed=5, frames=6, **SMALL))
    short = list(SyntheticSource(scene, seed=5, frames=3, **SMALL))
    assert all(same(first, second) for first, second in zip(long, short, strict=False))
    assert not same(long[0], next(iter(SyntheticSource(scene, seed=6, frames=1, **SMALL))))


def test_a_frame_taken_alone_is_the_frame_of_the_drive() -> None:
    source = SyntheticSource('mixed', seed=2, frames=7, sequence_frames=3, moving_objects=True, **SMALL)
    frames = list(source)
    assert same(source.frame(5), frames[5])
    assert same(source.frame(2), frames[2])


def test_frames_say_everything_that_a_frame_can_say() -> None:
    source = SyntheticSource('street', seed=1, frames=4, fps=5, **SMALL)
    frames = list(source)
    assert [frame.stamp_ns for frame in frames] == [0, 200_000_000, 400_000_000, 600_000_000]
    first = frames[0]
    assert first.image.shape == (32, 64, 3)
    assert first.image.dtype == np.uint8
    assert first.camera == Camera.pinhole(64, 32, 70.0)
    assert first.depth_m is not None
    assert first.depth_m.shape == (32, 64)
    assert np.isinf(first.depth_m).any()
    assert (first.depth_m > 0).all()
    assert (source.report.claimed, source.report.read, source.report.used) == (4, 4, 4)


@pytest.mark.parametrize('scene', SCENES)
def test_the_speed_is_that_of_the_poses(scene: str) -> None:
    drive = Drive(scene, 3)
    times = np.arange(40) * 0.1
    positions = np.array([drive.pose(time)[:3, 3] for time in times])
    between = np.linalg.norm(np.diff(positions, axis=0), axis=1) / 0.1
    middle = [drive.speed_mps(time + 0.05) for time in times[:-1]]
    np.testing.assert_allclose(middle, between, rtol=0.02, atol=0.02)
    linear, angular = drive.twist(2.0)
    assert float(np.linalg.norm(linear)) == pytest.approx(drive.speed_mps(2.0), rel=0.05)
    assert abs(float(linear[0])) > 0.9 * float(np.linalg.norm(linear))
    assert float(np.abs(angular).max()) < 1.5


def test_poses_are_rotations_and_the_camera_stands_upright() -> None:
    for seed in range(5):
        pose = Drive('corridor', seed).pose(3.0)
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
        assert float(np.linalg.det(pose[:3, :3])) == pytest.approx(1.0)
        # The camera's y axis looks down: -z of the world.
        assert pose[2, 1] < -0.9
        assert 0.15 < pose[2, 3] < 2.1


def test_drives_stop_and_go_on_where_the_scene_has_stops() -> None:
    pace = Pace(np.random.default_rng(1), 0.0, 10.0)
    travelled = np.array([pace(time) for time in np.arange(0, 400, 0.25)])
    steps = np.diff(travelled)
    assert (steps >= 0).all()
    assert (steps < 1e-9).any()
    assert steps.max() <= 2.5 + 1e-6
    assert travelled[-1] > 1000


def test_seeds_differ_in_the_height_of_their_camera() -> None:
    heights = [Drive(scene, seed).mount.height_m for scene in SCENES for seed in range(12)]
    assert min(heights) < 0.5
    assert max(heights) > 1.7
    assert all(0.2 <= height <= 2.0 for height in heights)


def test_things_move_only_when_asked() -> None:
    camera = Camera(96, 48, 80.0, 80.0, 47.5, 23.5)
    still, busy = Drive('highway', 4), Drive('highway', 4, moving_objects=True)
    empty = still.render(0, camera).depth_m
    assert torch.equal(empty, Drive('highway', 4).render(0, camera).depth_m)
    crowded = busy.render(0, camera).depth_m
    assert bool((crowded < empty - 0.5).any())
    # Nothing of the standing world goes away.
    assert bool((crowded <= empty + 1e-3).all())


def test_depth_does_not_depend_on_antialiasing() -> None:
    drive, camera = Drive('street', 2), Camera(96, 48, 80.0, 80.0, 47.5, 23.5)
    smooth, rough = drive.render(4, camera), drive.render(4, camera, antialias=False)
    assert torch.equal(smooth.depth_m, rough.depth_m)
    changed = (smooth.image - rough.image).abs().amax(dim=0) > 1e-6
    assert 0.005 < float(changed.float().mean()) < 0.5


def test_takes_are_new_worlds_with_a_gap_in_time() -> None:
    frames = list(SyntheticSource('mixed', seed=0, frames=4, sequence_frames=2, **SMALL))
    stamps = np.diff([frame.stamp_ns for frame in frames]) / 1e9
    assert stamps.tolist() == pytest.approx([0.1, 10.1, 0.1])
    assert not np.array_equal(frames[0].image, frames[2].image)


def test_a_text_names_a_source() -> None:
    text = 'synthetic:corridor?seed=3&frames=9&width=80&height=40&fov=90&fps=5&moving=1&sensor=0&sequence=4&device=cpu'
    source = SyntheticSource.from_text(text)
    expected = SyntheticSource(
        'corridor', 3, 9, 80, 40, fov_deg=90.0, fps=5.0, moving_objects=True, sensor=Sensor(), sequence_frames=4
    )
    assert source == expected
    assert SyntheticSource.from_text('synthetic:').scene == 'street'


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('synthetic:street?sed=3', "no key 'sed': did you mean 'seed'"),
        ('synthetic:stret', "no synthetic scene 'stret': did you mean 'street'"),
        ('synthetic:street?frames=many', "frames='many' is not a number"),
        ('synthetic:street?moving=yes', "moving='yes' is not a number"),
        ('synthetic:street?frames=0', 'frames of a synthetic drive is 0'),
        ('synthetic:street?seed=-1', 'seed -1 must be 0 or more'),
        ('synthetic:street?fov=170', 'field of view 170.0 degrees'),
        ('synthetic:street?fps=nan', 'fps of a synthetic drive is nan'),
    ],
)
def test_a_text_that_cannot_be_says_what_would(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SyntheticSource.from_text(text)


def test_a_perfect_sensor_changes_nothing() -> None:
    source = SyntheticSource('street', seed=1, frames=1, sensor=Sensor(), **SMALL)
    rendering = source.drive().render(0, source.camera_or_default)
    expected = (rendering.image * 255).round().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(source.frame(0).image, expected)


def test_each_effect_of_the_sensor_shows() -> None:
    grey = torch.full((3, 40, 60), 0.5)
    grey[:, :, 30:] = 0.7
    plain = expose(grey, Sensor(), 3, 0, 0.0)
    assert set(np.unique(plain)) == {128, 178}
    assert expose(grey, Sensor(exposure=1.0), 3, 0, 0.0).mean() != pytest.approx(plain.mean(), abs=2)
    cast = expose(grey, Sensor(colour_cast=0.3), 3, 0, 0.0).reshape(-1, 3).mean(axis=0)
    assert np.ptp(cast) > 5
    dark = expose(grey, Sensor(vignette=0.4), 3, 0, 0.0)
    assert dark[0, 0, 0] < dark[20, 15, 0] - 20
    blurred = expose(grey, Sensor(blur_px=1.5), 3, 0, 0.0)
    assert 135 < blurred[20, 29, 0] < 153
    noisy = expose(grey, Sensor(noise=0.05), 3, 0, 0.0)
    assert 5 < noisy[:, :25].std() < 25
    assert not np.array_equal(noisy, expose(grey, Sensor(noise=0.05), 3, 1, 0.0))
    np.testing.assert_array_equal(noisy, expose(grey, Sensor(noise=0.05), 3, 0, 0.0))


def test_a_stronger_loss_of_jpeg_quality_moves_an_image_further_from_the_truth() -> None:
    image = torch.rand(40, 60, generator=torch.Generator().manual_seed(0)).expand(3, 40, 60)
    exact = expose(image, Sensor(), 3, 0, 0.0).astype(int)
    slight, strong = (np.abs(expose(image, Sensor(jpeg=loss), 3, 0, 0.0) - exact).mean() for loss in (5, 90))
    assert 0 < slight < 0.7 * strong


def test_red_stays_red_through_jpeg() -> None:
    red = torch.tensor([0.8, 0.2, 0.1])[:, None, None].expand(3, 16, 16)
    np.testing.assert_allclose(expose(red, Sensor(jpeg=20), 3, 0, 0.0)[8, 8], [204, 51, 26], atol=4)


def test_motion_blurs_along_the_way_of_each_pixel() -> None:
    camera = Camera(60, 40, 50.0, 50.0, 29.5, 19.5)
    later = np.eye(4)
    later[0, 3] = 0.4
    motion = image_motion(torch.full((40, 60), 5.0), camera_rays(camera, torch.device('cpu')), later)
    # 0.4 m to the right at 5 m and f = 50: 4 pixels along the columns.
    np.testing.assert_allclose(motion[0].numpy(), 4.0, atol=1e-4)
    np.testing.assert_allclose(motion[1].numpy(), 0.0, atol=1e-4)
    step = torch.zeros(3, 40, 60)
    step[:, :, 30:] = 1.0
    smeared = expose(step, Sensor(), 0, 0, 0.0, motion)[20, :, 0].astype(int)
    assert smeared[26] == 0
    assert smeared[33] == 255
    assert (np.diff(smeared) >= 0).all()
    assert ((smeared > 20) & (smeared < 235)).sum() >= 3


def test_negative_effects_are_refused_all_at_once() -> None:
    with pytest.raises(ConfigError, match=r'noise=-1.*'):
        dataclasses.replace(CAMERA, noise=-1)
    with pytest.raises(ConfigError, match=r'jpeg of a sensor is 101'):
        Sensor(jpeg=101)


def test_a_scene_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="no scene 'moon': choose one of street, highway, corridor"):
        Drive('moon', 1)
