"""Textures hold no detail that a pixel cannot carry, and average to what they stand for."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from sidepth_core.data.synthetic.textures import Material, MaterialTable, Surface, albedo, band, grain, noise, pulses

LINE = torch.arange(4096, dtype=torch.float32)


def test_noise_has_unit_variance_and_no_mean() -> None:
    u, v = torch.meshgrid(torch.arange(0, 32, 0.25), torch.arange(0, 32, 0.25), indexing='ij')
    values = noise(u.reshape(-1), v.reshape(-1))
    assert float(values.mean()) == pytest.approx(0, abs=0.05)
    assert float(values.std()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize('step_m', [0.003, 0.02, 0.11, 0.9])
def test_grain_has_no_waves_near_the_limit_of_the_pixels(step_m: float) -> None:
    values = grain(LINE * step_m, torch.full_like(LINE, 0.3), torch.full_like(LINE, step_m))
    power = np.abs(np.fft.rfft(values.numpy())) ** 2
    share = power[int(0.42 * len(LINE)) :].sum() / power.sum()
    assert share < 0.05
    assert float(values.std()) > 0.4


def test_grain_changes_smoothly_with_distance() -> None:
    u, v = LINE * 0.05, torch.full_like(LINE, 2.0)
    steps = [grain(u, v, torch.full_like(LINE, 0.05 * 2**power)) for power in np.linspace(0, 3, 301)]
    jumps = [float((after - before).abs().max()) for before, after in itertools.pairwise(steps)]
    assert max(jumps) < 0.1


def test_pulses_are_the_exact_mean_over_the_pixel() -> None:
    x, fill, step = 0.37, 0.4, 0.25
    fine = np.linspace(x - step / 2, x + step / 2, 100001)
    expected = (np.abs(fine - np.floor(fine) - 0.5) < fill / 2).mean()
    values = pulses(torch.tensor([x]), torch.tensor([fill]), torch.tensor([step]))
    assert float(values) == pytest.approx(expected, abs=1e-3)


def test_pulses_far_away_become_their_mean() -> None:
    values = pulses(torch.linspace(0, 5, 50), torch.full((50,), 0.3), torch.full((50,), 40.0))
    np.testing.assert_allclose(values.numpy(), 0.3, atol=0.01)


def test_a_band_covers_the_share_of_the_pixel_that_it_overlaps() -> None:
    cover = band(torch.tensor([0.0, 1.0, 1.25, 5.0]), 1.0, 2.0, torch.full((4,), 1.0))
    assert cover.tolist() == pytest.approx([0.0, 0.5, 0.75, 0.0])


def test_a_window_is_where_its_cell_says_and_glows_as_told() -> None:
    wall = Material((1.0, 0.0, 0.0), accent=(0.0, 0.0, 1.0), period=(2.0, 3.0), fill=(0.5, 0.5), grain=0.0, streak=0.0,
                    stain=0.0, glow=0.7)  # fmt: skip
    table = MaterialTable.of([Material((0.5, 0.5, 0.5)), wall], torch.device('cpu'))
    small, rows = torch.full((2,), 1e-3), torch.ones(2, dtype=torch.int64)
    # Cells are 2 m x 3 m: (1, 1.5) is the middle of the first window, (0.2, 1.5) the wall beside it.
    surface = Surface(rows, torch.tensor([1.0, 0.2]), torch.tensor([1.5, 1.5]), small, small, torch.full((2,), 8.0),
                      torch.full((2,), 9.0), torch.zeros(2))  # fmt: skip
    look = albedo(table, surface)
    np.testing.assert_allclose(look.colour.numpy(), [[0, 1], [0, 0], [1, 0]], atol=1e-4)
    assert look.glow.tolist() == pytest.approx([0.7, 0.7])
    assert look.grain.tolist() == pytest.approx([1.0, 1.0])
