"""What lies beyond the world: sky, clouds, the sun's halo and hills, all of them infinitely far."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sidepth_core.data.synthetic.arrays import column
from sidepth_core.data.synthetic.textures import noise

Array = npt.NDArray[np.float64]


class Sky(NamedTuple):
    """Linear colours and shapes of what is infinitely far.

    Attributes:
        zenith: Colour overhead.
        horizon: Colour at the horizon, also that of distant haze.
        cloud: Colour of clouds.
        cover: Cloud cover: 0 none, 1 overcast.
        hill: Colour of the hills.
        hill_height: Mean height of the hills, tangent of the elevation.
        halo: Strength of the glow around the sun.
    """

    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]
    cloud: tuple[float, float, float]
    cover: float
    hill: tuple[float, float, float]
    hill_height: float
    halo: float


def sky_colour(
    sky: Sky, sun: tuple[float, float, float], x: Tensor, y: Tensor, T_world_camera: Array, step: float
) -> Tensor:
    """Return the linear colour (3, P) seen along rays (x, y, 1) that meet nothing."""
    rotation = T_world_camera[:3, :3]
    east, north, up = (x * float(row[0]) + y * float(row[1]) + float(row[2]) for row in rotation)
    length = torch.sqrt(east * east + north * north + up * up)
    east, north, up = east / length, north / length, up / length
    level = torch.hypot(east, north).clamp_(1e-3)
    high = up.clamp(0, 1)
    colour = torch.lerp(column(sky.horizon, x), column(sky.zenith, x), torch.sqrt(high))
    cover = _clouds(sky, east, north, high, step)
    colour = torch.lerp(colour, column(sky.cloud, x), cover)
    near_sun = (east * sun[0] + north * sun[1] + up * sun[2]).clamp_(0).pow(24)
    colour = colour + sky.halo * near_sun
    azimuth = torch.atan2(north, east)
    ridge = sky.hill_height * (
        1
        + 0.5 * noise(azimuth * 1.1, torch.full_like(azimuth, 3.1))
        + 0.12 * noise(azimuth * 8, torch.full_like(azimuth, 7.7))
    )
    hill = ((ridge - up / level) / (1.5 * step) + 0.5).clamp_(0, 1)
    shade = 1 + 0.12 * noise(azimuth * 20, up * 40)
    return torch.lerp(colour, column(sky.hill, x) * shade, hill)


def _clouds(sky: Sky, east: Tensor, north: Tensor, high: Tensor, step: float) -> Tensor:
    flat = 1 / (high + 0.12)
    u, v = east * flat, north * flat
    density = torch.full_like(u, 2.2 * sky.cover - 1.3)
    for octave, frequency in enumerate((0.5, 1.0, 2.1, 4.3)):
        # An octave shows where its waves, drawn together towards the horizon, still span a few pixels.
        seen = ((1 / (frequency * step * flat * flat)) / 6 - 0.6).clamp_(0, 1)
        density += 0.62**octave * seen * noise(u * frequency + octave * 0.31, v * frequency)
    return (density * 0.7).clamp_(0, 1) * 0.9
