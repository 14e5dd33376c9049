"""Images through shared memory: config/fastdds_shm.xml, and the environment variable that makes Fast DDS read it."""

from __future__ import annotations

import os
import sys
from importlib.metadata import distributions
from pathlib import Path

from sidepth_core.errors import ConfigError

NEW_VARIABLE, OLD_VARIABLE = 'FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'
"""What Fast DDS 3 reads (Kilted and newer), and what Fast DDS 2 does (up to Jazzy)."""
FIRST_RCLPY_WITH_FASTDDS_3 = 8


def shared_memory_profile() -> Path:
    """Return the path of config/fastdds_shm.xml: in the repository, in a colcon install, or where pip put it.

    Raises:
        ConfigError: If it is in none of them.
    """
    here = Path(__file__).resolve()
    # A colcon install has this file at <prefix>/lib/python3.x/site-packages/sidepth_ros.
    roots = [here.parents[1], *(parent / 'share' / 'sidepth_ros' for parent in [*here.parents, Path(sys.prefix)])]
    for root in roots:
        if (profile := root / 'config' / 'fastdds_shm.xml').is_file():
            return profile
    raise ConfigError('config/fastdds_shm.xml is not installed: install the package again, or source its setup.bash')


def profile_variable() -> str:
    """Return the name of the variable that this ROS 2's Fast DDS reads: each warns of the other's, or ignores it."""
    found = [rclpy.version for name in ('rclpy', 'ros-rclpy') for rclpy in distributions(name=name)]
    is_new = not found or int(found[0].partition('.')[0]) >= FIRST_RCLPY_WITH_FASTDDS_3
    return NEW_VARIABLE if is_new else OLD_VARIABLE


def profile_environment(profile: Path) -> dict[str, str]:
    """Return what to add to a process's environment so that it uses a profile; nothing where the user has set one."""
    if os.environ.get(NEW_VARIABLE) or os.environ.get(OLD_VARIABLE):
        return {}
    return {profile_variable(): str(profile)}
