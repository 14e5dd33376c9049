"""The node's benchmark: what it computes from what it hears, what its camera sends, and its pictures."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from sensor_msgs.msg import CompressedImage, Image

from sidepth_core.benchmarks.row import Request, Row
from sidepth_ros.benchmark.measure import CAMERAS, CURVE, LATENCY, THROUGHPUT, latency_row
from sidepth_ros.benchmark.pictures import pictures
from sidepth_ros.benchmark.profile import NETWORK, Steps
from sidepth_ros.benchmark.stage import Window, camera_info, picture
from sidepth_ros.messages import NumpyCodec, decode_message


def test_row_of_a_window_counts_what_was_not_answered() -> None:
    row = latency_row('x', Window(sent=12, latencies_ms=[10.0, 20.0, 30.0], cpu_s=0.9, seconds=3.6), 280.0)
    assert row.value == pytest.approx(20.0)
    assert row.figures['dropped'] == 9
    assert row.figures['processor'] == pytest.approx(0.25)
    assert row.figures['overhead ms'] == pytest.approx(20.0)
    unheard = latency_row('x', Window(sent=12, latencies_ms=[], cpu_s=1.0, seconds=4.0), 280.0)
    assert math.isnan(unheard.figures['overhead ms'])
    assert math.isnan(unheard.value)
    assert math.isnan(unheard.figures['dropped'])


def test_every_step_of_the_node_is_timed_and_the_network_is_most_of_it() -> None:
    steps = Steps(Request(torch.device('cpu')), 2, (64, 48)).medians_ms()
    assert len(steps) == 7
    assert all(spent_ms >= 0 for spent_ms in steps.values())
    assert max(steps, key=steps.__getitem__) == NETWORK


def test_raw_and_compressed_camera_send_the_same_picture() -> None:
    raw, packed = picture((320, 240), 'raw'), picture((320, 240), 'compressed')
    assert isinstance(raw, Image)
    assert isinstance(packed, CompressedImage)
    codec = NumpyCodec()
    first, second = (decode_message(message, codec).astype(int) for message in (raw, packed))
    assert np.abs(first - second).mean() < 8
    assert list(camera_info((64, 48)).k)[:3] == pytest.approx([44.8, 0, 32])


def test_curves_are_drawn_of_the_rows_that_have_them(tmp_path: Path) -> None:
    assert pictures([Row('overhead', 1.0, 'ms')], tmp_path) == []
    rows = [Row(f'{LATENCY} {w}x{h} raw', 30.0, 'ms', figures={'p95': 40.0}) for w, h in CURVE]
    rows += [Row(f'{THROUGHPUT} {count} cameras', 10.0, '1/s', figures={'sent 1/s': 10.0 * count}) for count in CAMERAS]
    ((name, _),) = pictures(rows, tmp_path)
    assert cv2.imread(str(tmp_path / name)).std() > 5
