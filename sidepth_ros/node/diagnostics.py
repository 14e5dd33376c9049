"""What /diagnostics says, once a second: one status for the model, one for each camera."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from sidepth_core.inference import DepthEstimator
from sidepth_core.scale import MEASURED_SOURCES
from sidepth_ros.node.camera_input import CameraInput
from sidepth_ros.node.parameters import Settings
from sidepth_ros.node.recovery import Condition
from sidepth_ros.node.statistics import Percentiles, Report, Times
from sidepth_ros.node.watchdog import Finding, InputFacts, Level, TopicFacts


class Swap(NamedTuple):
    """How the change to another model goes.

    Attributes:
        is_loading: Whether one is being loaded.
        failure: Why the last one that was asked for does not run; empty when it does.
    """

    is_loading: bool = False
    failure: str = ''


def topic_facts(node: Node, name: str, kind: type, incompatible: str) -> TopicFacts:
    """Return what the graph knows of an input topic."""
    wanted = _type_name(kind)
    kinds = [info.topic_type for info in node.get_publishers_info_by_topic(name)]
    candidates: tuple[str, ...] = ()
    twin = name.removesuffix('/compressed') if name.endswith('/compressed') else f'{name}/compressed'
    if wanted not in kinds:
        topics = node.get_topic_names_and_types()
        candidates = tuple(
            topic for topic, types in topics if wanted in types and topic != name and _others_publish(node, topic)
        )
    others = tuple(sorted({other for other in kinds if other != wanted}))
    return TopicFacts(
        name, wanted, kinds.count(wanted), others, incompatible, candidates[:5],
        twin if _others_publish(node, twin) else '',
    )  # fmt: skip


def _others_publish(node: Node, topic: str) -> bool:
    """Return whether any other node publishes a topic: the node's own depth is no camera."""
    own = (node.get_name(), node.get_namespace())
    return any((info.node_name, info.node_namespace) != own for info in node.get_publishers_info_by_topic(topic))


def _type_name(kind: type) -> str:
    return f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}'


def input_facts(node: Node, source: CameraInput) -> InputFacts:
    """Return what the graph knows of a camera's topics."""
    image, info, clock = source.image_topic, source.info_topic, node.get_clock()
    return InputFacts(
        topic_facts(node, image, source.image_type, source.incompatible.get(image, '')),
        topic_facts(node, info, source.info_type, source.incompatible.get(info, '')),
        waits_for_clock=clock.ros_time_is_active and clock.now().nanoseconds == 0,
    )


def camera_status(
    name: str, report: Report, found: Sequence[Finding], more: Mapping[str, object], *, idle: bool
) -> DiagnosticStatus:
    """Return the status of one camera, with more values at its end."""
    message = '; '.join(finding.sentence for finding in found)
    if not message:
        message = 'nobody subscribes' if idle else f'{report.rate_out:.1f} depth images a second'
    values = {
        'images received': report.images,
        'camera_infos received': report.infos,
        'depth images published': report.published,
        'rate in [Hz]': report.rate_in,
        'rate out [Hz]': report.rate_out,
        **_percentiles('latency stamp to publish', report.latency),
        **_percentiles('latency receipt to publish', report.turnaround),
        'images without a subscriber': report.skipped,
        'messages lost by the transport': report.lost,
        'jumps back in time': report.jumps,
        **{f'dropped: {reason}': count for reason, count in sorted(report.dropped.items())},
        **more,
    }
    level = max((finding.level for finding in found), default=Level.OK)
    return status(name, level, message, values)


def model_status(
    name: str,
    estimator: DepthEstimator,
    loaded: Settings,
    settings: Settings,
    times: Times,
    swap: Swap,
    condition: Condition,
) -> DiagnosticStatus:
    """Return the status of the running model.

    Args:
        name: Of the status.
        estimator: The running network.
        loaded: The settings that it was loaded with.
        settings: Those of now.
        times: Where the time of a batch goes.
        swap: What is being loaded beside it, and why that failed the last time.
        condition: What was done about an engine that failed.
    """
    info = estimator.info
    height, width = estimator.size
    values = {
        'checkpoint': loaded.checkpoint or 'built-in',
        'backbone': info.backbone,
        'network size': f'{width}x{height}',
        'engine': estimator.engine_name,
        'precision': estimator.precision,
        **({'engines measured': estimator.engine_measured} if estimator.engine_measured else {}),
        'device': str(estimator.device),
        'scale source': settings.scale_source,
        **({'scale factor': constant} if (constant := _constant_scale(settings)) is not None else {}),
        'scale': info.scale_note or info.scale,
        **_percentiles('time per batch', times.device),
        **_percentiles('network per batch', times.network),
        **_percentiles('beside the network per batch', times.beside),
        'recoveries': condition.recoveries,
        **memory(estimator.device),
    }
    trouble = [condition.note, swap.failure, estimator.engine_note]
    if settings.scale_source == 'relative':
        trouble.append('depth has no unit: scale_source is relative')
    message = '; '.join(filter(None, trouble))
    if message:
        return status(name, Level.ERROR if condition.is_underway else Level.WARN, message, values)
    return status(name, Level.OK, 'loading another model beside this one' if swap.is_loading else 'running', values)


def _constant_scale(settings: Settings) -> float | None:
    """Return the factor of a scale that is not measured; None where it is, and each camera has its own."""
    if settings.scale_source in MEASURED_SOURCES:
        return None
    return settings.scale_factor if settings.scale_source == 'fixed' else 1.0


def memory(device: torch.device) -> dict[str, float]:
    """Return the memory of this process and of its device, MiB."""
    pages = int(Path('/proc/self/statm').read_text().split()[1]) if Path('/proc/self/statm').exists() else 0
    values = {'process memory [MiB]': pages * os.sysconf('SC_PAGE_SIZE') / 2**20}
    if device.type == 'cuda':
        try:
            free, total = torch.cuda.mem_get_info(device)
        except RuntimeError:  # of a GPU that has failed for good
            return values
        values['GPU memory of this process [MiB]'] = torch.cuda.memory_reserved(device) / 2**20
        values['GPU memory free [MiB]'] = free / 2**20
        values['GPU memory total [MiB]'] = total / 2**20
    return values


def status(name: str, level: Level, message: str, values: Mapping[str, object]) -> DiagnosticStatus:
    """Return a DiagnosticStatus; numbers are shown with as many digits as mean something."""
    return DiagnosticStatus(
        level=bytes([level]),
        name=name,
        message=message,
        hardware_id='sidepth',
        values=[KeyValue(key=key, value=_text(value)) for key, value in values.items()],
    )


def array_of(statuses: Iterable[DiagnosticStatus], node: Node) -> DiagnosticArray:
    """Return the message of some statuses, stamped now."""
    message = DiagnosticArray(status=list(statuses))
    message.header.stamp = node.get_clock().now().to_msg()
    return message


def _percentiles(name: str, values: Percentiles) -> dict[str, float]:
    return {
        f'{name} p50 [ms]': values.p50 * 1e3,
        f'{name} p95 [ms]': values.p95 * 1e3,
        f'{name} p99 [ms]': values.p99 * 1e3,
    }


def _text(value: object) -> str:
    if isinstance(value, float):
        return 'not known' if math.isnan(value) else f'{value:.1f}'
    return str(value)
