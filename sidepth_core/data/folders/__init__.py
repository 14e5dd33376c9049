"""Image folders and video files as drives."""

from sidepth_core.data.folders.image_folders import (
    FolderSource,
    image_folder,
    images_in,
    read_depth,
    read_image,
    read_poses,
)
from sidepth_core.data.folders.videos import VIDEO_SUFFIXES, VideoSource

__all__ = [
    'VIDEO_SUFFIXES',
    'FolderSource',
    'VideoSource',
    'image_folder',
    'images_in',
    'read_depth',
    'read_image',
    'read_poses',
]
