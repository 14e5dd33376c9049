"""The node for half an hour at its highest rate: `python -m sidepth_ros.benchmark.soak`, which is part of `make soak`.

Four cameras play a bag in a loop, twice as fast as the node can answer. Every minute, at the same seconds, parameters
change, subscribers of clouds and colours come and go, a camera vanishes and returns, and other weights are swapped in;
what is measured in one minute can so be compared with another. Memory, latencies, diagnostics and the node's own
counts are judged at the end.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from sidepth_core.benchmarks.endurance import Curve, Verdict, judge, resident_mib, write
from sidepth_core.checkpoint import load_checkpoint, save_checkpoint
from sidepth_core.cli import run
from sidepth_core.data.bags import BagWriter, Choice
from sidepth_core.data.synthetic import SyntheticSource
from sidepth_core.errors import SidepthError
from sidepth_ros.benchmark.stage import SpunNode, processor_s
from sidepth_ros.demo.main import environment
from sidepth_ros.demo.processes import Process, process
from sidepth_ros.messages import restamped, stamp_ns
from sidepth_ros.tools.sequences import CAMERA_INFO, IMAGE, TimedMessage, bag_sequence

CAMERAS = ('front', 'left', 'rear', 'right')
VANISHING = 'rear'
RATE_HZ = 10.0
"""Of each camera: about twice what one core answers with the built-in weights."""
BAG_FRAMES = 8
START_S = 300.0
"""How long the node may take to be ready on a busy machine."""
MOST_GAP_S = 3.0
"""Diagnostics come once a second; a longer gap between two stamps is a lost one."""

CHANGES: tuple[dict[str, object], ...] = (
    {'edge_gate': True},
    {'output_size': 'network'},
    {'stabilise': True, 'stabilise_time': 0.3},
    {'cloud_stride': 2, 'color_map': 'magma'},
    {'edge_gate': False, 'border_gate': True},
    {'output_size': 'full', 'stabilise': False},
    {'scale_source': 'fixed', 'scale_factor': 1.1},
    {'border_gate': False, 'sky_gate': True},
    {'scale_source': 'checkpoint', 'cloud_stride': 1},
    {'sky_gate': False, 'color_map': 'turbo'},
)
"""Set one after another, round and round; after all of them everything is as before."""
SWAPS_AT_S = (20.0, 40.0)
AWAY_S = (30.0, 35.0)
EXTRA_EVERY_S = 10.0


class Cast(SpunNode):
    """The cameras, the listeners and who changes parameters, on one ROS node of this process.

    Args:
        messages: A camera's drive.
        checkpoints: Weights that are swapped.
    """

    def __init__(self, messages: Sequence[TimedMessage], checkpoints: Sequence[Path]) -> None:
        super().__init__('soak')
        self._images = [message.data for message in messages if message.topic == IMAGE]
        self._infos = [message.data for message in messages if message.topic == CAMERA_INFO]
        self._changes = itertools.cycle(CHANGES)
        self._checkpoints = itertools.cycle(checkpoints)
        self._setting = self.node.create_client(SetParametersAtomically, '/depth/set_parameters_atomically')
        self._cameras = {name: self._camera(name) for name in CAMERAS}
        self._extras: list[Any] = []
        self.latency_ms, self.start = Curve(), time.monotonic()
        self.stamps_s: list[float] = []
        self.statuses: dict[str, DiagnosticStatus] = {}
        counted = ('images sent', 'parameter changes', 'refused changes', 'hot swaps', 'subscribers')
        self.counts = dict.fromkeys(counted, 0)
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 20)
        for name in CAMERAS:
            self.node.create_subscription(Image, f'{name}/depth/image', self._on_depth, 1)
        self.spin()

    def _camera(self, name: str) -> tuple[Publisher[Any], Publisher[Any]]:
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
        kinds = ((CameraInfo, 'camera_info'), (Image, 'image'))
        info, image = (self.node.create_publisher(kind, f'{name}/{topic}', qos) for kind, topic in kinds)
        return info, image

    def _on_depth(self, message: Image) -> None:
        self.latency_ms.add(time.monotonic() - self.start, (time.time_ns() - stamp_ns(message.header)) / 1e6)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.stamps_s.append(stamp_ns(message.header) / 1e9)
        self.statuses.update({status.name.rpartition(': ')[2]: status for status in message.status})

    def wait_until_ready(self, node: Process) -> None:
        """Wait until the node listens to all cameras.

        Raises:
            SidepthError: If it does not in time.
        """
        deadline = time.monotonic() + START_S
        while not all(image.get_subscription_count() for _, image in self._cameras.values()):
            if node.status is not None:
                node.fail()
            if time.monotonic() > deadline:
                raise SidepthError(f'the node did not subscribe within {START_S:g} s, see {node.log}')
            time.sleep(0.1)

    def send(self, count: int) -> None:
        """Publish the images of one moment."""
        now_ns = time.time_ns()
        for info, image in list(self._cameras.values()):
            info.publish(restamped(self._infos[count % len(self._infos)], now_ns))
            image.publish(restamped(self._images[count % len(self._images)], now_ns))
            self.counts['images sent'] += 1

    def leave(self) -> None:
        """Take one camera off the graph."""
        for publisher in self._cameras.pop(VANISHING, ()):
            self.node.destroy_publisher(publisher)

    def come_back(self) -> None:
        """Bring that camera back."""
        if VANISHING not in self._cameras:
            self._cameras[VANISHING] = self._camera(VANISHING)

    def change(self) -> None:
        """Set the next parameters of the list."""
        self._set('parameter changes', next(self._changes))

    def swap(self) -> None:
        """Have the next weights loaded."""
        self._set('hot swaps', {'checkpoint': str(next(self._checkpoints))})

    def _set(self, counted: str, values: Mapping[str, object]) -> None:
        parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        future = self._setting.call_async(SetParametersAtomically.Request(parameters=parameters))

        def note(done: Any) -> None:  # noqa: ANN401 - rclpy's future
            self.counts[counted if done.result().result.successful else 'refused changes'] += 1

        future.add_done_callback(note)

    def come_and_go(self, turn: int) -> None:
        """Have other listeners than a moment ago: of clouds and colours of another camera, or none."""
        for subscription in self._extras:
            self.node.destroy_subscription(subscription)
        self._extras = []
        if turn % 3 == 2:
            return
        name = CAMERAS[turn % len(CAMERAS)]
        for kind, topic in ((PointCloud2, 'depth/points'), (Image, 'depth/image_color')):
            self._extras.append(self.node.create_subscription(kind, f'{name}/{topic}', _ignore, 1))
            self.counts['subscribers'] += 1


def _ignore(_: object) -> None:
    """Hear a message and do nothing."""


class Schedule:
    """Calls what is due at certain seconds of every minute."""

    def __init__(self, calls: Sequence[tuple[float, Callable[[], None]]]) -> None:
        self._calls = sorted(calls, key=lambda call: call[0])
        self._done = 0

    def run_until(self, second: float) -> None:
        """Call all that has become due up to a second since the start."""
        while True:
            minute, index = divmod(self._done, len(self._calls))
            due_s, call = self._calls[index]
            if 60.0 * minute + due_s > second:
                return
            call()
            self._done += 1


def schedule_of(cast: Cast) -> Schedule:
    """Return what happens in every minute of a soak."""
    turns = itertools.count()
    calls: list[tuple[float, Callable[[], None]]] = [
        *((1.0 + second, cast.change) for second in range(58)),
        *((second, cast.swap) for second in SWAPS_AT_S),
        *((EXTRA_EVERY_S * index, lambda: cast.come_and_go(next(turns))) for index in range(6)),
        (AWAY_S[0], cast.leave),
        (AWAY_S[1], cast.come_back),
    ]
    return Schedule(calls)


def play(cast: Cast, node: Process, seconds: float) -> dict[str, Curve]:
    """Run everything for so long; return the node's memory (MiB) and processor time (seconds a second)."""
    memory, processor = Curve(), Curve()
    schedule = schedule_of(cast)
    cast.start = start = time.monotonic()
    used_s, sampled_s = processor_s(node.pid), 0.0
    for count in itertools.count():
        time.sleep(max(0.0, start + count / RATE_HZ - time.monotonic()))
        elapsed_s = time.monotonic() - start
        if elapsed_s >= seconds:
            break
        if node.status is not None:
            node.fail()
        cast.send(count)
        schedule.run_until(elapsed_s)
        if elapsed_s - sampled_s >= 1.0:
            now_s = processor_s(node.pid)
            memory.add(elapsed_s, resident_mib(node.pid))
            processor.add(elapsed_s, (now_s - used_s) / (elapsed_s - sampled_s))
            used_s, sampled_s = now_s, elapsed_s
    return {'memory': memory, 'processor': processor}


