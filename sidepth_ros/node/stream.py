"""From frames to published depth: what the worker thread does with each batch."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from sidepth_core.camera import Camera
from sidepth_core.data.frames import Image
from sidepth_core.errors import ConfigError, ImageFormatError, ImageSizeError, SidepthError
from sidepth_core.images import LARGEST_IMAGE, check_size
from sidepth_core.scale import Scale, SourceReport, Surroundings
from sidepth_ros.messages import (
    MISMATCH,
    Calibration,
    CalibrationCache,
    Frame,
    darkness,
    decode_message,
    image_size,
    make_codec,
    mismatch,
    stamp_ns,
)
from sidepth_ros.node.camera_input import CameraInput
from sidepth_ros.node.camera_output import RELATIVE_TOPICS, SCALE_TOPICS, CameraOutput, needed_stride
from sidepth_ros.node.decoding import Arrival, Decoder, Once
from sidepth_ros.node.model import EngineError, Model, describe
from sidepth_ros.node.parameters import MOUNT_PARAMETERS, Settings
from sidepth_ros.node.pipeline import Mailbox, Worker
from sidepth_ros.node.processor import Estimate, Processor, View
from sidepth_ros.node.statistics import Percentiles, Statistics, Times

TOO_OLD = 'older than max_age'
REPLACED = 'replaced by a newer image'
BAD_IMAGE = 'image that cannot be decoded'
TOO_LARGE = 'larger than max_image_pixels'
BAD_INFO = 'camera_info that cannot be used'
FAILED = 'failure in processing'
REBUILDING = 'engine is being built anew'
NO_SCALE = 'scale not known yet'
BAD_SCALE = 'scale in ERROR'
STOP_TIMEOUT_S = 1.0
"""How long a batch at work may take to end when the node stops."""
SNAPSHOT_TIMEOUT_S = 5.0
"""How long a snapshot waits for a batch at work: the executor, which watches the worker, waits with it."""
FAILURES_IN_A_ROW = 3
"""So many batches may fail in the network before it is taken for broken: one alone may be the image's fault."""
DEVICE_ERRORS = (EngineError, torch.OutOfMemoryError, getattr(torch, 'AcceleratorError', torch.OutOfMemoryError))
"""What says that the engine or its device is at fault, wherever it comes up."""


Around = Callable[[str, Camera, int, Settings], Surroundings | None]
"""Tells what else is known of an image's scale: from its frame, its rectified camera, its time and the settings."""


@dataclass
class Stream:
    """One camera: what comes in, what goes out, what is counted."""

    name: str
    input: CameraInput
    output: CameraOutput
    statistics: Statistics
    calibrations: CalibrationCache = field(default_factory=CalibrationCache)
    calibration: Calibration | None = None
    latest: Frame | None = None
    scale: ScaleStatus | None = None


class ScaleStatus(NamedTuple):
    """What is known of a camera's measured scale after its newest image.

    Attributes:
        scale: The scale that its depth was given.
        reports: How each source does.
        contradictions: Sentences on those that cannot both be right.
    """

    scale: Scale
    reports: list[SourceReport]
    contradictions: list[str]


class Work(NamedTuple):
    """A view with what is needed to publish its depth."""

    stream: Stream
    frame: Frame
    view: View
    wanted: frozenset[str]


class Configuration(NamedTuple):
    """What a batch works with; the thread reads it once a batch, so that nothing changes within one."""

    model: Model
    settings: Settings
    processor: Processor


