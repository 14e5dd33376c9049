"""Trade time for memory in training: forget what a block computed, and compute it again when its gradient is due.

Source: Chen et al., "Training Deep Nets with Sublinear Memory Cost", arXiv 1604.06174.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def run_block(block: nn.Module, *inputs: Any, recompute: bool) -> Any:  # noqa: ANN401  # whatever the block takes and gives
    """Run a block; with `recompute`, and where a gradient is wanted, keep nothing of it but its inputs.

    The results, the gradient and the running statistics are the same either way.
    """
    if not (recompute and block.training and torch.is_grad_enabled()):
        return block(*inputs)

    def run(*given: Any) -> Any:  # noqa: ANN401  # as above
        # timm's HRNet replaces the items of the list that it is given, which is needed once more.
        return block(*(list(one) if isinstance(one, list) else one for one in given))

    return checkpoint(
        run, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), _statistics_left_alone(block))
    )


@contextmanager
def _statistics_left_alone(block: nn.Module) -> Iterator[None]:
    """Keep batch norms from counting a batch a second time while it is computed again."""
    norms = [module for module in block.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]  # noqa: SLF001  # the one base of BatchNorm and SyncBatchNorm
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    try:
        for norm in norms:
            norm.momentum, norm.num_batches_tracked = 0.0, None
        yield
    finally:
        for norm, (momentum, counted) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, counted
