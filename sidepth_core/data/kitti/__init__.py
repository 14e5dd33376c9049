"""KITTI as drives: its files, its published splits, and the images that its depth benchmark selected."""

from sidepth_core.data.kitti.selection import KittiSelection, is_kitti_selection
from sidepth_core.data.kitti.source import TRUTHS, KittiDrive, KittiObject, KittiOdometry, Truth
from sidepth_core.data.kitti.splits import (
    is_kitti_drive,
    is_kitti_object,
    is_kitti_odometry,
    is_kitti_root,
    kitti_drives,
)

__all__ = [
    'TRUTHS',
    'KittiDrive',
    'KittiObject',
    'KittiOdometry',
    'KittiSelection',
    'Truth',
    'is_kitti_drive',
    'is_kitti_object',
    'is_kitti_odometry',
    'is_kitti_root',
    'is_kitti_selection',
    'kitti_drives',
]
