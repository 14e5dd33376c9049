"""Odometry, ranges and transforms as ROS messages, whatever is wrong with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')

import rclpy
from geometry_msgs.msg import TwistStamped, TwistWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image, LaserScan, PointCloud2, PointField, Range

from sidepth_core.camera import Camera
from sidepth_core.errors import ConfigError
from sidepth_core.scale import Mount, Ranges, Refusal, Surroundings
from sidepth_core.scale.travel import Travelled
from sidepth_ros.node.parameters import Settings
from sidepth_ros.node.scale_inputs import ScaleInputs
from sidepth_ros.node.static_transforms import parse_transforms

pytestmark = pytest.mark.ros

CAMERA = Camera(160, 96, 120, 125, 71.5, 50.25)
OPTICAL = 'laser camera 0 0 0 -1.5707963 0 -1.5707963'
"""The camera sits in the laser: x ahead becomes z."""
SECOND = 1_000_000_000
START = 1_000 * SECOND


class Bench:
    """A node with inputs, and one that sends to them, over real ROS."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=int(environment['ROS_DOMAIN_ID']))
        self.node = rclpy.create_node('inputs', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.inputs = ScaleInputs(self.node)
        self.settings = Settings()
        self._publishers: list[Any] = []

    def use(self, **values: object) -> None:
        """Listen as these settings say."""
        self.settings = Settings(**values)  # type: ignore[arg-type]
        self.inputs.subscribe(self.settings)

    def send(self, topic: str, *messages: Any) -> None:
        """Publish messages and wait until all of them have come."""
        publisher = self.node.create_publisher(type(messages[0]), topic, 20)
        self._publishers.append(publisher)
        self.until(lambda: publisher.get_subscription_count() > 0)
        for message in messages:
            before = self.received(topic)
            publisher.publish(message)
            self.until(lambda before=before: self.received(topic) > before)

    def received(self, topic: str) -> int:
        """Return how many messages of a topic have come."""
        return self.inputs.counts()[f'{topic} messages received']

    def until(self, done: Callable[[], bool]) -> None:
        """Spin until something is true."""
        for _ in range(2000):
            if done():
                return
            self.executor.spin_once(timeout_sec=0.05)
        pytest.fail('waited too long')

    def around(self, time_s: float = 0.0) -> Surroundings:
        """Return what is known beside an image, which there must be."""
        found = self.inputs.around('camera', CAMERA, START + round(time_s * SECOND), self.settings)
        assert found is not None
        return found

    def close(self) -> None:
        """Take it down."""
        self.inputs.unsubscribe()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def bench(ros_environment: dict[str, str]) -> Iterator[Bench]:
    """Return a node with inputs."""
    opened = Bench(ros_environment)
    yield opened
    opened.close()


def stamped(message: Any, time_s: float, frame: str) -> Any:
    """Return a message with a header."""
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(START + round(time_s * SECOND), SECOND)
    message.header.frame_id = frame
    return message


def scan(time_s: float, *ranges: float, frame: str = 'laser') -> LaserScan:
    """Return a scan straight ahead and to the left of it."""
    message = LaserScan(angle_min=0.0, angle_increment=0.1, range_min=0.1, range_max=10.0, ranges=list(ranges))
    return stamped(message, time_s, frame)


def odometry(time_s: float, speed: float, x: float | None = None) -> Odometry:
    """Return odometry along x."""
    message = stamped(Odometry(child_frame_id='base'), time_s, 'odom')
    message.twist.twist.linear.x = speed
    message.pose.pose.orientation.w = 1.0
    message.pose.pose.position.x = speed * time_s if x is None else x
    return message


def refused(found: object) -> str:
    """Return a refusal's reason."""
    assert isinstance(found, Refusal), found
    return found.reason


def test_nothing_is_subscribed_where_nothing_is_measured(bench: Bench) -> None:
    for source in ('checkpoint', 'fixed', 'relative', 'camera_height'):
        bench.use(scale_source=source, camera_height=1.0)
        assert bench.node.count_subscribers('/odometry') == bench.node.count_subscribers('/range') == 0
    assert Settings().scale_source == 'checkpoint'
    bench.use()
    assert bench.inputs.around('camera', CAMERA, START, bench.settings) is None


def test_scan_comes_into_the_optical_frame(bench: Bench) -> None:
    bench.use(scale_source='range', transforms=(OPTICAL,))
    bench.send('range', scan(0.0, 4.0, math.nan, math.inf, 0.01, 20.0))
    found = bench.around(0.05).ranges
    assert isinstance(found, Ranges)
    assert found.points == pytest.approx(np.array([[0, 0, 4.0]]), abs=1e-5)


def test_range_far_in_time_is_not_compared(bench: Bench) -> None:
    bench.use(scale_source='range', transforms=(OPTICAL,))
    assert refused(bench.around().ranges) == 'range: none near the time of the image'
    bench.send('range', scan(0.0, 4.0))
    assert refused(bench.around(0.5).ranges) == 'range: none near the time of the image'


def test_transform_that_never_comes_is_said_with_both_frames(bench: Bench) -> None:
    bench.use(scale_source='auto', ground_frame='floor')
    bench.send('range', scan(0.0, 4.0, frame='elsewhere'))
    found = bench.around().ranges
    assert refused(found) == 'range: no transform'
    assert isinstance(found, Refusal)
    assert "no transform from 'elsewhere' to 'camera'" in found.detail
    bench.use(scale_source='camera_height', ground_frame='floor')
    mount = bench.around().mount
    assert refused(mount) == 'camera_height: no transform'
    assert isinstance(mount, Refusal)
    assert 'set camera_height' in mount.detail


def test_height_pitch_and_roll_come_from_the_transform_to_the_ground(bench: Bench) -> None:
    bench.use(scale_source='camera_height', transforms=('base_footprint camera 0.3 0 1.2 -1.5707963 0 -1.5707963',))
    mount = bench.around().mount
    assert isinstance(mount, Mount)
    assert mount.height_m == pytest.approx(1.2)
    assert mount.down == pytest.approx((0, 1, 0), abs=1e-6)


def test_camera_below_the_ground_is_refused(bench: Bench) -> None:
    bench.use(scale_source='camera_height', transforms=('base_footprint camera 0 0 -0.2 -1.5707963 0 -1.5707963',))
    assert refused(bench.around().mount) == 'camera_height: not above the ground'


def test_odometry_adds_up_and_its_frame_leads_to_the_camera(bench: Bench) -> None:
    bench.use(scale_source='odometry', transforms=('base camera 0.3 0 1.2 -1.5707963 0 -1.5707963',))
    bench.send('odometry', *(odometry(0.1 * i, 2.0) for i in range(4)))
    around = bench.around()
    assert around.T_body_camera is not None
    assert around.T_body_camera[:3, 3] == pytest.approx([0.3, 0, 1.2])
    found = bench.inputs.travel.between(START, START + SECOND * 3 // 10)
    assert isinstance(found, Travelled)
    assert found.distance_m == pytest.approx(0.6)


@pytest.mark.parametrize('kind', ['twist', 'twist_with_covariance'])
def test_bare_twists_are_odometry_too(bench: Bench, kind: str) -> None:
    bench.use(scale_source='odometry', odometry_type=kind)
    messages = []
    for index in range(4):
        message = stamped(TwistStamped() if kind == 'twist' else TwistWithCovarianceStamped(), 0.1 * index, 'base')
        (message.twist if kind == 'twist' else message.twist.twist).linear.x = 3.0
        messages.append(message)
    bench.send('odometry', *messages)
    found = bench.inputs.travel.between(START, START + SECOND * 3 // 10)
    assert isinstance(found, Travelled)
    assert found.distance_m == pytest.approx(0.9)


def test_bad_odometry_is_counted_by_reason(bench: Bench) -> None:
    bench.use(scale_source='odometry')
    bench.send('odometry', odometry(5.0, 1.0), odometry(5.1, math.nan), odometry(5.2, 1e5), odometry(1.0, 1.0))
    counts = bench.inputs.counts()
    assert counts['odometry messages received'] == 4
    assert counts['odometry: not finite, or faster than anything drives'] == 2
    assert counts['odometry: clock went back'] == 1


def test_single_range_has_its_cone(bench: Bench) -> None:
    bench.use(scale_source='range', range_type='range', transforms=(OPTICAL,))
    sonar = Range(field_of_view=0.5, min_range=0.2, max_range=4.0, range=2.5)
    bench.send('range', stamped(sonar, 0.0, 'laser'))
    found = bench.around().ranges
    assert isinstance(found, Ranges)
    assert found.cone == pytest.approx(0.25)
    assert found.points[0] == pytest.approx([0, 0, 2.5], abs=1e-5)


def cloud(points: list[tuple[float, float, float]], names: str = 'xyz') -> PointCloud2:
    """Return a cloud in the laser's frame."""
    data = np.array(points, np.float32).tobytes()
    fields = [PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1) for i, name in enumerate(names)]
    message = PointCloud2(
        height=1, width=len(points), fields=fields, point_step=12, row_step=12 * len(points), data=data
    )
    return stamped(message, 0.0, 'laser')


def test_cloud_comes_into_the_optical_frame(bench: Bench) -> None:
    bench.use(scale_source='range', range_type='cloud', transforms=(OPTICAL,))
    bench.send('range', cloud([(4.0, 1.0, 0.5), (math.nan, 0.0, 0.0)]))
    found = bench.around().ranges
    assert isinstance(found, Ranges)
    assert found.points == pytest.approx(np.array([[-1.0, -0.5, 4.0]]), abs=1e-5)


def test_cloud_without_coordinates_is_refused(bench: Bench) -> None:
    bench.use(scale_source='range', range_type='cloud', transforms=(OPTICAL,))
    bench.send('range', cloud([(4.0, 1.0, 0.5)], names='abc'))
    assert refused(bench.around().ranges) == 'range: message that cannot be read'


def test_sparse_depth_image_is_taken_as_registered(bench: Bench) -> None:
    bench.use(scale_source='range', range_type='depth')
    depth = np.full((96, 160), np.nan, np.float32)
    depth[40, 100] = 3.0
    message = Image(height=96, width=160, encoding='32FC1', step=640, data=depth.tobytes())
    bench.send('range', stamped(message, 0.0, 'camera'))
    found = bench.around().ranges
    assert isinstance(found, Ranges)
    assert found.points == pytest.approx(np.array([[(100 - 71.5) / 120 * 3, (40 - 50.25) / 125 * 3, 3.0]]))


@pytest.mark.parametrize(
    ('line', 'match'),
    [('base camera 1 2 3', 'base camera 1 2 3'), ('a b 0 0 0 0 0 x', 'expected'), ('a a 0 0 0 0 0 0', 'two frames')],
)
def test_transform_of_another_form_is_refused(line: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        parse_transforms([line])
    with pytest.raises(ConfigError, match='static_transform_publisher'):
        Settings(transforms=(line,))
