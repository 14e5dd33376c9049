"""Depth networks of `transformers` in the running node: published from, and swapped with ours, over real ROS 2."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')
pytest.importorskip('transformers', reason='transformers is not installed (requirements/transformers.txt)')
pytest.importorskip('peft', reason='peft is not installed (requirements/transformers.txt)')

from ros_graph import FakeCamera, Graph, stamp_of
from sensor_msgs.msg import Image
from tiny_foundation import save_model

from sidepth_core.checkpoint import Checkpoint, save_checkpoint
from sidepth_core.training.networks import make_networks
from sidepth_core.training.settings import ModelSettings, Recipe

pytestmark = [pytest.mark.ros, pytest.mark.one_distribution]


def fine_tuned(base: Path, folder: Path) -> Path:
    """Save what fine-tuning a relative model leaves: adapters, a scale of each image, and metres."""
    settings = ModelSettings(tune='adapters', adapter_rank=2, learned_scale='image', width=96, height=64)
    networks = make_networks(Recipe(checkpoint=str(base), model=settings))
    info = replace(networks.info, scale='metric', scale_note='learned', training_data=('a drive',))
    save_checkpoint(folder, Checkpoint(networks.depth_net, None, info))
    return folder


def test_theirs_and_ours_are_swapped_under_load_without_losing_a_frame(
    graph: Graph, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    theirs = save_model(tmp_path / 'depth_anything', 'depth_anything_metric')
    relative = save_model(tmp_path / 'relative', 'depth_anything', seed=1, licence='cc-by-nc-4.0')
    tuned = fine_tuned(save_model(tmp_path / 'base', seed=2), tmp_path / 'tuned')
    process = graph.start(theirs)
    camera = FakeCamera(graph)
    camera.wait_until_heard()
    with graph.hearing(Image, 'depth/image') as heard:
        camera.send_until_heard(heard)
        sent = []

        def send_until_running(place: Path) -> None:
            while f'now running {place}' not in process.said():
                sent.append(camera.send())
                graph.spin_until(lambda: len(heard) == len(sent), 'a depth image')
            sent.append(camera.send())
            graph.spin_until(lambda: len(heard) == len(sent), f'a depth image of {place}')

        for place in (tiny_checkpoint, theirs, tuned):
            assert graph.set_parameters('depth', checkpoint=str(place)).successful
            send_until_running(place)
        # Weights without metres are refused at once, with the reason, and the running ones stay.
        answer = graph.set_parameters('depth', checkpoint=str(relative))
        assert not answer.successful
        assert 'scale_source' in answer.reason
        assert graph.set_parameters('depth', checkpoint=str(relative), scale_source='relative').successful
        send_until_running(relative)
    assert [stamp_of(message) for message in heard] == sent
    assert 'licence cc-by-nc-4.0 allows no commercial use' in process.said()
