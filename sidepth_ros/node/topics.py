"""The one table of what the node takes, publishes and answers; docs/reference/node.md is made from it.

A test compares it with the graph of a running node.
"""

from __future__ import annotations

from typing import NamedTuple


class Interface(NamedTuple):
    """A topic or service.

    Attributes:
        name: As the node calls it, before remapping; with named cameras, those of a camera follow `NAME/`.
        type: Its ROS type.
        sentence: What it carries.
    """

    name: str
    type: str
    sentence: str


INPUTS = (
    Interface(
        'image',
        'sensor_msgs/msg/Image',
        'The camera. With `image_transport: compressed` a `sensor_msgs/msg/CompressedImage`. Best effort, newest only.',
    ),
    Interface('camera_info', 'sensor_msgs/msg/CameraInfo', 'Its calibration, of the same stamp or once for all.'),
)
"""What every camera's stream subscribes to while the node is active."""

SCALE_INPUTS = (
    Interface(
        'odometry',
        'nav_msgs/msg/Odometry',
        'For `scale_source` odometry and auto. By `odometry_type` also `geometry_msgs/msg/TwistStamped` or '
        '`geometry_msgs/msg/TwistWithCovarianceStamped`.',
    ),
    Interface(
        'range',
        'sensor_msgs/msg/LaserScan',
        'For `scale_source` range and auto. By `range_type` also `sensor_msgs/msg/PointCloud2`, '
        '`sensor_msgs/msg/Range` or `sensor_msgs/msg/Image`.',
    ),
)
"""What the node subscribes to where a scale is measured from it."""

OUTPUTS = (
    Interface(
        'depth/image',
        'sensor_msgs/msg/Image',
        '32FC1, metres along the optical axis (REP 118); NaN: not measured, ±inf: out of range (REP 117).',
    ),
    Interface(
        'depth/camera_info',
        'sensor_msgs/msg/CameraInfo',
        'The rectified camera of exactly that image: D = 0, R = 1, K scaled with it.',
    ),
    Interface(
        'depth/points',
        'sensor_msgs/msg/PointCloud2',
        'Organised, `x y z` and `rgb` (`cloud_fields`), NaN where gated, every `cloud_stride`-th pixel.',
    ),
    Interface('depth/image_color', 'sensor_msgs/msg/Image', 'rgb8, depth in colours (`color_map`).'),
    Interface(
        'depth/image_raw',
        'sensor_msgs/msg/Image',
        '16UC1, millimetres; 0 where there is no depth or it does not fit.',
    ),
    Interface('depth/confidence', 'sensor_msgs/msg/Image', '32FC1, 0 to 1, where `confidence` is flip or zoom.'),
    Interface(
        'depth/scale',
        'geometry_msgs/msg/Vector3Stamped',
        "x: metres per unit of the network's depth, y: standard deviation as a share of x, z: age in seconds.",
    ),
    Interface(
        'depth/relative',
        'sensor_msgs/msg/Image',
        '32FC1 without a unit, until a measured scale is known (`scale_before: relative`).',
    ),
)
"""What every camera's stream publishes, each only while somebody subscribes. Reliable, keep last 1."""

NODE_OUTPUTS = (
    Interface(
        '/diagnostics',
        'diagnostic_msgs/msg/DiagnosticArray',
        'Once a second: one status of the model, one of each camera.',
    ),
)
"""What the node publishes once, for all cameras."""

SERVICES = (
    Interface(
        '~/save_snapshot',
        'std_srvs/srv/Trigger',
        'Write image, depth, cloud and camera of every stream into a new folder of `snapshot_directory`.',
    ),
    Interface(
        '~/list_checkpoints',
        'std_srvs/srv/Trigger',
        'List what `checkpoint` can be set to: the built-in weights and those in `checkpoint_directory`.',
    ),
)
"""What the node answers beside the services of every lifecycle node and of its parameters."""
