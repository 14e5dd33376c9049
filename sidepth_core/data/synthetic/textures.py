"""Procedural surface colour that sticks to surfaces and holds no detail finer than a pixel can carry.

Two ingredients. Grain: octaves of smooth noise, of which each pixel sees the three coarsest that its footprint
resolves, the finest fading in. Patterns: rows and columns of rectangles (windows, bricks, tiles, planks), integrated
over the footprint in closed form. Colours are linear light.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sidepth_core.data.synthetic.arrays import pick, put, where_true

NOISE_SIZE = 128
TEXELS_PER_WAVE = 4.0
PIXELS_PER_WAVE = 2.5
"""The finest octave is fully faded when its wavelength is this many pixels; bilinear warping can still carry it."""
STREAK_ASPECT = 12.0
"""Streaks are this many times longer along u than across: what wheels, rain and courses of stone leave."""


class Material(NamedTuple):
    """How a surface looks. Colours are sRGB in 0..1, lengths metres, amplitudes relative brightness.

    Attributes:
        colour: Ground colour.
        accent: Colour of the rectangles.
        frame: Colour of the rectangles' border.
        period: Spacing of the rectangles along u and v, stretched so that whole ones fit a face.
        fill: Share of the period that a rectangle takes, border included, along u and v; 0 draws none.
        border: Share of the period that one side of the border takes.
        bond: Shift of every other row, in periods.
        jitter: Spread of brightness between rectangles.
        grain: Amplitude of the noise at each visible octave.
        streak: Amplitude of noise drawn out along u.
        stain: Amplitude of noise metres wide.
        finest: Wavelength below which the grain is smooth.
        glow: Light of its own, 1 = as bright as the colour in full light.
    """

    colour: tuple[float, float, float]
    accent: tuple[float, float, float] = (0.0, 0.0, 0.0)
    frame: tuple[float, float, float] = (0.0, 0.0, 0.0)
    period: tuple[float, float] = (1.0, 1.0)
    fill: tuple[float, float] = (0.0, 0.0)
    border: tuple[float, float] = (0.0, 0.0)
    bond: float = 0.0
    jitter: float = 0.0
    grain: float = 0.1
    streak: float = 0.06
    stain: float = 0.1
    finest: float = 0.02
    glow: float = 0.0


class MaterialTable(NamedTuple):
    """The materials of a world as columns on the device: three linear colours (3, M), rectangles, grain."""

    colour: Tensor
    accent: Tensor
    frame: Tensor
    cells: Tensor
    grain: Tensor

    @classmethod
    def of(cls, materials: list[Material], device: torch.device) -> MaterialTable:
        """Return the table; a material's row is its place in the list."""
        colours = (
            torch.tensor([getattr(material, name) for material in materials], dtype=torch.float32).square().T
            for name in ('colour', 'accent', 'frame')
        )
        cells = torch.tensor([(*m.period, *m.fill, *m.border, m.bond, m.jitter) for m in materials]).T
        grain = torch.tensor([(m.fill[0], m.grain, m.streak, m.stain, m.finest, m.glow) for m in materials]).T
        return cls(*(column.float().contiguous().to(device) for column in (*colours, cells, grain)))


class Surface(NamedTuple):
    """Where P pixels meet surfaces; every field is (P,).

    Attributes:
        material: int64 row of the material table.
        u: Texture coordinate along the surface, metres.
        v: Across it, metres; upwards on walls.
        step_u: Change of u from pixel to pixel, metres.
        step_v: Change of v.
        extent_u: Size of the face along u, metres.
        extent_v: Along v.
        seed: A number that differs between solids, moves their noise apart.
    """

    material: Tensor
    u: Tensor
    v: Tensor
    step_u: Tensor
    step_v: Tensor
    extent_u: Tensor
    extent_v: Tensor
    seed: Tensor


@lru_cache(maxsize=4)
def noise_table(device: torch.device) -> Tensor:
    """Return (4, NOISE_SIZE ** 2) smooth periodic noise of unit variance: texels, right, lower, diagonal ones."""
    generator = np.random.default_rng(20221)
    spectrum = np.fft.fft2(generator.standard_normal((NOISE_SIZE, NOISE_SIZE)))
    frequency = np.fft.fftfreq(NOISE_SIZE)
    radius = np.hypot(frequency[:, None], frequency[None, :]) * TEXELS_PER_WAVE
    # A band around one wavelength: octaves then add without overlapping, and none leaks past what a pixel resolves.
    field = np.fft.ifft2(spectrum * np.exp(-0.5 * ((radius - 0.75) / 0.3) ** 2) * (radius > 0)).real
    field = np.clip(field / field.std(), -2.5, 2.5)
    corners = [np.roll(field, shift, axis=(0, 1)) for shift in ((0, 0), (0, -1), (-1, 0), (-1, -1))]
    return torch.from_numpy(np.stack(corners).reshape(4, -1).astype(np.float32)).to(device)


