"""`sidepth camera --ros`: a video file as a camera over real ROS 2."""

from __future__ import annotations

import math
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from ros_graph import Graph, Process
from sensor_msgs.msg import CameraInfo, Image

from sidepth_core.errors import ConfigError
from sidepth_core.outputs import VideoFile
from sidepth_ros.tools.camera_player import parser, publish_live

pytestmark = pytest.mark.ros
SIDEPTH = [sys.executable, '-c', 'import sys; from sidepth_core.cli import main; sys.exit(main())']


def stamps(messages: list[Any]) -> set[tuple[int, int]]:
    return {(message.header.stamp.sec, message.header.stamp.nanosec) for message in messages}


def test_a_video_file_is_a_camera_with_the_calibration_of_its_field_of_view(
    graph: Graph, ros_environment: dict[str, str], tmp_path: Path
) -> None:
    with VideoFile(tmp_path / 'desk.mp4', 20) as video:
        for index in range(8):
            video.add(np.full((64, 96, 3), 30 * index, np.uint8))
    command = [*SIDEPTH, 'camera', str(tmp_path / 'desk.mp4'), '--ros', '--fov', '60', '--name', 'desk', '--loop']
    camera = Process(command, ros_environment, tmp_path / 'camera.log')
    try:
        with graph.hearing(Image, '/desk/image_raw') as images, graph.hearing(CameraInfo, '/desk/camera_info') as infos:
            graph.spin_until(lambda: stamps(images) & stamps(infos), 'an image and the camera_info of its stamp')
        assert (images[0].width, images[0].height, images[0].encoding) == (96, 64, 'rgb8')
        assert infos[0].k[0] == pytest.approx(48 / math.tan(math.radians(30)))
        assert 'publishing' in camera.said()
        assert '/desk/image_raw' in camera.said()
    finally:
        status = camera.end(signal.SIGINT)
    assert status == 0


def test_a_camera_that_is_not_calibrated_is_refused_with_what_to_give(graph: Graph) -> None:
    with pytest.raises(ConfigError, match=r"camera '0' is not calibrated.*--calibration FILE.*or --fov DEG"):
        publish_live(graph.node, parser().parse_args(['--camera', '0']))
