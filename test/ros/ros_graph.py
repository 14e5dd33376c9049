"""A test's side of a real ROS graph: the depth node as a process of its own, cameras and listeners in this one.

Waits are generous and end as soon as what they wait for is there: a busy machine makes a test slow, not red.
"""

from __future__ import annotations

import array
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import rclpy
import torch
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import GetParameters, SetParametersAtomically
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from sidepth_core.checkpoint import Checkpoint, CheckpointInfo, save_checkpoint
from sidepth_core.models import DepthNet

ROOT = Path(__file__).parents[2]
PATIENCE_S = 180.0
"""How long anything may take on a busy machine before a test gives up on it."""
RETRY_S = 20.0
"""How long a service is waited for before it is looked for, or asked, once more."""
REPEATABLE = (GetState, GetParameters, SetParametersAtomically)
"""Services that may be asked twice."""


def write_checkpoint(folder: Path, seed: int, *, scale: str = 'metric', **fields: Any) -> Path:
    """Write a checkpoint of random weights; fields are more of its CheckpointInfo's."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = DepthNet('tf_efficientnet_lite0').eval()
    info = CheckpointInfo('tf_efficientnet_lite0', 64, 32, scale=scale, scale_note='random weights of a test', **fields)
    save_checkpoint(folder, Checkpoint(network, None, info))
    return folder


class Process:
    """A node in a process of its own, its output in a file."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open('w') as output:
            self._process = subprocess.Popen(
                command, env=dict(environment), stdout=output, stderr=subprocess.STDOUT, cwd=ROOT
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def said(self) -> str:
        return self.log.read_text()

    def wait_for_words(self, words: str, timeout_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + timeout_s
        while words not in self.said():
            assert self.is_running, f'the process ended before it said {words!r}:\n{self.said()}'
            assert time.monotonic() < deadline, f'it never said {words!r}:\n{self.said()}'
            time.sleep(0.05)

    def end(self, number: int = signal.SIGINT, timeout_s: float = 20.0) -> int:
        """Send a signal, wait, and return the exit status."""
        if self.is_running:
            self._process.send_signal(number)
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise


class Graph:
    """This process's node: cameras that publish, listeners that keep what they hear."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._environment = environment
        self._folder = folder
        self._context = rclpy.Context()
        self.domain_id = int(environment['ROS_DOMAIN_ID'])
        rclpy.init(context=self._context, domain_id=self.domain_id)
        self.node = rclpy.create_node('tester', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.processes: list[Process] = []
        self._clients: dict[tuple[str, int], Any] = {}

    def start(
        self,
        checkpoint: Path | str,
        *arguments: str,
        program: Sequence[str] = ('-m', 'sidepth_ros.node.main'),
        **parameters: object,
    ) -> Process:
        """Start a depth node with these parameters; it activates itself unless told otherwise."""
        values = {'checkpoint': str(checkpoint), 'threads': 1, **parameters}
        pairs = [part for name, value in values.items() for part in ('-p', f'{name}:={_as_yaml(value)}')]
        command = [sys.executable, *program, '--ros-args', *arguments, *pairs]
        process = Process(command, self._environment, self._folder / f'node{len(self.processes)}.log')
        self.processes.append(process)
        return process

    def sleeping_node(self) -> Any:
        """Return a node that is on the graph and never spins; it is the caller's to destroy."""
        return rclpy.create_node('sleeper', context=self._context)

    @contextmanager
    def hearing(self, kind: type, topic: str, qos: object = 10) -> Iterator[list[Any]]:
        """Subscribe as long as the context lasts; the list holds every message that came."""
        heard: list[Any] = []
        subscription = self.node.create_subscription(kind, topic, heard.append, qos)
        yield heard
        self.node.destroy_subscription(subscription)

    def spin(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=min(left, 0.05))

    def spins_until(self, done: Callable[[], object], timeout_s: float) -> bool:
        """Spin until something is true, and return whether it became true in time."""
        deadline = time.monotonic() + timeout_s
        while not (is_done := bool(done())) and time.monotonic() < deadline:
            self._executor.spin_once(timeout_sec=0.02)
        return is_done

    def spin_until(self, done: Callable[[], object], what: str, timeout_s: float = PATIENCE_S) -> None:
        """Spin until something is true, or fail with what was waited for and what the nodes said."""
        assert self.spins_until(done, timeout_s), f'waited {timeout_s:g} s for {what}; the nodes said:\n{self.said()}'

    def spin_until_quiet(self, *heard: list[Any], seconds: float = 0.5) -> None:
        """Spin until none of the lists has grown for a while."""
        sizes: list[int] = []
        while sizes != (sizes := [len(messages) for messages in heard]):
            self.spin(seconds)

    def said(self) -> str:
        """Return what all processes wrote."""
        return '\n'.join(process.said() for process in self.processes)

    def call(self, kind: type, name: str, request: object, timeout_s: float = PATIENCE_S) -> Any:
        """Call a service and return its response."""
        deadline = time.monotonic() + timeout_s
        client = self._client(kind, name, deadline)
        future = client.call_async(request)
        while not self.spins_until(future.done, RETRY_S):
            assert time.monotonic() < deadline, f'{name} does not answer; the nodes said:\n{self.said()}'
            if kind in REPEATABLE:  # an answer to a client that its server did not know yet is lost
                client.remove_pending_request(future)
                future = client.call_async(request)
        return future.result()

    def _client(self, kind: type, name: str, deadline: float) -> Any:
        """Return a client of a service that is ready; it is kept until another process is started."""
        key = (name, len(self.processes))
        is_new = key not in self._clients
        client = self._clients[key] if not is_new else self.node.create_client(kind, name)
        while not self.spins_until(client.service_is_ready, RETRY_S):
            # Half of a service was discovered, and nothing announces the other half again: a new client does.
            assert time.monotonic() < deadline, f'there is no service {name}; the nodes said:\n{self.said()}'
            self.node.destroy_client(client)
            client = self.node.create_client(kind, name)
        if is_new:
            # Knowing of a server is one thing, the server's knowing of us another.
            self.spin(0.3)
        self._clients[key] = client
        return client

    def set_parameters(self, node: str, **values: object) -> list[Any]:
        """Set parameters together and return the one result."""
        request = SetParametersAtomically.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        )
        return self.call(SetParametersAtomically, f'{node}/set_parameters_atomically', request).result

    def get_parameter(self, node: str, name: str) -> Any:
        response = self.call(GetParameters, f'{node}/get_parameters', GetParameters.Request(names=[name]))
        return parameter_value_to_python(response.values[0])

    def change_state(self, node: str, transition: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self.call(ChangeState, f'{node}/change_state', request).success)

    def state(self, node: str) -> str:
        return str(self.call(GetState, f'{node}/get_state', GetState.Request()).current_state.label)

    def close(self) -> None:
        for process in self.processes:
            process.end()
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)


