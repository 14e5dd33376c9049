"""Batch norms folded into the convolutions before them: a layer less to run, for inference only."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sidepth_core.models import DepthNet


def fold_batch_norms(depth_net: DepthNet) -> DepthNet:
    """Fold every batch norm into its convolution, in place, and return the network, which must be in evaluation mode.

    Convention: a batch norm follows its convolution either in a Sequential or, in blocks, by name: bn1 follows conv1.
    """
    for module in depth_net.modules():
        children = dict(module.named_children())
        for name, norm in children.items():
            before = _name_before(name)
            convolution = children.get(before)
            if isinstance(norm, nn.BatchNorm2d) and isinstance(convolution, nn.Conv2d):
                setattr(module, before, fuse_conv_bn_eval(convolution, norm))
                setattr(module, name, nn.Identity())
    return depth_net


def _name_before(name: str) -> str:
    """Return what the convolution before a batch norm of that name is called."""
    return f'conv{name[2:]}' if name.startswith('bn') else str(int(name) - 1) if name.isdecimal() else ''
