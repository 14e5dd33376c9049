"""Drives into a cache that training reads at memory speed: frame selection, clips, shards and two-view poses."""

from sidepth_core.data.prepare.cache import Progress, missing_sources, prepare, prepare_share
from sidepth_core.data.prepare.dataset import PreparedDataset
from sidepth_core.data.prepare.judgement import Finding, Judge, Judgement
from sidepth_core.data.prepare.motion import TARGET_SHARE, FrameSelection
from sidepth_core.data.prepare.pose_choice import describe_origins
from sidepth_core.data.prepare.report import PrepareReport, total
from sidepth_core.data.prepare.settings import PrepareSettings
from sidepth_core.data.prepare.teacher_maps import make_teacher_maps
from sidepth_core.data.prepare.two_view_depths import estimate_two_view_depth
from sidepth_core.data.prepare.two_view_poses import estimate_two_view_poses

__all__ = [
    'TARGET_SHARE',
    'Finding',
    'FrameSelection',
    'Judge',
    'Judgement',
    'PrepareReport',
    'PrepareSettings',
    'PreparedDataset',
    'Progress',
    'describe_origins',
    'estimate_two_view_depth',
    'estimate_two_view_poses',
    'make_teacher_maps',
    'missing_sources',
    'prepare',
    'prepare_share',
    'total',
]
