"""Speed from messages that are none of ROS' own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rosbags.typesys import get_types_from_msg

from sidepth_core.data.bags.source import BagSource
from sidepth_core.data.bags.topics import Choice
from sidepth_core.data.bags.writer import BagWriter
from sidepth_core.errors import BagError

START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000
STATUS = 'robot_msgs/msg/Status'
DEFINITION = """\
std_msgs/Header header
robot_msgs/Wheels wheels
string mode
================================================================================
MSG: robot_msgs/Wheels
float32 speed
int16 ticks
"""


def write(path: Path, storage: str = 'mcap') -> Path:
    """Write three images, with the robot's own status halfway between them."""
    with BagWriter(path, storage) as writer:
        writer.types.register(get_types_from_msg(DEFINITION, STATUS))
        for index in range(4):
            stamp = START_NS + index * PERIOD_NS
            wheels = writer.message('robot_msgs/msg/Wheels', speed=1.0 + index, ticks=-7)
            status = writer.message(STATUS, header=writer.header(stamp, 'base'), wheels=wheels, mode='auto')
            writer.write('/status', status, stamp + 10**10)
            if index < 3:
                writer.add_image('/image', np.full((8, 8, 3), 90, np.uint8), stamp + PERIOD_NS // 2, 'optical')
    return path


def speeds(path: Path, field: str) -> list[float | None]:
    return [frame.speed_mps for frame in BagSource(path, Choice(odometry=f'/status:{field}'))]


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_field_of_a_robots_own_message_is_its_speed(tmp_path: Path, storage: str) -> None:
    path = write(tmp_path / 'bag', storage)
    assert speeds(path, 'wheels.speed') == pytest.approx([1.5, 2.5, 3.5])
    assert speeds(path, 'wheels.ticks') == pytest.approx([7.0] * 3)


def test_a_field_that_is_not_there_or_no_number_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / 'bag')
    with pytest.raises(BagError, match=r"no field 'wheels.velocity': where 'velocity' should be are speed, ticks"):
        speeds(path, 'wheels.velocity')
    with pytest.raises(BagError, match="field 'mode' is str, expected a speed in metres a second"):
        speeds(path, 'mode')
    with pytest.raises(BagError, match=r'no message of /status .* can be read: expected Odometry, .* the field of'):
        list(BagSource(path, Choice(odometry='/status')))
