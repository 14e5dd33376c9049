"""The mailbox keeps the newest; the worker outlives everything."""

from __future__ import annotations

import threading
import time

from sidepth_ros.node.pipeline import Mailbox, Worker


def no_wait() -> float:
    return 0.0


def test_newer_item_takes_the_place_of_an_older_one() -> None:
    mailbox: Mailbox[int] = Mailbox(('front',))
    assert not mailbox.put('front', 1)
    assert mailbox.put('front', 2)
    assert mailbox.take(no_wait) == {'front': 2}
    assert not mailbox.put('front', 3)


def test_batch_waits_for_a_camera_that_is_alive() -> None:
    mailbox: Mailbox[int] = Mailbox(('front', 'left'))
    mailbox.put('left', 0)
    mailbox.take(no_wait)
    mailbox.put('front', 1)
    threading.Timer(0.05, mailbox.put, ('left', 2)).start()
    assert mailbox.take(lambda: 30.0) == {'front': 1, 'left': 2}


def test_batch_does_not_wait_for_a_camera_that_never_came() -> None:
    mailbox: Mailbox[int] = Mailbox(('front', 'left'))
    mailbox.put('front', 1)
    start = time.monotonic()
    assert mailbox.take(lambda: 30.0) == {'front': 1}
    assert time.monotonic() - start < 15


def test_batch_does_not_wait_for_a_camera_that_died() -> None:
    mailbox: Mailbox[int] = Mailbox(('front', 'left'), patience_s=0.05)
    mailbox.put('left', 0)
    mailbox.take(no_wait)
    time.sleep(0.1)
    mailbox.put('front', 1)
    start = time.monotonic()
    assert mailbox.take(lambda: 30.0) == {'front': 1}
    assert time.monotonic() - start < 15


def test_closed_mailbox_ends_the_wait() -> None:
    mailbox: Mailbox[int] = Mailbox(('front',))
    threading.Timer(0.05, mailbox.close).start()
    assert mailbox.take(no_wait) == {}


def test_worker_works_on_every_batch_and_stops() -> None:
    mailbox: Mailbox[int] = Mailbox(('front',))
    done: list[int] = []
    seen = threading.Event()

    def work(items: object) -> None:
        done.append(dict(items)['front'])
        seen.set()

    worker = Worker(mailbox, work, no_wait)
    for item in (1, 2, 3):
        seen.clear()
        mailbox.put('front', item)
        assert seen.wait(10)
    assert worker.stop(10)
    assert done == [1, 2, 3]


def test_stop_does_not_wait_for_ever() -> None:
    mailbox: Mailbox[int] = Mailbox(('front',))
    release = threading.Event()
    worker = Worker(mailbox, lambda _: release.wait(30) and None, no_wait)
    mailbox.put('front', 1)
    time.sleep(0.05)
    assert not worker.stop(0.05)
    release.set()
    assert worker.stop(10)