def _as_yaml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return '[' + ', '.join(f"'{item}'" for item in value) + ']'
    return f"'{value}'" if isinstance(value, str) else str(value)


class FakeCamera:
    """Publishes images and their camera_info as a driver does."""

    def __init__(
        self, graph: Graph, prefix: str = '', width: int = 160, height: int = 96, *, reliable: bool = True
    ) -> None:
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE) if reliable else qos_profile_sensor_data
        self.graph, self.width, self.height = graph, width, height
        self._prefix, self._qos = prefix, qos
        self.appear()
        self.frame_id = f'{prefix.strip("/") or "camera"}_optical'
        self.stamp_ns = time.time_ns()

    def appear(self) -> None:
        """Be on the graph, as from the start."""
        self.images = self.graph.node.create_publisher(Image, f'{self._prefix}image', self._qos)
        self.infos = self.graph.node.create_publisher(CameraInfo, f'{self._prefix}camera_info', self._qos)

    def vanish(self) -> None:
        """Leave the graph, as a driver that crashed."""
        self.graph.node.destroy_publisher(self.images)
        self.graph.node.destroy_publisher(self.infos)

    def wait_until_heard(self) -> None:
        self.graph.spin_until(
            lambda: self.images.get_subscription_count() and self.infos.get_subscription_count(), 'a subscribed node'
        )
        # Knowing of a reader is one thing, the reader's knowing of us another.
        self.graph.spin(0.3)

    def pixels(self, seed: int = 0) -> npt.NDArray[np.uint8]:
        """Return an image with structure, (H, W, 3) uint8."""
        generator = np.random.default_rng(seed)
        coarse = generator.integers(0, 256, (self.height // 16, self.width // 16, 3), dtype=np.uint8)
        return coarse.repeat(16, 0).repeat(16, 1)

    def info(self, **changes: Any) -> Any:
        """Return a camera_info of a pinhole camera with fx != fy and cx, cy off the middle."""
        k = [120.0, 0.0, 71.5, 0.0, 125.0, 50.25, 0.0, 0.0, 1.0]
        fields = {'width': self.width, 'height': self.height, 'k': k, 'distortion_model': 'plumb_bob', 'd': [0.0] * 5}
        message = CameraInfo(**{**fields, **changes})
        self._stamp(message.header)
        return message

    def image(self, image: npt.NDArray[np.uint8] | None = None) -> Any:
        image = self.pixels() if image is None else image
        message = Image(
            height=image.shape[0],
            width=image.shape[1],
            encoding='rgb8',
            step=image.shape[1] * 3,
            data=array.array('B', image.tobytes()),
        )
        self._stamp(message.header)
        return message

    def compressed(self) -> Any:
        """Return the image as a JPEG message."""
        _, data = cv2.imencode('.jpg', self.pixels()[..., ::-1])
        message = CompressedImage(format='jpeg', data=array.array('B', data.tobytes()))
        self._stamp(message.header)
        return message

    def _stamp(self, header: Any) -> None:
        header.frame_id = self.frame_id
        header.stamp.sec, header.stamp.nanosec = divmod(self.stamp_ns, 1_000_000_000)

    def send_until_heard(self, *heard: list[Any]) -> None:
        """Publish until every list has the newest stamp: all connections are made, the node idle. Empty the lists."""
        deadline = time.monotonic() + PATIENCE_S
        self.send()
        wait_s = 0.5
        while not self.graph.spins_until(lambda: all(m and stamp_of(m[-1]) == self.stamp_ns for m in heard), wait_s):
            assert time.monotonic() < deadline, f'no output in {PATIENCE_S:g} s; the nodes said:\n{self.graph.said()}'
            # Sent before somebody listened; a slower machine needs a longer wait before the next try.
            self.send()
            wait_s = min(2 * wait_s, 10.0)
        for messages in heard:
            messages.clear()

    def send(self, image: npt.NDArray[np.uint8] | None = None, **info: Any) -> int:
        """Publish an image with its camera_info, stamped a tenth of a second after the last; return the stamp."""
        self.stamp_ns += 100_000_000
        self.infos.publish(self.info(**info))
        self.images.publish(self.image(image))
        return self.stamp_ns


def stamp_of(message: Any) -> int:
    """Return a message's stamp, nanoseconds."""
    return int(message.header.stamp.sec) * 1_000_000_000 + int(message.header.stamp.nanosec)


class Status(NamedTuple):
    """A diagnostic status with its values as a dictionary."""

    level: int
    message: str
    values: dict[str, str]


def status_of(diagnostics: Any, name: str) -> Status:
    """Return the status of that name in a DiagnosticArray."""
    for status in diagnostics.status:
        if status.name == name:
            level = status.level[0] if isinstance(status.level, bytes) else int(status.level)
            return Status(level, status.message, {item.key: item.value for item in status.values})
    raise AssertionError(f'no status {name!r} among {[status.name for status in diagnostics.status]}')