def noise(u: Tensor, v: Tensor) -> Tensor:
    """Return smooth noise (P,) of unit variance at (u, v), counted in wavelengths."""
    u, v = u * TEXELS_PER_WAVE, v * TEXELS_PER_WAVE
    column, row = torch.floor(u), torch.floor(v)
    index = (row.to(torch.int32) & (NOISE_SIZE - 1)) * NOISE_SIZE + (column.to(torch.int32) & (NOISE_SIZE - 1))
    corners = pick(noise_table(u.device), index)
    right, down = u - column, v - row
    upper = torch.lerp(corners[0], corners[1], right)
    return torch.lerp(upper, torch.lerp(corners[2], corners[3], right), down)


def grain(u: Tensor, v: Tensor, step: Tensor, octaves: int = 3) -> Tensor:
    """Return noise (P,) of the finest octaves that a step of `step` metres from pixel to pixel resolves.

    The octaves lie at powers of two of a metre, whoever looks; what changes with distance is which of them are seen.
    """
    level = torch.log2(step * PIXELS_PER_WAVE)
    finest = torch.floor(level).add_(1)
    fresh = finest - level
    # All octaves in one go: for a small picture the number of operations counts, not their size.
    exponent = finest + torch.arange(octaves, device=u.device)[:, None]
    frequency = torch.exp2(-exponent)
    value = noise((u * frequency + exponent * 0.377).view(-1), (v * frequency + exponent * 0.713).view(-1)).view(
        octaves, -1
    )
    value[0] *= fresh
    value[-1] *= 1 - fresh
    return value.sum(dim=0)


def pulses(x: Tensor, fill: Tensor, step: Tensor) -> Tensor:
    """Return the coverage (P,) in 0..1 of pulses centred at n + 1/2 and `fill` wide, seen through a box `step` wide.

    Pulses closer than four pixels fade into their mean: a box alone would still let them beat with the pixels.
    """
    step = step.clamp(4e-3)
    cover = (_pulse_integral(x + step / 2, fill) - _pulse_integral(x - step / 2, fill)) / step
    return torch.lerp(cover, fill, ((step - 0.25) * 3).clamp_(0, 1))


def _pulse_integral(x: Tensor, fill: Tensor) -> Tensor:
    whole = torch.floor(x)
    part = torch.minimum((x - whole - (1 - fill) / 2).clamp_(0), fill)
    return whole * fill + part


def band(x: Tensor, low: float, high: float, step: Tensor) -> Tensor:
    """Return the coverage (P,) in 0..1 of low..high, seen through a box `step` wide."""
    step = step.clamp(1e-4)
    return ((x - low) / step + 0.5).clamp(0, 1) - ((x - high) / step + 0.5).clamp(0, 1)


class Albedo(NamedTuple):
    """The look of P surfaces in full light: linear colour (3, P), the grain's factor on it (P,), own light (P,)."""

    colour: Tensor
    grain: Tensor
    glow: Tensor


def albedo(table: MaterialTable, surface: Surface) -> Albedo:
    """Return the look of surfaces."""
    fill, rough, streak, stain, finest, glow = pick(table.grain, surface.material)
    colour = pick(table.colour, surface.material)
    drawn = where_true(fill > 0)
    if len(drawn):
        part = Surface(*(pick(values, drawn) for values in surface))
        put(colour, drawn, _rectangles(table, part, pick(colour, drawn)))
    u, v = surface.u + surface.seed * 3.7, surface.v + surface.seed * 1.3
    coarse = torch.maximum(torch.maximum(surface.step_u, surface.step_v), finest / PIXELS_PER_WAVE)
    across = torch.maximum(torch.maximum(surface.step_u / STREAK_ASPECT, surface.step_v), finest / PIXELS_PER_WAVE)
    # Turned, so that the noise's own lattice does not line up with roads and walls.
    light = 1 + rough * grain(0.8 * u - 0.6 * v, 0.6 * u + 0.8 * v, coarse)
    light += streak * grain(u / STREAK_ASPECT, v, across, octaves=2)
    light += stain * noise(u / 5.3, v / 3.1) * (2 - 0.8 * coarse).clamp(0, 1)
    return Albedo(colour, light.clamp_(0.15), glow)


def _rectangles(table: MaterialTable, surface: Surface, colour: Tensor) -> Tensor:
    period_u, period_v, fill_u, fill_v, border_u, border_v, bond, jitter = pick(table.cells, surface.material)
    per_u = torch.round(surface.extent_u / period_u).clamp(1) / surface.extent_u
    per_v = torch.round(surface.extent_v / period_v).clamp(1) / surface.extent_v
    # A box 1.3 pixels wide leaves edges about as sharp as a good lens does.
    step_u, step_v = surface.step_u * per_u * 1.3, surface.step_v * per_v * 1.3
    row = surface.v * per_v
    column = surface.u * per_u + bond * torch.remainder(torch.floor(row), 2)
    outer = pulses(column, fill_u, step_u) * pulses(row, fill_v, step_v)
    inner = pulses(column, fill_u - 2 * border_u, step_u) * pulses(row, fill_v - 2 * border_v, step_v)
    hashed = torch.sin(torch.floor(column) * 12.9898 + torch.floor(row) * 78.233 + surface.seed) * 437.585
    sharp = (1 - torch.maximum(step_u, step_v)).clamp(0, 1)
    spread = 1 + jitter * sharp * (2 * (hashed - torch.floor(hashed)) - 1)
    framed = torch.lerp(colour, pick(table.frame, surface.material), outer)
    return torch.lerp(framed, pick(table.accent, surface.material) * spread, inner)
