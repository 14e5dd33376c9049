"""The photometric loss of a batch, forward and backward, against the way it is usually written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from sidepth_core.benchmarks.row import Request, Row
from sidepth_core.geometry import Warped
from sidepth_core.losses import minimum_reprojection
from sidepth_core.losses.reprojection import C1, C2, CHARBONNIER_EPSILON, SSIM_SHARE

SHAPE = (8, 3, 192, 320)
ROUNDS = 7


def rows(request: Request) -> Iterator[Row]:
    """Yield the time of both, two warped and two un-warped sources each."""
    shape = (1, 3, 96, 160) if request.quick else SHAPE
    images = [torch.rand(shape, device=request.device) for _ in range(5)]
    usual, ours = _milliseconds(usual_loss, images), _milliseconds(our_loss, images)
    what = f'photometric loss with auto-mask, forward and backward, {shape[0]} x {shape[3]}x{shape[2]}'
    yield Row(f'{what}, pad + avg_pool2d', usual, 'ms')
    yield Row(f'{what}, ours', ours, 'ms', 'pad + avg_pool2d', ours / usual, note='the same numbers')


def our_loss(target: Tensor, warped: list[Tensor], identities: list[Tensor]) -> Tensor:
    """Return the loss as training computes it."""
    everywhere = torch.ones_like(target[:, :1], dtype=torch.bool)
    return minimum_reprojection(target, [Warped(image, everywhere) for image in warped], identities).loss


def usual_loss(target: Tensor, warped: list[Tensor], identities: list[Tensor]) -> Tensor:
    """Return the same loss, every pair on its own."""
    errors = [_usual_error(image, target) for image in (*warped, *identities)]
    return torch.cat(errors, dim=1).amin(1).mean()


def _usual_error(first: Tensor, second: Tensor) -> Tensor:
    def mean(image: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode='reflect'), 3, 1)

    mu_first, mu_second = mean(first), mean(second)
    variances = mean(first**2) - mu_first**2 + mean(second**2) - mu_second**2
    covariance = mean(first * second) - mu_first * mu_second
    similarity = (2 * mu_first * mu_second + C1) * (2 * covariance + C2)
    similarity = similarity / ((mu_first**2 + mu_second**2 + C1) * (variances + C2))
    charbonnier = ((first - second) ** 2 + CHARBONNIER_EPSILON).sqrt()
    return (SSIM_SHARE * ((1 - similarity) / 2).clamp(0, 1) + (1 - SSIM_SHARE) * charbonnier).mean(1, keepdim=True)


def _milliseconds(loss: Callable[[Tensor, list[Tensor], list[Tensor]], Tensor], images: list[Tensor]) -> float:
    """Return the shortest of several rounds: what other programs take away makes the others longer."""
    target, identities = images[0], images[3:]
    times = []
    for _ in range(ROUNDS):
        warped = [image.clone().requires_grad_() for image in images[1:3]]
        _synchronise(target)
        start = time.perf_counter()
        torch.autograd.backward(loss(target, warped, identities))
        _synchronise(target)
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def _synchronise(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
