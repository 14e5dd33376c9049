"""Resized maps, clouds and millimetres against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sidepth_core.camera import Camera
from sidepth_core.depth_maps import STRIP, RayCache, packed_rgb, point_cloud, rays, resize_depth, to_millimetres
from sidepth_core.errors import ConfigError

CAMERA = Camera(width=60, height=40, fx=50.0, fy=55.0, cx=28.5, cy=21.25)


def plane(camera: Camera) -> torch.Tensor:
    """Return the depth of the plane 0.3 x - 0.5 y + z = 4 as the camera sees it, (1, 1, H, W)."""
    normal = torch.tensor([0.3, -0.5, 1.0])
    return (4 / (rays(camera) @ normal))[None, None]


def test_plane_stays_a_plane_when_resized() -> None:
    small = CAMERA.resized(20, 10)
    resized = resize_depth(plane(small), 40, 60)
    # The outermost pixels lie beyond the centres of the small map and repeat its border.
    torch.testing.assert_close(resized[..., 4:-4, 4:-4], plane(CAMERA)[..., 4:-4, 4:-4], rtol=1e-5, atol=0)


@pytest.mark.parametrize('size', [(90, 160), (75, 133), (24, 30)])
def test_map_is_resized_on_a_cpu_as_torch_does_it(size: tuple[int, int]) -> None:
    depth = 1 + 9 * torch.rand(1, 1, 24, 40, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(1 / depth, size=size, mode='bilinear', align_corners=False)
    torch.testing.assert_close(resize_depth(depth, *size), 1 / expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize('size', [(90, 160), (24, 40)])
def test_map_is_put_where_its_room_was_given(size: tuple[int, int]) -> None:
    depth = 1 + 9 * torch.rand(1, 1, 24, 40, generator=torch.Generator().manual_seed(0))
    room = torch.zeros(size)
    resized = resize_depth(depth, *size, out=room)
    assert resized.shape == (1, 1, *size)
    assert resized.data_ptr() == room.data_ptr()
    assert torch.equal(resized, resize_depth(depth, *size))


def test_gradients_flow_through_a_resized_map() -> None:
    depth = torch.full((1, 1, 4, 6), 2.0, requires_grad=True)
    resize_depth(depth, 8, 12).sum().backward()
    assert depth.grad is not None
    assert depth.grad.sum() == pytest.approx(96.0)


def test_convention_point_of_a_pixel() -> None:
    depth = torch.zeros(40, 60)
    depth[30, 10] = 2.0
    point = point_cloud(depth, rays(CAMERA))[30, 10]
    assert point.tolist() == pytest.approx([(10 - 28.5) / 50 * 2, (30 - 21.25) / 55 * 2, 2.0], rel=1e-6)


@pytest.mark.parametrize('stride', [1, 3, 7])
def test_strided_cloud_holds_every_nth_point(stride: int) -> None:
    depth = plane(CAMERA)[0, 0]
    cloud = point_cloud(depth[::stride, ::stride], rays(CAMERA, stride))
    torch.testing.assert_close(cloud, point_cloud(depth, rays(CAMERA))[::stride, ::stride])


@pytest.mark.parametrize('is_coloured', [False, True])
def test_cloud_made_in_strips_is_depth_times_rays(*, is_coloured: bool) -> None:
    rows = STRIP // 50
    camera = Camera(50, 2 * rows + 6, 50.0, 55.0, 20.5, 31.25)
    generator = torch.Generator().manual_seed(0)
    depth = 1 + torch.rand(camera.height, camera.width, generator=generator)
    depth[3, 4], depth[rows, 5], depth[-1, -1] = math.nan, math.inf, -math.inf
    packed = torch.rand(camera.height, camera.width, generator=generator) if is_coloured else None
    out = torch.full((camera.height, camera.width, 3 + is_coloured), -7.0)
    assert point_cloud(depth, rays(camera), packed, out) is out
    expected = torch.where(depth.isfinite(), depth, torch.nan)[..., None] * rays(camera)
    torch.testing.assert_close(out[..., :3], expected, rtol=0, atol=0, equal_nan=True)
    assert packed is None or torch.equal(out[..., 3], packed)


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_points_without_a_depth_are_nan(value: float) -> None:
    cloud = point_cloud(torch.full((40, 60), value), rays(CAMERA))
    assert cloud.isnan().all()


@pytest.mark.parametrize('stride', [1, 2, 3])
@pytest.mark.parametrize('layout', ['planes', 'pixels', 'padded rows', 'floating point'])
def test_colour_is_packed_as_rgb_of_every_stride_th_pixel(layout: str, stride: int) -> None:
    colour = torch.randint(0, 256, (3, 40, 61), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    red, green, blue = colour[:, ::stride, ::stride].int()
    given = {
        'planes': colour,
        'pixels': colour.permute(1, 2, 0).contiguous().permute(2, 0, 1),
        'padded rows': torch.cat([colour, colour], dim=-1).permute(1, 2, 0).contiguous()[:, :61].permute(2, 0, 1),
        'floating point': colour / 255,
    }[layout]
    found = packed_rgb(given, stride).view(torch.int32)
    assert torch.equal(found, (red << 16) + (green << 8) + blue)


def test_rays_of_a_distorted_camera_are_refused() -> None:
    with pytest.raises(ConfigError, match='rectify its images first'):
        rays(Camera(60, 40, 50, 55, 28.5, 21.25, 'plumb_bob', (0.1, 0.0, 0.0, 0.0)))


def test_rays_are_made_again_for_another_camera_only() -> None:
    cache, device = RayCache(), torch.device('cpu')
    first = cache(CAMERA, 1, device)
    assert cache(CAMERA, 1, device) is first
    assert cache(CAMERA, 2, device).shape == (20, 30, 3)
    assert cache(CAMERA.resized(30, 20), 1, device).shape == (20, 30, 3)


def test_millimetres_are_rounded_and_zero_where_not_known() -> None:
    depth = torch.tensor([1.2344, 65.535, 65.536, 0.0, -1.0, math.nan, math.inf, -math.inf, 40.0])
    found = to_millimetres(depth).numpy().view(np.uint16)
    assert found.tolist() == [1234, 65535, 0, 0, 0, 0, 0, 0, 40000]
