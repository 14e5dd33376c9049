"""The demo: three processes, one bag, one table, one image."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from ros_graph import ROOT
from sensor_msgs.msg import PointCloud2

from sidepth_core.camera import Camera
from sidepth_core.data.bags.files import BagFiles
from sidepth_core.data.bags.writer import BagWriter
from sidepth_core.errors import ConfigError
from sidepth_ros.demo import main as demo
from sidepth_ros.demo.report import (
    UNWANTED,
    Accuracy,
    Diagnosis,
    cloud_view,
    compare,
    latency_ms,
    losses,
    rate_hz,
    table,
)
from sidepth_ros.demo.session import bag_camera, cloud_stride, make_plan, recording
from sidepth_ros.tools.recorder import Receipt


def run_demo(environment: dict[str, str], *arguments: object) -> subprocess.Popen[str]:
    """Start the demo as a user does."""
    return subprocess.Popen(
        [sys.executable, '-m', 'sidepth_ros.demo.main', *map(str, arguments)],
        cwd=ROOT, env={**environment, 'COLUMNS': '160'}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )


@pytest.mark.ros
@pytest.mark.slow
def test_demo_ends_with_a_table_an_image_and_a_bag(
    ros_environment: dict[str, str], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    slow = ('--frames', 12, '--rate', 0.5, '-p', 'threads:=1')
    process = run_demo(ros_environment, '--checkpoint', tiny_checkpoint, *slow, '--out', tmp_path)
    said, _ = process.communicate(timeout=400)
    assert process.returncode == 0, said
    assert re.search(r'images sent by the camera\s+│\s+12 ', said)
    received = int(re.search(r'depth images received\s+│\s+(\d+)', said)[1])  # type: ignore[index]
    assert re.search(r'AbsRel against exact depth, as published\s+│\s+\d+\.\d{3}', said)
    (run,) = tmp_path.iterdir()
    image = cv2.imread(str(run / 'demo.png'))
    assert str(run / 'demo.png') in said
    assert image.shape[1] == 1600
    assert image.std() > 20
    with BagFiles(run / 'bag') as bag:
        messages = [message.topic for message in bag.messages(bag.topics)]
        assert bag.notes == []
    # The recorder listens best-effort, as it must not hold up the node: on a busy machine an image can pass it by.
    assert 10 <= messages.count('/camera/image_raw') <= 12
    assert 0 < received == messages.count('/depth/image') == messages.count('/depth/points') <= 12


@pytest.mark.ros
@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_interrupted_demo_leaves_no_process_behind(
    ros_environment: dict[str, str], tiny_checkpoint: Path, tmp_path: Path, number: signal.Signals
) -> None:
    process = run_demo(ros_environment, '--checkpoint', tiny_checkpoint, '--out', tmp_path)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob('*/camera.log')):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    children = Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split()
    assert len(children) == 2
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert not any(is_running(int(pid)) for pid in children)


def is_running(pid: int) -> bool:
    """Return whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.ros
@pytest.mark.slow
def test_node_that_cannot_start_ends_the_demo_with_its_words(ros_environment: dict[str, str], tmp_path: Path) -> None:
    process = run_demo(ros_environment, '-p', 'engine:=steam', '--out', tmp_path)
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 2
    assert 'the node ended with status 1' in said
    assert "engine is 'steam', expected one of" in said


def test_demo_without_rclpy_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo.importlib.util, 'find_spec', lambda _: None)
    with pytest.raises(ConfigError, match=r'rclpy is not installed\. Either `make clean setup`'):
        demo.require_ros()