def accounted(statuses: Mapping[str, DiagnosticStatus]) -> list[str]:
    """Return a sentence for each camera whose images are not all in its counts: published, skipped or dropped."""
    faults = []
    for name in CAMERAS:
        values = {item.key: item.value for item in statuses[name].values}
        received = int(values['images received'])
        counted = int(values['depth images published']) + int(values['images without a subscriber'])
        counted += sum(int(value) for key, value in values.items() if key.startswith('dropped: '))
        if received != counted:
            faults.append(f'{name}: {received} images came, {counted} are accounted for')
    return faults


def gaps(stamps_s: Sequence[float]) -> list[float]:
    """Return the pauses between diagnostics that are too long, seconds."""
    return [later - former for former, later in itertools.pairwise(stamps_s) if later - former > MOST_GAP_S]


def make_bag(folder: Path) -> Path:
    """Write a short synthetic drive as a rosbag2."""
    path = folder / 'drive'
    with BagWriter(path) as bag:
        for frame in SyntheticSource(scene='street', seed=7, frames=BAG_FRAMES, width=320, height=200):
            assert frame.camera is not None  # noqa: S101 - the synthetic world knows its camera
            bag.add_camera_info('/camera/camera_info', frame.camera, frame.stamp_ns, 'camera')
            bag.add_image('/camera/image_raw', frame.image, frame.stamp_ns, 'camera')
    return path


