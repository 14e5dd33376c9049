"""The depth node: it wires parameters, cameras, worker, model and diagnostics together along the lifecycle."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from sidepth_core.checkpoint import HUB, load_info
from sidepth_core.errors import ScaleError, SidepthError
from sidepth_core.inference import DepthEstimator
from sidepth_core.scale import MEASURED_SOURCES
from sidepth_ros.messages import stamp_ns
from sidepth_ros.node.camera_input import CameraInput
from sidepth_ros.node.camera_output import CameraOutput
from sidepth_ros.node.declare import as_parameters, declare, values_of
from sidepth_ros.node.diagnostics import Swap, array_of, camera_status, input_facts, model_status, status
from sidepth_ros.node.model import (
    Loader,
    Model,
    describe,
    free_memory,
    load_estimator,
    make_scale,
    same_model,
    weights_digest,
)
from sidepth_ros.node.parameters import MODEL_PARAMETERS, Settings
from sidepth_ros.node.recovery import Recovery
from sidepth_ros.node.scale_inputs import ScaleInputs
from sidepth_ros.node.scale_report import scale_findings, scale_values
from sidepth_ros.node.snapshot import list_checkpoints, save_snapshot
from sidepth_ros.node.statistics import Statistics
from sidepth_ros.node.stream import DepthWorker, Stream
from sidepth_ros.node.watchdog import Level, findings

SCALE_PARAMETERS = ('scale_source', 'scale_factor')
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class DepthNode(LifecycleNode):  # type: ignore[misc]  # rclpy is not followed
    """Depth of one or several cameras.

    Unconfigured: parameters can be set. Inactive: the model is loaded and warm, publishers are on the graph. Active:
    images are subscribed to and depth is published. A transition that fails says why in the log and in diagnostics.

    Raises:
        ConfigError: If parameters are out of range or contradict each other.
    """

    def __init__(self, name: str = 'depth', **arguments: Any) -> None:  # noqa: ANN401 - rclpy's own
        super().__init__(name, **arguments)
        self._settings = declare(self)
        self._loaded = self._used = self._settings
        self._digest = ''
        self._is_restoring = False
        self._estimator: DepthEstimator | None = None
        self._is_active = self._is_finalized = False
        self._reason = self._broken = ''
        self._gives_up = False
        self._swap = Swap()
        self._recovery = Recovery()
        if self._settings.threads:
            torch.set_num_threads(self._settings.threads)
            cv2.setNumThreads(self._settings.threads)
        self._streams: dict[str, Stream] = {}
        self._scale_inputs = ScaleInputs(self)
        self._broken_event = self.create_guard_condition(self._on_broken)
        self._worker = self._make_worker()
        self._loaded_event = self.create_guard_condition(self._on_loaded)
        self._loader = Loader(len(self._settings.cameras), self._loaded_event.trigger)
        self._listen()

    def _listen(self) -> None:
        """Answer parameters and services, and tell how things are, in whatever state."""
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # A steady clock: diagnostics must come when simulated time stands still, too.
        self.create_timer(1.0, self._every_second, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.create_service(Trigger, '~/save_snapshot', self._on_save_snapshot)
        self.create_service(Trigger, '~/list_checkpoints', self._on_list_checkpoints)

    @property
    def autostart(self) -> bool:
        """Whether the node is to configure and activate itself."""
        return self._settings.autostart

    def start(self) -> None:
        """Configure and activate; where that fails the node stays in the state it reached and says why."""
        if self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    def stop(self) -> None:
        """Stop working, whatever the state."""
        for stream in self._streams.values():
            stream.input.unsubscribe()
        self._scale_inputs.unsubscribe()
        if not self._worker.stop():
            self._replace_worker()

    def _make_worker(self) -> DepthWorker:
        return DepthWorker(self._streams, self._now_ns, self._warn, self._scale_inputs.around, self._note_broken)

    def _replace_worker(self) -> None:
        """Leave a stuck thread, and all that it may hold, to itself."""
        self._worker.abandon()
        self._worker = self._make_worker()

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _warn(self, sentence: str) -> None:
        # A signal takes the context away under a batch at work: what fails then is no news.
        if self.context.ok():
            self.get_logger().warning(sentence)

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm up the model, advertise the outputs."""
        return self._attempt('configure', self._configure) or super().on_configure(state)

    def _configure(self) -> None:
        start = time.monotonic()
        self._digest = weights_digest(self._settings)
        estimator = load_estimator(self._settings, len(self._settings.cameras))
        self._estimator, self._loaded, self._swap = estimator, self._settings, Swap()
        self._recovery.reset()
        self._streams.update({name: self._make_stream(name) for name in self._settings.cameras})
        height, width = estimator.size
        self.get_logger().info(
            f'{self._settings.checkpoint or "built-in checkpoint"}: {estimator.info.backbone} {width}x{height}, '
            f'{estimator.engine_name} {estimator.precision} on {estimator.device}, '
            f'ready in {time.monotonic() - start:.1f} s'
        )

    def _make_stream(self, name: str) -> Stream:
        prefix = f'{name}/' if name else ''
        statistics = Statistics()
        source = CameraInput(
            self,
            prefix,
            self._settings.image_transport,
            statistics,
            deliver=lambda frame: self._worker.deliver(name, frame),
            jumped=lambda: self._jumped(name),
            warn=self._warn,
        )
        return Stream(name, source, CameraOutput(self, prefix), statistics)

    def _jumped(self, name: str) -> None:
        """Forget what was learned: a camera's stamps went back."""
        self._worker.forget(name)
        self._scale_inputs.forget()

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the cameras."""
        return self._attempt('activate', self._activate) or super().on_activate(state)

    def _activate(self) -> None:
        self._use_settings()
        self._scale_inputs.subscribe(self._settings)
        self._worker.start()
        for stream in self._streams.values():
            stream.input.subscribe()
        self._is_active = True
        topics = ', '.join(stream.input.image_topic for stream in self._streams.values())
        self.get_logger().info(f'active: listening to {topics}')

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe; model, counters and what was learned from the cameras stay."""
        self._is_active = False
        self.stop()
        return TransitionCallbackReturn.ERROR if self._gives_up else super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model and take the outputs off the graph."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free everything, from whatever state."""
        self._release()
        self._is_finalized = True
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything: the node is unconfigured again, and can be configured again."""
        self._gives_up = False
        self._release()
        return super().on_error(state)

    def _release(self) -> None:
        self._is_active = False
        self._loader.cancel()
        self.stop()
        for stream in self._streams.values():
            stream.output.destroy(self)
        self._streams.clear()
        self._worker.release()
        self._estimator = None
        free_memory()

    def _attempt(self, name: str, step: Callable[[], None]) -> TransitionCallbackReturn | None:
        """Do a step of a transition; return FAILURE, with the reason kept, where it cannot be done."""
        self._reason = ''
        try:
            step()
        except (SidepthError, OSError) as error:
            self._reason = f'cannot {name}: {describe(error)}'
            self.get_logger().error(self._reason)
            return FAILURE
        except Exception as error:
            self._reason = f'cannot {name}: {describe(error)}'
            self.get_logger().error(self._reason)
            raise
        return None

    # Parameters

    def _on_set_parameters(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        """Check new values together with those that stay, and use them from the next frame on."""
        try:
            settings = self._settings.changed(values_of(parameters))
            self._check_model(settings)
        except Exception as error:  # noqa: BLE001 - what this callback raises ends the node
            return SetParametersResult(successful=False, reason=describe(error))
        self._settings = settings
        self._apply(asks_model=any(item.name in MODEL_PARAMETERS for item in parameters))
        return SetParametersResult(successful=True)

    def _check_model(self, settings: Settings) -> None:
        """Refuse at once what can be seen to be wrong without loading: a missing file, metres from weights without."""
        if self._estimator is None:
            return
        info = self._estimator.info
        if not same_model(settings, self._loaded):
            if settings.checkpoint.startswith(HUB):
                return  # its download would hold up images, and belongs to the loader
            info = load_info(settings.checkpoint or None)
        if self._is_active:
            make_scale(settings, info)

    def _apply(self, *, asks_model: bool) -> None:
        """Use the settings from the next frame on; what needs another model is loaded beside the running one first."""
        if self._estimator is None:
            return
        if asks_model:
            self._loader.cancel()
            # The same path can hold other weights by now: a training run has gone on.
            is_retrained = not self._is_restoring and weights_digest(self._settings) != self._digest
            is_other = is_retrained or not same_model(self._settings, self._loaded)
            is_failing = not (self._recovery.is_at_rest or self._is_restoring)
            self._swap = Swap(is_loading=is_other or is_failing)
            if self._swap.is_loading:
                self._recovery.reset()
                self._loader.request(self._settings)
        if self._is_active:
            self._use_settings()

    def _use_settings(self) -> None:
        """Give the worker the running model with the settings' scale.

        Raises:
            ScaleError: If the settings ask metres of weights that have none.
        """
        assert self._estimator is not None  # noqa: S101 - the lifecycle configures first
        try:
            scale = make_scale(self._settings, self._estimator.info)
        except ScaleError:
            if self._is_active:
                # The new scale source is for the weights that are being loaded: until then the old one stays.
                return
            raise
        old, new = self._used, self._settings
        if self._is_active and (old.scale_source, old.transforms) != (new.scale_source, new.transforms):
            self._scale_inputs.subscribe(new)
        self._used = self._settings
        self._worker.configure(Model(self._estimator, scale), self._settings)

    def _on_loaded(self) -> None:
        """Swap the model that was loaded in, between two frames; a bad one leaves the old one running."""
        outcome = self._loader.outcome()
        if outcome is None or self._estimator is None:
            return
        reason = outcome.reason
        if outcome.estimator is not None:
            try:
                make_scale(self._settings, outcome.estimator.info)
            except ScaleError as error:
                reason = str(error)
        if self._recovery.is_underway:
            if reason:
                self._recover(reason)
                return
            self._recovery.succeeded()
        elif reason:
            self._keep_model(reason)
            if self._is_active and not self._worker.is_running:
                self._recover(reason)  # what is to stay had failed
            return
        else:
            self._loaded = outcome.settings
        estimator = outcome.estimator
        assert estimator is not None  # noqa: S101 - there is a reason else
        self._estimator, self._swap, self._digest = estimator, Swap(), outcome.digest
        if self._is_active:
            self._use_settings()
            if not self._worker.is_running:
                self._worker.start()
        del outcome
        free_memory()
        running = f'{estimator.engine_name} {estimator.precision} on {estimator.device}'
        self.get_logger().info(f'now running {self._loaded.checkpoint or "the built-in checkpoint"}, {running}')

    def _keep_model(self, reason: str) -> None:
        """Set the parameters back to the model that runs: the one that was asked for does not."""
        self.get_logger().error(f'the running model stays: {reason}')
        stay = [*as_parameters(self._loaded, MODEL_PARAMETERS), *as_parameters(self._used, SCALE_PARAMETERS)]
        self._is_restoring = True
        self.set_parameters_atomically(stay)
        self._is_restoring = False
        self._swap = Swap(failure=f'the last model asked for is not used: {reason}')

    # Faults

    def _note_broken(self, reason: str) -> None:
        """Hear of a broken engine, in the worker's thread."""
        self._broken = reason
        self._broken_event.trigger()

    def _on_broken(self) -> None:
        if self._broken:  # and the worker was not replaced meanwhile
            self._recover(self._broken)

    def _every_second(self) -> None:
        if fault := self._worker.fault(self._settings.worker_timeout):
            self._recover(fault)
        self._publish_diagnostics()

    def _recover(self, reason: str) -> None:
        """Replace the worker and its engine; give up where there is no other engine to try."""
        if not self._is_active or self._estimator is None:
            return
        self._replace_worker()
        self._broken = ''
        if self._swap.is_loading:
            self._keep_model(f'the running engine failed meanwhile: {reason}')
        self._estimator.close()
        free_memory()
        wanted = self._recovery.begin(reason, self._loaded, self._estimator.device.type)
        if wanted is not None:
            self.get_logger().error(self._recovery.condition().note)
            self._loader.request(wanted)
            return
        self._reason = f'no engine works: {reason}; configure the node again once that is mended'
        self.get_logger().error(self._reason)
        self._gives_up = True
        self.trigger_deactivate()

    # Services and diagnostics

    def _on_save_snapshot(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Save what each camera sees now."""
        return _answered(response, self._save_all)

    def _save_all(self) -> list[str]:
        directory = Path(self._settings.snapshot_directory).expanduser()
        saved: list[str] = []
        faults: list[str] = []
        for stream in self._streams.values():
            try:
                saved += [str(folder)] if (folder := self._save(stream, directory)) else []
            except SidepthError as error:  # noqa: PERF203 - one camera's bad image must not cost the others theirs
                faults.append(f'{stream.name or "camera"}: {error}')
        if not saved:
            raise SidepthError('\n'.join(faults) or 'no image has arrived: is the node active?')
        return saved + faults

    def _save(self, stream: Stream, directory: Path) -> Path | None:
        taken = self._worker.estimate(stream)
        if taken is None:
            return None
        frame, estimate = taken
        header = frame.image.header
        about: dict[str, object] = {
            'stamp_ns': stamp_ns(header),
            'frame_id': header.frame_id,
            'scale': 'metric' if estimate.scale.metric else 'relative',
            'scale_factor': estimate.scale.factor,
            'checkpoint': self._loaded.checkpoint or 'built-in',
        }
        name = f'{stream.name}_{stamp_ns(header)}' if stream.name else str(stamp_ns(header))
        return save_snapshot(directory / name, estimate, stream.output.points(estimate, self._settings), about)

    def _on_list_checkpoints(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """List the built-in checkpoint and those in checkpoint_directory."""
        return _answered(response, lambda: list_checkpoints(Path(self._settings.checkpoint_directory).expanduser()))

    def _publish_diagnostics(self) -> None:
        statuses = [self._model_status(self._status_name('model'))]
        if self._is_active:
            statuses += [self._camera_status(stream) for stream in self._streams.values()]
        self._diagnostics.publish(array_of(statuses, self))

    def _model_status(self, name: str) -> DiagnosticStatus:
        if self._estimator is None or not self._is_active:
            state = 'inactive' if self._estimator is not None else 'unconfigured'
            state = 'finalized' if self._is_finalized else state
            level = Level.ERROR if self._reason else Level.OK
            return status(name, level, self._reason or state, {'state': state})
        times, condition = self._worker.times(), self._recovery.condition()
        return model_status(name, self._estimator, self._loaded, self._settings, times, self._swap, condition)

    def _camera_status(self, stream: Stream) -> DiagnosticStatus:
        report = stream.statistics.report()
        found = findings(report, input_facts(self, stream.input), self._settings)
        values: dict[str, object] = {}
        if self._used.scale_source in MEASURED_SOURCES:
            silent = self._scale_inputs.silent()
            found = [*found, *scale_findings(stream.scale, silent, self._used)]
            values = {**scale_values(stream.scale), **self._scale_inputs.counts()}
        name = self._status_name(stream.name or 'camera')
        return camera_status(name, report, found, values, idle=not stream.output.wanted())

    def _status_name(self, part: str) -> str:
        # With the namespace: /diagnostics is one topic for all robots.
        return f'{self.get_fully_qualified_name().lstrip("/")}: {part}'


def _answered(response: Trigger.Response, work: Callable[[], list[str]]) -> Trigger.Response:
    """Return a service's response with the lines of what was done, or with the reason why it could not be."""
    try:
        response.message, response.success = '\n'.join(work()), True
    except Exception as error:  # noqa: BLE001 - what a service raises ends the node
        response.message, response.success = describe(error), False
    return response
