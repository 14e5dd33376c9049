"""What becomes of a depth map after the network: resized, turned into points, into millimetres.

Values follow REP 117: NaN is no measurement, +inf beyond range (sky too), -inf nearer than the range.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sidepth_core.camera import Camera
from sidepth_core.errors import ConfigError

MAX_MILLIMETRES = 65535
"""What 16 bits hold."""

STRIP = 32768
"""About so many points of a cloud a CPU makes at a time: few enough to stay in its cache."""


def resize_depth(depth: Tensor, height: int, width: int, out: Tensor | None = None) -> Tensor:
    """Resize depth maps (B, 1, h, w), all finite, to (B, 1, height, width).

    Convention: interpolated bilinearly in inverse depth, which is affine in the pixel on a plane, so that planes stay
    planes: ground and walls do not bend, as they would if depth itself were interpolated.

    Args:
        depth: The maps, float32.
        height: Of the result, pixels.
        width: Of the result, pixels.
        out: Where to put a single map on a CPU, (height, width) float32, contiguous; None for new memory, or for the
            map itself where it has that size.
    """
    if depth.shape[-2:] == (height, width):
        return depth if out is None else out.copy_(depth[0, 0])[None, None]
    inverse = depth.reciprocal()
    if depth.device.type == 'cpu' and depth.shape[:2] == (1, 1) and not inverse.requires_grad:
        # OpenCV does the same seven times faster there.
        resized = cv2.resize(inverse[0, 0].numpy(), (width, height), dst=None if out is None else out.numpy())
        return torch.from_numpy(resized)[None, None].reciprocal_()
    return F.interpolate(inverse, size=(height, width), mode='bilinear', align_corners=False).reciprocal()


def rays(camera: Camera, stride: int = 1, *, device: torch.device | str = 'cpu') -> Tensor:
    """Return the rays of every stride-th pixel centre, (ceil(H/s), ceil(W/s), 3) float32; depth times ray is the point.

    In memory x, y and z are planes of their own, which is how point_cloud works through them on a GPU.

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


def point_cloud(depth_m: Tensor, directions: Tensor, packed: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """Return an organised cloud.

    Args:
        depth_m: Depth along Z, (h, w) float32, metres: a map, or every stride-th pixel of one.
        directions: `rays` of the map's camera with that stride.
        packed: `packed_rgb` of the same pixels, (h, w) float32; None for points without colour.
        out: Where to put the cloud, in main memory: (h, w, 3 or 4) float32, contiguous; None for new memory.

    Returns:
        (h, w, 3) or, with colour, (h, w, 4) float32: x, y, z in the optical frame, metres, all NaN where depth is not
        finite; the fourth value holds the bytes 0x00RRGGBB, as PointCloud2's `rgb` field wants them. It is `out` where
        that was given; else on the device of depth.
    """
    if depth_m.device.type == 'cpu':
        cloud = torch.empty(*depth_m.shape, 3 if packed is None else 4) if out is None else out
        _fill_in_strips(cloud, depth_m.contiguous(), directions, packed)
        return cloud
    depth_m = depth_m + 0 * depth_m  # NaN where it is infinite, in one pass
    planes = torch.empty(3 if packed is None else 4, *depth_m.shape, device=depth_m.device)
    torch.mul(directions.permute(2, 0, 1), depth_m, out=planes[:3])
    if packed is not None:
        planes[3] = packed
    # Several times faster to compute plane by plane; the copy puts it in order.
    cloud = planes.permute(1, 2, 0)
    return cloud.contiguous() if out is None else out.copy_(cloud)


def packed_rgb(colour: Tensor, stride: int = 1) -> Tensor:
    """Return every stride-th pixel of an RGB image with its bytes 0x00RRGGBB in one float32: (ceil(H/s), ceil(W/s)).

    Args:
        colour: (3, H, W), uint8, or floating point in 0..1.
        stride: Every how many pixels, across and down.
    """
    if colour.device.type == 'cpu' and colour.dtype == torch.uint8:
        # A row is packed before it is thinned: to pick words is several times faster than to pick triples of bytes.
        rows = colour.permute(1, 2, 0).numpy()[::stride]
        words = cv2.cvtColor(rows, cv2.COLOR_RGB2BGRA).view(np.uint32)[:, ::stride, 0]  # 0xFFRRGGBB
        return torch.from_numpy(np.bitwise_and(words, 0x00FFFFFF).view(np.float32))
    thin = colour[:, ::stride, ::stride]
    red, green, blue = thin if thin.dtype == torch.uint8 else (255 * thin).round().to(torch.uint8)
    return torch.stack([blue, green, red, torch.zeros_like(red)], dim=-1).view(torch.float32)[..., 0]


def _fill_in_strips(cloud: Tensor, depth_m: Tensor, directions: Tensor, packed: Tensor | None) -> None:
    """Fill a cloud (h, w, 3 or 4) on a CPU; arguments as point_cloud has them, all of the cloud's size."""
    across, down = directions[:1, :, 0], directions[:, :1, 1]  # a ray's x depends on its column, its y on its row
    height = min(max(1, STRIP // cloud.shape[1]), len(depth_m))
    planes = torch.empty(3, height, cloud.shape[1])
    interleaved = cloud.numpy()
    for top in range(0, len(depth_m), height):
        rows = slice(top, min(top + height, len(depth_m)))
        z = depth_m[rows]
        x_m, y_m, z_m = planes[:, : len(z)]
        torch.sub(z, z, out=z_m).add_(z)  # NaN where it is infinite
        torch.mul(z_m, across, out=x_m)
        torch.mul(z_m, down[rows], out=y_m)
        values = [x_m, y_m, z_m] if packed is None else [x_m, y_m, z_m, packed[rows]]
        cv2.merge([value.numpy() for value in values], dst=interleaved[rows])


def to_millimetres(depth_m: Tensor) -> Tensor:
    """Return depth in millimetres as uint16 bits in an int16 tensor of the same shape; 0 where unknown or out of range.

    REP 118's 16UC1. torch has few operations on uint16, so the bits travel as int16: view them as uint16 in NumPy.
    """
    millimetres = (depth_m * 1000).round()
    valid = (millimetres >= 1) & (millimetres <= MAX_MILLIMETRES)
    return torch.where(valid, millimetres, 0).to(torch.int32).to(torch.int16)
