"""The lifecycle over real ROS 2: states, refusals, memory, signals."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from ros_graph import FakeCamera, Graph, Process, stamp_of, status_of, write_checkpoint
from sensor_msgs.msg import Image

pytestmark = pytest.mark.ros

SHARED_MEMORY = Path('/dev/shm')  # noqa: S108 - looked at, not written to
CYCLES = 50
GROWTH_MIB = 60
"""What fifty cycles may leave behind. One model that was not freed each time would be fifty times 8 MiB."""


@pytest.fixture(scope='module')
def process(shared_graph: Graph, tiny_checkpoint: Path) -> Process:
    """Return a node that waits for its lifecycle to be driven."""
    process = shared_graph.start(tiny_checkpoint, autostart=False)
    shared_graph.state('depth')
    return process


@pytest.fixture
def graph(shared_graph: Graph, process: Process) -> Graph:  # noqa: ARG001 - the node must be there
    return shared_graph


def memory_mib(process: Process) -> float:
    pages = int(Path(f'/proc/{process.pid}/statm').read_text().split()[1])
    return pages * 4096 / 2**20


def test_configuration_that_fails_leaves_the_node_unconfigured_with_the_reason(
    graph: Graph, tiny_checkpoint: Path
) -> None:
    assert graph.set_parameters('depth', checkpoint='/no/such/checkpoint').successful
    assert not graph.change_state('depth', Transition.TRANSITION_CONFIGURE)
    assert graph.state('depth') == 'unconfigured'
    with graph.hearing(DiagnosticArray, '/diagnostics') as diagnostics:
        graph.spin_until(lambda: diagnostics, 'diagnostics')
    status = status_of(diagnostics[-1], 'depth: model')
    assert status.level == 2
    assert '/no/such/checkpoint' in status.message
    assert graph.set_parameters('depth', checkpoint=str(tiny_checkpoint)).successful


def test_weights_without_metres_are_refused_on_activation_with_three_ways_out(
    graph: Graph, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    relative = write_checkpoint(tmp_path / 'relative', seed=0, scale='relative')
    assert graph.set_parameters('depth', checkpoint=str(relative)).successful
    assert graph.change_state('depth', Transition.TRANSITION_CONFIGURE)
    assert not graph.change_state('depth', Transition.TRANSITION_ACTIVATE)
    assert graph.state('depth') == 'inactive'
    for way_out in ("'fixed'", "'relative'", 'use a checkpoint'):
        assert way_out in graph.said()
    assert graph.set_parameters('depth', scale_source='relative').successful
    assert graph.change_state('depth', Transition.TRANSITION_ACTIVATE)
    assert graph.change_state('depth', Transition.TRANSITION_DEACTIVATE)
    assert graph.change_state('depth', Transition.TRANSITION_CLEANUP)
    assert graph.set_parameters('depth', checkpoint=str(tiny_checkpoint), scale_source='checkpoint').successful


def test_fifty_cycles_leave_no_memory_behind(graph: Graph, process: Process) -> None:
    camera = FakeCamera(graph)

    def cycle() -> None:
        assert graph.change_state('depth', Transition.TRANSITION_CONFIGURE), process.said()
        assert graph.change_state('depth', Transition.TRANSITION_ACTIVATE), process.said()
        camera.send()
        assert graph.change_state('depth', Transition.TRANSITION_DEACTIVATE)
        assert graph.change_state('depth', Transition.TRANSITION_CLEANUP)

    for _ in range(5):
        cycle()
    before = memory_mib(process)
    for _ in range(CYCLES - 5):
        cycle()
    assert memory_mib(process) < before + GROWTH_MIB


def test_deactivated_node_is_silent_and_goes_on_where_it_was(graph: Graph) -> None:
    camera = FakeCamera(graph)
    assert graph.change_state('depth', Transition.TRANSITION_CONFIGURE)
    assert graph.change_state('depth', Transition.TRANSITION_ACTIVATE)
    with graph.hearing(Image, 'depth/image') as heard:
        camera.send_until_heard(heard)
        assert graph.change_state('depth', Transition.TRANSITION_DEACTIVATE)
        camera.send()
        graph.spin(0.5)
        assert not heard
        assert graph.change_state('depth', Transition.TRANSITION_ACTIVATE)
        camera.send_until_heard(heard)
        stamp = camera.send()
        graph.spin_until(lambda: heard, 'depth after the pause')
    assert stamp_of(heard[0]) == stamp
    with graph.hearing(DiagnosticArray, '/diagnostics') as diagnostics:
        graph.spin_until(lambda: diagnostics, 'diagnostics')
    # What was counted before the pause still counts.
    assert int(status_of(diagnostics[-1], 'depth: camera').values['depth images published']) >= 3


def test_sigterm_ends_a_working_node_with_status_0_in_time(graph: Graph, process: Process) -> None:
    camera = FakeCamera(graph)
    with graph.hearing(Image, 'depth/image') as heard:
        camera.send_until_heard(heard)
        camera.send()
        start = time.monotonic()
        assert process.end(signal.SIGTERM) == 0
        # 2 s on an idle machine; ten times that before it counts as a hang.
        assert time.monotonic() - start < 20
    assert 'Traceback' not in process.said()
    assert 'failure' not in process.said()


def test_signals_end_a_node_that_is_still_starting(graph: Graph, tiny_checkpoint: Path) -> None:
    # While it imports, builds its node, loads its model.
    for seconds in (0.5, 1.0, 1.5, 2.0, 3.0):
        for number in (signal.SIGINT, signal.SIGTERM):
            starting = graph.start(tiny_checkpoint)
            time.sleep(seconds)
            assert starting.end(number) == 0
            assert 'Traceback' not in starting.said()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_ended_node_leaves_no_shared_memory(graph: Graph, tiny_checkpoint: Path, number: signal.Signals) -> None:
    process = graph.start(tiny_checkpoint)
    process.wait_for_words('active: listening')
    # Not those of this process, which the node looks into, nor the ports, which belong to the whole domain.
    segments = {name for name in shared_memory(process.pid) - shared_memory(os.getpid()) if '_port' not in name}
    if not segments:
        pytest.skip('this middleware has no shared memory')
    assert process.end(number) == 0
    assert not segments & {path.name for path in SHARED_MEMORY.iterdir()}


def shared_memory(pid: int) -> set[str]:
    """Return the names of Fast DDS' files in shared memory that a process maps."""
    return set(re.findall(rf'{SHARED_MEMORY}/(fast\w+)', Path(f'/proc/{pid}/maps').read_text()))


