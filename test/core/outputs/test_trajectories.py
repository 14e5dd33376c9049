from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sidepth_core.data.folders.tum import _listed, _matrix
from sidepth_core.outputs import write_trajectory
from sidepth_core.outputs.trajectories import quaternion


def test_a_trajectory_reads_back_as_the_benchmark_writes_them(tmp_path: Path) -> None:
    turned = np.eye(4)
    turned[:3, :3] = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]
    turned[:3, 3] = (1.5, -2.25, 30.0)
    path = tmp_path / 'new' / 'trajectory.txt'
    assert write_trajectory(path, [(1_700_000_000_000_000_001, np.eye(4)), (1_700_000_000_100_000_000, turned)]) == 2
    assert path.read_text().splitlines()[1].startswith('1700000000.000000001 0 0 0 0 0 0 1')
    listed = _listed(path)
    np.testing.assert_allclose(_matrix(listed.values[1], path), turned, atol=1e-8)


@pytest.mark.parametrize('angle', [0.0, 1e-9, 0.3, np.pi / 2, 3.1, np.pi])
def test_convention_a_turn_about_y_is_a_quaternion_x_y_z_w(angle: float) -> None:
    cosine, sine = np.cos(angle), np.sin(angle)
    rotation = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    expected = np.array([0, np.sin(angle / 2), 0, np.cos(angle / 2)])
    found = quaternion(rotation)
    np.testing.assert_allclose(abs(found @ expected), 1, atol=1e-9)  # q and -q are one turn
