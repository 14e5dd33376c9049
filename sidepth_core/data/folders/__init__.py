"""Image folders, video files and sequences of the TUM RGB-D benchmark as drives."""

from sidepth_core.data.folders.image_folders import (
    FolderSource,
    image_folder,
    images_in,
    read_depth,
    read_image,
    read_poses,
)
from sidepth_core.data.folders.tum import TumSource, is_tum_sequence
from sidepth_core.data.folders.videos import VIDEO_SUFFIXES, VideoSource

__all__ = [
    'VIDEO_SUFFIXES',
    'FolderSource',
    'TumSource',
    'VideoSource',
    'image_folder',
    'images_in',
    'is_tum_sequence',
    'read_depth',
    'read_image',
    'read_poses',
]
