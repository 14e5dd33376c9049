"""What becomes of a depth map after the network: resized, turned into points, into millimetres.

Values follow REP 117: NaN is no measurement, +inf beyond range (sky too), -inf nearer than the range.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sidepth_core.camera import Camera
from sidepth_core.errors import ConfigError

MAX_MILLIMETRES = 65535
"""What 16 bits hold."""


def resize_depth(depth: Tensor, height: int, width: int) -> Tensor:
    """Resize depth maps (B, 1, h, w), all finite, to (B, 1, height, width).

    Convention: interpolated bilinearly in inverse depth, which is affine in the pixel on a plane, so that planes stay
    planes: ground and walls do not bend, as they would if depth itself were interpolated.
    """
    if depth.shape[-2:] == (height, width):
        return depth
    return F.interpolate(depth.reciprocal(), size=(height, width), mode='bilinear', align_corners=False).reciprocal()


def rays(camera: Camera, stride: int = 1, *, device: torch.device | str = 'cpu') -> Tensor:
    """Return the rays of every stride-th pixel centre, (ceil(H/s), ceil(W/s), 3) float32; depth times ray is the point.

    In memory x, y and z are planes of their own, which is how point_cloud works through them.

    Raises:
        ConfigError: If the camera is distorted.
    """
    if not camera.is_rectified:
        raise ConfigError('a distorted camera has no straight rays: rectify its images first')
    # float64 until the end: at 4K a float32 (u - cx) / fx is off by more than a point may be.
    x = (torch.arange(0, camera.width, stride, dtype=torch.float64) - camera.cx) / camera.fx
    y = (torch.arange(0, camera.height, stride, dtype=torch.float64) - camera.cy) / camera.fy
    grid = torch.stack([*torch.meshgrid(x, y, indexing='xy'), torch.ones(len(y), len(x), dtype=torch.float64)])
    return grid.to(device, torch.float32).permute(1, 2, 0)


class RayCache:
    """The rays of one camera, made again only when camera, stride or device change."""

    def __init__(self) -> None:
        self._key: object = None
        self._rays = torch.empty(0)

    def __call__(self, camera: Camera, stride: int, device: torch.device) -> Tensor:
        """Return `rays` of the arguments."""
        key = (camera, stride, device)
        if key != self._key:
            self._key, self._rays = key, rays(camera, stride, device=device)
        return self._rays


def point_cloud(depth_m: Tensor, directions: Tensor, colour: Tensor | None = None, stride: int = 1) -> Tensor:
    """Return an organised cloud.

    Args:
        depth_m: Depth along Z, (H, W) float32, metres.
        directions: `rays` of the map's camera with the same stride.
        colour: RGB image of the same size, (3, H, W) uint8; None for points without colour.
        stride: Every how many pixels a point is made.

    Returns:
        (h, w, 3) or, with colour, (h, w, 4) float32: x, y, z in the optical frame, metres, all NaN where depth is not
        finite; the fourth value holds the bytes 0x00RRGGBB, as PointCloud2's `rgb` field wants them. In memory each
        value is a plane of its own: several times faster to compute, and whoever copies it puts it in order.
    """
    depth_m = depth_m[::stride, ::stride]
    depth_m = depth_m + 0 * depth_m  # NaN where it is infinite, in one pass
    planes = torch.empty(3 if colour is None else 4, *depth_m.shape, device=depth_m.device)
    torch.mul(directions.permute(2, 0, 1), depth_m, out=planes[:3])
    if colour is not None:
        red, green, blue = colour[:, ::stride, ::stride]
        packed = planes[3].view(torch.uint8).view(*depth_m.shape, 4)
        for index, values in enumerate((blue, green, red, torch.zeros_like(red))):
            packed[..., index] = values
    return planes.permute(1, 2, 0)


def to_millimetres(depth_m: Tensor) -> Tensor:
    """Return depth in millimetres as uint16 bits in an int16 tensor of the same shape; 0 where unknown or out of range.

    REP 118's 16UC1. torch has few operations on uint16, so the bits travel as int16: view them as uint16 in NumPy.
    """
    millimetres = (depth_m * 1000).round()
    valid = (millimetres >= 1) & (millimetres <= MAX_MILLIMETRES)
    return torch.where(valid, millimetres, 0).to(torch.int32).to(torch.int16)
