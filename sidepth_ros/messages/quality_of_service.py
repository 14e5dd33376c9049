"""Quality of service: what the node asks for, and what a mismatch is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.qos import HistoryPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy, qos_policy_name_from_kind
from rclpy.qos_overriding_options import QoSOverridingOptions

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks, UnsupportedEventTypeError


def input_qos(depth: int = 1) -> QoSProfile:
    """Return sensor-data QoS with the newest message only: an old image is of no use; more for what adds up."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)


def output_qos() -> QoSProfile:
    """Return reliable QoS, which best-effort subscribers take as well; depth_image_proc takes nothing else."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE)


def overridable() -> QoSOverridingOptions:
    """Return the options that let qos_overrides.TOPIC.(publisher|subscription).* parameters change a profile."""
    kinds = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)
    return QoSOverridingOptions(kinds)


def policy_name(kind: int) -> str:
    """Return the name of the policy that an incompatible-QoS event names."""
    return str(qos_policy_name_from_kind(kind)).lower()


def watch(incompatible: Callable[[Any], None], lost: Callable[[Any], None] | None) -> SubscriptionEventCallbacks:
    """Return the event callbacks of a subscription: these, and none that rclpy adds by itself.

    The executor looks at each event of each topic for every message, and diagnostics say which types do not match.
    """
    return SubscriptionEventCallbacks(incompatible_qos=incompatible, message_lost=lost, use_default_callbacks=False)


def unwatched() -> PublisherEventCallbacks:
    """Return the event callbacks of a publisher: none, for the same reason; its subscribers' own say what they miss."""
    return PublisherEventCallbacks(use_default_callbacks=False)


__all__ = ['UnsupportedEventTypeError', 'input_qos', 'output_qos', 'overridable', 'policy_name', 'unwatched', 'watch']