def make_checkpoints(folder: Path, checkpoint: str | None) -> list[Path]:
    """Write weights twice: to swap one for the other takes all that swapping takes."""
    loaded = load_checkpoint(checkpoint, pose=False)
    paths = [folder / 'weights_a', folder / 'weights_b']
    for path in paths:
        save_checkpoint(path, loaded)
    return paths


def soak(minutes: float, out: Path, checkpoint: str | None = None) -> Verdict:
    """Run the soak, write what it measured, and return the verdict.

    Args:
        minutes: How long.
        out: Folder for what was measured.
        checkpoint: Weights to run; None for the built-in ones.
    """
    out.mkdir(parents=True, exist_ok=True)
    with environment(), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first, second = make_checkpoints(folder, checkpoint)
        messages = bag_sequence(make_bag(folder), Choice()).messages
        parameters = ('threads:=1', 'device:=cpu', f'checkpoint:={first}', f'cameras:=[{", ".join(CAMERAS)}]')
        pairs = [word for text in parameters for word in ('-p', text)]
        with (
            closing(Cast(messages, (second, first))) as cast,
            process('node', ['sidepth_ros.node.main', '--ros-args', *pairs], folder) as node,
        ):
            cast.wait_until_ready(node)
            measured = play(cast, node, 60 * minutes)
            time.sleep(5.0)  # the last image is answered, the counts are told
            status = node.end()
            shutil.copy(node.log, out / 'node_soak.log')
        return report(cast, measured, minutes, status, out)


