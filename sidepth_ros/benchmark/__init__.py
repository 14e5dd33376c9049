"""The depth node measured as a whole, over real ROS 2: `sidepth benchmark node`."""

from sidepth_ros.benchmark.measure import ABOUT, rows
from sidepth_ros.benchmark.pictures import pictures

__all__ = ['ABOUT', 'pictures', 'rows']
