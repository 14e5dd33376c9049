"""Launch files: what they declare, what they start, and `ros2 launch` itself where there is one."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')
pytest.importorskip('launch_ros', reason='launch_ros comes with a ROS 2 install only')

from launch import LaunchContext
from launch.actions import DeclareLaunchArgument, EmitEvent, LogInfo
from launch_ros.actions import Node
from ros_graph import Graph, Process
from sensor_msgs.msg import CompressedImage, Image

from sidepth_core.data.bags.writer import BagWriter
from sidepth_core.errors import BagError, ConfigError
from sidepth_ros import launching
from sidepth_ros.node.parameters import SPECS

pytestmark = pytest.mark.ros

ROOT = Path(__file__).parents[2]
NAMES = ('depth', 'cameras', 'record', 'finetune')


def load(name: str) -> ModuleType:
    """Return a launch file as a module."""
    spec = importlib.util.spec_from_file_location(f'{name}_launch', ROOT / 'launch' / f'{name}.launch.py')
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def context_of(name: str, **given: str) -> LaunchContext:
    """Return the context in which a launch file runs with these arguments."""
    context = LaunchContext()
    for argument in declared(name):
        if argument.default_value is not None:
            argument.execute(context)
    unknown = set(given) - {argument.name for argument in declared(name)}
    assert not unknown
    context.launch_configurations.update(given)
    return context


def declared(name: str) -> list[DeclareLaunchArgument]:
    """Return the arguments of a launch file."""
    entities = load(name).generate_launch_description().entities
    return [item for item in entities if isinstance(item, DeclareLaunchArgument)]


@pytest.mark.parametrize('name', NAMES)
def test_every_argument_is_explained_in_sentences(name: str) -> None:
    for argument in declared(name):
        assert len(argument.description) > 20, argument.name
        assert '. Valid choices are: ' in argument.description if argument.choices else argument.description[-1] in '.]'


@pytest.mark.parametrize('name', NAMES)
def test_files_that_are_defaults_exist(name: str) -> None:
    context = context_of(name)
    for argument in ('params_file', 'fastdds_profile'):
        if argument in context.launch_configurations:
            assert Path(context.launch_configurations[argument]).is_file()


@pytest.mark.parametrize('name', ['engine', 'precision', 'scale_source', 'image_transport'])
def test_choices_are_those_of_the_node(name: str) -> None:
    (argument,) = [item for item in declared('depth') if item.name == name]
    assert [choice for choice in argument.choices if choice] == list(SPECS[name].choices)


def test_argument_that_overrides_a_parameter_bears_its_name() -> None:
    given = {'checkpoint': 'ckpt', 'scale_source': 'fixed', 'scale_factor': '2.5', 'engine': 'eager',
             'precision': 'bf16', 'device': 'cpu'}
    parameters = launching.node_parameters(context_of('depth', **given))
    assert parameters == {**given, 'scale_factor': 2.5}
    assert parameters.keys() <= SPECS.keys()


def test_arguments_left_empty_leave_the_parameters_file_alone() -> None:
    assert launching.node_parameters(context_of('depth')) == {}


def test_number_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="scale_factor is 'two', expected a number"):
        launching.node_parameters(context_of('depth', scale_factor='two'))


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ({}, ('camera/image_raw', 'camera/camera_info', 'raw')),
        ({'camera_name': 'front'}, ('front/image_raw', 'front/camera_info', 'raw')),
        ({'image_transport': 'compressed'}, ('camera/image_raw/compressed', 'camera/camera_info', 'compressed')),
        ({'image': '/a/b/image_rect'}, ('/a/b/image_rect', '/a/b/camera_info', 'raw')),
        ({'image': '/image'}, ('/image', '/camera_info', 'raw')),
        ({'image': 'image'}, ('image', 'camera_info', 'raw')),
        ({'camera_info': '/calibration'}, ('camera/image_raw', '/calibration', 'raw')),
        ({'image': '/cam/image/compressed'}, ('/cam/image/compressed', '/cam/camera_info', 'compressed')),
        ({'camera_name': '/front/'}, ('/front/image_raw', '/front/camera_info', 'raw')),
    ],
)
def test_camera_topics_follow_the_conventions(given: dict[str, str], expected: tuple[str, str, str]) -> None:
    assert load('depth').topics_of(context_of('depth', **given)) == expected


def test_name_that_ros_does_not_take_is_refused() -> None:
    with pytest.raises(ConfigError, match="'my camera/image_raw' is no name of a topic"):
        load('depth').topics_of(context_of('depth', camera_name='my camera'))


@pytest.mark.parametrize(('value', 'words'), [('/no.yaml', 'there is no such file'), ('/', 'expected a file')])
def test_missing_parameters_file_is_refused(value: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        launching.depth_node(context_of('depth', params_file=value), {}, [])


def test_rate_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="bag_rate is 'fast', expected a number"):
        load('depth').start(context_of('depth', bag=str(tmp_path), image='/image', bag_rate='fast'))


def test_topics_are_found_in_the_bag(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag') as writer:
        for topic, kind in (('/left/rgb/compressed', 'CompressedImage'), ('/left/camera_info', 'CameraInfo')):
            writer.write_raw(topic, f'sensor_msgs/msg/{kind}', 1, bytes(20))
    context = context_of('depth', bag=str(tmp_path / 'bag'))
    assert load('depth').topics_of(context) == ('/left/rgb/compressed', '/left/camera_info', 'compressed')


def test_bag_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="bag is '/nowhere': there is no such file or folder"):
        load('depth').start(context_of('depth', bag='/nowhere'))


def test_bag_with_several_cameras_needs_a_name(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag') as writer:
        for side in ('left', 'right'):
            writer.write_raw(f'/{side}/image', 'sensor_msgs/msg/Image', 1, bytes(20))
    with pytest.raises(BagError, match='holds several cameras'):
        load('depth').topics_of(context_of('depth', bag=str(tmp_path / 'bag')))
    named = context_of('depth', bag=str(tmp_path / 'bag'), image='/left/image')
    assert load('depth').topics_of(named).image == '/left/image'


@pytest.mark.parametrize('name', ['depth', 'cameras'])
def test_launch_drives_the_transitions_whatever_the_parameters_file_says(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(launching, 'LifecycleNode', lambda **given: given)
    context = context_of(name, namespace='robot1', scale_factor='2', use_sim_time='true')
    node = launching.depth_node(context, {'image_transport': 'compressed'}, [('image', 'front')])
    own = {'autostart': False, 'scale_factor': 2.0, 'use_sim_time': True, 'image_transport': 'compressed'}
    assert node['parameters'] == [str(ROOT / 'config' / 'depth.yaml'), own]
    assert (node['namespace'], node['respawn'], node['remappings']) == ('robot1', False, [('image', 'front')])


@pytest.mark.parametrize(('autostart', 'expected'), [('true', True), ('false', False)])
def test_node_that_may_be_started_again_starts_itself(
    monkeypatch: pytest.MonkeyPatch, autostart: str, *, expected: bool
) -> None:
    monkeypatch.setattr(launching, 'LifecycleNode', lambda **given: given)
    context = context_of('depth', respawn='true', autostart=autostart)
    node = launching.depth_node(context, {}, [])
    assert node['respawn'] is True
    assert node['parameters'][1]['autostart'] is expected


def test_transitions_of_a_user_later_on_start_nothing_a_second_time() -> None:
    context = context_of('depth')
    played = LogInfo(msg='playing')
    registered = launching.drive_to_active(context, launching.depth_node(context, {}, []), on_active=[played])
    handlers = [action.event_handler for action in registered]
    activating, active = [handler for handler in handlers if handler.handle_once]
    assert played in active.entities
    assert any(isinstance(entity, EmitEvent) for entity in activating.entities)


def test_bag_is_not_played_to_a_node_that_may_be_started_again(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='bag and respawn do not go together'):
        load('depth').start(context_of('depth', bag=str(tmp_path), image='/image', respawn='true'))


def test_rviz_that_is_not_installed_is_said_and_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (False, True):
        depth = load('depth')
        monkeypatch.setattr(depth, 'is_installed', lambda package, there=there: there and package == 'rviz2')
        last = depth.start(context_of('depth', rviz='true'))[-1]
        assert isinstance(last, Node if there else LogInfo)
    (said,) = load('depth').start(context_of('depth', rviz='true'))[-1:]
    assert launching.is_installed('rviz2') or 'rviz2 is not installed' in said.msg[0].text


def test_several_cameras_are_remapped_each() -> None:
    launch = load('cameras')
    topics = launch.topics_of(context_of('cameras', image_transport='compressed'), 'left')
    assert launch.remappings('left', topics) == [
        ('left/image', 'left/image_raw/compressed'), ('left/camera_info', 'left/camera_info'),
    ]


def test_names_are_read_as_a_list_of_python_too() -> None:
    assert launching.names(context_of('cameras', cameras="['front', 'left']"), 'cameras') == ['front', 'left']


def test_camera_named_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cameras is \['front', 'front'\], expected names"):
        load('cameras').start(context_of('cameras', cameras='front, front'))


def test_recorded_topics_are_absolute_and_complete() -> None:
    context = context_of('record', namespace='robot1', topics='/lidar/points', image_transport='compressed')
    assert load('record').topics_of(context, ['front', '/left']) == [
        '/robot1/front/image_raw/compressed', '/robot1/front/camera_info', '/left/image_raw/compressed',
        '/left/camera_info', '/robot1/odom', '/lidar/points', '/tf', '/tf_static',
    ]


def test_recording_over_another_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='which exists: name a new folder'):
        load('record').start(context_of('record', out=str(tmp_path)))


def test_recorder_that_left_no_bag_is_not_called_a_recording(tmp_path: Path) -> None:
    assert load('record').outcome(tmp_path).startswith('no finished recording')
    (tmp_path / 'metadata.yaml').write_text('')
    assert f'bag:={tmp_path}' in load('record').outcome(tmp_path)


def test_recording_onto_a_full_disk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'GB free, min_free_gb is 1e\+09: make room'):
        load('record').start(context_of('record', out=str(tmp_path / 'bag'), min_free_gb='1e9'))


def test_motion_gate_without_odometry_is_refused() -> None:
    with pytest.raises(ConfigError, match='moving_only needs odometry'):
        load('record').start(context_of('record', moving_only='true', odometry=''))


@pytest.mark.parametrize(('distribution', 'option'), [('humble', []), ('jazzy', ['--topics'])])
def test_topics_are_named_as_the_distributions_recorder_wants(
    monkeypatch: pytest.MonkeyPatch, distribution: str, option: list[str]
) -> None:
    monkeypatch.setenv('ROS_DISTRO', distribution)
    context = context_of('record', split_gb='0')
    recorder = load('record').record(context, ['/a', '/b'], Path('bag'))
    words = [''.join(part.perform(context) for part in word) for word in recorder.cmd]
    assert words == ['ros2', 'bag', 'record', '--output', 'bag', '--storage', 'mcap', *option, '/a', '/b']


def test_profile_of_the_user_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = str(ROOT / 'config' / 'fastdds_shm.xml')
    for name in ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'):
        monkeypatch.delenv(name, raising=False)
    assert list(launching.fastdds_environment(profile).values()) == [profile]
    assert launching.fastdds_environment('none') == {}
    monkeypatch.setenv('FASTRTPS_DEFAULT_PROFILES_FILE', '/etc/mine.xml')
    assert launching.fastdds_environment(profile) == {}


def test_missing_profile_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"fastdds_profile is '/no\.xml', expected an existing XML file or 'none'"):
        launching.fastdds_environment('/no.xml')


def test_small_shared_memory_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage._replace(total=64 * 2**20))
    (warning,) = launching.shared_memory_warning(tmp_path)
    assert isinstance(warning, LogInfo)
    assert 'holds 64 MiB in all' in ''.join(part.perform(LaunchContext()) for part in warning.msg)
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage._replace(total=2**30))
    assert launching.shared_memory_warning(tmp_path) == []


@pytest.mark.slow
def test_ros2_launch_brings_depth_out_of_a_camera(
    graph: Graph, ros_environment: dict[str, str], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    if shutil.which('ros2') is None:
        pytest.skip('there is no ros2 command')
    if not launching.is_installed('sidepth_ros'):
        pytest.skip('sidepth_ros is not built with colcon and sourced')
    launch = Process(
        ['ros2', 'launch', 'sidepth_ros', 'depth.launch.py', f'checkpoint:={tiny_checkpoint}', 'camera_name:=front'],
        ros_environment, tmp_path / 'launch.log',
    )
    player = [sys.executable, '-m', 'sidepth_ros.tools.camera_player', '--name', 'front', '--size', '160x96', '--loop']
    camera = Process([*player, '--frames', '30', '--wait-for', '1'], ros_environment, tmp_path / 'camera.log')
    try:
        launch.wait_for_words('the depth node is active')
        with graph.hearing(Image, '/depth/image') as depths:
            graph.spin_until(lambda: len(depths) >= 5, 'five depth images')
        assert (depths[0].width, depths[0].height, depths[0].encoding) == (160, 96, '32FC1')
    finally:
        camera.end(signal.SIGTERM)
        status = launch.end(signal.SIGINT, timeout_s=60)
    assert status == 0
    assert 'process has finished cleanly' in launch.said()


def test_compressed_images_are_asked_for_by_type() -> None:
    # What launching calls compressed must be what the node subscribes to as such.
    from sidepth_ros.node.camera_input import IMAGE_TYPES  # noqa: PLC0415

    assert {'raw': Image, 'compressed': CompressedImage} == IMAGE_TYPES
