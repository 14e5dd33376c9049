"""Running nodes measure their scale on one rendered drive, by every source, and say so where a source lies."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip('rclpy')

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Vector3Stamped
from ros_graph import PATIENCE_S, ROOT, Graph, Process, Status, stamp_of, status_of
from scale_drive import WORLD, DriveCamera, RobotDrive
from sensor_msgs.msg import Image

pytestmark = [pytest.mark.ros, pytest.mark.one_distribution]

LASER = 'laser camera_optical 0 0 0 -1.5707963 0 -1.5707963'
COMMON = {
    'threads': 1, 'network_size': '160x96', 'range_gate': False, 'latency_warn': 3000.0, 'latency_error': 3600.0,
}  # fmt: skip
"""The built-in weights, seen small; latency of a busy machine is not what is tested."""
HONEST = ('height', 'odometry', 'twist', 'scan', 'cloud', 'sonar', 'sparse', 'auto', 'late', 'absurd')
RESEND_S = 20.0
"""Images travel best-effort: after so long without an answer of all nodes one is lost, and is sent again."""
ENOUGH = 8
"""So many frames at least: three pairs of images for odometry, and a second for one that is stuck."""


class Ran(NamedTuple):
    """What became of one node's drive.

    Attributes:
        scales: What it said on depth/scale, by frame.
        depths: What it published on depth/image, by frame.
        status: Its camera's last diagnostics.
    """

    scales: dict[int, Any]
    depths: dict[int, npt.NDArray[np.float32]]
    status: Status

    @property
    def last(self) -> Any:
        """The newest scale."""
        return self.scales[max(self.scales)].vector

    def refused(self, reason: str) -> int:
        """Return how often a reason was counted."""
        return int(float(self.status.values.get(reason, '0')))


class Sender(NamedTuple):
    """Messages for one topic: of each frame those that come before its image."""

    topic: str
    messages: Callable[[int], list[Any]]


def senders(drive: RobotDrive) -> list[Sender]:
    """Return what tells the scale, truly and otherwise."""
    grille = np.resize([0.3, 1.1, 4.0], 61)  # beams end at it, behind it, and in the room
    blind = np.array([math.nan, math.inf, -math.inf, 0.0, -1.0, 1e9])

    def wild(index: int) -> list[Any]:
        # Every other message can be believed but for its time, which goes back again and again: 0, -7, 4, -3 frames.
        speed = (0.5, 0.0, 0.0) if index % 2 == 0 else (math.nan if index % 4 == 1 else 1e5, 0.0, 0.0)
        return [drive.odometry(index, speed=speed, at=index - 9 * (index % 4 == 2))]

    def jumping(index: int) -> list[Any]:
        return [drive.odometry(index, place=(9.0 * index, 0.0, 0.0))]

    return [
        Sender('odometry', lambda i: [drive.odometry(i)]),
        Sender('twist', lambda i: [drive.twist(i)]),
        Sender('scan', lambda i: [drive.scan(i)]),
        Sender('cloud', lambda i: [drive.cloud(i)]),
        Sender('sonar', lambda i: [drive.sonar(i)]),
        Sender('sparse', lambda i: [drive.sparse(i)]),
        Sender('late', lambda i: [drive.odometry(i - 1)] if i else []),
        Sender('absurd', lambda i: [drive.odometry(i, variance=(-1.0, 1e9, math.nan, math.inf)[i % 4])]),
        Sender('stuck', lambda i: [drive.odometry(i, place=(0, 0, 0), speed=(0, 0, 0), turn=(0, 0, 0), heading=0.0)]),
        Sender('grille', lambda i: [drive.scan_of(i, grille)]),
        Sender('blind', lambda i: [drive.scan_of(i, blind)]),
        Sender('elsewhere', lambda i: [drive.scan(i, frame='elsewhere')]),
        Sender('wild', wild),
        Sender('jumping', jumping),
        Sender('broken', lambda i: [drive.odometry(i)] if i < 2 else []),
    ]


def nodes(drive: RobotDrive) -> dict[str, dict[str, object]]:
    """Return the nodes by name: their parameters, and which topics odometry and range are."""
    base, height_m = drive.mount('base', 'camera_optical'), drive.drive.mount.height_m

    def by_range(topic: str, kind: str = 'scan', line: str = LASER) -> dict[str, object]:
        return {'scale_source': 'range', 'range_type': kind, 'transforms': [line], 'range:': topic}

    def by_odometry(topic: str, line: str = base, **more: object) -> dict[str, object]:
        return {'scale_source': 'odometry', 'transforms': [line], 'odometry:': topic, **more}

    return {
        'plain': {'scale_source': 'checkpoint'},
        'height': {'scale_source': 'camera_height', 'transforms': [drive.mount('base_footprint', 'camera_optical')]},
        'odometry': by_odometry('odometry'),
        'twist': by_odometry('twist', odometry_type='twist'),
        'scan': by_range('scan'),
        'cloud': by_range('cloud', 'cloud'),
        'sonar': by_range('sonar', 'range'),
        'sparse': by_range('sparse', 'depth', ''),
        'auto': {'scale_source': 'auto', 'camera_height': height_m * WORLD, 'transforms': [LASER, base],
                 'odometry:': 'odometry', 'range:': 'scan'},
        'late': by_odometry('late'),
        'absurd': by_odometry('absurd'),
        'half': {'scale_source': 'camera_height', 'camera_height': height_m / 2},
        'torn': {'scale_source': 'auto', 'camera_height': height_m * WORLD / 2, 'transforms': [LASER],
                 'range:': 'scan'},
        'below': {'scale_source': 'camera_height',
                  'transforms': [drive.mount('base_footprint', 'camera_optical', height=-1.0)]},
        'stuck': by_odometry('stuck'),
        'sideways': by_odometry('odometry', drive.mount('base', 'camera_optical', turned=1.5)),
        'wild': by_odometry('wild'),
        'jumping': by_odometry('jumping'),
        'broken': by_odometry('broken'),
        'grille': by_range('grille'),
        'blind': by_range('blind'),
        'elsewhere': by_range('elsewhere'),
        'silent': by_range('nothing'),
    }  # fmt: skip


def start(graph: Graph, folder: Path, environment: dict[str, str], wanted: dict[str, dict[str, object]]) -> Process:
    """Start all nodes in one process."""
    listed = []
    for name, values in wanted.items():
        remaps = {'image': '/image', 'camera_info': '/camera_info'}
        remaps |= {key[:-1]: f'/{value}' for key, value in values.items() if key.endswith(':')}
        parameters = {**COMMON, **{key: value for key, value in values.items() if not key.endswith(':')}}
        arguments = [part for key, value in parameters.items() for part in ('-p', f'{key}:={json.dumps(value)}')]
        listed.append([name, arguments + [part for pair in remaps.items() for part in ('-r', ':='.join(pair))]])
    path = folder / 'fleet.json'
    path.write_text(json.dumps(listed), encoding='utf-8')
    command = [sys.executable, str(ROOT / 'test' / 'ros' / 'node_fleet.py'), str(path)]
    process = Process(command, environment, folder / 'fleet.log')
    graph.processes.append(process)
    return process


@pytest.fixture(scope='module')
def drive() -> RobotDrive:
    """Return the drive, rendered once."""
    return RobotDrive()


@pytest.fixture(scope='module')
def ran(
    drive: RobotDrive, shared_graph: Graph, ros_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Ran]]:
    """Drive once past all nodes; return what each of them made of it."""
    wanted = nodes(drive)
    process = start(shared_graph, tmp_path_factory.mktemp('fleet'), ros_environment, wanted)
    yield driven(shared_graph, drive, wanted)
    process.end(timeout_s=PATIENCE_S)


def driven(graph: Graph, drive: RobotDrive, wanted: dict[str, dict[str, object]]) -> dict[str, Ran]:
    """Show the drive to the nodes until all that can have a scale, and return what they said."""
    camera = DriveCamera(graph, drive)
    told = senders(drive)
    publishers = [graph.node.create_publisher(type(one.messages(0)[0]) if one.messages(0) else type(one.messages(1)[0]),
                                              one.topic, 10) for one in told]  # fmt: skip
    heard: dict[str, dict[int, Any]] = {name: {} for name in wanted}
    depths: dict[str, dict[int, Any]] = {'plain': {}, 'height': {}}
    statuses: list[DiagnosticArray] = []

    def keep(into: dict[int, Any]) -> Callable[[Any], None]:
        return lambda message: into.update({stamp_of(message): message})

    for name, into in heard.items():
        graph.node.create_subscription(Vector3Stamped, f'{name}/depth/scale', keep(into), 10)
    for name, into in depths.items():
        graph.node.create_subscription(Image, f'{name}/depth/image', keep(into), 10)
    graph.node.create_subscription(DiagnosticArray, '/diagnostics', statuses.append, 50)

    def connected() -> bool:
        counts = (camera.images.get_subscription_count(), camera.infos.get_subscription_count())
        return min(counts) >= len(wanted) and all(one.get_subscription_count() for one in publishers)

    graph.spin_until(connected, 'all nodes to listen')
    graph.spin(0.5)
    index = 0
    while index < ENOUGH or (index < len(drive.frames) and not all(known(heard[one]) for one in HONEST)):
        for sender, publisher in zip(told, publishers, strict=True):
            for message in sender.messages(index):
                publisher.publish(message)
        graph.spin(0.05)
        show(graph, camera, index, list(heard.values()))
        index += 1
    graph.spin_until(lambda: all(depths.values()), 'depth')
    statuses.clear()
    graph.spin_until(lambda: len(found := _camera_statuses(statuses)) == len(wanted) and found, 'all diagnostics')
    found = _camera_statuses(statuses)
    return {
        name: Ran(
            {drive_index(drive, at): message for at, message in heard[name].items()},
            {drive_index(drive, at): pixels(message) for at, message in depths.get(name, {}).items()},
            found[name],
        )
        for name in wanted
    }


def known(scales: dict[int, Any]) -> bool:
    """Return whether the newest scale is one."""
    return bool(scales) and math.isfinite(scales[max(scales)].vector.x)


def show(graph: Graph, camera: DriveCamera, index: int, heard: list[dict[int, Any]]) -> None:
    """Show a frame until every node has said its scale."""
    at = camera.drive.stamp_ns(index)
    for _ in range(round(PATIENCE_S / RESEND_S)):
        camera.show(index)
        if graph.spins_until(lambda: all(at in scales for scales in heard), RESEND_S):
            return
    pytest.fail(f'frame {index} was not answered; the nodes said:\n{graph.said()}')


def _camera_statuses(arrays: list[DiagnosticArray]) -> dict[str, Status]:
    """Return the newest status of each node's camera, by the node's namespace."""
    found = {}
    for message in arrays:
        for one in message.status:
            if one.name.endswith('/depth: camera'):
                found[one.name.split('/')[0]] = status_of(message, one.name)
    return found


def drive_index(drive: RobotDrive, at: int) -> int:
    """Return which frame has a stamp."""
    return round((at - drive.stamp_ns(0)) / (drive.stamp_ns(1) - drive.stamp_ns(0)))


def pixels(message: Any) -> npt.NDArray[np.float32]:
    """Return the depth of an image message."""
    return np.frombuffer(message.data, np.float32).reshape(message.height, message.width)


def true_scale(drive: RobotDrive, plain: Ran) -> float:
    """Return the scale by the true depth: the median over all frames of the ratio of medians."""
    ratios = []
    for index, depth in plain.depths.items():
        truth = drive.truth_m(index)
        seen = np.isfinite(truth)
        ratios.append(np.median(truth[seen]) / np.median(depth[seen]))
    return float(np.median(ratios))


@pytest.mark.parametrize('name', HONEST)
def test_scale_by_each_source_is_that_of_the_true_depth(name: str, drive: RobotDrive, ran: dict[str, Ran]) -> None:
    truth = true_scale(drive, ran['plain'])
    assert truth > 1.5, 'the weights alone are off: there is something to be measured'
    factor, std = ran[name].last.x, ran[name].last.y
    # One beam sees one spot, and the weights are off there in a way of their own.
    assert factor == pytest.approx(truth, rel=0.5 if name == 'sonar' else 0.2)
    assert abs(math.log(factor / truth)) < 2 * std
    assert std < 0.5
    first = ran[name].scales[0].vector.x
    assert first == 1.0 if name == 'auto' else math.isnan(first), 'auto has the metres of the weights until it measures'


def test_published_depth_is_that_of_the_weights_times_the_scale(ran: dict[str, Ran]) -> None:
    height, plain = ran['height'], ran['plain']
    both = [index for index in height.depths if index in plain.depths]
    assert both
    for index in both:
        wanted = plain.depths[index] * np.float32(height.scales[index].vector.x)
        assert np.allclose(height.depths[index], wanted, rtol=1e-5)
    assert min(height.depths) >= 2, 'the first two frames gave no estimate'


def test_auto_takes_the_surest_and_says_which(ran: dict[str, Ran]) -> None:
    values = ran['auto'].status.values
    stds = {one: float(values[f'{one}: standard deviation [%]']) for one in ('camera_height', 'odometry', 'range')}
    assert all(float(values[f'{source}: accepted']) >= 3 for source in stds)
    surest = min(stds, key=lambda source: stds[source])
    assert values['scale in use'] == surest != 'camera_height'
    assert values['scale [m per unit]'] == values[f'{surest}: scale [m per unit]']
    assert float(values['scale [m per unit]']) == pytest.approx(ran['auto'].last.x, rel=1e-3)


def test_height_wrong_by_half_contradicts_metric_weights(ran: dict[str, Ran]) -> None:
    half = ran['half']
    assert half.last.x < 0.6
    told_off = r'camera_height makes 0\.[45]\d? m of each metre that .*: check what it was told'
    assert re.search(told_off, half.status.message)


def test_height_wrong_by_half_contradicts_another_source(drive: RobotDrive, ran: dict[str, Ran]) -> None:
    torn = ran['torn']
    assert torn.status.values['scale in use'] == 'range'
    assert torn.last.x == pytest.approx(true_scale(drive, ran['plain']), rel=0.2)
    assert re.search(r'camera_height says \S+ metres a unit, range \S+: check what each was told', torn.status.message)


@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        ('stuck', 'odometry refused: odometry says standing, but the images move'),
        ('sideways', 'odometry refused: odometry and images disagree on the direction'),
        ('jumping', 'odometry refused: pose jumps against its speed'),
        ('broken', 'odometry refused: missing at the time of the images'),
        ('grille', 'range refused: ranges and predicted depth have different shapes'),
        ('blind', 'range refused: too few points in view of the camera'),
        ('elsewhere', 'range refused: no transform'),
        ('silent', 'range refused: none near the time of the image'),
        ('below', 'camera_height refused: not above the ground'),
    ],
)
def test_source_that_lies_gives_no_scale_and_is_told_off(name: str, reason: str, ran: dict[str, Ran]) -> None:
    node = ran[name]
    assert all(math.isnan(scale.vector.x) for scale in node.scales.values())
    assert node.refused(reason) >= 1, node.status.values
    assert 'the scale is not known yet' in node.status.message
    assert reason.split(': ')[1] in node.status.message


def test_odometry_that_is_no_motion_is_counted_by_what_is_wrong(ran: dict[str, Ran]) -> None:
    wild = ran['wild']
    assert all(math.isnan(scale.vector.x) for scale in wild.scales.values())
    assert wild.refused('odometry: not finite, or faster than anything drives') >= 2
    assert wild.refused('odometry: clock went back') >= 1


def test_topic_that_brought_nothing_is_named(ran: dict[str, Ran]) -> None:
    assert 'nothing has come on /nothing' in ran['silent'].status.message


def test_height_below_zero_is_refused_and_the_last_one_stays(ran: dict[str, Ran], shared_graph: Graph) -> None:
    assert math.isfinite(ran['height'].last.x)
    result = shared_graph.set_parameters('/height/depth', camera_height=-1.0)
    assert not result.successful
    assert 'camera_height' in result.reason
    assert shared_graph.get_parameter('/height/depth', 'camera_height') == 0.0
