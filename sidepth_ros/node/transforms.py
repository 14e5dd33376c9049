"""Where sensors sit: static transforms of a parameter, and TF where the ROS install has tf2_ros.

tf2_msgs are on no package index, so a Python-only install has no type to subscribe /tf with: there the parameter
`transforms` says what TF would. Convention: T_a_b maps points of frame b into frame a.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
from rclpy.node import Node
from rclpy.time import Time

from sidepth_core.data.tracks import chain, rigid, rotation_of_quaternion

Floats = npt.NDArray[np.float64]


class Transforms:
    """Looks transforms up; safe to be asked from any thread.

    Args:
        node: Who listens to TF.
        static: T_parent_child of the parameter; what it knows wins over TF.
    """

    def __init__(self, node: Node, static: dict[tuple[str, str], Floats]) -> None:
        self.static = static
        self._listener: Any = None
        self._buffer: Any = None
        if find_spec('tf2_ros') is not None:
            tf2 = import_module('tf2_ros')
            self._buffer = tf2.Buffer()
            self._listener = tf2.TransformListener(self._buffer, node, spin_thread=False)

    @property
    def hears_tf(self) -> bool:
        """Whether this install can listen to TF at all."""
        return self._buffer is not None

    def close(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.unregister()
        self._listener = self._buffer = None

    def __call__(self, target: str, source: str) -> Floats | None:
        """Return T_target_source, (4, 4), the newest there is; None where nothing connects the two."""
        found = chain(self.static, target, source)
        if found is None and self._buffer is not None:
            try:
                message = self._buffer.lookup_transform(target.lstrip('/'), source.lstrip('/'), Time())
            except Exception:  # noqa: BLE001 - tf2's errors share no base class that is the same in all distributions
                return None
            turn, place = message.transform.rotation, message.transform.translation
            found = rigid(rotation_of_quaternion(turn.x, turn.y, turn.z, turn.w), (place.x, place.y, place.z))
        return found

    def missing(self, target: str, source: str) -> str:
        """Return what to do where nothing connects two frames."""
        told = 'publish it in /tf_static, or' if self.hears_tf else 'this install has no tf2_ros:'
        return f'no transform from {source!r} to {target!r}: {told} name it in the parameter transforms'
