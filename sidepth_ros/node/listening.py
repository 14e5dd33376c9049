"""The thread that hears a camera: it waits for its messages and for nothing else.

An executor waits for every service, timer and event of its node, and names them all to the middleware anew two or three
times a message. With large images that is half of what receiving one costs, and a service that takes its time holds
images up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from rclpy.callback_groups import CallbackGroup
from rclpy.guard_condition import GuardCondition
from rclpy.impl.implementation_singleton import rclpy_implementation as rcl
from rclpy.node import Node
from rclpy.subscription import Subscription

PAUSE_S = 0.1
"""Between two tries to wait, where the middleware fails to."""


class Aside(CallbackGroup):  # type: ignore[misc]  # rclpy is not followed
    """Keeps subscriptions and their events from the executor: a Listener takes them."""

    def can_execute(self, entity: object) -> bool:  # noqa: ARG002 - as rclpy has it
        """Return that the executor may not wait for an entity."""
        return False

    def beginning_execution(self, entity: object) -> bool:  # noqa: ARG002 - as rclpy has it
        """Return that the executor may not execute an entity."""
        return False

    def ending_execution(self, entity: object) -> None:
        """Do nothing: none has begun."""


class Listener:
    """Calls the callbacks of subscriptions that are `Aside`, and of their events, in a thread of its own.

    It waits as rclpy's own `wait_for_message` does.

    Args:
        node: Who has subscribed.
        subscriptions: What is heard; they may be destroyed after `stop`.
        failed: Called with what a callback or the middleware raised.
    """

    def __init__(self, node: Node, subscriptions: Sequence[Subscription], failed: Callable[[Exception], None]) -> None:
        self._context = node.context
        self._subscriptions = tuple(subscriptions)
        self._events = [event for subscription in subscriptions for event in subscription.event_handlers]
        self._failed = failed
        self._stopped = threading.Event()
        self._wake = GuardCondition(callback=None, callback_group=None, context=node.context)
        self._thread = threading.Thread(target=self._run, name='sidepth listener', daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Call no more callbacks; the one at work ends."""
        self._stopped.set()
        self._wake.trigger()
        self._thread.join()

    def _run(self) -> None:
        with ExitStack() as in_use:
            for entity in (*(each.handle for each in self._subscriptions), *self._events, self._wake.handle):
                in_use.enter_context(entity)
            waiting = rcl.WaitSet(len(self._subscriptions), 1, 0, 0, 0, len(self._events), self._context.handle)
            while not self._stopped.is_set() and self._context.ok():
                try:
                    self._hear(waiting)
                except Exception as error:  # noqa: BLE001, PERF203 - the next message gets its chance
                    if self._context.ok():
                        self._failed(error)
                        self._stopped.wait(PAUSE_S)

    def _hear(self, waiting: rcl.WaitSet) -> None:
        """Wait until there is something, and call back for it."""
        waiting.clear_entities()
        waiting.add_guard_condition(self._wake.handle)
        for subscription in self._subscriptions:
            waiting.add_subscription(subscription.handle)
        for event in self._events:
            event.add_to_wait_set(waiting)
        waiting.wait(-1)
        ready = waiting.get_ready_entities('subscription')
        for subscription in self._subscriptions:
            if subscription.handle.pointer in ready and not self._stopped.is_set():
                self._call(partial(_taken, subscription), subscription.callback)
        for event in self._events:
            if event.is_ready(waiting) and not self._stopped.is_set():
                self._call(event.take_data, event.callback)

    def _call(self, take: Callable[[], object], callback: Callable[[object], None]) -> None:
        try:
            taken = take()
            if taken is not None:
                callback(taken)
        except Exception as error:  # noqa: BLE001 - it costs what it was called for, not the others
            self._failed(error)


def _taken(subscription: Subscription) -> object:
    """Return the message that waits; None where another one's arrival was told twice."""
    taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
    return None if taken is None else taken[0]
