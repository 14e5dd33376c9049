"""Fixtures of the tests over real ROS 2: a domain of their own, the shared-memory profile, a small fast checkpoint."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sidepth_ros.domain import free_domain
from sidepth_ros.fastdds import profile_variable

if TYPE_CHECKING:
    from ros_graph import Graph

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='session')
def ros_environment() -> Iterator[dict[str, str]]:
    """Give this process and those it starts a ROS domain of their own and the shared-memory profile."""
    changes = {
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        profile_variable(): str(ROOT / 'config' / 'fastdds_shm.xml'),
        'PYTHONPATH': os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')])),
        'OMP_NUM_THREADS': '1',
    }
    with pytest.MonkeyPatch.context() as patch, free_domain() as domain:
        for name, value in changes.items():
            patch.setenv(name, value)
        patch.setenv('ROS_DOMAIN_ID', str(domain))
        yield dict(os.environ)


@pytest.fixture(scope='session')
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small, fast checkpoint with random weights that says it is metric."""
    from ros_graph import write_checkpoint  # noqa: PLC0415 - needs rclpy

    return write_checkpoint(tmp_path_factory.mktemp('tiny'), seed=0)


@pytest.fixture
def graph(ros_environment: dict[str, str], tmp_path: Path) -> Iterator[Graph]:
    """Return this test's graph; the processes that it started are ended with it."""
    from ros_graph import Graph  # noqa: PLC0415 - needs rclpy

    opened = Graph(ros_environment, tmp_path)
    yield opened
    opened.close()


@pytest.fixture(scope='module')
def shared_graph(ros_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    """Return one graph for all tests of a module, for those that share a node."""
    from ros_graph import Graph  # noqa: PLC0415 - needs rclpy

    opened = Graph(ros_environment, tmp_path_factory.mktemp('graph'))
    yield opened
    opened.close()
