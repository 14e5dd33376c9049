"""Faults of engine and worker, injected into a running node: it recovers, or gives up and says why."""

from __future__ import annotations

from pathlib import Path

import faulty_node
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from ros_graph import FakeCamera, Graph, Status, stamp_of, status_of
from sensor_msgs.msg import Image

from sidepth_ros.node.stream import FAILURES_IN_A_ROW

pytestmark = [pytest.mark.ros, pytest.mark.one_distribution]

BROKEN = 'the engine is being built anew'
RUNNING = 'now running'

class Rig:
    """A camera, its depth and the node's diagnostics."""

    def __init__(self, graph: Graph, depths: list[Image], diagnostics: list[DiagnosticArray]) -> None:
        self.graph, self.depths, self.diagnostics = graph, depths, diagnostics
        self.camera = FakeCamera(graph)

    def good(self) -> None:
        """Send images as a camera does until one is answered, though some come while nobody can answer."""
        self.camera.send_until_heard(self.depths)

    def bad(self, fault: str) -> None:
        """Send an image on which the engine fails."""
        self.camera.send(np.full((96, 160, 3), faulty_node.FAULTS[fault][0], np.uint8))
        self.graph.spin(0.1)

    def break_engine(self, fault: str) -> None:
        """Send such images until the node sees that its engine is broken."""
        self.bad_until(fault, BROKEN)

    def bad_until(self, fault: str, words: str) -> None:
        """Send such images until the node's log has these words once more."""
        said = self.graph.said().count(words)

        def is_said() -> bool:
            self.bad(fault)
            return self.graph.said().count(words) > said

        self.graph.spin_until(is_said, f'the node to say {words!r}')

    def wait_for(self, words: str) -> Status:
        """Return the status of the model that says these words, once no engine is being built."""
        self.diagnostics.clear()

        def found() -> list[Status]:
            statuses = [status_of(message, 'depth: model') for message in self.diagnostics]
            return [status for status in statuses if words in status.message and BROKEN not in status.message]

        self.graph.spin_until(found, f'diagnostics to say {words!r}')
        return found()[0]

    def start_over(self) -> None:
        """Have the engine that is asked for built as if nothing had happened."""
        said = self.graph.said().count(RUNNING)
        assert self.graph.set_parameters('depth', engine='channels_last').successful
        self.graph.spin_until(lambda: self.graph.said().count(RUNNING) > said, f'the node to say {RUNNING!r}')
        self.good()


@pytest.fixture(scope='module')
def rig(shared_graph: Graph, tiny_checkpoint: Path) -> Rig:
    """Return a rig around a node whose engine channels_last fails on some colours, and eager does not."""
    program = (str(Path(faulty_node.__file__)), 'channels_last')
    shared_graph.start(tiny_checkpoint, program=program, engine='channels_last', device='cpu')
    depths: list[Image] = []
    diagnostics: list[DiagnosticArray] = []
    shared_graph.node.create_subscription(Image, 'depth/image', depths.append, 10)
    shared_graph.node.create_subscription(DiagnosticArray, '/diagnostics', diagnostics.append, 10)
    rig = Rig(shared_graph, depths, diagnostics)
    rig.good()
    return rig


def test_a_batch_that_fails_alone_costs_only_its_own_images(rig: Rig) -> None:
    def failures() -> int:
        rig.bad('raises')
        rig.good()
        values = status_of(rig.diagnostics[-1], 'depth: camera').values if rig.diagnostics else {}
        return int(values.get('dropped: failure in processing', 0))

    rig.graph.spin_until(lambda: failures() > FAILURES_IN_A_ROW, 'more failures than are suffered in a row')
    model = rig.wait_for('running')
    assert model.values['recoveries'] == '0'
    assert 'an injected fault' in rig.graph.said()


@pytest.mark.parametrize(
    ('fault', 'words'),
    [
        ('nan', 'numbers that are not finite'),
        ('memory', 'CUDA out of memory'),
        ('dies', 'the worker thread has died'),
        ('hangs', 'the worker thread has hung'),
    ],
)
def test_a_broken_engine_is_built_anew_and_the_node_goes_on(rig: Rig, fault: str, words: str) -> None:
    if fault == 'hangs':
        assert rig.graph.set_parameters('depth', worker_timeout=1.0).successful
    rig.break_engine(fault)
    # Before the next image: on a busy machine a good one may take as long.
    assert rig.graph.set_parameters('depth', worker_timeout=60.0).successful
    status = rig.wait_for(words)
    assert status.level == 1
    assert int(status.values['recoveries']) > 0
    rig.good()
    rig.start_over()


def test_an_engine_that_fails_again_gives_way_to_the_plain_network(rig: Rig) -> None:
    rig.bad_until('raises', 'eager float32 on cpu')
    status = rig.wait_for('not the engine that was asked for')
    assert (status.level, status.values['engine']) == (1, 'eager')
    # What the other engine failed on is answered now.
    rig.depths.clear()
    rig.bad('raises')
    rig.graph.spin_until(lambda: rig.depths, 'depth from the plain network')
    assert stamp_of(rig.depths[-1]) == rig.camera.stamp_ns
    assert rig.graph.get_parameter('depth', 'engine') == 'channels_last'
    rig.start_over()
    assert rig.wait_for('running').values['engine'] == 'channels_last'


def test_a_node_one_of_whose_threads_hangs_ends_with_status_0(rig: Rig) -> None:
    assert [process.end() for process in rig.graph.processes] == [0]


def test_a_node_without_an_engine_goes_through_the_error_state_and_can_be_configured_again(
    graph: Graph, tiny_checkpoint: Path
) -> None:
    process = graph.start(
        tiny_checkpoint, program=(str(Path(faulty_node.__file__)), 'eager'), engine='eager', device='cpu'
    )
    with graph.hearing(Image, 'depth/image') as depths, graph.hearing(DiagnosticArray, '/diagnostics') as diagnostics:
        rig = Rig(graph, depths, diagnostics)
        rig.good()
        rig.break_engine('nan')
        rig.good()
        rig.bad_until('nan', 'no engine works')
        status = rig.wait_for('no engine works')
        assert (status.level, status.values['state']) == (2, 'unconfigured')
        assert 'numbers that are not finite' in status.message
        assert graph.state('depth') == 'unconfigured'
        assert graph.change_state('depth', Transition.TRANSITION_CONFIGURE)
        assert graph.change_state('depth', Transition.TRANSITION_ACTIVATE)
        rig.good()
    assert process.end() == 0
    assert 'Traceback' not in process.said()
