"""The calibration that lies beside a recording."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from sensor_msgs.msg import CameraInfo

from sidepth_core.data.calibration import read_calibration
from sidepth_ros.tools.camera_snapshot import calibration_text


@pytest.mark.parametrize(
    ('model', 'coefficients'),
    [('plumb_bob', (-0.24, -0.02, -0.001, 0.0002, 0.01)), ('equidistant', (0.1, 0.01, 0.0, -0.02)), ('plumb_bob', ())],
)
def test_training_reads_what_the_snapshot_wrote(tmp_path: Path, model: str, coefficients: tuple[float, ...]) -> None:
    info = CameraInfo(
        width=640, height=360, distortion_model=model, d=coefficients,
        k=[500.5, 0.0, 310.25, 0.0, 510.5, 170.75, 0.0, 0.0, 1.0],
    )
    path = tmp_path / 'front.yaml'
    path.write_text(calibration_text(info, 'front'))
    camera = read_calibration(path)
    assert (camera.width, camera.height) == (640, 360)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (500.5, 510.5, 310.25, 170.75)
    assert camera.distortion == coefficients
