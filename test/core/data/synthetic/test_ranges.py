"""Many synthetic drives from one line: each seed draws the same values again, and what cannot work is refused."""

from __future__ import annotations

import pytest

from sidepth_core.data.sources import open_source, open_sources
from sidepth_core.data.synthetic import SCENES, SyntheticSource, expand
from sidepth_core.errors import ConfigError, DatasetError

LINE = (
    'synthetic:mixed?seeds=1000..1199&fov=40..110&camera_height=0.3..3&pitch=-8..12&roll=-4..4'
    '&sizes=416x312,480x300,640x224&moving=0,1&frames=12&sequence=3'
)


def drives(text: str) -> list[SyntheticSource]:
    return [SyntheticSource.from_text(each) for each in expand(text)]


def test_a_line_of_ranges_is_one_drive_a_seed() -> None:
    found = drives(LINE)
    assert [drive.seed for drive in found] == list(range(1000, 1200))
    assert {drive.scene for drive in found} == set(SCENES)
    assert {drive.moving_objects for drive in found} == {False, True}
    assert {(drive.width, drive.height) for drive in found} == {(416, 312), (480, 300), (640, 224)}
    assert {(drive.frames, drive.sequence_frames) for drive in found} == {(12, 3)}


@pytest.mark.parametrize(
    ('name', 'low', 'high'),
    [('fov_deg', 40, 110), ('camera_height_m', 0.3, 3), ('pitch_deg', -8, 12), ('roll_deg', -4, 4)],
)
def test_values_fill_their_range(name: str, low: float, high: float) -> None:
    values = [getattr(drive, name) for drive in drives(LINE)]
    assert low <= min(values) < low + 0.05 * (high - low)
    assert high - 0.05 * (high - low) < max(values) <= high
    assert sum(values) / len(values) == pytest.approx((low + high) / 2, abs=0.08 * (high - low))


def test_a_seed_draws_the_same_values_whatever_stands_beside_them() -> None:
    whole = {drive.seed: drive for drive in drives(LINE)}
    assert drives(LINE) == list(whole.values())
    part = drives(LINE.replace('1000..1199', '1100..1101').replace('&roll=-4..4', '') + '&fps=5..20')
    assert [drive.seed for drive in part] == [1100, 1101]
    for drive in part:
        same = whole[drive.seed]
        assert (drive.scene, drive.fov_deg, drive.camera_height_m, drive.pitch_deg) == (
            same.scene, same.fov_deg, same.camera_height_m, same.pitch_deg,
        )  # fmt: skip
        assert drive.roll_deg is None
        assert 5 <= drive.fps <= 20


def test_whole_numbers_stay_whole_and_reach_both_ends() -> None:
    assert {drive.frames for drive in drives('synthetic:street?seeds=0..60&frames=3..5')} == {3, 4, 5}


def test_a_list_of_scenes_draws_from_these() -> None:
    assert {drive.scene for drive in drives('synthetic:street,highway?seeds=0..30')} == {'street', 'highway'}


def test_one_drive_is_what_it_was() -> None:
    text = 'synthetic:street?seed=3&frames=5&width=64&height=32'
    assert expand(text) == [text]
    assert open_source(text) == SyntheticSource('street', 3, 5, 64, 32)


def test_the_drives_of_a_line_share_its_weight() -> None:
    line = 'synthetic:street?seeds=4..6&frames=3&weight=2'
    sources = open_sources([line])
    assert [(source.weight, source.group) for source in sources] == [(2.0, line)] * 3
    with pytest.raises(DatasetError, match='holds 3 drives, name one'):
        open_source(line)


def test_the_mount_that_is_asked_for_is_the_cameras() -> None:
    mount = SyntheticSource('street', 3, camera_height_m=2.7, pitch_deg=9.0, roll_deg=-3.0).drive().mount
    assert (mount.height_m, mount.pitch, mount.roll) == pytest.approx((2.7, 0.15708, -0.05236), abs=1e-5)
    drawn, given = SyntheticSource('street', 3).drive().mount, SyntheticSource('street', 3, roll_deg=2.0).drive().mount
    assert (given.height_m, given.pitch, given.yaw) == (drawn.height_m, drawn.pitch, drawn.yaw)


def test_pitch_looks_down_and_indoor_cameras_stay_below_the_ceiling() -> None:
    down = SyntheticSource('street', 3, pitch_deg=20.0).drive().pose(0.0)
    assert down[2, 2] == pytest.approx(-0.342, abs=0.02)
    assert SyntheticSource('corridor', 1, camera_height_m=4.0).drive().mount.height_m < 3.1


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('street?seeds=9..3', 'seeds=9..3 are -5 drives'),
        ('street?seeds=0..999999', 'seeds=0..999999 are 1000000 drives'),
        ('street?seeds=a..b', 'seeds=a..b is no range of whole numbers'),
        ('street?seeds=5', 'seeds=5 is no range'),
        ('street?seeds=0..1&seed=3', 'both seed and seeds'),
        ('street?seeds=0..1&fov=110..40', 'fov=110..40 runs downwards'),
        ('street?seeds=0..1&fov=40..170', 'fov=40..170: field of view 170.0 degrees is none'),
        ('street?seeds=0..1&fov=40..wide', 'fov=40..wide is no range of numbers'),
        ('street?seeds=0..1&fov=nan..90', 'fov=nan..90 runs'),
        ('street?seeds=0..1&camera_height=0..3', 'camera_height_m of a synthetic drive is 0.0: it must be 0.1 to 5'),
        ('street?seeds=0..1&height=0.3..3', "the image's, in pixels: the camera's is camera_height"),
        ('street?seeds=0..1&moving=0..1', 'moving=0..1 is a range: only seeds'),
        ('street?seeds=0..1&moving=0,2', "moving='2' is not a number it can take"),
        ('street?seeds=0..1&sizes=416', "sizes=416: .*height='' is not a number"),
        ('street?seeds=0..1&sizes=64x32&width=64', 'sizes, and width or height beside them'),
        ('street?seeds=0..1&foo=1', "no key 'foo'"),
        ('street,stret?seeds=0..1', "scene stret: no synthetic scene 'stret': did you mean 'street'"),
        ('street?fov=40..110', 'fov=40..110 names many drives: add seeds=FIRST..LAST'),
        ('street,highway', 'street,highway names many drives'),
        ('street?sizes=64x32,32x64', 'add seeds=FIRST..LAST'),
    ],
)
def test_a_line_that_cannot_be_drawn_from_says_why(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        expand(f'synthetic:{text}')
