"""The gates' masks on maps whose right answer is plain to see."""

from __future__ import annotations

import math

import torch

from sidepth_core.gates import border_mask, consistency, edge_mask, sky_mask


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


def test_convention_edge_is_a_range_over_windows_of_three_and_five() -> None:
    depth = torch.rand(2, 1, 12, 17, generator=torch.Generator().manual_seed(3)) + 1
    pooled = {}
    for window in (3, 5):
        values = depth.reciprocal()[..., 1:-1, 1:-1] if window == 3 else depth.reciprocal()
        high = torch.nn.functional.max_pool2d(values, window, stride=1)
        pooled[window] = high, high + torch.nn.functional.max_pool2d(-values, window, stride=1)
    expected = 2 * pooled[3][1] - pooled[5][1] > 0.1 * pooled[3][0]
    assert 0 < expected.sum() < expected.numel()
    assert torch.equal(edge_mask(depth, 0.1)[..., 2:-2, 2:-2], expected)


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
