"""What a real sensor adds to a picture: exposure, colour cast, vignetting, blur, noise and compression."""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sidepth_core.data.synthetic.rays import Rays
from sidepth_core.errors import ConfigError
from sidepth_core.images import decode_compressed

SMEAR = (-0.375, -0.125, 0.125, 0.375)
"""Where along a pixel's way the picture is sampled; the ends are half of the way apart from the stamp."""
MAX_SMEAR_PX = 40.0
FARTHEST_M = 1e4


@dataclass(frozen=True)
class Sensor:
    """Effects of a sensor; zeros everywhere are a perfect one.

    Attributes:
        exposure: Spread of brightness from drive to drive, and half as much within one, in stops (factors of two).
        colour_cast: Spread of the red and blue gains.
        vignette: Share of the light that is lost in the corners.
        blur_px: Standard deviation of the defocus, pixels.
        shutter: Share of the time between frames that the shutter is open: the blur of the camera's own motion.
        noise: Standard deviation of the noise at mid-grey, 0..1.
        jpeg: Greatest loss of JPEG quality, 0..100: a drive draws its quality between 100 - jpeg and 100; 0: no JPEG.
    """

    exposure: float = 0.0
    colour_cast: float = 0.0
    vignette: float = 0.0
    blur_px: float = 0.0
    shutter: float = 0.0
    noise: float = 0.0
    jpeg: float = 0.0

    def __post_init__(self) -> None:
        """Refuse negative effects, and a loss of quality beyond all of it."""
        bad = [
            f'{field.name}={getattr(self, field.name)!r}'
            for field in fields(self)
            if not getattr(self, field.name) >= 0
        ]
        if bad:
            raise ConfigError(f'sensor effects must be 0 (none) or more: {", ".join(bad)}')
        if self.jpeg > 100:
            raise ConfigError(f'jpeg of a sensor is {self.jpeg!r}: JPEG quality can fall by at most 100')


CAMERA = Sensor(exposure=0.35, colour_cast=0.06, vignette=0.15, blur_px=0.35, shutter=0.15, noise=0.012, jpeg=55)
"""A small camera of the kind that robots and cars carry."""


def image_motion(depth_m: Tensor, rays: Rays, T_later_now: npt.NDArray[np.float64]) -> Tensor:
    """Return how far (2, H, W), in pixels along columns and rows, each point moves in the image of a moving camera.

    Args:
        depth_m: (H, W), inf in the sky.
        rays: The camera's.
        T_later_now: (4, 4), maps points of the optical frame now into that of a little later.
    """
    depth = depth_m.reshape(-1).nan_to_num(nan=1.0, posinf=FARTHEST_M).clamp(max=FARTHEST_M)
    points = torch.stack([rays.x * depth, rays.y * depth, depth])
    moved = torch.tensor(T_later_now[:3, :3], dtype=depth.dtype, device=depth.device) @ points
    moved += torch.tensor(T_later_now[:3, 3:], dtype=depth.dtype, device=depth.device)
    z = moved[2].clamp(min=0.1)
    shift = torch.stack([(moved[0] / z - rays.x) / rays.step[0], (moved[1] / z - rays.y) / rays.step[1]])
    return shift.reshape(2, rays.height, rays.width)


def expose(
    image: Tensor, sensor: Sensor, seed: int, index: int, time_s: float, motion_px: Tensor | None = None
) -> npt.NDArray[np.uint8]:
    """Return a picture as a sensor's bytes, (H, W, 3) uint8 RGB.

    Args:
        image: (3, H, W) in 0..1.
        sensor: Its effects.
        seed: Of the drive: effects that last follow from it alone.
        index: Of the frame: noise follows from it and the seed.
        time_s: Time into the drive, along which the exposure wanders.
        motion_px: (2, H, W), motion of each pixel while the shutter is open; None blurs nothing.
    """
    if motion_px is not None:
        image = _smeared(image, motion_px)
    rng = np.random.default_rng([seed, 11])
    steady, wander, red, blue = rng.normal(size=4)
    gain = 2 ** (sensor.exposure * (steady + 0.5 * np.sin(0.7 * time_s + 6 * wander)) / 2.2)
    cast = np.array([1 + sensor.colour_cast * red, 1.0, 1 + sensor.colour_cast * blue])
    image = image * torch.tensor(gain * cast, dtype=image.dtype, device=image.device)[:, None, None]
    if sensor.vignette:
        image = image * _vignette(image, sensor.vignette)
    if sensor.blur_px:
        image = _blurred(image, sensor.blur_px)
    if sensor.noise:
        noise = np.random.default_rng([seed, 13, index]).standard_normal(image.shape, dtype=np.float32)
        # Photon noise: brighter pixels carry more of it.
        image = image + torch.from_numpy(noise).to(image.device) * (sensor.noise * (image + 0.1).clamp(0).sqrt() * 1.3)
    picture = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous()
    pixels = picture.cpu().numpy()
    if not sensor.jpeg:
        return pixels
    return _compressed(pixels, 100 - sensor.jpeg * np.random.default_rng([seed, 17]).random())


def _compressed(image: npt.NDArray[np.uint8], quality: float) -> npt.NDArray[np.uint8]:
    """Return what is left of an RGB image, (H, W, 3) uint8, after JPEG of a quality, 0..100."""
    _, data = cv2.imencode('.jpg', cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, round(quality)])
    return decode_compressed(data)


def _smeared(image: Tensor, motion_px: Tensor) -> Tensor:
    """Average the image along each pixel's way through it."""
    height, width = image.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=image.device), torch.arange(width, device=image.device), indexing='ij'
    )
    size = torch.tensor([width, height], device=image.device)
    place = torch.stack([x, y], dim=-1)
    way = motion_px.permute(1, 2, 0).clamp(-MAX_SMEAR_PX, MAX_SMEAR_PX)
    total = torch.zeros_like(image)
    for share in SMEAR:
        grid = (2 * (place + share * way) + 1) / size - 1
        total += torch.nn.functional.grid_sample(image[None], grid[None], padding_mode='border', align_corners=False)[0]
    return total / len(SMEAR)


def _vignette(image: Tensor, strength: float) -> Tensor:
    height, width = image.shape[-2:]
    y = torch.linspace(-1, 1, height, device=image.device)[:, None]
    x = torch.linspace(-1, 1, width, device=image.device)
    return 1 - strength * (x * x + y * y) / 2


def _blurred(image: Tensor, sigma: float) -> Tensor:
    reach = max(1, round(3 * sigma))
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=image.device) / sigma) ** 2)
    taps = (taps / taps.sum()).to(image.dtype)
    padded = torch.nn.functional.pad(image[:, None], (reach, reach, reach, reach), mode='replicate')
    across = torch.nn.functional.conv2d(padded, taps.view(1, 1, 1, -1))
    return torch.nn.functional.conv2d(across, taps.view(1, 1, -1, 1))[:, 0]
