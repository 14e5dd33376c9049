"""Newest frame only: a mailbox that keeps one item per camera, and a thread that empties it.

A queue.Queue of one item a camera could neither replace what waits nor hand over all cameras at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

T = TypeVar('T')


class Mailbox(Generic[T]):
    """One slot per camera; a newer item takes the place of one that was not fetched yet.

    Args:
        names: The cameras.
        patience_s: How long ago a camera's last item may be for a batch to wait for its next.
    """

    def __init__(self, names: tuple[str, ...], patience_s: float = 1.0) -> None:
        self._slots: dict[str, T] = {}
        self._last_put = dict.fromkeys(names, -float('inf'))
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._closed = False

    def put(self, name: str, item: T) -> bool:
        """Put an item into a camera's slot, and return whether one was lost for it."""
        with self._changed:
            lost = name in self._slots
            self._slots[name] = item
            self._last_put[name] = time.monotonic()
            self._changed.notify()
        return lost

    def take(self, wait_s: Callable[[], float]) -> Mapping[str, T]:
        """Wait for an item, then up to `wait_s` more for the other cameras that are alive, and return all there are.

        Args:
            wait_s: Asked once the first item is there.

        Returns:
            Items by camera; empty once the mailbox is closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._slots)
            if not self._closed:
                self._changed.wait_for(self._is_complete, timeout=wait_s())
            items, self._slots = self._slots, {}
            return {} if self._closed else items

    def _is_complete(self) -> bool:
        oldest = time.monotonic() - self._patience_s
        alive = {name for name, last in self._last_put.items() if last >= oldest}
        return self._closed or alive <= self._slots.keys()

    def close(self) -> None:
        """Let `take` return at once, with nothing, from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Worker(Generic[T]):
    """The thread that takes what the mailbox has and works on it, one batch after another.

    Args:
        mailbox: Where work comes from.
        work: Called with the items of each batch; it must not raise.
        wait_s: Asked for every batch: how long to wait for the other cameras.
        name: Of the thread.
    """

    def __init__(
        self,
        mailbox: Mailbox[T],
        work: Callable[[Mapping[str, T]], None],
        wait_s: Callable[[], float],
        name: str = 'sidepth worker',
    ) -> None:
        self._mailbox = mailbox
        self._work = work
        self._wait_s = wait_s
        self._busy_since: float | None = None
        # A daemon: a network stuck in a driver must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while items := self._mailbox.take(self._wait_s):
            self._busy_since = time.monotonic()
            self._work(items)
            self._busy_since = None

    def fault(self, timeout_s: float) -> str:
        """Return why this thread does no work any more; empty where it does.

        Args:
            timeout_s: How long a batch may take.
        """
        if not self._thread.is_alive():
            return 'the worker thread has died'
        since = self._busy_since
        busy_s = 0.0 if since is None else time.monotonic() - since
        if busy_s <= timeout_s:
            return ''
        return f'the worker thread has hung for {busy_s:.1f} s, allowed are {timeout_s:g} s (worker_timeout)'

    def stop(self, timeout_s: float) -> bool:
        """Close the mailbox, wait for the batch at work to end, and return whether it did in time."""
        self._mailbox.close()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()
