"""Zoomed views: exact cameras, exact sampling, and the two ways to average predictions at test time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sidepth_core.camera import Camera
from sidepth_core.errors import ConfigError
from sidepth_core.geometry import pose_matrix, warp
from sidepth_core.zoom import (
    View,
    canonical_to_metric,
    centred_view,
    flip_average,
    focal_length,
    full_to_zoomed,
    full_view,
    sample_view,
    view_grid,
    view_intrinsics,
    zoom_average,
)

K = torch.tensor([[[30.0, 0, 11.0], [0, 40, 6.0], [0, 0, 1]]])


def view(share: tuple[float, float], centre: tuple[float, float], mirrored: bool = False) -> View:
    return View(torch.tensor([share]), torch.tensor([centre]), torch.tensor([mirrored]))


def ramps(height: int = 16, width: int = 24) -> Tensor:
    """Return an image whose channels are the column and the row of each pixel, (1, 2, H, W)."""
    v, u = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing='ij')
    return torch.stack([u, v])[None]


def test_convention_full_view_is_the_image_itself() -> None:
    image = torch.rand(1, 3, 16, 24)
    assert torch.allclose(sample_view(image, full_view(1), (16, 24)), image, atol=1e-5)
    assert torch.allclose(view_intrinsics(K, full_view(1), (16, 24), (16, 24)), K)


def test_convention_zoomed_view_by_hand() -> None:
    # The middle half of 24 columns is [5.5, 17.5]; its 24 pixels are half a pixel wide, the first centred at 5.75.
    zoomed = sample_view(ramps(), centred_view(0.5, 1), (16, 24))
    assert torch.allclose(zoomed[0, 0, 0, :3], torch.tensor([5.75, 6.25, 6.75]), atol=1e-4)
    assert torch.allclose(zoomed[0, 1, :2, 0], torch.tensor([3.75, 4.25]), atol=1e-4)


def test_convention_zoomed_intrinsics_by_hand() -> None:
    zoomed = view_intrinsics(K, centred_view(0.5, 1), (16, 24), (16, 24))[0]
    # cx: column 11 lies (11 - 5.5) / 12 into the view: 5.5 / 12 * 24 - 0.5 = 10.5. cy: (6 - 3.5) / 8 * 16 - 0.5 = 4.5.
    assert torch.allclose(zoomed, torch.tensor([[60.0, 0, 10.5], [0, 80, 4.5], [0, 0, 1]]))


def test_convention_mirrored_principal_point_is_w_minus_1_minus_cx() -> None:
    mirrored = view((1, 1), (0.5, 0.5), mirrored=True)
    assert torch.allclose(sample_view(ramps(), mirrored, (16, 24)), ramps().flip(-1), atol=1e-4)
    assert torch.allclose(view_intrinsics(K, mirrored, (16, 24), (16, 24))[0, 0], torch.tensor([30.0, 0, 24 - 1 - 11]))


def test_convention_centre_is_in_the_mirrored_image() -> None:
    direct = sample_view(ramps(), view((0.5, 0.5), (0.3, 0.6), mirrored=True), (16, 24))
    in_two_steps = sample_view(ramps().flip(-1), view((0.5, 0.5), (0.3, 0.6)), (16, 24))
    assert torch.allclose(direct, in_two_steps, atol=1e-4)


def test_view_intrinsics_agree_with_the_camera_class() -> None:
    camera = Camera(24, 16, 30, 40, 11, 6)
    resized = view_intrinsics(K, full_view(1), (16, 24), (8, 36))[0]
    assert torch.allclose(resized.double(), torch.from_numpy(camera.resized(36, 8).matrix))
    cropped = view_intrinsics(K, view((0.5, 0.75), (0.5, 0.5)), (16, 24), (12, 12))[0]
    assert torch.allclose(cropped.double(), torch.from_numpy(camera.cropped(6, 2, 12, 12).matrix))


@pytest.mark.parametrize('mirrored', [False, True])
def test_convention_a_view_is_what_its_camera_sees(mirrored: bool) -> None:
    """Sampling a view equals warping the original into the view's camera: pixels and intrinsics tell one story."""
    torch.manual_seed(0)
    image = F.interpolate(torch.rand(1, 3, 5, 7), (16, 24), mode='bicubic')
    part = view((0.53, 0.71), (0.45, 0.58), mirrored)
    original = image.flip(-1) if mirrored else image
    K_original = view_intrinsics(K, part.unzoomed(), (16, 24), (16, 24))
    K_view = view_intrinsics(K, part, (16, 24), (12, 20))
    still = pose_matrix(torch.zeros(1, 3), torch.zeros(1, 3))
    warped = warp(original, torch.full((1, 1, 12, 20), 7.0), K_view, still, K_original)
    assert warped.valid.all()
    assert torch.allclose(warped.image, sample_view(image, part, (12, 20)), atol=1e-4)


