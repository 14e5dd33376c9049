"""Parameters and models that change while the node runs, over real ROS 2."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

from diagnostic_msgs.msg import DiagnosticArray
from ros_graph import FakeCamera, Graph, stamp_of, status_of, write_checkpoint
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_srvs.srv import Trigger

from sidepth_core.checkpoint import load_info
from sidepth_ros.messages.conversions import NumpyCodec
from sidepth_ros.node.parameters import SPECS

pytestmark = pytest.mark.ros


@pytest.fixture(scope='module')
def camera(
    shared_graph: Graph, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> FakeCamera:
    """Return a camera that a running node listens to; its checkpoints and snapshots have folders of their own."""
    folder = tmp_path_factory.mktemp('files')
    write_checkpoint(folder / 'checkpoints' / 'other', seed=1)
    shared_graph.start(
        tiny_checkpoint, snapshot_directory=str(folder), checkpoint_directory=str(folder / 'checkpoints')
    )
    camera = FakeCamera(shared_graph)
    camera.wait_until_heard()
    return camera


def median_depth(camera: FakeCamera) -> float:
    """Return the median depth of one fixed image now."""
    with camera.graph.hearing(Image, 'depth/image') as heard:
        camera.send_until_heard(heard)
        camera.send()
        camera.graph.spin_until(lambda: heard, 'a depth image')
    values = np.asarray(NumpyCodec().imgmsg_to_cv2(heard[0]), np.float64)
    return float(np.median(values[np.isfinite(values)]))


@pytest.mark.parametrize(
    ('changes', 'size'),
    [
        ({'output_size': 'network'}, (64, 32)),
        ({'output_size': 'stride', 'output_stride': 4}, (40, 24)),
        ({'output_size': 'full'}, (160, 96)),
        ({'edge_gate': True, 'border_gate': True, 'sky_gate': True}, (160, 96)),
        ({'confidence': 'zoom', 'confidence_gate': True, 'min_confidence': 0.2}, (160, 96)),
        ({'confidence': 'flip', 'confidence_gate': True}, (160, 96)),
        ({'stabilise': True}, (160, 96)),
        ({'color_map': 'gray', 'color_range': 'fixed'}, (160, 96)),
        ({'cloud_fields': 'xyz', 'cloud_stride': 2}, (160, 96)),
        ({'rectify': 'always'}, (160, 96)),
    ],
)
def test_every_setting_works_from_the_next_frame_on(
    camera: FakeCamera, changes: dict[str, object], size: tuple[int, int]
) -> None:
    graph = camera.graph
    defaults = {name: SPECS[name].default for name in changes}
    assert graph.set_parameters('depth', **changes).successful
    with (
        graph.hearing(Image, 'depth/image') as depths,
        graph.hearing(Image, 'depth/image_color') as colours,
        graph.hearing(PointCloud2, 'depth/points') as clouds,
        graph.hearing(CameraInfo, 'depth/camera_info') as infos,
    ):
        camera.send_until_heard(depths, colours, clouds, infos)
        stamp = camera.send()
        graph.spin_until(lambda: depths and colours and clouds and infos, 'all outputs')
    assert graph.set_parameters('depth', **defaults).successful
    assert stamp_of(depths[0]) == stamp
    assert {(message.width, message.height) for message in (depths[0], colours[0], infos[0])} == {size}
    if 'cloud_stride' in changes:
        assert (clouds[0].width, clouds[0].height, clouds[0].point_step) == (80, 48, 12)
    if changes.get('border_gate'):
        assert np.isnan(np.asarray(NumpyCodec().imgmsg_to_cv2(depths[0]))[0]).all()


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'rectify': 'sometimes'}, 'auto, always, never'),
        ({'min_depth': 90.0}, 'min_depth (90) must be below max_depth (80)'),
        ({'confidence_gate': True}, "needs confidence 'flip' or 'zoom'"),
        ({'network_size': '100x100'}, 'multiples of 32'),
        ({'checkpoint': '/no/such/folder'}, '/no/such/folder'),
        ({'checkpoint': '~nobody_of_that_name/best'}, 'home directory'),
        ({'image_transport': 'compressed'}, ''),
        ({'cloud_stride': 99}, ''),
    ],
)
def test_refusal_says_why_and_changes_nothing(camera: FakeCamera, changes: dict[str, object], reason: str) -> None:
    graph = camera.graph
    (name,) = changes
    before = graph.get_parameter('depth', name)
    result = graph.set_parameters('depth', **changes)
    assert not result.successful
    assert reason in result.reason
    assert result.reason
    assert graph.get_parameter('depth', name) == before


def test_values_that_belong_together_are_checked_together(camera: FakeCamera) -> None:
    graph = camera.graph
    assert graph.set_parameters('depth', min_depth=100.0, max_depth=200.0).successful
    assert graph.set_parameters('depth', min_depth=0.1, max_depth=80.0).successful


def test_fixed_scale_multiplies_depth(camera: FakeCamera) -> None:
    graph = camera.graph
    assert graph.set_parameters('depth', range_gate=False).successful
    before = median_depth(camera)
    assert graph.set_parameters('depth', scale_source='fixed', scale_factor=3.0).successful
    assert median_depth(camera) == pytest.approx(3 * before, rel=1e-5)
    assert graph.set_parameters('depth', scale_source='checkpoint', range_gate=True).successful


def test_new_checkpoint_is_swapped_in_under_load_without_losing_a_frame(
    camera: FakeCamera, tmp_path: Path
) -> None:
    graph = camera.graph
    before, other = median_depth(camera), write_checkpoint(tmp_path / 'other', seed=1)
    old = graph.get_parameter('depth', 'checkpoint')
    with graph.hearing(Image, 'depth/image') as heard:
        camera.send_until_heard(heard)
        sent = []
        for count in range(1, 41):
            if count == 10:
                assert graph.set_parameters('depth', checkpoint=str(other)).successful
            sent.append(camera.send())
            graph.spin_until(lambda count=count: len(heard) >= count, f'depth image {count}')
        graph.spin_until(lambda: f'now running {other}' in graph.said(), 'the swap')
        assert [stamp_of(message) for message in heard] == sent
    after = median_depth(camera)
    assert after != pytest.approx(before, rel=1e-3)
    assert graph.set_parameters('depth', checkpoint=old, engine='channels_last').successful
    graph.spin_until(lambda: f'now running {old}' in graph.said(), 'the swap back')
    assert median_depth(camera) == pytest.approx(before, rel=1e-2)


def test_checkpoint_retrained_in_place_is_swapped_in_when_its_path_is_set_again(
    camera: FakeCamera, tmp_path: Path
) -> None:
    graph, old = camera.graph, camera.graph.get_parameter('depth', 'checkpoint')
    path = write_checkpoint(tmp_path / 'run', seed=1)

    def said(times: int) -> None:
        graph.spin_until(lambda: graph.said().count(f'now running {path}') == times, 'the swap')

    assert graph.set_parameters('depth', checkpoint=str(path)).successful
    said(1)
    before = median_depth(camera)
    assert graph.set_parameters('depth', checkpoint=str(path)).successful  # the same weights: nothing to do
    write_checkpoint(path, seed=2)
    assert graph.set_parameters('depth', checkpoint=str(path)).successful
    said(2)
    assert median_depth(camera) != pytest.approx(before, rel=1e-3)
    returns = graph.said().count(f'now running {old}')
    assert graph.set_parameters('depth', checkpoint=old).successful
    graph.spin_until(lambda: graph.said().count(f'now running {old}') > returns, 'the old checkpoint')


def test_damaged_checkpoint_leaves_the_old_one_running(
    camera: FakeCamera, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    graph = camera.graph
    before, old = median_depth(camera), graph.get_parameter('depth', 'checkpoint')
    damaged = shutil.copytree(tiny_checkpoint, tmp_path / 'damaged')
    weights = damaged / 'model.safetensors'
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert graph.set_parameters('depth', checkpoint=str(damaged)).successful
    graph.spin_until(lambda: 'the running model stays' in graph.said(), 'the refusal')
    assert str(weights) in graph.said()
    assert graph.get_parameter('depth', 'checkpoint') == old
    assert median_depth(camera) == pytest.approx(before, rel=1e-2)
    with graph.hearing(DiagnosticArray, '/diagnostics') as diagnostics:
        graph.spin_until(lambda: diagnostics, 'diagnostics')
    status = status_of(diagnostics[-1], 'depth: model')
    assert status.level == 1
    assert 'truncated' in status.message
    # Asking for what runs takes the reason back.
    assert graph.set_parameters('depth', checkpoint=old).successful
    with graph.hearing(DiagnosticArray, '/diagnostics') as diagnostics:
        graph.spin_until(lambda: len(diagnostics) > 1, 'diagnostics')
    assert status_of(diagnostics[-1], 'depth: model').message == 'running'


def test_checkpoint_that_cannot_be_downloaded_leaves_the_old_one_running(camera: FakeCamera) -> None:
    graph = camera.graph
    old = graph.get_parameter('depth', 'checkpoint')
    # Taken at once, for a download must not hold up images; what became of it is said when it is known.
    assert graph.set_parameters('depth', checkpoint='hf://nobody').successful
    words = "the running model stays: 'hf://nobody' names no repository"
    graph.spin_until(lambda: words in graph.said(), 'the refusal')
    assert graph.get_parameter('depth', 'checkpoint') == old


def test_weights_without_metres_are_refused_until_relative_is_asked_for(camera: FakeCamera, tmp_path: Path) -> None:
    graph = camera.graph
    relative = write_checkpoint(tmp_path / 'relative', seed=2, scale='relative')
    old = graph.get_parameter('depth', 'checkpoint')
    result = graph.set_parameters('depth', checkpoint=str(relative))
    assert not result.successful
    for way_out in ("'fixed'", "'relative'", 'use a checkpoint'):
        assert way_out in result.reason
    assert graph.set_parameters('depth', checkpoint=str(relative), scale_source='relative').successful
    graph.spin_until(lambda: f'now running {relative}' in graph.said(), 'the swap')
    assert not graph.set_parameters('depth', scale_source='checkpoint').successful
    assert graph.set_parameters('depth', checkpoint=old, scale_source='checkpoint').successful
    graph.spin_until(
        lambda: graph.said().rfind(f'now running {old}') > graph.said().rfind(str(relative)), 'the swap back'
    )


def test_snapshot_holds_what_the_camera_sees(camera: FakeCamera) -> None:
    graph = camera.graph
    median_depth(camera)
    response = graph.call(Trigger, 'depth/save_snapshot', Trigger.Request())
    assert response.success, response.message
    folder = Path(response.message)
    assert folder.name == str(camera.stamp_ns)
    assert np.load(folder / 'depth.npy').shape == (96, 160)
    assert {path.name for path in folder.iterdir()} == {
        'image.png', 'depth.npy', 'depth.png', 'cloud.ply', 'camera.json',
    }  # fmt: skip


def test_snapshot_that_cannot_be_written_is_answered_with_the_reason(camera: FakeCamera) -> None:
    graph = camera.graph
    before = graph.get_parameter('depth', 'snapshot_directory')
    median_depth(camera)
    assert graph.set_parameters('depth', snapshot_directory='/proc/nothing').successful
    response = graph.call(Trigger, 'depth/save_snapshot', Trigger.Request())
    assert not response.success
    assert '/proc/nothing' in response.message
    assert graph.set_parameters('depth', snapshot_directory=before).successful


def test_checkpoints_are_listed(camera: FakeCamera) -> None:
    response = camera.graph.call(Trigger, 'depth/list_checkpoints', Trigger.Request())
    assert response.success
    line = next(line for line in response.message.splitlines() if 'checkpoints/other' in line)
    info = load_info(Path(line.split(': ')[0]))
    assert f'{info.backbone} {info.image_width}x{info.image_height}, metric' in line
