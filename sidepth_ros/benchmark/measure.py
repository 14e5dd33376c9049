"""What is measured of the depth node, and the node that it is compared with."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sidepth_core.benchmarks.inference import cores
from sidepth_core.benchmarks.row import Request, Row
from sidepth_core.errors import SidepthError
from sidepth_ros.benchmark.profile import profile
from sidepth_ros.benchmark.stage import NETWORK_CLOCK, SETTLE_S, Stage, Window, memory_mib, processor_s
from sidepth_ros.demo.processes import process
from sidepth_ros.fastdds import profile_environment, shared_memory_profile

ABOUT = """\
One process sends images and listens; another one is the node, with one thread for its network. Latency is from an
image's stamp to its depth at the listener, delivery included. Overhead is the node's processor time for an image (all
its threads, those of DDS among them) less what its network takes there, by the node's own clock, the median: what is
left is receiving, decoding, resizing, gates, cloud, messages and sending. `p50 ms` is the median of what the same clock
says of its work beside the network, which receiving and sending in other threads are no part of. `processor` is the
share of one core that the node takes. The plain node has the same network, and copies, `tobytes()` and a NumPy cloud
around it. With several cameras, images of 640x480 come ten times a second from each; one process has as many threads
for its network as there are cores, each of several processes its share of them.
"""

SIZES = ((640, 480), (1280, 720))
CURVE = ((320, 240), (640, 480), (1280, 720), (1920, 1080))
BOTH = ('depth/image', 'depth/points')
LISTENING = {'nobody listens': (), 'depth': BOTH[:1], 'depth and cloud': BOTH, 'depth and cloud, two of each': 2 * BOTH}
TRANSPORTS = ('raw', 'compressed')
RATES_HZ = (15.0, 30.0)
OWN_CLOCK = 'beside the network per batch p50 [ms]'
"""What the node itself says, in diagnostics."""
CAMERAS = (1, 2, 4, 8)
SEVERAL = 4
LATENCY, THROUGHPUT = 'latency of', 'images of'
WANTED_MS = {'network': 6.0, 'full': 15.0}
"""Overhead that is promised for 1280x720 rgb8, by output_size."""
WANTED_RATIO = 1 / 3


class Node(NamedTuple):
    """A node under test."""

    pid: int
    log: Path


def rows(request: Request) -> Iterator[Row]:
    """Yield the node's overhead against a plain node's, its latencies, and its curves, in windows of some seconds."""
    os.environ.update(profile_environment(shared_memory_profile()))
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    seconds = 4.0 if request.quick else 6.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield from overhead(request, folder, seconds)
        yield from profile(request)
        if not request.quick:
            yield from conditions(request, folder, seconds / 2)
            yield from pixels(request, folder, seconds / 2)
            yield from cameras(request, folder, seconds / 2)
            yield from processes(request, folder, seconds)


@contextmanager
def depth_node(
    request: Request, folder: Path, *parameters: str, threads: int = 1, name: str = 'depth'
) -> Iterator[Node]:
    """Run the depth node with these parameters, under a name."""
    given = [f'checkpoint:={request.checkpoint}'] if request.checkpoint else []
    pairs = [word for text in (f'threads:={threads}', 'device:=cpu', *given, *parameters) for word in ('-p', text)]
    command = ['sidepth_ros.node.main', '--ros-args', '-r', f'__node:={name}', *pairs]
    with process(name, command, folder) as running:
        yield Node(running.pid, running.log)


@contextmanager
def plain_node(folder: Path, output: str, transport: str = 'raw') -> Iterator[Node]:
    """Run the plain node, its depth of `output` size."""
    with process('peer', ['sidepth_ros.benchmark.peer', output, transport], folder) as running:
        yield Node(running.pid, running.log)


def overhead(request: Request, folder: Path, seconds: float) -> Iterator[Row]:
    """Yield what 1280x720 rgb8 costs beside the network, in the plain node and in ours."""
    for output in ('network', 'full'):
        with closing(Stage()) as stage, plain_node(folder, output) as peer:
            plain_ms, network_ms, _ = heard(stage, peer, seconds)
        parameters = (f'output_size:={output}', 'cloud_stride:=2')
        with closing(Stage()) as stage, depth_node(request, folder, *parameters) as node:
            ours_ms, _, own_clock_ms = heard(stage, node, seconds)
        what = f'overhead, 1280x720 rgb8 at 10 Hz, {output}-size depth and stride-2 cloud'
        note = f'beside {network_ms:.0f} ms of network'
        yield Row(f'{what}, plain node', plain_ms, 'ms', note=note, figures={'p50 ms': math.nan})
        ratio, limit = ours_ms / plain_ms, WANTED_MS[output]
        met = bool(ours_ms <= limit and ratio <= WANTED_RATIO)
        figures = {'p50 ms': own_clock_ms}
        yield Row(what, ours_ms, 'ms', 'plain', ratio, f'at most {limit:g} ms and a third', met, figures=figures)


def heard(stage: Stage, node: Node, seconds: float) -> tuple[float, float, float]:
    """Return overhead, network and own clock, milliseconds, while depth and cloud of 1280x720 are listened to."""
    stage.listen(LISTENING['depth and cloud'])
    stage.wait_until_heard(node.log)
    window = stage.run(node.pid, (1280, 720), 10.0, seconds)
    if not window.latencies_ms:
        raise SidepthError(f'no depth was heard from the node: {node.log.read_text(encoding="utf-8")[-500:]!r}')
    network_ms = stage.told(NETWORK_CLOCK)
    return window.cpu_ms - network_ms, network_ms, stage.told(OWN_CLOCK)


def conditions(request: Request, folder: Path, seconds: float) -> Iterator[Row]:
    """Yield latency, drops, processor share and overhead for every transport, size, rate and number of listeners.

    The plain node stands beside where depth and cloud are listened to.
    """
    for transport in TRANSPORTS:
        parameters = (f'image_transport:={transport}', 'cloud_stride:=2')
        with closing(Stage(transport=transport)) as stage, depth_node(request, folder, *parameters) as node:
            yield from _windows(stage, node, transport, LISTENING, seconds)
        with closing(Stage(transport=transport)) as stage, plain_node(folder, 'full', transport) as peer:
            yield from _windows(stage, peer, transport, {'depth and cloud, plain node': BOTH}, seconds)


def _windows(
    stage: Stage, node: Node, transport: str, listening: Mapping[str, Sequence[str]], seconds: float
) -> Iterator[Row]:
    stage.listen(BOTH)
    stage.wait_until_heard(node.log)
    for (width, height), rate_hz in ((size, rate) for size in SIZES for rate in RATES_HZ):
        for who, topics in listening.items():
            stage.listen(topics)
            window = stage.run(node.pid, (width, height), rate_hz, seconds)
            yield latency_row(f'{width}x{height} {transport}, {rate_hz:g} Hz, {who}', window, stage.told(NETWORK_CLOCK))


def pixels(request: Request, folder: Path, seconds: float) -> Iterator[Row]:
    """Yield the latency of images of growing size, at five a second."""
    with closing(Stage()) as stage, depth_node(request, folder, 'cloud_stride:=2') as node:
        stage.listen(LISTENING['depth'])
        stage.wait_until_heard(node.log)
        for width, height in CURVE:
            window = stage.run(node.pid, (width, height), 5.0, seconds)
            yield latency_row(f'{LATENCY} {width}x{height} raw, 5 Hz, depth', window, stage.told(NETWORK_CLOCK))


def cameras(request: Request, folder: Path, seconds: float) -> Iterator[Row]:
    """Yield how many images a second one process answers, from more and more cameras."""
    for count in CAMERAS:
        names = [f'camera{index}' for index in range(count)]
        with closing(Stage(names)) as stage, depth_node(request, folder, f'cameras:={json.dumps(names)}') as node:
            stage.listen(LISTENING['depth'])
            stage.wait_until_heard(node.log)
            window = stage.run(node.pid, (640, 480), 10.0, seconds)
        figures = {'sent 1/s': window.sent / seconds, 'processor': window.cpu_s / seconds}
        answered = len(window.latencies_ms) / seconds
        yield Row(f'{THROUGHPUT} {count} camera{"s" * (count > 1)} in one process', answered, '1/s', figures=figures)


def processes(request: Request, folder: Path, seconds: float) -> Iterator[Row]:
    """Yield how many images of four cameras are answered by four processes, and by one, on the same cores."""
    names, count = [f'camera{index}' for index in range(SEVERAL)], cores()
    each = max(1, count // SEVERAL)
    with closing(Stage(names)) as stage, ExitStack() as stack:
        nodes = [
            stack.enter_context(
                depth_node(request, folder, f'cameras:=["{name}"]', threads=each, name=name)
            )
            for name in names
        ]
        apart = answered(stage, nodes, seconds)
    every = f'cameras:={json.dumps(names)}'
    with closing(Stage(names)) as stage, depth_node(request, folder, every, threads=count) as one:
        together = answered(stage, [one], seconds)
    what = f'{SEVERAL} cameras of 640x480 at 10 Hz on {count} cores'
    for who, found, ratio in (('four processes', apart, None), ('one process', together, together.rate / apart.rate)):
        wanted, met = ('at least 1', ratio >= 1) if ratio else ('', None)
        figures = {'processor ms an image': found.cpu_ms, 'MiB': found.mib}
        against = 'four processes' if ratio else ''
        yield Row(f'{what}, {who}', found.rate, 'images/s', against, ratio, wanted, met, figures=figures)


class Answered(NamedTuple):
    """What some nodes together do: images a second, processor time for each, and memory."""

    rate: float
    cpu_ms: float
    mib: float


def answered(stage: Stage, nodes: Sequence[Node], seconds: float) -> Answered:
    """Return what nodes do with the images of all cameras of a stage, of which depth is listened to."""
    stage.listen(LISTENING['depth'])
    for node in nodes:
        stage.wait_until_heard(node.log)
    first, *others = (node.pid for node in nodes)
    before_s = sum(map(processor_s, others))
    window = stage.run(first, (640, 480), 10.0, seconds)
    # The first one's time is that of the window; the others' includes the second before it.
    cpu_s = window.cpu_s + (sum(map(processor_s, others)) - before_s) * seconds / (seconds + SETTLE_S)
    count = len(window.latencies_ms)
    return Answered(count / seconds, 1e3 * cpu_s / max(1, count), sum(memory_mib(node.pid) for node in nodes))


def latency_row(what: str, window: Window, network_ms: float) -> Row:
    """Return a window as a row: the median latency with all else beside it.

    Args:
        what: The condition.
        window: What was seen.
        network_ms: What the network takes of an image's processor time.
    """
    p50, p95, p99 = percentiles(window.latencies_ms)
    dropped = window.sent - len(window.latencies_ms) if window.latencies_ms else math.nan
    beside_ms = window.cpu_ms - network_ms if window.latencies_ms else math.nan
    figures = {'p95': p95, 'p99': p99, 'dropped': dropped, 'processor': window.cpu_s / window.seconds}
    return Row(what, p50, 'ms', figures={**figures, 'overhead ms': beside_ms})


def percentiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the 50th, 95th and 99th percentile; NaN of nothing."""
    if not values:
        return math.nan, math.nan, math.nan
    p50, p95, p99 = np.percentile(values, [50, 95, 99]).tolist()
    return p50, p95, p99
