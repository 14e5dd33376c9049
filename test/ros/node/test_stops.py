"""A node of four cameras, images flowing, stopped at random instants."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

import node_stopper
from ros_graph import FakeCamera, Graph
from sensor_msgs.msg import Image
from soak_cases import few_or_many

pytestmark = pytest.mark.ros

STOPS = few_or_many(3, 200)
LONGEST_S = few_or_many(2.0, 4.0)
"""So late after its start a node is told to stop: it has worked for a while on a quiet machine."""
END_S = few_or_many(100.0, 2.0)
"""How long a node may take to end; on a busy machine, only that it does is promised."""
CAMERAS = ('front', 'left', 'rear', 'right')


def test_a_node_stopped_at_any_instant_ends_with_status_0(graph: Graph, tiny_checkpoint: Path, tmp_path: Path) -> None:
    pairs = (f'checkpoint:={str(tiny_checkpoint)!r}', 'threads:=1', 'device:=cpu', f'cameras:=[{", ".join(CAMERAS)}]')
    arguments = ['--ros-args', *(word for text in pairs for word in ('-p', text))]
    command = [sys.executable, str(Path(node_stopper.__file__)), str(STOPS), '0', str(LONGEST_S), *arguments]
    cameras = [FakeCamera(graph, f'{name}/') for name in CAMERAS]
    for name in CAMERAS:
        graph.node.create_subscription(Image, f'{name}/depth/image', lambda _: None, 1)
    with (tmp_path / 'rows').open('w') as output, (tmp_path / 'log').open('w') as log:
        process = subprocess.Popen(command, stdout=output, stderr=log)
        try:
            while process.poll() is None:
                for camera in cameras:
                    camera.send()
                graph.spin(0.1)
        finally:
            process.kill()
    said = (tmp_path / 'log').read_text()
    rows = [json.loads(line) for line in (tmp_path / 'rows').read_text().splitlines()]
    assert process.returncode == 0, said
    assert len(rows) == STOPS
    slowest = max(row['seconds'] for row in rows)
    print(f'{STOPS} stops, the slowest took {slowest:.2f} s')
    assert [row for row in rows if row['status']] == [], said
    assert slowest < END_S, [row for row in rows if row['seconds'] >= END_S]
    assert 'Traceback' not in said
