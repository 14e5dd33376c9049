"""Losses: a value by hand, zero at perfect input, gradcheck, masked pixels, wrong shapes, black images."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sidepth_core.errors import ConfigError
from sidepth_core.geometry import Warped, disparity_to_depth, pose_matrix, warp
from sidepth_core.losses import (
    LossTerms,
    LossWeights,
    depth_gradient,
    depth_shape,
    depth_supervision,
    hole_share,
    infinite_depth_holes,
    minimum_reprojection,
    motion_mask,
    motion_term,
    photometric,
    scale_drift,
    self_distillation,
    sky_drift,
    smoothness_first,
    smoothness_second,
    speed_term,
    ssim_term,
    teacher_gradient,
    teacher_shape,
    zoom_consistency,
)
from sidepth_core.losses.box import box_mean

GOLDEN = np.load(Path(__file__).parents[1] / 'golden' / 'dabnet_golden_losses.npz')
FLOOR = 0.15e-3
"""Photometric error of equal images: 0.15 * sqrt(1e-6)."""
EVERYWHERE = torch.ones(1, 1, 4, 6, dtype=torch.bool)


def golden_image(name: str, height: int = 192, width: int = 640) -> Tensor:
    """Return the smooth random image that the published numbers were computed on."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], 'little')
    small = np.random.Generator(np.random.Philox(seed)).uniform(0, 1, (1, 3, height // 16, width // 16))
    image = F.interpolate(torch.from_numpy(small), (height, width), mode='bilinear', align_corners=False)
    return image.float()


def constant(value: float) -> Tensor:
    return torch.full((1, 3, 4, 6), value)


def seen(image: Tensor, valid: Tensor = EVERYWHERE) -> Warped:
    return Warped(image, valid)


def test_photometric_matches_the_published_numbers() -> None:
    error = photometric(golden_image('a192'), golden_image('b192'))
    assert error.mean().item() == pytest.approx(GOLDEN['photometric_mean'], abs=1e-5)
    difference = np.abs(error[0, 0, ::16, ::16].numpy() - GOLDEN['photometric_grid'])
    assert np.median(difference) < 1e-5
    # SSIM of these smooth images cancels to its fifth digit: one unit in the last place of a pixel, as interpolation
    # with another number of threads makes, moves it by 2e-5.
    assert difference.max() < 4e-5


def test_ssim_term_matches_the_published_numbers() -> None:
    term = ssim_term(golden_image('a192'), golden_image('b192'))
    assert term.mean().item() == pytest.approx(GOLDEN['ssim_term_mean'], abs=1e-5)


def test_smoothness_matches_the_published_numbers() -> None:
    disparity, image = 0.5 * golden_image('disp192')[:, :1] + 0.1, golden_image('a192')
    total = smoothness_first(disparity, image) + smoothness_second(disparity, image)
    assert total.item() == pytest.approx(GOLDEN['smoothness_on_normalised_disp'], abs=1e-5)


def test_box_mean_equals_average_pooling_bit_for_bit() -> None:
    image = torch.rand(2, 3, 5, 7)
    assert torch.equal(box_mean(image), F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode='reflect'), 3, 1))


@pytest.mark.parametrize('size', [(2, 2), (2, 5), (4, 3)])
def test_box_mean_has_the_right_gradient_at_every_border(size: tuple[int, int]) -> None:
    assert torch.autograd.gradcheck(box_mean, torch.rand(1, 1, *size, dtype=torch.float64, requires_grad=True))


def test_photometric_of_two_constant_images_by_hand() -> None:
    # No variance: SSIM = (2*0.25*0.75 + 1e-4) / (0.0625 + 0.5625 + 1e-4); the Charbonnier is sqrt(0.25 + 1e-6).
    ssim = (0.375 + 1e-4) / (0.625 + 1e-4)
    expected = 0.85 * (1 - ssim) / 2 + 0.15 * math.sqrt(0.25 + 1e-6)
    assert torch.allclose(photometric(constant(0.25), constant(0.75)), torch.tensor(expected), atol=1e-6)