def test_view_intrinsics_pass_a_gradient_to_learned_intrinsics() -> None:
    part = View(torch.tensor([[0.5, 0.7]]), torch.tensor([[0.4, 0.6]]), torch.tensor([True]))
    learned = K.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda value: view_intrinsics(value, part, (16, 24), (8, 12)), learned)


def test_full_prediction_is_resampled_to_where_the_zoomed_one_looks() -> None:
    part = view((0.6, 0.8), (0.4, 0.55), mirrored=True)
    original = ramps(32, 48)
    full = sample_view(original, part.unzoomed(), (32, 48))
    zoomed = sample_view(original, part, (32, 48))
    assert torch.allclose(full_to_zoomed(full, part), zoomed, atol=1e-3)


def test_view_for_another_batch_size_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'view.share has shape \(2, 2\), expected \(1, 2\)'):
        sample_view(torch.rand(1, 3, 4, 6), full_view(2), (4, 6))
    with pytest.raises(ConfigError, match='K has shape'):
        view_intrinsics(K[0], full_view(1), (4, 6), (4, 6))


def test_convention_canonical_depth_grows_with_the_focal_length() -> None:
    # Seen at twice the reference focal length, what looks 5 m far is 10 m far.
    metric = canonical_to_metric(torch.full((1, 1, 2, 3), 5.0), torch.tensor([600.0]), 300.0)
    assert metric.unique().tolist() == [10.0]
    assert focal_length(K).item() == pytest.approx((30 * 40) ** 0.5)


def test_flip_average_mirrors_the_second_prediction_back() -> None:
    images = ramps()[:, :1] / 24

    def predict(batch: Tensor) -> Tensor:
        return batch * torch.linspace(1, 2, 24)  # knows left from right

    expected = images * (torch.linspace(1, 2, 24) + torch.linspace(2, 1, 24)) / 2
    assert torch.allclose(flip_average(predict, images), expected)


def test_zoom_average_of_a_consistent_predictor_changes_nothing() -> None:
    images = ramps(32, 64)[:, :1]
    averaged = zoom_average(lambda batch, _share: batch, images)
    assert torch.allclose(averaged[..., 1:-1, 1:-1], images[..., 1:-1, 1:-1], atol=1e-3)


def test_zoom_average_without_feather_has_the_papers_weights() -> None:
    values = {1.0: 1.0, 0.75: 5.0, 0.5: 9.0}
    images = torch.rand(1, 3, 32, 64)
    averaged = zoom_average(lambda batch, share: torch.full_like(batch[:, :1], values[share]), images, feather=0)
    assert averaged[0, 0, 16, 32].item() == pytest.approx(((1 + 9) / 2 + 5) / 2)
    assert averaged[0, 0, 16, 12].item() == pytest.approx((1 + 5) / 2)  # 8..56 is the 0.75 box, 16..48 the 0.5 box
    assert averaged[0, 0, 16, 7].item() == 1
    assert averaged[0, 0, 4, 8].item() == pytest.approx(3)
    assert averaged[0, 0, 3, 8].item() == 1


def test_zoom_average_has_no_seams() -> None:
    values = {1.0: 1.0, 0.75: 5.0, 0.5: 9.0}
    images = torch.rand(1, 3, 64, 128)
    averaged = zoom_average(lambda batch, share: torch.full_like(batch[:, :1], values[share]), images)
    steps = averaged[0, 0, 32].diff().abs().max()
    assert steps < 0.6  # 2 without the feather
    assert averaged[0, 0, 32, 64].item() == pytest.approx(5)
    assert averaged[0, 0, 32, 0].item() == 1


def test_view_grid_does_not_depend_on_the_original_size() -> None:
    grid = view_grid(centred_view(0.5, 1), (2, 2))
    assert torch.allclose(grid[0, 0, :, 0], torch.tensor([-0.25, 0.25]))
