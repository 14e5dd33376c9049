"""Images: the colours mean what the bar says, the bird's-eye view puts things where they are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from sidepth_core.camera import Camera
from sidepth_core.colour_maps import colour_table
from sidepth_core.errors import ConfigError
from sidepth_core.visualisation import (
    BACKGROUND,
    Panel,
    bird_view,
    depth_span,
    draw_depth,
    draw_sparse_depth,
    save_image,
    side_by_side,
    with_colour_bar,
)

CAMERA = Camera(60, 40, 50, 60, 29.5, 14.5)


def wall(depth: float) -> np.ndarray:
    return np.full((40, 60), depth, np.float32)


def test_near_is_warm_far_is_cold_unknown_is_black() -> None:
    depth = np.array([[2, 20, np.nan, np.inf]], np.float32)
    near, far, unknown, sky = draw_depth(depth, (2, 20))[0].astype(int)
    assert near[0] > near[2] + 50
    table = colour_table('turbo', torch.device('cpu')).numpy()
    assert (far == table[0]).all()
    assert (sky == table[0]).all()
    assert (unknown == 0).all()


def test_span_covers_what_is_known_in_all_maps() -> None:
    known = np.linspace(1, 3, 101, dtype=np.float32)[None]
    near, far = depth_span(known, np.array([[np.nan, np.inf, 0, 5]], np.float32))
    assert 1 < near < 1.1
    assert 2.9 < far < 5
    assert depth_span(np.full((2, 2), np.nan, np.float32)) == (1.0, 10.0)


def test_colour_bar_shows_the_depth_image_colours_at_its_ends() -> None:
    image = with_colour_bar(np.zeros((200, 10, 3), np.uint8), (2, 20))
    assert image.shape[0] == 200
    ends = draw_depth(np.array([[2, 20]], np.float32), (2, 20))[0].astype(int)
    assert np.abs(image[-1, 12].astype(int) - ends[0]).max() < 8  # near at the bottom, as on a road
    assert np.abs(image[0, 12].astype(int) - ends[1]).max() < 8
    assert (image[:, 30:] > 200).any()  # something is written beside it


def test_sparse_depth_becomes_dots_on_the_darkened_image() -> None:
    depth = np.full((40, 60), np.nan, np.float32)
    depth[20, 30] = 5
    image = draw_sparse_depth(depth, np.full((40, 60, 3), 90, np.uint8), (2, 20))
    dots = (image != 30).any(2)
    assert dots.sum() == 9
    assert dots[19:22, 29:32].all()


def test_bird_view_puts_a_point_where_it_is() -> None:
    depth = np.full((40, 60), np.nan, np.float32)
    image = np.zeros((40, 60, 3), np.uint8)
    depth[15, 55], image[15, 55] = 5.0, (250, 10, 10)
    image = bird_view(depth, CAMERA, image, size=200, reach_m=10)
    rows, columns = np.nonzero((image == (250, 10, 10)).all(2))
    # z = 5 m of 10 is half way up; x = (55 - 29.5) / 50 * 5 = 2.55 m of 10 is a quarter right of the middle.
    assert rows.min() == pytest.approx(100, abs=2)
    assert columns.min() == pytest.approx(100 + 51, abs=2)


def test_bird_view_leaves_out_what_is_overhead_and_what_is_sky() -> None:
    depth = wall(np.inf)
    depth[0, :] = 30.0  # y = -14.5 / 60 * 30 = -7 m: 7 m above the camera
    image = np.full((40, 60, 3), (250, 10, 10), np.uint8)
    image = bird_view(depth, CAMERA, image, size=100, reach_m=40)
    assert not (image == (250, 10, 10)).all(2).any()


def test_bird_view_refuses_sizes_that_differ() -> None:
    with pytest.raises(ConfigError, match='sizes differ'):
        bird_view(np.ones((20, 60), np.float32), CAMERA, np.zeros((40, 60, 3), np.uint8))


def test_panels_stand_side_by_side_under_their_labels() -> None:
    red, blue = (np.full((20, 40, 3), colour, np.uint8) for colour in ((200, 0, 0), (0, 0, 200)))
    image = side_by_side([[Panel(red, 'left'), Panel(blue, 'right')], [Panel(red)]], width=400)
    assert image.shape[1] == 400
    middle = image[image.shape[0] // 5]
    assert (middle[100] == (200, 0, 0)).all()
    assert (middle[300] == (0, 0, 200)).all()
    assert (image[0] == BACKGROUND).all()
    with pytest.raises(ConfigError, match='at least one panel'):
        side_by_side([[Panel(red)], []])


def test_a_saved_image_reads_back(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (5, 7, 3), np.uint8)
    path = save_image(tmp_path / 'new' / 'depth.png', image)
    assert (cv2.imread(str(path))[..., ::-1] == image).all()
    with pytest.raises(ConfigError, match=r'\.png or \.jpg'):
        save_image(tmp_path / 'depth.xyz', image)


def test_bird_view_has_no_gaps_in_a_road() -> None:
    rows = np.arange(40, dtype=np.float32)[:, None]
    depth = np.where(rows > 17, 60 * 1.5 / (rows - 14.5), np.inf).astype(np.float32).repeat(60, axis=1)
    image = np.full((40, 60, 3), (250, 10, 10), np.uint8)
    image = bird_view(depth, CAMERA, image, size=200, reach_m=20)
    ahead = (image[:, 95:105] == (250, 10, 10)).all(2).any(1)
    assert ahead[40:160].mean() > 0.9  # 4 to 16 m ahead, where neighbouring image rows lie up to 2.4 m apart