def test_environment_of_the_user_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {'ROS_DOMAIN_ID': '42', 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET', 'FASTRTPS_DEFAULT_PROFILES_FILE': 'a.xml'}
    monkeypatch.delenv('FASTDDS_DEFAULT_PROFILES_FILE', raising=False)
    for name, value in kept.items():
        monkeypatch.setenv(name, value)
    with demo.environment():
        assert {name: os.environ[name] for name in kept} == kept
        assert 'FASTDDS_DEFAULT_PROFILES_FILE' not in os.environ


def test_two_demos_at_once_have_domains_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    domains = []
    with contextlib.ExitStack() as both:
        for _ in range(2):
            monkeypatch.delenv('ROS_DOMAIN_ID', raising=False)
            both.enter_context(demo.environment())
            domains.append(os.environ['ROS_DOMAIN_ID'])
    assert len(set(domains)) == 2


def test_node_listens_to_the_demos_camera_and_the_users_parameters_come_last() -> None:
    arguments = demo.parser().parse_args(['--checkpoint', 'ckpt', '-p', 'cloud_stride:=3', '-p', 'engine:=compiled'])
    command = make_plan(arguments).node_command
    parameters = [word for flag, word in itertools.pairwise(command) if flag == '-p']
    assert parameters == [
        'image_transport:=raw', 'cloud_stride:=1', 'checkpoint:=ckpt', 'cloud_stride:=3', 'engine:=compiled'
    ]
    assert 'image:=/camera/image_raw' in command


def test_bag_without_camera_info_is_refused(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag') as writer:
        writer.write_raw('/image', 'sensor_msgs/msg/Image', 1, bytes(20))
    with pytest.raises(ConfigError, match='has no camera_info: the depth node needs a calibrated camera'):
        bag_camera(tmp_path / 'bag', None)


def test_size_and_kind_of_a_real_bags_camera_are_known(real_data: Path) -> None:
    size, topic = bag_camera(real_data / 'bags' / 'highway_mcap', None)
    assert (size, topic) == ((1280, 720), 'image_raw/compressed')


@pytest.mark.parametrize(('size', 'stride'), [((320, 200), 1), ((1280, 720), 4), ((3840, 2160), 11)])
def test_recorded_cloud_is_thinned_to_what_can_be_looked_at(size: tuple[int, int], stride: int) -> None:
    assert cloud_stride(*size) == stride


def test_accuracy_of_depth_that_is_half_as_deep() -> None:
    exact = np.array([[2.0, 4.0], [8.0, np.inf]], np.float32)
    assert compare(iter([(exact / 2, exact)])) == Accuracy(abs_rel=0.5, abs_rel_scaled=0.0, ratio=2.0)
    assert compare(iter([])) is None


def test_latency_is_counted_from_the_stamp() -> None:
    receipts = [Receipt(stamp_ns=index * 10**8, received_ns=index * 10**8 + delay * 10**6) for index, delay in
                enumerate((20, 30, 40))]
    assert latency_ms(receipts) == pytest.approx((30.0, 39.0))
    assert rate_hz(receipts) == pytest.approx(10 / 1.1, rel=0.01)


def test_table_accounts_for_every_image() -> None:
    camera = {
        'images received': '49', 'depth images published': '32', 'dropped: too old': '15', UNWANTED: '0',
        'messages lost by the transport': '1',
    }  # fmt: skip
    expected = {
        'replaced before the node took it': 2,
        'dropped: too old': 15,
        'depth images that did not come here': 1,
        'unexplained': 2,
    }
    assert losses(51, 31, camera) == expected
    assert 31 + sum(expected.values()) == 51
    rows = list(table(51, [], [], Diagnosis({'engine': 'eager'}, camera), None).columns[0].cells)
    assert {*expected, 'engine'} <= set(rows)
    assert UNWANTED not in rows


@pytest.mark.usefixtures('ros_environment')
def test_users_parameters_are_no_remappings_of_the_demos_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, 'argv', ['demo', '-p', 'engine:=compiled'])
    plan = make_plan(demo.parser().parse_args([]))
    with recording(plan, tmp_path / 'bag') as session:
        assert (session.images, session.depths) == (0, 0)
    assert 'remap' not in ''.join(capfd.readouterr())


def test_cloud_is_seen_from_above_in_its_own_colours() -> None:
    camera = Camera(64, 48, 50.0, 50.0, 31.5, 23.5)
    points = np.zeros((24, 32, 4), np.float32)
    points[..., 2] = 4.0
    colours = points[..., 3].view(np.uint32)
    colours[...] = 0x0000FF00
    points[..., 3] = colours.view(np.float32)
    message = PointCloud2(height=24, width=32, point_step=16, row_step=512, data=points.tobytes())
    image = cloud_view(message, camera)
    assert (image == (0, 255, 0)).all(axis=-1).sum() > 32