def test_wrong_parameters_end_the_node_with_a_sentence(graph: Graph, tiny_checkpoint: Path) -> None:
    wrong = graph.start(tiny_checkpoint, min_depth=90.0, engine='steam')
    assert wrong.end(0, timeout_s=180) == 1
    assert "error: engine is 'steam', expected one of" in wrong.said()
    assert 'Traceback' not in wrong.said()


def test_node_that_was_shut_down_says_so_and_ends_with_status_0(graph: Graph, tiny_checkpoint: Path) -> None:
    over = graph.start(tiny_checkpoint, autostart=False)
    assert graph.change_state('depth', Transition.TRANSITION_CONFIGURE)
    assert graph.change_state('depth', Transition.TRANSITION_INACTIVE_SHUTDOWN)
    with graph.hearing(DiagnosticArray, '/diagnostics') as diagnostics:
        graph.spin_until(lambda: diagnostics, 'diagnostics')
    assert status_of(diagnostics[-1], 'depth: model').message == 'finalized'
    assert over.end() == 0


def test_parameters_file_that_cannot_be_read_ends_the_node_with_status_1(
    graph: Graph, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    broken = tmp_path / 'broken.yaml'
    broken.write_text('depth: [1,\n')
    node = graph.start(tiny_checkpoint, '--params-file', str(broken))
    assert node.end(0, timeout_s=180) == 1
    assert 'error: the command line or a parameters file cannot be read' in node.said()
    assert 'Traceback' not in node.said()
