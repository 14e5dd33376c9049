"""Where metres come from: constants, sources that watch the world, and the filter behind them."""

from sidepth_core.scale.filter import FilterSettings, FilterState, ScaleEstimate, ScaleFilter
from sidepth_core.scale.ground import GroundMeter, Mount, mount_of
from sidepth_core.scale.measurement import Measurement, Refusal
from sidepth_core.scale.meter import MeterSettings, Moment, ScaleMeter, SourceReport, Surroundings
from sidepth_core.scale.ranges import Ranges
from sidepth_core.scale.sources import (
    MEASURED_SOURCES,
    SCALE_SOURCES,
    ConstantScale,
    Scale,
    ScaleSource,
    make_scale_source,
)
from sidepth_core.scale.travel import Report, TravelLog

__all__ = [
    'MEASURED_SOURCES',
    'SCALE_SOURCES',
    'ConstantScale',
    'FilterSettings',
    'FilterState',
    'GroundMeter',
    'Measurement',
    'MeterSettings',
    'Moment',
    'Mount',
    'Ranges',
    'Refusal',
    'Report',
    'Scale',
    'ScaleEstimate',
    'ScaleFilter',
    'ScaleMeter',
    'ScaleSource',
    'SourceReport',
    'Surroundings',
    'TravelLog',
    'make_scale_source',
    'mount_of',
]
