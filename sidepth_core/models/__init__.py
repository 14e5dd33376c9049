"""The networks: depth from one image, motion from two."""

from sidepth_core.models.depth_net import STRIDE, DepthNet, nearest_multiple, size_of_shape
from sidepth_core.models.depth_network import DepthNetwork, Prediction
from sidepth_core.models.pose_net import PoseEstimate, PoseNet

__all__ = [
    'STRIDE',
    'DepthNet',
    'DepthNetwork',
    'PoseEstimate',
    'PoseNet',
    'Prediction',
    'nearest_multiple',
    'size_of_shape',
]