class DepthWorker:
    """The worker thread's side of the node: it decodes, estimates and publishes; the executor's side only delivers.

    Threads: the executor's puts arrivals into the mailbox, and only the worker takes them out, the newest of each
    camera. An image is decoded once, by the thread that first asks for it: the worker, or the decoder before it does.
    What was learned from the cameras' past belongs to the worker: others ask it to forget, and it does before a batch.

    Args:
        streams: The cameras by name.
        now_ns: The node's clock.
        warn: Called with a sentence for the log.
        around: Called with the camera's frame, its rectified camera, an image's time and the settings: what else is
            known of its scale.
        broken: Called from the thread, once, with what is wrong with the engine.
    """

    def __init__(
        self,
        streams: Mapping[str, Stream],
        now_ns: Callable[[], int],
        warn: Callable[[str], None],
        around: Around,
        broken: Callable[[str], None],
    ) -> None:
        self._streams = streams
        self._around = around
        self._now_ns = now_ns
        self._warn = warn
        self._broken = broken
        self._failures = 0
        self._is_abandoned = False
        self._codec = make_codec()
        self._configuration: Configuration | None = None
        self._to_forget: deque[Callable[[Processor], None]] = deque()
        self._mailbox: Mailbox[Arrival] | None = None
        self._worker: Worker[Arrival] | None = None
        self._decoder: Decoder | None = None
        self._busy = threading.Lock()
        self._durations: deque[float] = deque(maxlen=100)
        self._network: deque[float] = deque(maxlen=100)
        self._beside: deque[float] = deque(maxlen=100)

    def configure(self, model: Model, settings: Settings) -> None:
        """Use this model and these settings from the next batch on."""
        before = self._configuration
        if before is None or before.model.estimator is not model.estimator:
            # Another network has another scale: its first map must not be smoothed towards the old one's last.
            self._configuration = Configuration(model, settings, Processor())
            return
        if not same_mount(before.settings, settings):
            self._to_forget.append(Processor.forget_scales)
        self._configuration = before._replace(model=model, settings=settings)

    def start(self) -> None:
        """Start the threads."""
        names = tuple(self._streams)
        self._decoder = decoder = Decoder(names, lambda name: bool(self._streams[name].output.wanted()))
        self._mailbox = Mailbox(names)
        self._worker = Worker(self._mailbox, partial(self._work, decoder), self._wait_s)

    def stop(self) -> bool:
        """Stop the threads; a batch at work gets a moment to end. Return whether it did."""
        return self._end(STOP_TIMEOUT_S)

    def abandon(self) -> None:
        """Let go of threads that are stuck: whatever they still do, they publish and count nothing."""
        self._is_abandoned = True
        self._end(0.0)

    def _end(self, timeout_s: float) -> bool:
        worker, decoder = self._worker, self._decoder
        self._worker = self._decoder = self._mailbox = None
        deadline = time.monotonic() + timeout_s
        ended = worker is None or worker.stop(timeout_s)
        if decoder is not None:
            decoder.stop(max(0.0, deadline - time.monotonic()))
        return ended

    def fault(self, timeout_s: float) -> str:
        """Return why the worker does no work any more; empty where it does, and where there is none.

        Args:
            timeout_s: How long a batch may take.
        """
        return '' if self._worker is None else self._worker.fault(timeout_s)

    def deliver(self, name: str, frame: Frame) -> None:
        """Take a frame for the next batch."""
        if self._mailbox is None or self._decoder is None:
            self._streams[name].statistics.dropped(REBUILDING)
            return
        arrival = self._arrival(frame)
        if self._mailbox.put(name, arrival):
            self._streams[name].statistics.dropped(REPLACED)
        self._decoder.offer(name, arrival)

    def _arrival(self, frame: Frame) -> Arrival:
        """Return a frame whose image is decoded when somebody asks, by the settings of that moment."""

        def decoded() -> Image:
            limit = LARGEST_IMAGE if self._configuration is None else self._configuration.settings.max_image_pixels
            return decode_message(frame.image, self._codec, limit)

        return Arrival(frame, Once(decoded))

    def forget(self, name: str) -> None:
        """Forget what was learned from a camera's past."""
        self._to_forget.append(lambda processor: processor.reset(name))

    def times(self) -> Times:
        """Return where the time of the last batches went."""
        return Times(*(Percentiles.of(list(values)) for values in (self._durations, self._network, self._beside)))

    @property
    def is_running(self) -> bool:
        """Whether the thread is at work."""
        return self._worker is not None

    def release(self) -> None:
        """Forget the model and everything learned from the cameras."""
        self._configuration = None
        self._to_forget.clear()

    def estimate(self, stream: Stream) -> tuple[Frame, Estimate] | None:
        """Estimate the newest frame of a camera now, in the caller's thread; None when there is none.

        Raises:
            ImageFormatError: If the image cannot be decoded, or is larger than max_image_pixels.
            ConfigError: If its camera_info cannot be used.
            SidepthError: If the worker does not let go of the network.
        """
        if self._configuration is None or stream.latest is None:
            return None
        model, settings, processor = self._configuration
        view = self._view(stream, self._arrival(stream.latest), settings, wants_confidence=True)
        if not self._busy.acquire(timeout=SNAPSHOT_TIMEOUT_S):
            raise SidepthError(f'the worker has been busy for {SNAPSHOT_TIMEOUT_S:g} s: try again')
        try:
            return stream.latest, processor.twin()([view._replace(surroundings=None)], model, settings)[0]
        finally:
            self._busy.release()

    def _wait_s(self) -> float:
        single = len(self._streams) == 1 or self._configuration is None
        return 0.0 if single or self._configuration is None else self._configuration.settings.batch_wait

    def _work(self, decoder: Decoder, arrivals: Mapping[str, Arrival]) -> None:
        with decoder.batch():
            self._work_on(arrivals)

    def _work_on(self, arrivals: Mapping[str, Arrival]) -> None:
        configuration = self._configuration
        if configuration is None:
            return
        start = time.perf_counter()
        try:
            with self._busy:
                while self._to_forget:
                    self._to_forget.popleft()(configuration.processor)
            batch = [
                work for name, arrival in arrivals.items() if (work := self._prepare(name, arrival, configuration))
            ]
            if batch:
                for work, estimate in zip(batch, self._estimates(batch, configuration), strict=True):
                    self._publish(work, estimate, configuration)
                self._beside.append(time.perf_counter() - start - self._network[-1])
        except Exception as error:  # noqa: BLE001 - whatever one batch does, the next one gets its chance
            for name in arrivals:
                self._drop(self._streams[name], FAILED, describe(error))
            if isinstance(error, DEVICE_ERRORS):
                self._failed(describe(error))

    def _failed(self, reason: str) -> None:
        """Count a batch on which the engine failed."""
        self._failures += 1
        if self._failures == FAILURES_IN_A_ROW and not self._is_abandoned:
            self._broken(f'{FAILURES_IN_A_ROW} batches in a row failed: {reason}')

    def _estimates(self, batch: list[Work], configuration: Configuration) -> list[Estimate]:
        model, settings, processor = configuration
        with self._busy:
            start = time.perf_counter()
            estimates = processor([work.view for work in batch], model, settings)
            if model.device.type == 'cuda':
                torch.cuda.synchronize(model.device)
            self._failures = 0
            self._durations.append(time.perf_counter() - start)
            self._network.append(processor.network_s)
        return estimates

    def _prepare(self, name: str, arrival: Arrival, configuration: Configuration) -> Work | None:
        """Return a frame ready for the network; None when it is dropped or nobody wants it."""
        stream, frame, settings = self._streams[name], arrival.frame, configuration.settings
        stream.latest = frame
        age_s = (self._now_ns() - stamp_ns(frame.image.header)) * 1e-9
        if 0 < settings.max_age < age_s:
            self._drop(stream, TOO_OLD, f'{age_s:.3f} s old, max_age is {settings.max_age:g} s')
            return None
        wanted = stream.output.wanted()
        if not wanted:
            stream.statistics.skipped()
            return None
        try:
            view = self._view(stream, arrival, settings, wants_confidence='depth/confidence' in wanted)
            self._note_calibration(stream, view, frame, configuration.processor)
            view = view._replace(stride=needed_stride(wanted, settings), room=partial(self._room, stream.output))
        except ImageSizeError as error:
            self._drop(stream, TOO_LARGE, str(error))
        except ImageFormatError as error:
            self._drop(stream, BAD_IMAGE, str(error))
        except ConfigError as error:
            self._drop(stream, BAD_INFO, str(error))
        else:
            source = view.calibration.source
            if view.image.shape[:2] == (source.height, source.width):
                return Work(stream, frame, view, wanted)
            height, width = view.image.shape[:2]
            self._drop(stream, MISMATCH, mismatch((width, height), (source.width, source.height)))
        return None

    def _view(self, stream: Stream, arrival: Arrival, settings: Settings, *, wants_confidence: bool) -> View:
        frame = arrival.frame
        check_size(*image_size(frame.info), settings.max_image_pixels)
        topic, rotate = stream.input.image_topic, settings.rectify_rotation
        calibration = stream.calibrations(frame.info, settings.rectify, topic, rotate=rotate)
        image = arrival.image()
        header = frame.image.header
        around = self._around(header.frame_id, calibration.target, stamp_ns(header), settings)
        return View(stream.name, image, calibration, stamp_ns(header), wants_confidence, surroundings=around)

    def _note_calibration(self, stream: Stream, view: View, frame: Frame, processor: Processor) -> None:
        """Where a calibration is another than before, forget what was learned with that, and say its doubts."""
        if view.calibration is stream.calibration:
            return
        stream.calibration = view.calibration
        processor.reset(stream.name)
        for doubt in view.calibration.source.doubts():
            self._warn(f'{stream.input.info_topic}: {doubt}')
        if doubt := darkness(frame.image, view.image):
            self._warn(f'{stream.input.image_topic}: {doubt}')

    def _room(self, output: CameraOutput, height: int, width: int) -> Tensor:
        """Return the memory of an output's next depth image, unless another worker has that by now."""
        return torch.empty(height, width) if self._is_abandoned else output.room(height, width)

    def _publish(self, work: Work, estimate: Estimate, configuration: Configuration) -> None:
        if self._is_abandoned:
            return
        settings = configuration.settings
        meter, scale, wanted = configuration.processor.meter(work.view.name), estimate.scale, work.wanted
        work.stream.scale = None if meter is None else ScaleStatus(scale, meter.reports(), meter.contradictions())
        reason = withheld(scale, settings)
        if reason:
            wanted &= RELATIVE_TOPICS if not scale.metric and settings.scale_before == 'relative' else SCALE_TOPICS
        work.stream.output.publish(estimate, work.frame.image.header, settings, wanted)
        if reason and not wanted - SCALE_TOPICS:
            self._drop(work.stream, reason, scale.fault or f'scale_source is {settings.scale_source}')
            return
        latency_s = (self._now_ns() - work.view.stamp_ns) * 1e-9
        work.stream.statistics.published(latency_s, time.monotonic() - work.frame.received_s)

    def _drop(self, stream: Stream, reason: str, detail: str) -> None:
        if not self._is_abandoned and stream.statistics.dropped(reason, detail):
            self._warn(f'{stream.input.image_topic}: {reason}: {detail}')


def withheld(scale: Scale, settings: Settings) -> str:
    """Return why depth of that scale is not published on the topics that promise metres; empty where it is."""
    if not scale.metric and scale.source:
        return NO_SCALE
    return BAD_SCALE if scale.fault and settings.scale_on_error == 'stop' else ''


def same_mount(first: Settings, second: Settings) -> bool:
    """Return whether two settings say the same of where the camera and the sensors sit."""
    return all(getattr(first, name) == getattr(second, name) for name in MOUNT_PARAMETERS)
