"""How much memory the steps of a recipe take, found out before anything is prepared or trained.

One clip is run forwards and backwards, and every tensor that lives on the way is counted. What a batch takes is as many
times that, and the weights with all that belongs to them. It is run at about half its width and height, and counted as
often as the whole has more pixels: what convolutions keep grows with them.
"""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple
from weakref import finalize

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sidepth_core.augment import plain
from sidepth_core.data.clips import Batch, middle_only
from sidepth_core.errors import ConfigError
from sidepth_core.models import STRIDE
from sidepth_core.training.module import DepthTraining
from sidepth_core.training.objective import evaluate
from sidepth_core.training.settings import Recipe

WEIGHT_COPIES = 5
"""Weights, their gradient, Adam's two moments, and the average."""
SMALLEST = 64
"""The clip is not run with less width or height than this, pixels."""
MEMINFO = Path('/proc/meminfo')
CONTROL_GROUP = Path('/sys/fs/cgroup')

logger = logging.getLogger(__name__)


class StepMemory(NamedTuple):
    """What a step takes.

    Attributes:
        weights: Bytes of weights, gradients, moments and averages.
        clip: Bytes of one clip's forward and backward pass at their peak.
        batch: Clips of a batch.
    """

    weights: int
    clip: int
    batch: int

    @property
    def total(self) -> int:
        """All of it, bytes."""
        return self.weights + self.batch * self.clip

    def largest_batch(self, available: int) -> int:
        """Return how many clips fit into so many bytes; 0 where not even one does."""
        return max(0, (available - self.weights) // self.clip)


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch annotates neither
    """Counts the bytes of tensors that are made inside of it, while they live.

    Attributes:
        peak: The most at one time.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self._now = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(
        self,
        function: Callable[..., Any],
        types: Any,  # noqa: ANN401 - torch's signature
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the operator returns
        result = function(*args, **(kwargs or {}))
        for given in tree_leaves((args, kwargs)):
            if isinstance(given, Tensor):
                self._seen.add(given.untyped_storage()._cdata)  # noqa: SLF001 - what tells views of one storage
        for made in tree_leaves(result):
            if isinstance(made, Tensor):
                self._count(made.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()  # noqa: SLF001 - as above
        if key in self._seen:
            return
        self._seen.add(key)
        self._now += size
        self.peak = max(self.peak, self._now)
        finalize(storage, self._forget, key, size).atexit = False

    def _forget(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self._now -= size


def step_memory(module: DepthTraining) -> StepMemory:
    """Return what a step of the module's recipe takes on this kind of processor; the module stays as it is."""
    recipe = module.recipe
    networks = deepcopy(module.networks).train()
    parameters = [one for one in networks.parameters() if one.requires_grad]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    supervised = recipe.is_supervised
    size, pose_size = halved(module.size), halved(networks.pose_net.size)
    networks.pose_net.size = pose_size
    with torch.random.fork_rng(), LiveBytes() as live:
        batch = blank_clip(recipe, size)
        view = plain(middle_only(batch) if supervised else batch, size, pose_size)
        outcome = evaluate(
            networks, view, recipe.objective, average=module.average.networks, supervised=supervised,
            precision=recipe.precision,
        )  # fmt: skip
        outcome.terms.total(recipe.objective.weights).backward()  # type: ignore[no-untyped-call]
    weights = sum(one.nbytes for one in parameters) * WEIGHT_COPIES
    start = sum(one.nbytes for one in parameters) if recipe.objective.holds else 0
    clip = live.peak * math.prod(module.size) // math.prod(size)
    return StepMemory(weights + start, clip, recipe.optimiser.batch_size)


def halved(size: tuple[int, int]) -> tuple[int, int]:
    """Return about half a height and width, in multiples of the networks' stride."""
    height, width = (min(side, max(SMALLEST, round(side / 2 / STRIDE) * STRIDE)) for side in size)
    return height, width


def blank_clip(recipe: Recipe, size: tuple[int, int]) -> Batch:
    """Return a batch of one clip as it comes from a cache of networks of height x width `size`; grey noise."""
    frames, margin = recipe.data.clip_frames, recipe.data.margin
    height, width = (round(side * margin) for side in size)
    pairs = frames - 1
    motion = torch.eye(4).repeat(1, pairs, 1, 1)
    motion[..., 2, 3] = 1
    return Batch(
        images=torch.randint(256, (1, frames, 3, height, width), dtype=torch.uint8),
        intrinsics=torch.tensor([[[width, 0.0, width / 2], [0.0, width, height / 2], [0.0, 0.0, 1.0]]]),
        dt_s=torch.full((1, pairs), 0.1),
        distance_m=torch.ones(1, pairs),
        depth_m=torch.full((1, 1, height, width), 10.0),
        two_view_pose=motion,
        two_view_points=torch.full((1, pairs, 1, 3), 0.5),
        teacher_inverse=torch.rand(1, 1, height, width),
        two_view_depth=torch.rand(1, 1, height, width),
    )


def check_memory(module: DepthTraining, available: int | None) -> StepMemory:
    """Say what a step takes, and refuse what cannot fit.

    Args:
        module: What is to be trained.
        available: Free memory of the device, bytes; None where nobody knows.

    Raises:
        ConfigError: If a step takes more than there is, with what fits.
    """
    needed = step_memory(module)
    batch, accumulate = needed.batch, module.recipe.optimiser.accumulate
    parts = f'{batch} clips of {_gb(needed.clip)}, weights and their averages {_gb(needed.weights)}'
    free = '' if available is None else f'; {_gb(available)} are free'
    logger.info('a step takes some %s of memory (%s)%s', _gb(needed.total), parts, free)
    if available is None or needed.total <= available:
        return needed
    fits = needed.largest_batch(available)
    ways = []
    if fits:
        ways.append(
            f'--optimiser.batch_size {fits} --optimiser.accumulate {-(-batch * accumulate // fits)} '
            'sees as many clips a step'
        )
    if not module.recipe.model.recompute:
        ways.append('--model.recompute true takes less than half for a third more time')
    ways.append('a smaller --model.width and --model.height')
    raise ConfigError(
        f'a step takes some {_gb(needed.total)} of memory ({parts}), more than the {_gb(available)} that are free: '
        + '; '.join(ways)
    )


def available_bytes(device: str, gpu: int | None = None) -> int | None:
    """Return the memory that is free for this process on 'cpu' or 'cuda'; None where the system does not say.

    Args:
        device: 'cpu' or 'cuda'.
        gpu: Number of the GPU; None is that of this process among those that train together.
    """
    if device == 'cuda':
        return int(torch.cuda.mem_get_info(int(os.environ.get('LOCAL_RANK', '0')) if gpu is None else gpu)[0])
    if not sys.platform.startswith('linux'):
        return None
    fields = dict(line.split(':', 1) for line in MEMINFO.read_text(encoding='ascii').splitlines())
    free = sum(int(fields[name].split()[0]) * 1024 for name in ('MemAvailable', 'SwapFree'))
    limit, used = (_number(CONTROL_GROUP / name) for name in ('memory.max', 'memory.current'))
    if limit is not None and used is not None:
        free = min(free, limit - used)
    return free // int(os.environ.get('LOCAL_WORLD_SIZE', '1'))


def _number(path: Path) -> int | None:
    """Return the number in a file of a control group; None where there is no file or no limit."""
    try:
        return int(path.read_text(encoding='ascii'))
    except (OSError, ValueError):
        return None


def _gb(size: int) -> str:
    return f'{size / 1e9:.2f} GB'
