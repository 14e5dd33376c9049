"""The weather of a world: sun, shade, sky and haze, drawn from its seed."""

from __future__ import annotations

import colorsys
import math

import numpy as np

from sidepth_core.data.synthetic.render import Light
from sidepth_core.data.synthetic.sky import Sky

Colour = tuple[float, float, float]
LOW_SUN, DUSK = 0.2, 0.12
"""Shares of the days out of doors with a sun of 6 to 18 degrees, and after sunset."""
OVERCAST = 0.8
"""Cloud cover from which rain is likely."""


def outdoors(rng: np.random.Generator) -> tuple[Light, Sky]:
    """Return the light and the sky of a day: clear, cloudy or overcast, from a low sun to dusk, dry or after rain."""
    # Generators of their own leave what else a seed draws as it was.
    hours, rain = rng.spawn(2)
    light, sky = _day(rng, low_sun=(hour := hours.random()) < LOW_SUN)
    if hour > 1 - DUSK:
        light, sky = _dusk(hours, light, sky)
    if rain.random() < (0.5 if sky.cover > OVERCAST else 0.08):
        light = light._replace(wet=float(rain.uniform(0.3, 1.0)))
    return light, sky


def _dusk(rng: np.random.Generator, light: Light, sky: Sky) -> tuple[Light, Sky]:
    """Return a day's light and sky after sunset: no shadows, blue and dim below, a glow along the horizon."""
    dim = float(rng.uniform(0.35, 0.75))
    glow = _hsv(rng, (0.02, 0.11), (0.25, 0.6), 0.75) if rng.random() < 0.6 else (0.45, 0.5, 0.62)
    return (
        light._replace(
            sun=(0.0, math.cos(math.radians(80)), math.sin(math.radians(80))),
            direct=(0.03, 0.04, 0.06),
            ambient=_scaled((0.46, 0.52, 0.66), dim),
            softness=1.2,
            exposure=float(rng.uniform(1.5, 2.6)),
        ),
        sky._replace(
            zenith=(0.1, 0.14, 0.26),
            horizon=_mix(glow, (0.35, 0.4, 0.5), sky.cover),
            cloud=_scaled((0.34, 0.34, 0.42), float(rng.uniform(0.7, 1.1))),
            hill=_scaled(sky.hill, 0.25),
            halo=0.0,
        ),
    )


def _day(rng: np.random.Generator, *, low_sun: bool) -> tuple[Light, Sky]:
    cover = float(np.clip(rng.beta(0.8, 0.9), 0.02, 0.98))
    elevation = math.radians(rng.uniform(18, 65))
    if low_sun:
        # The same draw, nearer to the horizon: 6 to 18 degrees.
        elevation = math.radians(6) + (elevation - math.radians(18)) * 12 / 47
    azimuth = rng.uniform(0, 2 * math.pi)
    strength = max(0.0, 1 - max(0.0, cover - 0.45) / 0.45)
    if strength == 0.0:
        elevation = math.radians(80)
    redness = (1 - math.sin(elevation)) * 0.5
    sun = (math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth), math.sin(elevation))
    warm = (1.0, 0.95 - 0.22 * redness, 0.86 - 0.45 * redness)
    direct = 1.6 * strength + 0.22 * (strength == 0.0)
    cool = (0.42, 0.5, 0.62) if cover < 0.6 else (0.58, 0.6, 0.63)
    level = rng.uniform(0.8, 1.15) * (1.0 if strength else 1.35)
    light = Light(
        sun,
        _scaled(warm, direct),
        _scaled(cool, level),
        softness=0.06 if strength else 1.2,
        haze=float(np.exp(rng.uniform(np.log(2e-4), np.log(2.5e-3)))),
        exposure=float(rng.uniform(1.1, 1.6)) / (0.55 + 0.45 * max(strength, 0.3)),
    )
    horizon = _mix(_hsv(rng, (0.53, 0.62), (0.05, 0.25), 0.85), (0.72, 0.74, 0.76), cover)
    sky = Sky(
        zenith=_mix(_hsv(rng, (0.56, 0.62), (0.5, 0.75), 0.6), (0.6, 0.62, 0.66), max(0.0, cover - 0.5) * 1.6),
        horizon=horizon,
        cloud=_scaled((1.0, 1.0, 1.02), rng.uniform(0.75, 1.05) if cover < 0.7 else rng.uniform(0.55, 0.85)),
        cover=cover,
        hill=_mix(horizon, _hsv(rng, (0.25, 0.6), (0.15, 0.45), 0.2), rng.uniform(0.35, 0.8)),
        hill_height=float(rng.uniform(-0.01, 0.06)),
        halo=0.7 * strength,
    )
    return light, sky


def indoors(rng: np.random.Generator) -> tuple[Light, Sky]:
    """Return the light of lamps on a ceiling, warm or cold; the sky is the darkness behind the last wall."""
    tilt, around = rng.uniform(0.25, 0.6), rng.uniform(0, 2 * math.pi)
    warmth = float(rng.uniform(0, 1))
    colour = (1.0, 0.98 - 0.1 * warmth, 0.98 - 0.3 * warmth)
    direct = float(rng.uniform(0.3, 0.7))
    light = Light(
        (math.sin(tilt) * math.cos(around), math.sin(tilt) * math.sin(around), math.cos(tilt)),
        _scaled(colour, direct),
        _scaled(colour, float(rng.uniform(0.55, 0.95))),
        softness=0.5,
        haze=0.0,
        exposure=float(rng.uniform(1.0, 1.7)),
    )
    dim = (0.05, 0.05, 0.05)
    return light, Sky(dim, dim, dim, cover=0.0, hill=dim, hill_height=0.0, halo=0.0)


def _hsv(rng: np.random.Generator, hue: tuple[float, float], saturation: tuple[float, float], value: float) -> Colour:
    return colorsys.hsv_to_rgb(float(rng.uniform(*hue)), float(rng.uniform(*saturation)), value)


def _scaled(colour: Colour, factor: float) -> Colour:
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    share = min(max(share, 0.0), 1.0)
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return (red, green, blue)
