"""Batch norms folded into the convolutions before them: a layer less to run, for inference only."""

from __future__ import annotations

from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sidepth_core.models import DepthNet, DepthNetwork


def fold_batch_norms(depth_net: DepthNetwork) -> DepthNetwork:
    """Fold every batch norm into its convolution, in place, and return the network, which must be in evaluation mode.

    Convention: a batch norm belongs to the convolution that stands directly before it in its parent module. One that
    follows something else stays. timm's batch norms bring their non-linearity along, which is kept. Networks of
    `transformers`, whose modules are not named in the order in which they run, stay as they are.
    """
    if not isinstance(depth_net, DepthNet):
        return depth_net
    for module in depth_net.modules():
        for (before, convolution), (name, norm) in pairwise(list(module.named_children())):
            if isinstance(norm, nn.BatchNorm2d) and isinstance(convolution, nn.Conv2d):
                setattr(module, before, fuse_conv_bn_eval(convolution, norm))
                setattr(module, name, getattr(norm, 'act', None) or nn.Identity())
    return depth_net
