"""Depth networks of `transformers` in the running node: published from, and swapped with ours, over real ROS 2."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')
pytest.importorskip('transformers', reason='transformers is not installed (requirements/transformers.txt)')

from ros_graph import FakeCamera, Graph, stamp_of
from sensor_msgs.msg import Image
from tiny_foundation import save_model

pytestmark = pytest.mark.ros


def test_theirs_and_ours_are_swapped_under_load_without_losing_a_frame(
    graph: Graph, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    theirs = save_model(tmp_path / 'depth_anything', 'depth_anything_metric')
    relative = save_model(tmp_path / 'relative', 'depth_anything', seed=1, licence='cc-by-nc-4.0')
    process = graph.start(theirs)
    camera = FakeCamera(graph)
    camera.wait_until_heard()
    with graph.hearing(Image, 'depth/image') as heard:
        camera.send_until_heard(heard)
        sent = []
        for place in (tiny_checkpoint, theirs):
            assert graph.set_parameters('depth', checkpoint=str(place)).successful
            while f'now running {place}' not in process.said():
                sent.append(camera.send())
                graph.spin_until(lambda: len(heard) == len(sent), 'a depth image')
        sent.append(camera.send())
        graph.spin_until(lambda: len(heard) == len(sent), 'the last image')
    assert [stamp_of(message) for message in heard] == sent
    # Weights without metres are refused at once, with the reason, and the running ones stay.
    answer = graph.set_parameters('depth', checkpoint=str(relative))
    assert not answer.successful
    assert 'scale_source' in answer.reason
    assert graph.set_parameters('depth', checkpoint=str(relative), scale_source='relative').successful
    process.wait_for_words('licence cc-by-nc-4.0 allows no commercial use')
