"""What is learned from a teacher: values by hand, what each alignment forgives, and what it does not."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sidepth_core.errors import ConfigError
from sidepth_core.losses import teacher_gradient, teacher_shape


def scene(images: int = 1) -> Tensor:
    """Return inverse depth, (B, 1, 12, 16), 0.05 to 1 of 1/m."""
    return 0.05 + 0.95 * torch.rand(images, 1, 12, 16, generator=torch.Generator().manual_seed(0))


def row(*values: float) -> Tensor:
    return torch.tensor(values).reshape(1, 1, 1, -1)


def test_shape_by_hand_with_a_shift() -> None:
    depth_m, teacher = 1 / row(1, 2, 3, 4, 10), row(0, 0, 1, 2, 2)
    # Medians 3 and 1, mean absolute deviations 11/5 and 4/5.
    own = [-10 / 11, -5 / 11, 0, 5 / 11, 35 / 11]
    goal = [-1.25, -1.25, 0, 1.25, 1.25]
    expected = sum(abs(a - b) for a, b in zip(own, goal, strict=True)) / 5
    assert teacher_shape(depth_m, teacher, has_shift=True).item() == pytest.approx(expected, rel=1e-5)


def test_shape_by_hand_without_a_shift() -> None:
    depth_m, teacher = 1 / row(1, 2, 3, 4, 10), row(1, 1, 2, 4, 7)
    # Medians 3 and 2; the teacher's mean absolute deviation is (1 + 1 + 0 + 2 + 5) / 5.
    expected = sum(abs(2 / 3 * a - b) for a, b in zip((1, 2, 3, 4, 10), (1, 1, 2, 4, 7), strict=True)) / 5 / (9 / 5)
    assert teacher_shape(depth_m, teacher, has_shift=False).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('term', [teacher_shape, teacher_gradient])
def test_scale_is_forgiven_and_a_shift_only_of_a_teacher_that_has_one(term: object) -> None:
    inverse = scene(2)
    scaled, shifted = 7 * inverse, 7 * inverse - 3
    assert callable(term)
    for teacher, has_shift in ((scaled, True), (scaled, False), (shifted, True)):
        assert term(1 / inverse, teacher, has_shift=has_shift).item() == pytest.approx(0, abs=1e-4)
    if term is teacher_shape:
        assert teacher_shape(1 / inverse, shifted, has_shift=False).item() > 0.3


@pytest.mark.parametrize('has_shift', [True, False])
def test_nothing_pulls_at_the_scale(has_shift: bool) -> None:
    inverse, teacher = scene(), scene().flip(3)
    factor = torch.ones((), requires_grad=True)
    term = teacher_shape(factor / inverse, teacher, has_shift=has_shift)
    (pull,) = torch.autograd.grad(term, factor)
    assert term.item() > 0.3
    assert abs(pull.item()) < 1e-5


@pytest.mark.parametrize('has_shift', [True, False])
def test_a_constant_map_explains_no_teacher(has_shift: bool) -> None:
    constant = torch.full((1, 1, 12, 16), 5.0, requires_grad=True)
    term = teacher_shape(constant, scene(), has_shift=has_shift)
    assert term.item() == pytest.approx(1.0, abs=1e-4)
    term.backward()
    assert constant.grad is not None
    assert constant.grad.isfinite().all()


@pytest.mark.parametrize('without', [math.nan, 3.0])
def test_an_image_without_a_teacher_or_with_a_flat_one_takes_no_part(without: float) -> None:
    inverse, teacher = scene(2), scene(2).flip(3)
    teacher[1] = without
    alone = teacher_shape(1 / inverse[:1], teacher[:1], has_shift=True)
    torch.testing.assert_close(teacher_shape(1 / inverse, teacher, has_shift=True), alone)
    depth_m = (1 / inverse[1:]).requires_grad_()
    nothing = teacher_shape(depth_m, teacher[1:], has_shift=True) + teacher_gradient(
        depth_m, teacher[1:], has_shift=False
    )
    assert nothing.item() == 0
    nothing.backward()
    assert depth_m.grad is not None
    assert not depth_m.grad.any()


def test_a_smeared_edge_is_worse_in_gradient_than_a_wrong_slope_of_the_same_shape_error() -> None:
    edge = torch.where(torch.arange(16) < 8, 0.2, 0.8).expand(1, 1, 12, 16).clone()
    edge[..., 0, :] = 0.5  # the median
    smeared, tilted = edge.clone(), edge + 0.1 * torch.linspace(-1, 1, 12)[:, None]
    smeared[..., 1:, 6:10] = torch.tensor([0.3, 0.45, 0.55, 0.7])
    shape = [teacher_shape(1 / each, edge, has_shift=True).item() for each in (smeared, tilted)]
    steps = [teacher_gradient(1 / each, edge, has_shift=True).item() for each in (smeared, tilted)]
    assert steps[0] / shape[0] > 2 * steps[1] / shape[1]


@pytest.mark.parametrize('has_shift', [True, False])
def test_both_have_the_right_gradient_and_none_for_the_teacher(has_shift: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    depth_m = (1 + 9 * torch.rand(2, 1, 5, 6, dtype=torch.float64, generator=generator)).requires_grad_()
    teacher = torch.rand(2, 1, 5, 6, dtype=torch.float64, generator=generator).requires_grad_()
    for term in (teacher_shape, teacher_gradient):
        assert torch.autograd.gradcheck(lambda one: term(one, teacher, has_shift=has_shift), (depth_m,))  # noqa: B023 - called at once
    teacher_shape(depth_m, teacher, has_shift=has_shift).backward()
    assert teacher.grad is None


def test_maps_of_another_shape_are_refused() -> None:
    with pytest.raises(ConfigError, match='teacher_inverse'):
        teacher_shape(scene(), scene()[..., :8], has_shift=True)
