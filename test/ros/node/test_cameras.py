"""Four cameras in one process: one network, one batch, topics and diagnostics of their own."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from ros_graph import FakeCamera, Graph, stamp_of, status_of
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import Trigger

pytestmark = pytest.mark.ros

NAMES = ('front', 'left', 'right', 'rear')
SIZES = {'front': (160, 96), 'left': (128, 96), 'right': (96, 64), 'rear': (160, 96)}


@pytest.fixture(scope='module')
def cameras(shared_graph: Graph, tiny_checkpoint: Path) -> dict[str, FakeCamera]:
    """Return four cameras of different sizes that one running node listens to."""
    shared_graph.start(
        tiny_checkpoint,
        cameras=NAMES,
        batch_wait=0.5,
        **{'qos_overrides./front/image.subscription.reliability': 'reliable'},
    )
    cameras = {name: FakeCamera(shared_graph, f'{name}/', *SIZES[name]) for name in NAMES}
    for camera in cameras.values():
        camera.wait_until_heard()
    return cameras


def test_every_camera_gets_its_own_depth(shared_graph: Graph, cameras: dict[str, FakeCamera]) -> None:
    graph = shared_graph
    heard = {name: [] for name in NAMES}
    subscriptions = [
        graph.node.create_subscription(Image, f'{name}/depth/image', heard[name].append, 10) for name in NAMES
    ]
    while not all(heard.values()):
        for camera in cameras.values():
            camera.send()
        graph.spin(0.3)
    graph.spin_until_quiet(*heard.values())
    for messages in heard.values():
        messages.clear()
    sent = {name: camera.send() for name, camera in cameras.items()}
    graph.spin_until(lambda: all(heard.values()), 'depth of all four')
    for name, messages in heard.items():
        assert [stamp_of(message) for message in messages] == [sent[name]]
        assert messages[0].header.frame_id == f'{name}_optical'
        assert (messages[0].width, messages[0].height) == SIZES[name]
    for subscription in subscriptions:
        graph.node.destroy_subscription(subscription)


def test_camera_that_dies_does_not_stop_the_others(shared_graph: Graph, cameras: dict[str, FakeCamera]) -> None:
    graph = shared_graph
    assert graph.set_parameters('depth', input_timeout=1.0).successful
    with (
        graph.hearing(Image, 'front/depth/image') as heard,
        graph.hearing(DiagnosticArray, '/diagnostics') as diagnostics,
    ):
        cameras['front'].send_until_heard(heard)
        sent = []
        for count in range(1, 21):
            sent.append(cameras['front'].send())
            graph.spin_until(lambda count=count: len(heard) >= count, f'depth image {count}')
        assert [stamp_of(message) for message in heard] == sent

        def left_is_missed() -> bool:
            return bool(diagnostics) and '/left/image' in status_of(diagnostics[-1], 'depth: left').message

        graph.spin_until(left_is_missed, 'diagnostics that miss the camera')
    assert status_of(diagnostics[-1], 'depth: left').level == 2


def test_snapshot_is_taken_of_those_cameras_that_can_be_seen(
    shared_graph: Graph, cameras: dict[str, FakeCamera], tmp_path: Path
) -> None:
    graph, left = shared_graph, cameras['left']
    assert graph.set_parameters('depth', snapshot_directory=str(tmp_path)).successful
    with graph.hearing(Image, 'left/depth/image') as lefts, graph.hearing(Image, 'front/depth/image') as fronts:
        left.send_until_heard(lefts)
        cameras['front'].send_until_heard(fronts)
        spoilt = left.image()
        spoilt.encoding = 'polka_dots'
        left.images.publish(spoilt)
        graph.spin_until(lambda: 'polka_dots' in graph.said(), 'the fault')
    response = graph.call(Trigger, 'depth/save_snapshot', Trigger.Request())
    assert response.success
    assert f'{tmp_path}/front_' in response.message
    assert "left: encoding 'polka_dots' is not known" in response.message


def test_qos_of_an_input_can_be_overridden(shared_graph: Graph, cameras: dict[str, FakeCamera]) -> None:
    graph = shared_graph
    reliability = {
        name: graph.node.get_subscriptions_info_by_topic(f'/{name}/image')[0].qos_profile.reliability
        for name in ('front', 'left')
    }
    assert reliability == {'front': ReliabilityPolicy.RELIABLE, 'left': ReliabilityPolicy.BEST_EFFORT}
    assert set(cameras) == set(NAMES)


def test_best_effort_camera_of_a_reliable_input_is_explained(
    shared_graph: Graph, cameras: dict[str, FakeCamera]
) -> None:
    graph = shared_graph
    assert set(cameras) == set(NAMES)
    publisher = graph.node.create_publisher(Image, 'front/image', qos_profile_sensor_data)
    with graph.hearing(DiagnosticArray, '/diagnostics') as diagnostics:

        def is_explained() -> bool:
            words = 'QoS cannot match, the publisher offers less reliability'
            return bool(diagnostics) and words in status_of(diagnostics[-1], 'depth: front').message

        graph.spin_until(is_explained, 'diagnostics that explain the silence')
    advice = 'set qos_overrides./front/image.subscription.reliability for this node'
    assert advice in status_of(diagnostics[-1], 'depth: front').message
    graph.node.destroy_publisher(publisher)


def test_sigint_ends_the_node_with_status_0(shared_graph: Graph, cameras: dict[str, FakeCamera]) -> None:
    for camera in cameras.values():
        camera.send()
    assert shared_graph.processes[0].end(signal.SIGINT) == 0, shared_graph.said()
    assert 'Traceback' not in shared_graph.said()


def test_compressed_images_and_their_troubles(graph: Graph, tiny_checkpoint: Path) -> None:
    """One node without a camera at first: the watchdog's advice, followed step by step, leads to depth."""
    graph.start(
        tiny_checkpoint,
        image_transport='compressed',
        input_timeout=0.5,
        **{'qos_overrides./image.subscription.durability': 'transient_local'},
    )
    with graph.hearing(DiagnosticArray, '/diagnostics') as diagnostics:

        def says(words: str) -> None:
            graph.spin_until(
                lambda: any(words in status.message for message in diagnostics[-1:] for status in message.status), words
            )

        says('no message on /image ever: nobody publishes it')
        raw = graph.node.create_publisher(Image, 'image', 1)
        says('it carries sensor_msgs/msg/Image, not sensor_msgs/msg/CompressedImage')
        says("start the node with image_transport 'raw'")
        graph.node.destroy_publisher(raw)
        volatile = graph.node.create_publisher(CompressedImage, 'image', 1)
        says('QoS cannot match, the publisher offers less durability')
        graph.node.destroy_publisher(volatile)
        says('no message on /camera_info ever: nobody publishes it')
    camera = FakeCamera(graph, 'unused/')
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    images = graph.node.create_publisher(CompressedImage, 'image', latched)
    infos = graph.node.create_publisher(CameraInfo, 'camera_info', 1)
    with graph.hearing(Image, 'depth/image') as heard:

        def send_until_heard() -> bool:
            infos.publish(camera.info())
            images.publish(camera.compressed())
            return bool(heard)

        graph.spin_until(send_until_heard, 'depth of a compressed image')
    assert (heard[0].width, heard[0].height, heard[0].encoding) == (160, 96, '32FC1')
