"""The table of parameters as rclpy wants it declared."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from sidepth_ros.node.parameters import SPECS, Settings, Spec, misspelt


def descriptor(spec: Spec) -> ParameterDescriptor:
    """Return what ROS tools show of a parameter, and check before the node does."""
    kind = Parameter.Type.from_parameter_value(spec.default)
    message = ParameterDescriptor(
        name=spec.name, type=kind.value, description=spec.description, read_only=spec.read_only
    )
    if spec.choices:
        message.additional_constraints = f'one of {", ".join(spec.choices)}'
    if isinstance(spec.default, float):
        # A whole number is a number: `max_age: 1` must not be refused for want of a decimal point.
        message.dynamic_typing = True
        message.floating_point_range = [FloatingPointRange(from_value=spec.low or 0.0, to_value=spec.high or 0.0)]
    elif isinstance(spec.default, int) and not isinstance(spec.default, bool):
        message.integer_range = [IntegerRange(from_value=int(spec.low or 0), to_value=int(spec.high or 0), step=1)]
    return message


def declare(node: Node) -> Settings:
    """Declare every parameter and return the values that the user gave, or the defaults.

    Raises:
        ConfigError: If values are out of range or contradict each other.
    """
    declared = [node.declare_parameter(spec.name, spec.default, descriptor(spec)) for spec in SPECS.values()]
    for sentence in misspelt(getattr(node, '_parameter_overrides', {})):
        node.get_logger().warning(sentence)
    return Settings(**cast('Any', values_of(declared)))


def values_of(parameters: Iterable[Parameter]) -> dict[str, object]:
    """Return the values of those parameters that are ours, as Settings takes them."""
    return {item.name: _plain(item.value, SPECS[item.name]) for item in parameters if item.name in SPECS}


def _plain(value: object, spec: Spec) -> object:
    if isinstance(spec.default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return tuple(value) if isinstance(spec.default, tuple) and isinstance(value, (list, tuple)) else value


def as_parameters(settings: Settings, names: Iterable[str]) -> list[Parameter]:
    """Return some values of settings as rclpy's parameters."""
    return [Parameter(name, value=getattr(settings, name)) for name in names]
