"""Images decoded ahead: the next one while the network is at work on this one, for a JPEG needs no interpreter lock."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Generic, NamedTuple, TypeVar

from sidepth_core.data.frames import Image
from sidepth_ros.messages import Frame
from sidepth_ros.node.pipeline import Mailbox, Worker

T = TypeVar('T')


class Once(Generic[T]):
    """A value that the first thread that asks makes; others that ask meanwhile wait for it.

    Args:
        make: Makes it. What it raises is raised for everyone who asks.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make: Callable[[], T] | None = make
        self._made: Future[T] = Future()
        self._lock = threading.Lock()

    def __call__(self) -> T:
        """Return the value."""
        with self._lock:
            make, self._make = self._make, None
            if make is not None:
                try:
                    self._made.set_result(make())
                except Exception as error:  # noqa: BLE001 - it is raised below
                    self._made.set_exception(error)
        return self._made.result()


class Arrival(NamedTuple):
    """A frame that waits for its turn.

    Attributes:
        frame: The messages.
        image: Its RGB image, (H, W, 3) uint8; raises what decoding raises.
    """

    frame: Frame
    image: Once[Image]


class Decoder:
    """The thread that decodes what waits, as long as the worker is busy with what came before.

    It neither keeps nor drops anything: which image is the newest is the worker's mailbox' business, and an image that
    was not decoded here is decoded by the worker when its turn comes.

    Args:
        names: The cameras.
        is_wanted: Whether anybody listens to a camera's depth; nothing is decoded for nobody.
    """

    def __init__(self, names: Sequence[str], is_wanted: Callable[[str], bool]) -> None:
        self._is_wanted = is_wanted
        self._idle_due_s = math.inf if len(names) == 1 else -math.inf
        self._due_s = self._idle_due_s
        self._batch_s = 0.0
        self._received_s = dict.fromkeys(names, math.nan)
        self._mailbox: Mailbox[Arrival] = Mailbox(tuple(names))
        self._thread = Worker(self._mailbox, self._decode, lambda: 0.0, 'sidepth decoder')

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Tell that the worker has a batch at work; the next one will take as long, for all that is known."""
        start = time.monotonic()
        self._due_s = start + self._batch_s
        try:
            yield
        finally:
            self._batch_s = time.monotonic() - start
            # A worker without work takes what comes at once, unless it waits for the other cameras.
            self._due_s = self._idle_due_s

    def offer(self, name: str, arrival: Arrival) -> None:
        """Take the newest arrival of a camera, and decode it if it is likely to be that still when its turn comes."""
        received_s = arrival.frame.received_s
        interval_s = received_s - self._received_s[name]
        self._received_s[name] = received_s
        if is_worth_decoding(received_s, interval_s, self._due_s):
            self._mailbox.put(name, arrival)

    def stop(self, timeout_s: float) -> None:
        """Stop the thread; an image at work gets a moment to end."""
        self._thread.stop(timeout_s)

    def _decode(self, arrivals: Mapping[str, Arrival]) -> None:
        for name, arrival in arrivals.items():
            with suppress(Exception):  # the worker asks again, and says what is wrong
                if self._is_wanted(name):
                    arrival.image()


def is_worth_decoding(received_s: float, interval_s: float, due_s: float) -> bool:
    """Return whether an image that has come will still be its camera's newest when the worker asks for the next one.

    On a slow computer several images come while one batch is at work. All but the last are replaced undecoded: to
    decode each would take time from the network.

    Args:
        received_s: When it came, time.monotonic().
        interval_s: Time since the one before, which the next one will take too; NaN for the first one.
        due_s: When the batch at work will be done.
    """
    return received_s >= due_s if math.isnan(interval_s) else received_s + interval_s >= due_s
