"""Depth ground truth: LiDAR sweeps projected into an image, depth images, single images with a sweep."""

from sidepth_core.data.depth_truth.depth_images import (
    DEPTH_ENCODINGS,
    decode_compressed_depth,
    decode_depth,
    fitted_depth,
)
from sidepth_core.data.depth_truth.lidar import Points, points_of_cloud, project_depth, read_velodyne, without_hidden
from sidepth_core.data.depth_truth.sweeps import SweepFolder, is_sweep_folder

__all__ = [
    'DEPTH_ENCODINGS',
    'Points',
    'SweepFolder',
    'decode_compressed_depth',
    'decode_depth',
    'fitted_depth',
    'is_sweep_folder',
    'points_of_cloud',
    'project_depth',
    'read_velodyne',
    'without_hidden',
]