def report(cast: Cast, measured: Mapping[str, Curve], minutes: float, status: int, out: Path) -> Verdict:
    """Write all that was measured, and return the verdict on it."""
    seconds, warm_up_s = 60 * minutes, 60 * max(minutes / 6, 0.5)
    window_s = min(60.0, seconds / 4)
    verdict = judge(measured['memory'], cast.latency_ms, warm_up_s, seconds, window_s)
    faults = [*verdict.faults, *accounted(cast.statuses)]
    if pauses := gaps(cast.stamps_s):
        faults.append(f'{len(pauses)} pauses of diagnostics, the longest of {max(pauses):.1f} s')
    if status:
        faults.append(f'the node ended with status {status}')
    if cast.counts['refused changes']:
        faults.append(f'{cast.counts["refused changes"]} changes of parameters were refused')
    curves = {
        'memory, MiB': measured['memory'],
        'processor, cores': measured['processor'].percentiles(window_s, seconds, 50),
        **{f'latency p{share}, ms': cast.latency_ms.percentiles(window_s, seconds, share) for share in (50, 99)},
    }
    facts = {
        'minutes': minutes,
        'warm-up, s': warm_up_s,
        'window, s': window_s,
        **cast.counts,
        'depth images heard': len(cast.latency_ms.values),
        'diagnostics': len(cast.stamps_s),
        'longest pause of diagnostics, s': max((b - a for a, b in itertools.pairwise(cast.stamps_s)), default=0.0),
        'processor for an image, ms': processor_ms(
            measured['processor'], cast.latency_ms, warm_up_s, seconds, window_s
        ),
        'last statuses': {
            name: {'message': status.message, **{item.key: item.value for item in status.values}}
            for name, status in cast.statuses.items()
        },
    }
    verdict = Verdict(verdict.memory_growth, verdict.tail_change, faults)
    panels = [
        ('MiB', ['memory, MiB']),
        ('ms', ['latency p50, ms', 'latency p99, ms']),
        ('cores', ['processor, cores']),
    ]
    write(out, 'node_soak', curves, verdict, facts, panels)
    return verdict


def processor_ms(processor: Curve, heard: Curve, warm_up_s: float, end_s: float, window_s: float) -> dict[str, float]:
    """Return the node's processor time for an image that was answered, in the first window and in the last."""

    def of(start_s: float) -> float:
        used_s = processor.within(start_s, start_s + window_s).mean() * window_s
        return float(1e3 * used_s / max(1, len(heard.within(start_s, start_s + window_s))))

    return {'first': of(warm_up_s), 'last': of(end_s - window_s)}


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    commands = argparse.ArgumentParser(
        prog='python -m sidepth_ros.benchmark.soak',
        description='Run the depth node at its highest rate for a long time, and judge whether it ends as it began.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    commands.add_argument('--minutes', type=float, default=30.0, help='how long, at least 1')
    commands.add_argument('--checkpoint', help='weights to run; without, the built-in ones')
    commands.add_argument('--out', type=Path, default=Path('out/soak'), help='folder for JSON, picture and log')
    return commands


def main(argv: Sequence[str] | None = None) -> int:
    """Run the soak; the status is 1 where something was not as promised."""

    def guarded(arguments: Sequence[str]) -> int:
        chosen = parser().parse_args(arguments)
        verdict = soak(max(1.0, chosen.minutes), chosen.out, chosen.checkpoint)
        print(f'memory {verdict.memory_growth:+.2%}, p99 {verdict.tail_change:+.1%}')  # noqa: T201 - a command
        for fault in verdict.faults:
            print(f'not as promised: {fault}')  # noqa: T201 - as above
        return 1 if verdict.faults else 0

    return run(guarded, sys.argv[1:] if argv is None else argv)


if __name__ == '__main__':
    sys.exit(main())
