"""A procedural world to drive through, with exact depth, pose and speed: the data that needs no download."""

from sidepth_core.data.synthetic.drive import SCENES, Drive
from sidepth_core.data.synthetic.ranges import expand
from sidepth_core.data.synthetic.sensor import CAMERA, Sensor
from sidepth_core.data.synthetic.source import SyntheticSource

__all__ = ['CAMERA', 'SCENES', 'Drive', 'Sensor', 'SyntheticSource', 'expand']
