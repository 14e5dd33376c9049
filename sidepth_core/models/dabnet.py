"""Weights that DaB-Net's authors published: which of our tensors each of their names is.

Source: the `state_dict` of the checkpoint that belongs to arXiv 2210.03952.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sidepth_core.models.depth_net import DepthNet
from sidepth_core.models.pose_net import PoseNet
from sidepth_core.models.state_dicts import check_tensors, shapes_of

DEPTH_NAMES = {
    'encoder.': 'DepthEncoder.',
    'decoder.fuse_16.squeeze.': 'DepthDecoder.deconvs_72.ca.att.1.',
    'decoder.fuse_16.excite.': 'DepthDecoder.deconvs_72.ca.att.3.',
    'decoder.fuse_16.conv.': 'DepthDecoder.deconvs_72.conv_se.0.',
    'decoder.fuse_8.squeeze.': 'DepthDecoder.deconvs_36.ca.att.1.',
    'decoder.fuse_8.excite.': 'DepthDecoder.deconvs_36.ca.att.3.',
    'decoder.fuse_8.conv.': 'DepthDecoder.deconvs_36.conv_se.0.',
    'decoder.fuse_4.squeeze.': 'DepthDecoder.deconvs_18.ca.att.1.',
    'decoder.fuse_4.excite.': 'DepthDecoder.deconvs_18.ca.att.3.',
    'decoder.fuse_4.conv.': 'DepthDecoder.deconvs_18.conv_se.0.',
    'decoder.fuse_2.squeeze.': 'DepthDecoder.deconvs_9.ca.att.1.',
    'decoder.fuse_2.excite.': 'DepthDecoder.deconvs_9.ca.att.3.',
    'decoder.fuse_2.conv.': 'DepthDecoder.deconvs_9.conv_se.0.',
    'decoder.attention.branches.0.query.': 'DepthDecoder.QKV18.query_conv.',
    'decoder.attention.branches.0.key.': 'DepthDecoder.QKV18.key_conv.',
    'decoder.attention.branches.0.value.': 'DepthDecoder.QKV18.value_conv.',
    'decoder.attention.branches.1.query.': 'DepthDecoder.QKV36.query_conv.',
    'decoder.attention.branches.1.key.': 'DepthDecoder.QKV36.key_conv.',
    'decoder.attention.branches.1.value.': 'DepthDecoder.QKV36.value_conv.',
    'decoder.attention.branches.2.query.': 'DepthDecoder.QKV72.query_conv.',
    'decoder.attention.branches.2.key.': 'DepthDecoder.QKV72.key_conv.',
    'decoder.attention.branches.2.value.': 'DepthDecoder.QKV72.value_conv.',
    'decoder.attention.squeeze.': 'DepthDecoder.attention.dy_att.1.',
    'decoder.attention.weigh.': 'DepthDecoder.attention.dy_att.3.',
    'decoder.half_conv.': 'DepthDecoder.convs_up_x9_0.convelu.0.',
    'decoder.full_conv.': 'DepthDecoder.convs_up_x9_1.convelu.0.',
    'decoder.head.': 'DepthDecoder.disp_head.0.',
}
"""Prefixes of DepthNet's tensors, and what the published file calls them."""

POSE_NAMES = {'encoder.': 'PoseEncoder.encoder.', '': 'PoseDecoder.'}
"""The same for PoseNet."""

UNUSED_SHAPES = {'PoseEncoder.encoder.fc.weight': (1000, 512), 'PoseEncoder.encoder.fc.bias': (1000,)}
"""Tensors that the published file carries along from ImageNet and no network uses."""

PARALLEL_PREFIX = 'module.'


def load_dabnet_state_dict(state_dict: Mapping[str, Tensor]) -> tuple[DepthNet, PoseNet]:
    """Make both networks from the published `state_dict`.

    Args:
        state_dict: Tensors by their published name, with or without the prefix `module.`.

    Returns:
        DepthNet with HRNet-W18, and PoseNet, both in evaluation mode on the CPU, float32.

    Raises:
        CheckpointError: If tensors are missing, unknown or of another shape; all of them are named.
    """
    published = {name.removeprefix(PARALLEL_PREFIX): tensor for name, tensor in state_dict.items()}
    depth_net, pose_net = DepthNet('hrnet18'), PoseNet()
    depth_names = {name: _published_name(name, DEPTH_NAMES) for name in depth_net.state_dict()}
    pose_names = {name: _published_name(name, POSE_NAMES) for name in pose_net.state_dict()}
    expected = dict(UNUSED_SHAPES)
    expected.update((depth_names[name], shape) for name, shape in shapes_of(depth_net).items())
    expected.update((pose_names[name], shape) for name, shape in shapes_of(pose_net).items())
    check_tensors('weights of DaB-Net', published, expected)
    depth_net.load_state_dict({ours: published[theirs] for ours, theirs in depth_names.items()})
    pose_net.load_state_dict({ours: published[theirs] for ours, theirs in pose_names.items()})
    return depth_net.eval(), pose_net.eval()


def _published_name(ours: str, prefixes: Mapping[str, str]) -> str:
    """Return what the published file calls one of our tensors."""
    for prefix, theirs in prefixes.items():
        if ours.startswith(prefix):
            return theirs + ours[len(prefix) :]
    raise AssertionError(f'{ours} has no published name')
