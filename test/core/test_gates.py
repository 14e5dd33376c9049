"""The gates' masks on maps whose right answer is plain to see."""

from __future__ import annotations

import math

import pytest
import torch

from sidepth_core.benchmarks.edges import above, blurred, held_out, steps_of
from sidepth_core.gates import EDGE_STEP, border_mask, consistency, edge_mask, edge_steps, gate_range, sky_mask


def ground(height: int = 60, width: int = 80, horizon: int = 10) -> torch.Tensor:
    """Return the depth of a plane that runs to the horizon, (1, 1, height, width)."""
    rows = torch.arange(height, dtype=torch.float32)[:, None].expand(height, width)
    return (200 / (rows - horizon).clamp(min=1))[None, None]


def test_ground_up_to_the_horizon_is_no_edge() -> None:
    depth = ground()[..., 14:, :]
    assert not edge_mask(depth, 0.1).any()


def test_both_sides_of_a_step_are_an_edge() -> None:
    depth = torch.full((1, 1, 20, 30), 10.0)
    depth[..., 15:] = 5.0
    mask = edge_mask(depth, 0.1)[0, 0]
    assert mask[:, 14:16].all()
    assert not mask[:, :13].any()
    assert not mask[:, 17:].any()


def test_flying_pixel_between_two_surfaces_is_an_edge() -> None:
    depth = torch.full((1, 1, 20, 30), 10.0)
    depth[..., 15] = 7.0
    depth[..., 16:] = 5.0
    assert edge_mask(depth, 0.1)[0, 0, :, 15].all()


def test_step_smaller_than_asked_for_passes() -> None:
    depth = torch.full((1, 1, 20, 30), 10.0)
    depth[..., 15:] = 9.5
    assert not edge_mask(depth, 0.1).any()
    assert edge_mask(depth, 0.02).any()


def smeared_step(near_m: float, far_m: float, ramp_px: int, *, height: int = 40, width: int = 60) -> torch.Tensor:
    """Return two walls between which inverse depth ramps over so many pixels around the middle."""
    position = ((torch.arange(width) - width / 2 + 0.5) / ramp_px + 0.5).clamp(0, 1)
    return (1 / (1 / near_m + position * (1 / far_m - 1 / near_m))).expand(1, 1, height, width)


@pytest.mark.parametrize('ramp_px', [4, 6, 8])
def test_edges_that_a_network_smears_over_several_pixels_are_edges(ramp_px: int) -> None:
    depth = smeared_step(5.0, 15.0, ramp_px)
    mask = edge_mask(depth)[0, 0]
    flying = ((depth > 5 * 1.1) & (depth < 15 / 1.1))[0, 0]
    assert flying.any()
    assert mask[flying].all()
    assert not mask[:, : 30 - ramp_px].any()
    assert not mask[:, 30 + ramp_px :].any()


def test_an_edge_before_receding_ground_is_found_and_the_ground_is_kept() -> None:
    depth = ground(80, 80)[..., 14:, :].clone()
    depth[..., 20:40, 30:34] = 4.0
    inverse = torch.nn.functional.avg_pool2d(depth.reciprocal(), 5, 1, 2, count_include_pad=False)
    mask = edge_mask(inverse.reciprocal())[0, 0]
    assert mask[22:30, [28, 34]].all()
    assert not mask[:, :20].any()
    assert not mask[:, 50:].any()


def test_most_flying_pixels_of_blurred_drives_are_removed_for_few_good_ones() -> None:
    frames = held_out((96, 160), drives=1)
    flying, good = steps_of(frames, [blurred(frame, 1.5) for frame in frames])
    assert len(flying) > 500
    assert above(flying, EDGE_STEP) > 0.7
    assert above(good, EDGE_STEP) < 0.05


def test_convention_edge_step_is_the_slope_over_four_pixels_beyond_its_surroundings() -> None:
    inverse = 1 + 0.01 * torch.arange(60.0)[None, None, None].expand(1, 1, 30, 60).clone()
    inverse[..., 30:] += 0.5
    steps = edge_steps(inverse.reciprocal())[0, 0]
    # Columns 28 to 31 see the step within two pixels; the plane's own 0.04 over four pixels is no part of it.
    torch.testing.assert_close(steps[:, 28], torch.full((30,), 0.5 / 1.28))
    torch.testing.assert_close(steps[:, 31], torch.full((30,), 0.5 / 1.81))
    torch.testing.assert_close(steps[:, :28], torch.zeros(30, 28), atol=1e-5, rtol=0)
    torch.testing.assert_close(steps[:, 32:], torch.zeros(30, 28), atol=1e-5, rtol=0)
    assert torch.equal(edge_steps(3 * inverse.reciprocal()) > 0.1, edge_mask(inverse.reciprocal(), 0.1))


def test_edges_are_the_same_lying_or_standing_and_in_a_batch() -> None:
    depth = torch.rand(2, 1, 32, 48, generator=torch.Generator().manual_seed(3)) + 1
    steps = edge_steps(depth)
    assert steps.shape == depth.shape
    torch.testing.assert_close(edge_steps(depth[1:].mT).mT, steps[1:])
    opened = torch.nn.functional.max_pool2d(-torch.nn.functional.max_pool2d(-slope(depth), 21, 1, 10), 21, 1, 10)
    torch.testing.assert_close(steps, (slope(depth) - opened) * depth)


def slope(depth: torch.Tensor) -> torch.Tensor:
    """Return the slope of inverse depth over four pixels, the outermost two repeated."""
    inverse = depth.reciprocal()
    across, down = inverse[..., 2:-2, 4:] - inverse[..., 2:-2, :-4], inverse[..., 4:, 2:-2] - inverse[..., :-4, 2:-2]
    return torch.nn.functional.pad((across**2 + down**2).sqrt(), (2, 2, 2, 2), mode='replicate')


def test_range_gate_says_too_near_and_too_far_and_leaves_the_rest() -> None:
    depth = torch.tensor([0.05, 0.1, 5.0, 80.0, 80.5, math.inf, -math.inf, math.nan])
    gate_range(depth, 0.1, 80.0)
    inf = math.inf
    expected = torch.tensor([-inf, 0.1, 5.0, 80.0, inf, inf, -inf, math.nan])
    torch.testing.assert_close(depth, expected, rtol=0, atol=0, equal_nan=True)


def test_border_is_a_share_of_each_side() -> None:
    mask = border_mask(100, 50, 0.1)
    assert mask[:10].all()
    assert mask[90:].all()
    assert mask[:, :5].all()
    assert mask[:, 45:].all()
    assert not mask[10:90, 5:45].any()
    assert not border_mask(100, 50, 0.0).any()


def test_sky_ends_at_the_first_near_pixel_of_its_column() -> None:
    depth = torch.full((1, 1, 6, 3), 90.0)
    depth[..., 2, 1] = 5.0
    depth[..., 0, 2] = math.nan
    mask = sky_mask(depth, 60.0)[0, 0]
    assert mask[:, 0].all()
    assert mask[:, 1].tolist() == [True, True, False, False, False, False]
    assert not mask[:, 2].any()


def test_infinite_depth_is_sky() -> None:
    assert sky_mask(torch.full((1, 1, 2, 2), math.inf), 60.0).all()


def test_consistency_is_one_where_equal_and_symmetric() -> None:
    first, second = torch.tensor([2.0, 4.0, 3.0]), torch.tensor([4.0, 2.0, 3.0])
    assert consistency(first, second).tolist() == [0.5, 0.5, 1.0]
