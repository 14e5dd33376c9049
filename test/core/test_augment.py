"""Augmentation: cameras follow images, a clip shares its colours, and the generator alone decides."""

from __future__ import annotations

import colorsys

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sidepth_core.augment import AugmentSettings, ColourMap, apply, augment, draw, plain, recolour
from sidepth_core.data.clips import Batch
from sidepth_core.errors import ConfigError
from sidepth_core.geometry import pose_matrix, warp
from sidepth_core.zoom import full_to_zoomed

CACHED = (26, 39)
SIZE = (20, 30)
NO_CHANGE = ColourMap(torch.eye(3)[None], torch.zeros(1), torch.ones(1))


def batch_of(count: int, seed: int = 0, frames: int = 3) -> Batch:
    """Return clips of smooth random images at the cached size."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(count * frames, 3, 5, 7, generator=generator)
    images = F.interpolate(small, CACHED, mode='bilinear').mul(255).byte().reshape(count, frames, 3, *CACHED)
    K = torch.tensor([[40.0, 0, 18.0], [0, 50, 14.0], [0, 0, 1]]).expand(count, 3, 3)
    depth = torch.rand(count, 1, *CACHED, generator=generator) * 20 + 2
    seen = torch.eye(4).repeat(count, frames - 1, 1, 1)
    points = torch.rand(count, frames - 1, 8, 3, generator=generator)
    driven = torch.ones(count, frames - 1)
    return Batch(images, K, torch.full((count, frames - 1), 0.1), driven, depth, seen, points, 1 / depth, depth)


def test_the_same_generator_state_gives_the_same_batch() -> None:
    batch = batch_of(4)
    first, second = (augment(batch, AugmentSettings(), torch.Generator().manual_seed(7), SIZE) for _ in range(2))
    assert torch.equal(first.depth_input, second.depth_input)
    assert torch.equal(first.K_target, second.K_target)
    assert not torch.equal(first.depth_input, augment(batch, AugmentSettings(), torch.Generator(), SIZE).depth_input)


def test_as_many_numbers_are_drawn_whatever_the_settings() -> None:
    states = []
    for settings in (AugmentSettings(), AugmentSettings(zoom_probability=0, jitter_probability=0, hue=0)):
        generator = torch.Generator().manual_seed(3)
        draw(5, settings, generator)
        states.append(generator.get_state())
    assert torch.equal(*states)


def test_draws_follow_their_probabilities_and_ranges() -> None:
    drawn = draw(4000, AugmentSettings(zoom_centre='anywhere'), torch.Generator().manual_seed(0))
    share, centre, mirrored = drawn.view
    zoomed = (share < 1).all(1)
    assert 0.45 < zoomed.float().mean() < 0.55
    assert 0.45 < mirrored.float().mean() < 0.55
    assert share.min() >= 0.5
    assert share[zoomed].mean() == pytest.approx(0.75, abs=0.01)
    assert abs(torch.corrcoef(share[zoomed].T)[0, 1]) < 0.06  # s_x and s_y are independent
    assert (centre - share / 2).min() > -1e-6  # no view leaves the image
    assert (centre + share / 2).max() < 1 + 1e-6
    assert centre[zoomed].std() > 0.05
    changed = (drawn.colours.brightness != 1).float().mean()
    assert 0.45 < changed < 0.55
    assert 0.8 <= drawn.colours.brightness.min() < drawn.colours.brightness.max() <= 1.2


def test_isotropic_zoom_has_one_share_and_the_middle_centre() -> None:
    share, centre, _ = draw(100, AugmentSettings(zoom_isotropic=True), torch.Generator().manual_seed(0)).view
    assert torch.equal(share[:, 0], share[:, 1])
    assert centre.unique().tolist() == [0.5]


def test_convention_augmented_cameras_tell_the_truth() -> None:
    """With target and sources one still image, warping the un-zoomed source by its own K gives the zoomed target."""
    batch = batch_of(6)
    batch = batch._replace(images=batch.images[:, 1:2].expand(-1, 3, -1, -1, -1))
    settings = AugmentSettings(zoom_probability=1, zoom_centre='anywhere')
    result = augment(batch, settings, torch.Generator().manual_seed(1), SIZE)
    still = pose_matrix(torch.zeros(6, 3), torch.zeros(6, 3))
    for source in result.sources.unbind(1):
        warped = warp(source, torch.full((6, 1, *SIZE), 3.0), result.K_target, still, result.K_source)
        assert warped.valid.all()
        assert torch.allclose(warped.image, result.target, atol=1e-4)
    assert torch.equal(result.identities[:, 0], result.target)


@pytest.mark.parametrize('size', [(20, 30), (14, 56), (32, 32)])
def test_convention_shapes_keep_pixels_square_and_cameras_true(size: tuple[int, int]) -> None:
    """The cached camera has fx 40 and fy 50: every shape crops, and warping the whole source gives the same view."""
    batch = batch_of(6)
    batch = batch._replace(images=batch.images[:, 1:2].expand(-1, 3, -1, -1, -1))
    settings = AugmentSettings(zoom_isotropic=True, zoom_centre='anywhere', shapes=(1.0, 2.0))
    result = augment(batch, settings, torch.Generator().manual_seed(1), size)
    for K in (result.K_target, result.K_full):
        torch.testing.assert_close(K[:, 0, 0], K[:, 1, 1])
    still = pose_matrix(torch.zeros(6, 3), torch.zeros(6, 3))
    warped = warp(result.sources[:, 0], torch.full((6, 1, *size), 3.0), result.K_target, still, result.K_source)
    assert warped.valid.all()
    assert torch.allclose(warped.image, result.target, atol=1e-4)
    again = full_to_zoomed(result.full_input, result.view)
    assert (again - result.depth_input).abs().mean() < 0.02  # sampled twice, so only nearly
    assert result.pose_frames.shape[-2:] == size


def test_validation_crops_the_middle_where_pixels_are_square() -> None:
    # 39x26 with fx 40, fy 50 sees 0.975 by 0.52: as 20x20 it is cropped to 0.52 by 0.52.
    view = plain(batch_of(1), (20, 20), square=True)
    assert view.K_target[0, 0, 0].item() == pytest.approx(20 / 0.52)
    assert view.K_target[0, 0, 2].item() == pytest.approx(((18.5 / 39 - 0.5) * 0.975 / 0.52 + 0.5) * 20 - 0.5)


def test_zoomed_sources_have_the_targets_camera() -> None:
    result = augment(batch_of(4), AugmentSettings(zoom_sources=True), torch.Generator().manual_seed(1), SIZE)
    assert torch.equal(result.sources, result.identities)
    assert torch.equal(result.K_source, result.K_target)


def test_sources_and_pose_frames_keep_the_whole_view_in_order_of_time() -> None:
    batch = batch_of(2)
    settings = AugmentSettings(zoom_probability=1, jitter_probability=0, flip_probability=1)
    result = augment(batch, settings, torch.Generator(), SIZE, pose_size=(10, 15))
    frames = batch.images.flip(-1) / 255
    assert torch.allclose(result.sources, frames[:, [0, 2]])
    assert result.pose_frames.shape == (2, 3, 3, 10, 15)
    mean = result.pose_frames.mean((2, 3, 4))
    assert torch.allclose(mean, frames.mean((2, 3, 4)), atol=0.02)
    cx = batch.intrinsics[0, 0, 2]
    assert torch.allclose(result.K_source[0, 0, 2], CACHED[1] - 1 - cx)


def test_pose_frames_are_shrunk_as_evaluation_shrinks_them() -> None:
    batch = batch_of(2)
    settings = AugmentSettings(zoom_probability=1, jitter_probability=0, flip_probability=1)
    result = augment(batch, settings, torch.Generator(), SIZE, pose_size=(10, 15))
    image = batch.images.flatten(0, 1).float() / 255
    expected = F.interpolate(image, (10, 15), mode='bilinear', antialias=True).flip(-1)
    assert torch.allclose(result.pose_frames.flatten(0, 1), expected, atol=1e-5)


def test_full_and_zoomed_inputs_show_the_same_scene_in_the_same_colours() -> None:
    settings = AugmentSettings(zoom_probability=1, jitter_probability=1)
    result = augment(batch_of(3), settings, torch.Generator().manual_seed(5), SIZE)
    assert torch.allclose(full_to_zoomed(result.full_input, result.view), result.depth_input, atol=0.06)
    assert not torch.allclose(result.depth_input, result.target, atol=0.02)


def test_colours_change_in_the_same_way_in_every_frame_of_a_clip() -> None:
    batch = batch_of(5)
    batch = batch._replace(images=batch.images[:, 1:2].expand(-1, 3, -1, -1, -1))
    result = augment(batch, AugmentSettings(jitter_probability=1), torch.Generator().manual_seed(2), SIZE)
    assert torch.equal(result.pose_frames[:, 0], result.pose_frames[:, 2])
    assert torch.allclose(result.pose_frames[:, 1], result.full_input, atol=1e-5)


def test_known_depth_follows_the_view_without_mixing_or_scaling() -> None:
    batch = batch_of(2)
    batch.depth_m[:, :, :, :20] = torch.nan
    batch.depth_m[:, :, :3] = torch.inf
    result = augment(batch, AugmentSettings(zoom_probability=1), torch.Generator().manual_seed(1), SIZE)
    assert result.depth_m.isnan().any()
    finite = result.depth_m[result.depth_m.isfinite()]
    assert torch.isin(finite, batch.depth_m).all()


def test_plain_only_resizes() -> None:
    result = plain(batch_of(2), SIZE)
    assert torch.equal(result.depth_input, result.target)
    assert torch.equal(result.K_target, result.K_full)
    cx, cy = 18.5 * 30 / 39 - 0.5, 14.5 * 20 / 26 - 0.5
    expected = torch.tensor([[40 * 30 / 39, 0, cx], [0, 50 * 20 / 26, cy], [0, 0, 1]])
    assert torch.allclose(result.K_target[0], expected)


def test_learned_intrinsics_get_a_gradient() -> None:
    batch = batch_of(2)
    K = batch.intrinsics.clone().requires_grad_()
    augment(batch._replace(intrinsics=K), AugmentSettings(), torch.Generator(), SIZE).K_target.sum().backward()
    assert K.grad is not None
    assert (K.grad[:, 0, 0] > 0).all()


def test_the_augmented_images_are_float32_in_range() -> None:
    result = augment(batch_of(8), AugmentSettings(jitter_probability=1), torch.Generator(), SIZE)
    for image in (result.depth_input, result.full_input, result.pose_frames, result.target, result.sources):
        assert image.dtype == torch.float32
        assert image.min() >= 0
        assert image.max() <= 1


def one_change(images: Tensor, **strengths: float) -> Tensor:
    """Return images under one single kind of jitter at its upper end."""
    zeros = {'brightness': 0.0, 'contrast': 0.0, 'saturation': 0.0, 'hue': 0.0}
    settings = AugmentSettings(jitter_probability=1, **{**zeros, **strengths})
    drawn = draw(1, settings, torch.Generator().manual_seed(11))
    grey = (images.mean((2, 3)) @ torch.tensor([0.299, 0.587, 0.114]))[:1]
    return recolour(images, drawn.colours, grey)


def test_brightness_scales_contrast_keeps_the_mean_saturation_keeps_grey() -> None:
    images = torch.rand(1, 3, 6, 8) * 0.4 + 0.3
    luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    ratio = one_change(images, brightness=0.2) / images
    assert ratio.max() - ratio.min() < 1e-5
    assert ratio.max() != pytest.approx(1, abs=1e-3)
    contrasted = one_change(images, contrast=0.2)
    assert (contrasted * luma).sum(1).mean().item() == pytest.approx((images * luma).sum(1).mean().item(), abs=1e-5)
    assert contrasted.std().item() != pytest.approx(images.std().item(), abs=1e-4)
    saturated = one_change(images, saturation=0.2)
    assert torch.allclose((saturated * luma).sum(1), (images * luma).sum(1), atol=1e-5)


def test_hue_turns_colours_and_leaves_grey_alone() -> None:
    grey = torch.full((1, 3, 2, 2), 0.4)
    assert torch.allclose(one_change(grey, hue=0.1), grey, atol=1e-3)
    red = torch.tensor([0.6, 0.4, 0.4]).reshape(1, 3, 1, 1)
    turned = one_change(red, hue=0.1)
    before, after = (colorsys.rgb_to_hsv(*value.flatten().tolist())[0] for value in (red, turned))
    assert 0.005 < abs((after - before + 0.5) % 1 - 0.5) <= 0.13


def test_no_change_of_colour_changes_nothing() -> None:
    images = torch.rand(1, 3, 3, 4, 5)
    assert torch.allclose(recolour(images, NO_CHANGE, torch.tensor([0.5])), images, atol=1e-6)


def test_settings_name_every_value_out_of_range() -> None:
    with pytest.raises(ConfigError, match=r"zoom_probability 1.5 .*zoom_smallest 0 .*hue 0.7 .*zoom_centre 'left'"):
        AugmentSettings(zoom_probability=1.5, zoom_smallest=0, hue=0.7, zoom_centre='left')


def test_images_of_another_shape_are_refused() -> None:
    batch = batch_of(1)
    with pytest.raises(ConfigError, match=r'batch\.images has shape'):
        augment(batch._replace(images=batch.images[:, 0]), AugmentSettings(), torch.Generator(), SIZE)


def test_apply_repeats_a_draw_on_other_images() -> None:
    drawn = draw(2, AugmentSettings(), torch.Generator().manual_seed(9))
    first, second = apply(batch_of(2, seed=0), drawn, SIZE), apply(batch_of(2, seed=1), drawn, SIZE)
    assert torch.equal(first.K_target, second.K_target)
    assert not torch.equal(first.target, second.target)


def test_convention_a_mirror_turns_the_two_view_pose_to_the_other_side() -> None:
    motion = torch.eye(4).repeat(1, 2, 1, 1)
    motion[0, 0, :3, :3] = torch.tensor([[0.8, 0.0, 0.6], [0.0, 1.0, 0.0], [-0.6, 0.0, 0.8]])  # a turn about y
    motion[0, 0, :3, 3] = torch.tensor([0.3, 0.2, 0.1])
    batch = batch_of(1)._replace(two_view_pose=motion)
    mirrored = AugmentSettings(zoom_probability=1, flip_probability=1, jitter_probability=0)
    found = augment(batch, mirrored, torch.Generator().manual_seed(0), SIZE).two_view_pose[0]
    turned_back = torch.tensor([[0.8, 0.0, -0.6], [0.0, 1.0, 0.0], [0.6, 0.0, 0.8]])
    torch.testing.assert_close(found[0, :3, :3], turned_back)
    torch.testing.assert_close(found[0, :3, 3], torch.tensor([-0.3, 0.2, 0.1]))
    torch.testing.assert_close(found[1], torch.eye(4))
    torch.testing.assert_close(plain(batch, SIZE).two_view_pose, batch.two_view_pose)


def test_convention_two_view_points_stay_on_the_pixels_that_show_them() -> None:
    batch = batch_of(1)
    row, column = 10, 22
    height, width = CACHED
    batch.images[:] = 0
    batch.images[0, 1, :, row - 1 : row + 2, column - 1 : column + 2] = 255
    batch.two_view_points[0, :, 0] = torch.tensor([(column + 0.5) / width, (row + 0.5) / height, 7.0])
    settings = AugmentSettings(zoom_probability=1, zoom_smallest=0.9, flip_probability=1, jitter_probability=0)
    view = augment(batch, settings, torch.Generator().manual_seed(0), SIZE)
    brightest = int(view.target[0, 0].flatten().argmax())
    x, y, depth = view.two_view_points[0, 1, 0].tolist()
    assert ((x + 1) * SIZE[1] - 1) / 2 == pytest.approx(brightest % SIZE[1], abs=1.5)
    assert ((y + 1) * SIZE[0] - 1) / 2 == pytest.approx(brightest // SIZE[1], abs=1.5)
    assert depth == 7
