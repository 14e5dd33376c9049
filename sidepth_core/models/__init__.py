"""The networks: depth from one image, motion from two."""

from sidepth_core.models.depth_net import STRIDE, DepthNet, Prediction, nearest_multiple, size_of_shape
from sidepth_core.models.pose_net import PoseEstimate, PoseNet

__all__ = [
    'STRIDE',
    'DepthNet',
    'PoseEstimate',
    'PoseNet',
    'Prediction',
    'nearest_multiple',
    'size_of_shape',
]
