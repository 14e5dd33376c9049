"""What depth is written as for people and other programs: point clouds, trajectories, videos, pages for a browser."""

from sidepth_core.outputs.clouds import Cloud, FusedCloud, cloud_of, worth_showing, write_ply
from sidepth_core.outputs.page import Page
from sidepth_core.outputs.trajectories import write_trajectory
from sidepth_core.outputs.videos import VIDEO_SUFFIXES, VideoFile

__all__ = [
    'VIDEO_SUFFIXES',
    'Cloud',
    'FusedCloud',
    'Page',
    'VideoFile',
    'cloud_of',
    'worth_showing',
    'write_ply',
    'write_trajectory',
]
