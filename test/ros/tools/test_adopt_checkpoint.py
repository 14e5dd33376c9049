"""Weights of a fine-tuning run, handed to a running node only where they are better."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from ros_graph import Graph, write_checkpoint

from sidepth_core.errors import CheckpointError, ConfigError, SidepthError
from sidepth_ros.tools import adopt_checkpoint
from sidepth_ros.tools.adopt_checkpoint import adopt, listing, read_comparison

pytestmark = pytest.mark.ros


def write_run(folder: Path, *, is_better: bool, scale: str = 'metric') -> Path:
    """Write what `train` leaves: best weights, and how they compare."""
    write_checkpoint(folder / 'best', seed=5, scale=scale)
    rows = [{'name': 'AbsRel', 'before': 0.2, 'after': 0.1, 'gain': 0.5}, {'name': 'd1', 'before': None, 'after': 0.9,
                                                                         'gain': None}]
    text = json.dumps({'frames': 60, 'is_better': is_better, 'rows': rows})
    (folder / 'comparison.json').write_text(text)
    return folder


def test_node_gets_better_weights_and_keeps_its_own_otherwise(
    graph: Graph, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = graph.start(tiny_checkpoint, '-r', '__ns:=/robot1')
    graph.spin_until(lambda: 'ready in' in node.said(), 'a configured node')
    # The graph's node is in another context than the default one, in which adopt spins.
    monkeypatch.setattr(adopt_checkpoint.rclpy, 'spin_once', lambda _, timeout_sec: graph.spin(timeout_sec))
    monkeypatch.setattr(
        adopt_checkpoint.rclpy, 'spin_until_future_complete',
        lambda _, future, timeout_sec: graph.spin_until(future.done, 'an answer', timeout_sec),
    )
    worse, better = write_run(tmp_path / 'worse', is_better=False), write_run(tmp_path / 'better', is_better=True)
    adopt(graph.node, worse, '/robot1/depth', always=False)
    assert graph.get_parameter('/robot1/depth', 'checkpoint') == str(tiny_checkpoint)
    adopt(graph.node, better, '/robot1/depth', always=False)
    assert graph.get_parameter('/robot1/depth', 'checkpoint') == str(better / 'best')
    unscaled = write_run(tmp_path / 'unscaled', is_better=True, scale='relative')
    with pytest.raises(SidepthError, match=r"node '/robot1/depth' refuses checkpoint .*unscaled/best'"):
        adopt(graph.node, unscaled, '/robot1/depth', always=False)


def test_node_that_is_not_there_is_named(graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adopt_checkpoint, 'SERVICE_SECONDS', 0.2)
    with pytest.raises(ConfigError, match="no node '/nobody' answers: is it running"):
        adopt(graph.node, write_run(tmp_path, is_better=True), '/nobody', always=False)


def test_run_without_comparison_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r'has no comparison\.json'):
        read_comparison(tmp_path)


def test_run_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'comparison.json').write_text('{"is_better": true, "frames": 1, "rows": []}')
    with pytest.raises(CheckpointError, match="has no checkpoint 'best'"):
        read_comparison(tmp_path)


def test_listing_shows_before_and_after(tmp_path: Path) -> None:
    lines = listing(read_comparison(write_run(tmp_path, is_better=True))).splitlines()
    assert [line.split() for line in lines] == [
        ['on', '60', 'held-out', 'frames', 'before', 'after'],
        ['AbsRel', '0.2000', '0.1000'],
        ['d1', 'unknown', '0.9000'],
    ]