def test_photometric_of_equal_images_is_the_charbonnier_floor_with_no_gradient() -> None:
    image = torch.rand(1, 3, 6, 8, requires_grad=True)
    error = photometric(image, image.detach().clone())
    assert torch.allclose(error, torch.tensor(FLOOR), atol=1e-6)
    error.sum().backward()
    assert image.grad is not None
    assert image.grad.abs().max() < 1e-3


def test_photometric_has_the_right_gradient() -> None:
    torch.manual_seed(1)
    images = [torch.rand(1, 2, 4, 5, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(photometric, images)


@pytest.mark.parametrize('function', [photometric, ssim_term])
def test_photometric_refuses_images_of_different_shapes(function: Callable[[Tensor, Tensor], Tensor]) -> None:
    with pytest.raises(ConfigError, match=r'prediction has shape \(1, 3, 4, 5\), expected \(1, 3, 4, 6\)'):
        function(torch.rand(1, 3, 4, 5), torch.rand(1, 3, 4, 6))
    with pytest.raises(ConfigError, match='at least'):
        function(torch.rand(1, 3, 1, 5), torch.rand(1, 3, 1, 5))


def test_minimum_reprojection_takes_the_better_source_at_each_pixel() -> None:
    result = minimum_reprojection(constant(0.5), [seen(constant(0.1)), seen(constant(0.5))])
    assert result.loss.item() == pytest.approx(FLOOR, abs=1e-6)
    assert result.explained.all()


def test_minimum_reprojection_counts_a_source_only_where_it_is_valid() -> None:
    left = EVERYWHERE.clone()
    left[..., 3:] = False
    bad = photometric(constant(0.1), constant(0.5))[0, 0, 0, 0].item()
    result = minimum_reprojection(constant(0.5), [seen(constant(0.1)), seen(constant(0.5), left)])
    assert result.loss.item() == pytest.approx((FLOOR + bad) / 2, abs=1e-6)
    nowhere = minimum_reprojection(constant(0.5), [seen(constant(0.5), left)])
    assert torch.equal(nowhere.counted, left)
    assert nowhere.loss.item() == pytest.approx(FLOOR, abs=1e-6)


def test_minimum_reprojection_masks_pixels_that_stand_still() -> None:
    warped = constant(0.1).requires_grad_()
    result = minimum_reprojection(constant(0.5), [seen(warped)], [constant(0.5)])
    result.loss.backward()
    assert not result.explained.any()
    assert result.loss.item() == pytest.approx(FLOOR + 1e-5, abs=1e-6)
    assert warped.grad is not None
    assert not warped.grad.any()


def test_minimum_reprojection_lets_the_warp_win_a_tie() -> None:
    result = minimum_reprojection(constant(0.5), [seen(constant(0.4))], [constant(0.4)])
    assert result.explained.all()


def test_minimum_reprojection_leaves_out_what_is_not_kept() -> None:
    keep = EVERYWHERE.clone()
    keep[..., 1:, :] = False
    wrong_below = constant(0.5)
    wrong_below[..., 2:, :] = 0.9
    result = minimum_reprojection(constant(0.5), [seen(wrong_below)], keep=keep)
    assert torch.equal(result.counted, keep)
    assert result.loss.item() == pytest.approx(FLOOR, abs=1e-6)


def test_minimum_reprojection_is_zero_where_nothing_is_seen() -> None:
    warped = constant(0.1).requires_grad_()
    result = minimum_reprojection(constant(0.5), [seen(warped, ~EVERYWHERE)], [constant(0.5)])
    result.loss.backward()
    assert result.loss.item() == 0
    assert warped.grad is not None
    assert warped.grad.isfinite().all()


def test_minimum_reprojection_needs_a_source() -> None:
    with pytest.raises(ConfigError, match='at least one source'):
        minimum_reprojection(constant(0.5), [])
    with pytest.raises(ConfigError, match='keep has shape'):
        minimum_reprojection(constant(0.5), [seen(constant(0.5))], keep=torch.ones(4, 6, dtype=torch.bool))


def test_smoothness_by_hand() -> None:
    # Disparity has mean 1.5 and one step of 1 in three differences, where the image has a step of 2.
    disparity = torch.tensor([1.0, 1, 2, 2]).expand(1, 1, 3, 4)
    image = torch.tensor([0.0, 0, 2, 2]).expand(1, 3, 3, 4)
    assert smoothness_first(disparity, image).item() == pytest.approx(math.exp(-1) / 1.5 / 3, rel=1e-5)
    # Second differences along x are (1, -1), the image's (2, -2); nothing varies along y.
    assert smoothness_second(disparity, image).item() == pytest.approx(math.exp(-1) / 1.5, rel=1e-5)


def test_second_order_smoothness_has_four_terms() -> None:
    disparity = torch.rand(2, 1, 5, 7) + 0.5
    image = torch.rand(2, 3, 5, 7)
    normal = disparity / disparity.mean((2, 3), keepdim=True)
    total = 0.0
    for first in (-1, -2):
        for second in (-1, -2):
            d, i = normal.diff(dim=first).diff(dim=second), image.diff(dim=first).diff(dim=second)
            total += (d.abs() * torch.exp(-0.5 * i.abs().mean(1, keepdim=True))).mean().item()
    assert smoothness_second(disparity, image).item() == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize('function', [smoothness_first, smoothness_second])
def test_smoothness_of_constant_disparity_is_zero(function: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert function(torch.full((1, 1, 5, 7), 0.3), torch.rand(1, 3, 5, 7)).item() == pytest.approx(0, abs=1e-6)


def test_second_order_smoothness_of_a_plane_is_zero_and_first_order_is_not() -> None:
    v, u = torch.meshgrid(torch.arange(5.0), torch.arange(7.0), indexing='ij')
    plane = (0.1 * u + 0.2 * v + 1)[None, None]
    assert smoothness_second(plane, torch.rand(1, 3, 5, 7)).item() == pytest.approx(0, abs=1e-5)
    assert smoothness_first(plane, torch.rand(1, 3, 5, 7)).item() > 0.01


@pytest.mark.parametrize('function', [smoothness_first, smoothness_second])
def test_smoothness_does_not_depend_on_the_scale_of_disparity(function: Callable[[Tensor, Tensor], Tensor]) -> None:
    disparity, image = torch.rand(2, 1, 5, 7) + 0.1, torch.rand(2, 3, 5, 7)
    assert function(disparity, image).item() == pytest.approx(function(disparity * 7, image).item(), rel=1e-4)


@pytest.mark.parametrize('function', [smoothness_first, smoothness_second])
def test_smoothness_has_the_right_gradient(function: Callable[[Tensor, Tensor], Tensor]) -> None:
    torch.manual_seed(2)
    disparity = (torch.rand(1, 1, 5, 6, dtype=torch.float64) + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(function, (disparity, torch.rand(1, 3, 5, 6, dtype=torch.float64)))


@pytest.mark.parametrize('function', [smoothness_first, smoothness_second])
def test_smoothness_refuses_exchanged_arguments(function: Callable[[Tensor, Tensor], Tensor]) -> None:
    with pytest.raises(ConfigError, match='disparity has shape'):
        function(torch.rand(1, 3, 5, 7), torch.rand(1, 1, 5, 7))


def test_speed_term_by_hand_leaves_unknown_distance_out() -> None:
    translation = torch.tensor([[0.3, 0.0, 0.4], [0.0, 0.0, 2.0], [9.0, 9.0, 9.0]], requires_grad=True)
    term = speed_term(translation, torch.tensor([0.7, 1.5, torch.nan]))
    assert term.item() == pytest.approx((0.2 + 0.5) / 2, abs=1e-6)
    term.backward()
    assert translation.grad is not None
    assert translation.grad[2].tolist() == [0, 0, 0]
    assert translation.grad.isfinite().all()


def test_speed_term_is_zero_at_the_right_length_and_where_nothing_is_known() -> None:
    assert speed_term(torch.tensor([[3.0, 0, 4.0]]), torch.tensor([5.0])).item() == pytest.approx(0, abs=1e-6)
    still = torch.zeros(1, 3, requires_grad=True)
    nothing = speed_term(still, torch.tensor([torch.nan]))
    nothing.backward()
    assert nothing.item() == 0
    assert still.grad is not None
    assert still.grad.isfinite().all()


def test_speed_term_has_the_right_gradient() -> None:
    translation = torch.tensor([[0.1, -0.2, 0.5], [0.3, 0.1, 0.2]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(speed_term, (translation, torch.tensor([1.0, 0.2], dtype=torch.float64)))
    with pytest.raises(ConfigError, match='distance_m has shape'):
        speed_term(translation, torch.ones(2, 1))


def moved(x_m: float, turn_rad: float) -> Tensor:
    """Return a motion of so many metres to the side and a turn about the optical axis."""
    return pose_matrix(torch.tensor([[0.0, 0.0, turn_rad]]), torch.tensor([[x_m, 0.0, 0.0]]))


def test_motion_term_by_hand_leaves_unknown_motions_out() -> None:
    predicted = torch.cat([moved(0.0, 0.0), moved(0.3, 0.02), moved(9.0, 1.0)]).requires_grad_()
    known = torch.cat([moved(0.4, 0.0), moved(0.3, 0.0), torch.full((1, 4, 4), torch.nan)])
    term = motion_term(predicted, known)
    assert term.item() == pytest.approx((0.4 + 10 * 0.02) / 2, abs=1e-4)
    term.backward()
    assert predicted.grad is not None
    assert predicted.grad[2].abs().max() == 0
    assert predicted.grad[:2].abs().amax((1, 2)).min() > 0


def test_motion_term_is_zero_at_the_right_motion_and_where_nothing_is_known() -> None:
    right = moved(0.5, 0.1).requires_grad_()
    for known in (right.detach(), torch.full((1, 4, 4), torch.nan)):
        right.grad = None
        term = motion_term(right, known)
        term.backward()
        assert term.item() == pytest.approx(0, abs=2e-5)
        assert right.grad is not None
        assert right.grad.isfinite().all()


def test_motion_term_has_the_right_gradient_and_refuses_other_shapes() -> None:
    predicted, known = moved(0.5, 0.1).double().requires_grad_(), moved(0.1, 0.05).double()
    assert torch.autograd.gradcheck(lambda motion: motion_term(motion, known), (predicted,))
    with pytest.raises(ConfigError, match='known has shape'):
        motion_term(predicted, known[:, :3])


def test_depth_supervision_by_hand_leaves_unknown_depth_out_and_caps_the_sky() -> None:
    predicted = torch.tensor([2.0, 50.0, 1.0, 1.0]).reshape(1, 1, 1, 4).requires_grad_()
    known = torch.tensor([1.0, torch.inf, torch.nan, 0.0]).reshape(1, 1, 1, 4)
    term = depth_supervision(predicted, known)
    assert term.item() == pytest.approx((math.log(2) + math.log(2)) / 2, rel=1e-5)
    term.backward()
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()
    assert depth_supervision(known[..., :1], known[..., :1]).item() == 0


def test_depth_supervision_has_the_right_gradient() -> None:
    predicted = torch.tensor([2.0, 0.5, 3.0], dtype=torch.float64).reshape(1, 1, 1, 3).requires_grad_()
    known = torch.tensor([1.0, 1.0, torch.nan], dtype=torch.float64).reshape(1, 1, 1, 3)
    assert torch.autograd.gradcheck(depth_supervision, (predicted, known))
    with pytest.raises(ConfigError, match='known_depth_m has shape'):
        depth_supervision(predicted, known[0])


def test_depth_shape_by_hand_takes_one_factor_an_image_and_no_sky() -> None:
    known = torch.tensor([[1.0, 2.0, 4.0, torch.inf, torch.nan], [3.0, 3.0, 3.0, 3.0, 3.0]]).reshape(2, 1, 1, 5)
    assert depth_shape(known.nan_to_num(posinf=9) * 5, known).item() == pytest.approx(0, abs=1e-6)
    predicted = torch.tensor([[2.0, 4.0, 16.0, 1.0, 1.0], [3.0, 3.0, 3.0, 3.0, 6.0]]).reshape(2, 1, 1, 5)
    predicted.requires_grad_()
    term = depth_shape(predicted, known)  # the first image is twice as far but for one pixel, the second right but one
    assert term.item() == pytest.approx(2 * math.log(2) / 8, rel=1e-5)
    term.backward()
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()
    assert depth_shape(known * torch.nan, known * torch.nan).item() == 0


def test_depth_gradient_by_hand_sees_a_missing_edge_and_no_factor() -> None:
    known = torch.ones(1, 1, 2, 4)
    known[..., 2:] = math.e
    flat = torch.full_like(known, 7.0)
    assert depth_gradient(3 * known, known).item() == pytest.approx(0, abs=1e-6)
    # Across, one step of 1 in three at distance 1 and in one at distance 2; down none; over 4 distances and 2 axes.
    assert depth_gradient(flat, known).item() == pytest.approx((1 / 3 + 1) / 8, rel=1e-5)
    known[..., 1] = math.nan  # an edge that is not known is not missed: only columns 0 and 2, two apart, tell
    assert depth_gradient(flat, known).item() == pytest.approx(1 / 8, rel=1e-5)


def test_depth_gradient_has_the_right_gradient() -> None:
    predicted = (torch.rand(1, 1, 5, 6, dtype=torch.float64) + 1).requires_grad_()
    known = torch.rand(1, 1, 5, 6, dtype=torch.float64) + 1
    known[0, 0, 2, 2:4] = torch.nan
    assert torch.autograd.gradcheck(depth_gradient, (predicted, known))
    assert torch.autograd.gradcheck(depth_shape, (predicted[..., :5, :5], known[..., :5, :5]))
    for term in (depth_gradient, depth_shape):
        with pytest.raises(ConfigError, match='known_depth_m has shape'):
            term(predicted, known[0])


def test_zoom_consistency_is_zero_where_predictions_agree_and_sees_a_scale_difference() -> None:
    full = torch.rand(2, 1, 6, 8) * 0.2 + 0.01
    assert zoom_consistency(full.clone(), full).item() == pytest.approx(0, abs=1e-5)
    assert zoom_consistency(full * 1.2, full).item() > 0.15 * 0.19


def test_zoom_consistency_of_constants_by_hand() -> None:
    # Over the full one's mean they are 1.5 and 1: SSIM = (3 + C1) / (3.25 + C1), L1 = 0.5.
    ssim = (3 + 1e-4) / (3.25 + 1e-4)
    expected = 0.85 * (1 - ssim) / 2 + 0.15 * 0.5
    actual = zoom_consistency(torch.full((1, 1, 3, 4), 0.03), torch.full((1, 1, 3, 4), 0.02))
    assert actual.item() == pytest.approx(expected, abs=1e-4)


def test_zoom_consistency_sends_the_right_gradient_to_the_zoomed_one() -> None:
    torch.manual_seed(3)
    zoomed, full = (torch.rand(1, 1, 4, 5, dtype=torch.float64) + 0.2 for _ in range(2))
    assert torch.autograd.gradcheck(lambda value: zoom_consistency(value, full), zoomed.requires_grad_())
    with pytest.raises(ConfigError, match='full has shape'):
        zoom_consistency(zoomed, full[..., 1:])


def test_self_distillation_by_hand_and_without_gradient_to_the_teacher() -> None:
    student = torch.full((1, 1, 1, 2), 2.0, requires_grad=True)
    teacher = torch.tensor([1.0, 4.0]).reshape(1, 1, 1, 2).requires_grad_()
    term = self_distillation(student, teacher)
    term.backward()
    assert term.item() == pytest.approx(math.log(2), rel=1e-6)
    assert teacher.grad is None
    masked = self_distillation(student, torch.tensor([2.0, 4.0]).reshape(1, 1, 1, 2), torch.tensor([[[[True, False]]]]))
    assert masked.item() == 0


def test_scale_drift_by_hand() -> None:
    start = torch.full((2, 1, 4, 5), 8.0)
    start[:, :, 0] = 90.0  # sky, by a start that says 100 m at most
    factors = torch.tensor([2.0, 4.0, 9.0]).log()
    depth = start.clone()
    depth[0, :, 1:] *= 2
    depth[1, :, 1:] *= 4
    depth[:, :, 3, :2] *= 9  # errors of few pixels are not the scale
    depth[:, :, 0] = 1.0
    depth.requires_grad_()
    both = scale_drift(depth, start, 100.0, torch.tensor([True, True]))
    assert both.item() == pytest.approx(factors[:2].mean().item(), rel=1e-6)
    assert scale_drift(depth, start, 100.0, torch.tensor([False, True])).item() == pytest.approx(math.log(4), rel=1e-6)
    both.backward()
    assert depth.grad is not None
    shares = (depth.grad * depth.detach()).flatten(1)
    assert shares.sum().item() == pytest.approx(1, rel=1e-5)
    assert (shares != 0).sum(1).tolist() == [13, 13]  # all of the ground but the errors


def test_scale_drift_is_that_of_the_nearer_half() -> None:
    start = torch.tensor([4.0, 6, 30, 40]).reshape(1, 1, 4, 1).expand(1, 1, 4, 5)
    depth = start * torch.tensor([1.0, 1, 3, 3]).reshape(1, 1, 4, 1)
    assert scale_drift(depth, start, 100.0, torch.tensor([True])).item() == pytest.approx(0, abs=1e-6)
    nearer = start * torch.tensor([0.8, 0.8, 3, 3]).reshape(1, 1, 4, 1)
    assert scale_drift(nearer, start, 100.0, torch.tensor([True])).item() == pytest.approx(math.log(1.25), rel=1e-5)


def test_scale_drift_holds_the_scale_of_all_images_together_and_nothing_where_none_counts() -> None:
    start = torch.full((2, 1, 4, 5), 8.0)
    opposite = start * torch.tensor([2.0, 0.5]).reshape(2, 1, 1, 1)
    assert scale_drift(opposite, start, 100.0, torch.tensor([True, True])).item() == pytest.approx(0, abs=1e-6)
    for depth, held in ((opposite, [False, False]), (torch.full_like(start, 90.0), [True, True])):
        depth = depth.clone().requires_grad_()  # noqa: PLW2901 - a leaf of its own
        term = scale_drift(depth, depth.detach(), 100.0, torch.tensor(held))
        term.backward()
        assert term.item() == 0
        assert depth.grad is not None
        assert depth.grad.isfinite().all()


def road_depth() -> tuple[Tensor, Tensor]:
    """Return depth of a flat road 1.5 m below a level camera, (1, 1, 40, 60), and its intrinsics."""
    K = torch.tensor([[[50.0, 0, 29.5], [0, 60, 14.5], [0, 0, 1]]])
    rows = torch.arange(40.0).reshape(1, 1, 40, 1).expand(1, 1, 40, 60)
    return torch.where(rows > 15, 60 * 1.5 / (rows - 14.5), torch.tensor(100.0)).contiguous(), K


def test_a_plain_road_has_no_holes() -> None:
    assert hole_share(*road_depth()).tolist() == [0]


def test_a_co_moving_car_that_looks_infinitely_far_is_a_hole_and_is_masked_with_its_edge() -> None:
    depth, K = road_depth()
    depth[..., 24:30, 20:30] = 100
    holes = infinite_depth_holes(depth, K)
    assert holes[..., 24:30, 20:30].all()
    assert holes.sum() == 60
    assert hole_share(depth, K).item() == pytest.approx(60 / 2400)
    assert (~motion_mask(depth, K, grow_px=2)).sum() == (6 + 4) * (10 + 4)


def test_total_weights_the_terms_and_leaves_out_what_was_not_computed() -> None:
    terms = LossTerms(photometric=torch.tensor(2.0), smoothness_first=torch.tensor(10.0), speed=torch.tensor(3.0))
    assert terms.total(LossWeights(speed=0.5)).item() == pytest.approx(2 + 0.01 + 1.5)
    assert LossTerms().total(LossWeights()).item() == 0


@pytest.mark.parametrize('kind', ['black', 'white', 'textureless'])
@pytest.mark.parametrize('half', [torch.bfloat16, torch.float16])
def test_no_loss_and_no_gradient_is_nan_on_images_without_texture(kind: str, half: torch.dtype) -> None:
    image = torch.full((2, 3, 16, 24), {'black': 0.0, 'white': 1.0, 'textureless': 0.5}[kind])
    K = torch.tensor([[20.0, 0, 11], [0, 25, 7], [0, 0, 1]]).expand(2, 3, 3)
    parameters = [torch.full((2, 1, 16, 24), 1e-3), torch.zeros(2, 3), torch.zeros(2, 3)]
    sigma, axis_angle, translation = (value.requires_grad_() for value in parameters)
    with torch.autocast('cpu', torch.bfloat16):
        disparity = sigma.to(half)
        depth = disparity_to_depth(disparity)
        motion = pose_matrix(axis_angle.to(half), translation.to(half))
        warped = warp(image, depth, K, motion, K)
        terms = LossTerms(
            photometric=minimum_reprojection(image.to(half), [warped], [image.to(half)]).loss,
            smoothness_first=smoothness_first(disparity, image),
            smoothness_second=smoothness_second(disparity, image),
            speed=speed_term(translation, torch.tensor([0.0, 1.0])),
            zoom_consistency=zoom_consistency(disparity, disparity * 1.1),
            depth=depth_supervision(depth, torch.full_like(depth, torch.inf)),
            depth_shape=depth_shape(depth, 2 + torch.rand_like(depth)),
            depth_gradient=depth_gradient(depth, 2 + torch.rand_like(depth)),
            self_distillation=self_distillation(depth, depth.detach() * 1.1),
            two_view_pose=motion_term(motion, torch.eye(4).expand(2, 4, 4)),
            two_view_depth=depth_shape(depth, torch.rand_like(depth), math.inf),
            hold_scale=scale_drift(depth, depth.detach() * 1.1, 1e6, torch.tensor([True, True])),
            hold_sky=sky_drift(depth, depth.detach() * 1.1, 1e-6),
            teacher_shape=teacher_shape(depth, torch.rand_like(depth), has_shift=half == torch.float16),
            teacher_gradient=teacher_gradient(depth, torch.rand_like(depth), has_shift=half == torch.float16),
            teacher_scale=scale_drift(depth, depth.detach() * 1.1, 1e6, torch.tensor([True, True])),
        )
        total = terms.total(LossWeights(*[1] * len(terms)))
    total.backward()
    assert all(term is not None and term.dtype == torch.float32 and term.isfinite() for term in terms)
    for value in (sigma, axis_angle, translation):
        assert value.grad is not None
        assert value.grad.isfinite().all()
