"""What changes around a running node: parameters, cameras that vanish and return, clocks that jump, slow listeners."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter
from ros_graph import FakeCamera, Graph, Process, stamp_of, status_of
from sensor_msgs.msg import Image
from soak_cases import few_or_many, resident_mib

from sidepth_ros.benchmark.soak import CHANGES

pytestmark = pytest.mark.ros

CHANGED = few_or_many(100, 10_000)
AT_ONCE = 5
"""Requests that wait together: a service keeps ten."""
GROWTH_MIB = 30


@pytest.fixture(scope='module')
def process(shared_graph: Graph, tiny_checkpoint: Path) -> Process:
    """Return a running node."""
    return shared_graph.start(tiny_checkpoint, device='cpu', input_timeout=0.5)


@pytest.fixture(scope='module')
def camera(shared_graph: Graph, process: Process) -> FakeCamera:  # noqa: ARG001 - the node must be there
    """Return a camera that the node hears."""
    camera = FakeCamera(shared_graph)
    camera.wait_until_heard()
    return camera


def test_parameters_that_change_all_the_time_cost_no_memory_and_no_image(
    camera: FakeCamera, process: Process
) -> None:
    graph = camera.graph
    client = graph.node.create_client(SetParametersAtomically, 'depth/set_parameters_atomically')
    graph.spin_until(client.service_is_ready, 'the service')
    changes = itertools.cycle(CHANGES)

    def change(count: int) -> None:
        for _ in range(count // AT_ONCE):
            requests = []
            for values in itertools.islice(changes, AT_ONCE):
                parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
                requests.append(client.call_async(SetParametersAtomically.Request(parameters=parameters)))
            stamp = camera.send()
            graph.spin_until(lambda done=requests: all(one.done() for one in done), 'answers to changes')
            assert all(request.result().result.successful for request in requests)
            graph.spin_until(lambda stamp=stamp: stamp in map(stamp_of, heard), 'depth between changes')
            heard.clear()

    with graph.hearing(Image, 'depth/image') as heard:
        camera.send_until_heard(heard)
        change(CHANGED // 4)
        before_mib = resident_mib(process.pid)
        change(CHANGED - CHANGED // 4)
    assert resident_mib(process.pid) < before_mib + GROWTH_MIB


def test_a_camera_that_vanishes_is_missed_and_goes_on_when_it_returns(camera: FakeCamera) -> None:
    graph = camera.graph
    with graph.hearing(Image, 'depth/image') as heard, graph.hearing(DiagnosticArray, '/diagnostics') as diagnostics:
        camera.send_until_heard(heard)
        camera.vanish()

        def is_missed() -> bool:
            return any('nobody publishes it' in status_of(one, 'depth: camera').message for one in diagnostics)

        graph.spin_until(is_missed, 'diagnostics about the missing camera')
        camera.appear()
        camera.send_until_heard(heard)
        # Missed no more, as long as it sends.
        diagnostics.clear()

        def is_well() -> bool:
            camera.send()
            graph.spin(0.1)
            return any('nobody publishes' not in status_of(one, 'depth: camera').message for one in diagnostics)

        graph.spin_until(is_well, 'diagnostics without the missing camera')


@pytest.mark.parametrize('seconds', [3600, -7200])
def test_a_clock_that_jumps_costs_no_image(camera: FakeCamera, seconds: int) -> None:
    graph = camera.graph
    assert graph.set_parameters('depth', stabilise=True).successful
    with graph.hearing(Image, 'depth/image') as heard:
        camera.send_until_heard(heard)
        camera.stamp_ns += seconds * 1_000_000_000
        for _ in range(3):
            stamp = camera.send()
            graph.spin_until(lambda stamp=stamp: stamp in map(stamp_of, heard), 'depth after the jump')


def test_a_listener_that_never_takes_its_messages_holds_nobody_up(camera: FakeCamera) -> None:
    graph = camera.graph
    # Of a node that nobody spins: its queue is full from the first message on.
    asleep = graph.sleeping_node()
    asleep.create_subscription(Image, 'depth/image', lambda _: None, 1)
    graph.spin(0.5)
    with graph.hearing(Image, 'depth/image') as heard:
        camera.send_until_heard(heard)
        for _ in range(20):
            stamp = camera.send()
            graph.spin_until(lambda stamp=stamp: stamp in map(stamp_of, heard), 'depth beside a slow listener')
    asleep.destroy_node()
