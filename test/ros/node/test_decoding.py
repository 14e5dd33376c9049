"""The next image is decoded while the network is at work on this one; what is published, and in which order, stays.

The network of these tests runs when it is told to, so that nothing here depends on how fast anything is.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('rclpy', reason='rclpy is not installed: `make setup` brings it, or source a ROS 2 install')

import rclpy
from rclpy.lifecycle import LifecycleNode
from ros_graph import PATIENCE_S, FakeCamera, Graph, stamp_of
from sensor_msgs.msg import Image

from sidepth_core.errors import ImageFormatError
from sidepth_core.inference import DepthEstimator
from sidepth_ros.messages import Frame, decode_message
from sidepth_ros.node import stream as stream_module
from sidepth_ros.node.camera_input import CameraInput
from sidepth_ros.node.camera_output import CameraOutput
from sidepth_ros.node.decoding import Once, is_worth_decoding
from sidepth_ros.node.model import Model, load_estimator, make_scale
from sidepth_ros.node.parameters import Settings
from sidepth_ros.node.statistics import Statistics
from sidepth_ros.node.stream import BAD_IMAGE, REPLACED, DepthWorker, Stream


class GatedEstimator:
    """A real network that waits at a gate before each pass."""

    def __init__(self, estimator: DepthEstimator) -> None:
        self._estimator = estimator
        self.entered, self.gate = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._estimator, name)

    def depth(self, *arguments: object) -> torch.Tensor:
        self.entered.set()
        assert self.gate.wait(PATIENCE_S)
        return self._estimator.depth(*arguments)


class Bench:
    """A worker with real cameras, publishers and network, and a list of the images that were decoded."""

    def __init__(
        self, graph: Graph, settings: Settings, real: DepthEstimator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.graph = graph
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=graph.domain_id)
        self._node = LifecycleNode('depth', context=self._context)
        self.streams = {name: self._stream(name) for name in settings.cameras}
        self._node.trigger_configure()
        self._node.trigger_activate()
        self.cameras = {name: FakeCamera(graph, f'{name}/') for name in settings.cameras}
        self.decoded: list[tuple[str, int]] = []
        self._decoded = threading.Condition()
        monkeypatch.setattr(stream_module, 'decode_message', self._decode)
        self.warnings: list[str] = []
        self.worker = DepthWorker(
            self.streams,
            lambda: self._node.get_clock().now().nanoseconds,
            warn=self.warnings.append,
            around=lambda *_: None,
            broken=self.warnings.append,
        )
        self.network = GatedEstimator(real)
        self.worker.configure(Model(self.network, make_scale(settings, real.info)), settings)
        self.worker.start()

    def _stream(self, name: str) -> Stream:
        statistics = Statistics()
        source = CameraInput(self._node, f'{name}/', 'compressed', statistics, print, print, print)
        return Stream(name, source, CameraOutput(self._node, f'{name}/'), statistics)

    def _decode(self, message: object, *arguments: object) -> object:
        with self._decoded:
            self.decoded.append((threading.current_thread().name, stamp_of(message)))
            self._decoded.notify_all()
        return decode_message(message, *arguments)

    def wait_until_decoded(self, stamp_ns: int) -> None:
        with self._decoded:
            assert self._decoded.wait_for(lambda: stamp_ns in [stamp for _, stamp in self.decoded], PATIENCE_S)

    def deliver(self, name: str, received_s: float, spoil: Callable[[object], None] = lambda _: None) -> int:
        """Hand the worker the next JPEG of a camera, as its subscription does; return its stamp."""
        camera = self.cameras[name]
        camera.stamp_ns += 100_000_000
        message = camera.compressed()
        spoil(message)
        self.worker.deliver(name, Frame(message, camera.info(), received_s))
        return camera.stamp_ns

    def start_network(self, name: str) -> int:
        """Deliver a first image, and wait until the network has it; its pass ends when the gate opens."""
        stamp = self.deliver(name, 0.0)
        assert self.network.entered.wait(PATIENCE_S)
        return stamp

    def close(self) -> None:
        self.network.gate.set()
        self.worker.stop()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)


@pytest.fixture(scope='module')
def settings(tiny_checkpoint: Path) -> Settings:
    return Settings(checkpoint=str(tiny_checkpoint), device='cpu', cameras=('front', 'left'), batch_wait=0.0)


@pytest.fixture(scope='module')
def estimator(settings: Settings) -> DepthEstimator:
    return load_estimator(settings, len(settings.cameras))


@pytest.fixture
def bench(
    graph: Graph, settings: Settings, estimator: DepthEstimator, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    opened = Bench(graph, settings, estimator, monkeypatch)
    yield opened
    opened.close()


def test_newest_image_is_decoded_once_while_the_network_is_at_work_and_published_next(bench: Bench) -> None:
    with bench.graph.hearing(Image, 'front/depth/image') as heard:
        bench.graph.spin_until(bench.streams['front'].output.wanted, 'a known subscriber')
        first = bench.start_network('front')
        # One that nobody listens to first: what is decoded after it shows that its turn has come and gone.
        unheard = bench.deliver('left', 1e9)
        replaced = bench.deliver('front', 1e9)
        bench.wait_until_decoded(replaced)
        newest = bench.deliver('front', 1e9)
        bench.wait_until_decoded(newest)
        assert not heard, 'the network was to be at work all the while'
        bench.network.gate.set()
        bench.graph.spin_until(lambda: len(heard) == 2, 'two depth images')
        bench.graph.spin_until_quiet(heard)
    assert [stamp_of(message) for message in heard] == [first, newest]
    assert [stamp for _, stamp in bench.decoded] == [first, replaced, newest]
    assert [name for name, stamp in bench.decoded if stamp in (replaced, newest)] == ['sidepth decoder'] * 2
    assert unheard not in [stamp for _, stamp in bench.decoded]
    assert bench.streams['front'].statistics.report().dropped == {REPLACED: 1}
    assert bench.streams['left'].statistics.report().skipped == 1
    # All are of the same picture: decoded by one thread or the other, depth is the same to the last bit.
    assert np.array_equal(heard[0].data, heard[1].data)


def test_image_that_cannot_be_decoded_ahead_is_dropped_once_and_the_next_one_is_not(bench: Bench) -> None:
    def cut(message: object) -> None:
        message.data = message.data[: len(message.data) // 2]

    with bench.graph.hearing(Image, 'front/depth/image') as heard:
        bench.graph.spin_until(bench.streams['front'].output.wanted, 'a known subscriber')
        first = bench.start_network('front')
        bench.wait_until_decoded(bench.deliver('front', 1e9, cut))
        bench.network.gate.set()
        bench.graph.spin_until(lambda: bench.streams['front'].statistics.report().dropped, 'a dropped image')
        good = bench.deliver('front', 2e9)
        bench.graph.spin_until(lambda: len(heard) == 2, 'depth of the good image')
    assert [stamp_of(message) for message in heard] == [first, good]
    assert bench.streams['front'].statistics.report().dropped == {BAD_IMAGE: 1}
    assert len(bench.warnings) == 1
    assert 'JPEG' in bench.warnings[0]


def test_image_that_a_newer_one_will_replace_is_not_decoded() -> None:
    # A batch that is done at 10 s, images every 2 s: of those at 5, 7 and 9 s only the last one is there to stay.
    assert [received_s for received_s in (5.0, 7.0, 9.0) if is_worth_decoding(received_s, 2.0, 10.0)] == [9.0]
    assert is_worth_decoding(12.0, 2.0, 10.0), 'a batch that takes longer than the last one'
    assert not is_worth_decoding(9.0, math.nan, 10.0)
    assert not is_worth_decoding(9.0, 2.0, math.inf), 'a worker without work takes it at once'
    assert is_worth_decoding(9.0, math.nan, -math.inf), 'a worker that waits for the other cameras'


def test_value_is_made_once_however_many_threads_ask() -> None:
    calls = []
    everyone = threading.Barrier(4)

    def make() -> int:
        calls.append(threading.current_thread())
        return len(calls)

    once, answers = Once(make), []

    def ask() -> None:
        everyone.wait(PATIENCE_S)
        answers.append(once())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert answers == [1, 1, 1, 1]


def test_what_making_raises_everyone_hears() -> None:
    calls = []

    def make() -> int:
        calls.append(1)
        raise ImageFormatError('cut short')

    once = Once(make)
    for _ in range(2):
        with pytest.raises(ImageFormatError, match='cut short'):
            once()
    assert len(calls) == 1
