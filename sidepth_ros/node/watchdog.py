"""What is wrong with a camera, and what to do about it: numbers in, sentences out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from sidepth_ros.fastdds import profile_variable
from sidepth_ros.node.parameters import Settings
from sidepth_ros.node.statistics import Report

PROFILE_HINT = (
    f'large best-effort messages need shared memory: start both processes with {profile_variable()} set to '
    'config/fastdds_shm.xml of this package'
)


LATCHED = ('durability to transient_local', 'reliability to reliable')
"""What a subscription needs to hear what was published before it was there."""

FUTURE_S = 0.1
"""So far ahead of now no stamp is by the steps of a simulated clock alone."""


class Level(IntEnum):
    """Levels of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2


class Finding(NamedTuple):
    """One thing that is wrong."""

    level: Level
    sentence: str


@dataclass(frozen=True)
class TopicFacts:
    """What the graph knows of an input topic.

    Attributes:
        name: Resolved name.
        kind: Type that is subscribed to, as package/msg/Name.
        publishers: How many publish that type on it.
        other_kinds: Other types that somebody publishes on it.
        incompatible: QoS policy over which a publisher cannot be heard; empty when none.
        candidates: Topics of the right type that somebody does publish.
        twin: The topic of the same images in the other transport, where somebody publishes that; empty otherwise.
    """

    name: str
    kind: str
    publishers: int
    other_kinds: tuple[str, ...] = ()
    incompatible: str = ''
    candidates: tuple[str, ...] = ()
    twin: str = ''


@dataclass(frozen=True)
class InputFacts:
    """The two topics of a camera, and the clock.

    Attributes:
        image: The images.
        info: Their camera_infos.
        waits_for_clock: Whether use_sim_time is set and nothing has come on /clock yet.
    """

    image: TopicFacts
    info: TopicFacts
    waits_for_clock: bool = False


def findings(report: Report, facts: InputFacts, settings: Settings) -> list[Finding]:
    """Return what is wrong with a camera, the worst first; empty when all is well."""
    found = [
        *_silence(facts.image, report.image_age, report.images, report.lost, settings, PROFILE_HINT),
        *_silence_of_info(facts.info, report, settings),
        *_mismatch(report, facts),
        *_slowness(report, settings),
    ]
    return sorted(found, key=lambda finding: -finding.level)


def _silence_of_info(topic: TopicFacts, report: Report, settings: Settings) -> Iterator[Finding]:
    if report.infos and report.image_age < settings.input_timeout < report.info_age:
        yield Finding(Level.WARN, f'no message on {topic.name} for {report.info_age:.1f} s: the last one is used')
        return
    latched = (
        'if it is published only once, set '
        + ' and '.join(f'qos_overrides.{topic.name}.subscription.{policy}' for policy in LATCHED)
        + ' for this node'
    )
    yield from _silence(topic, report.info_age, report.infos, 0, settings, latched)


def _silence(
    topic: TopicFacts, age_s: float, count: int, lost: int, settings: Settings, advice: str
) -> Iterator[Finding]:
    if age_s < settings.input_timeout:
        return
    since = 'ever' if count == 0 else f'for {age_s:.1f} s'
    missing = f'no message on {topic.name} {since}'
    if topic.other_kinds and not topic.publishers:
        carried = ', '.join(topic.other_kinds)
        yield Finding(Level.ERROR, f'{missing}: it carries {carried}, not {topic.kind}{_transport(topic)}')
    elif topic.twin and not topic.publishers:
        transport = 'compressed' if topic.twin.endswith('/compressed') else 'raw'
        yield Finding(
            Level.ERROR,
            f'{missing}: nobody publishes it; start the node on {topic.twin}, which is there, with '
            f'image_transport {transport!r}',
        )
    elif not topic.publishers:
        there = f' ({topic.kind} is published on {", ".join(topic.candidates)})' if topic.candidates else ''
        yield Finding(Level.ERROR, f'{missing}: nobody publishes it; start the camera or remap the topic{there}')
    elif topic.incompatible:
        yield Finding(
            Level.ERROR,
            f'{missing}: QoS cannot match, the publisher offers less {topic.incompatible} than is asked for; '
            f'set qos_overrides.{topic.name}.subscription.{topic.incompatible} for this node',
        )
    elif count or lost:
        why = f'the transport lost {lost} messages; {PROFILE_HINT}' if lost else 'the camera has stopped'
        yield Finding(Level.ERROR, f'{missing}: {why}')
    else:
        yield Finding(Level.ERROR, f'{missing}, though {topic.publishers} publish it: {advice}')


def _transport(topic: TopicFacts) -> str:
    for kind, transport in (('Image', 'raw'), ('CompressedImage', 'compressed')):
        if f'sensor_msgs/msg/{kind}' in topic.other_kinds:
            return f'; start the node with image_transport {transport!r}'
    return ''


def _mismatch(report: Report, facts: InputFacts) -> Iterator[Finding]:
    for topic in (facts.image, facts.info):
        if topic.publishers > 1:
            yield Finding(
                Level.WARN,
                f'{topic.publishers} publish {topic.name} and are mixed up here: stop all but one '
                '(one that crashed counts for some seconds more)',
            )
    if not report.stamps_agree:
        yield Finding(
            Level.WARN,
            f'stamps of {facts.image.name} and {facts.info.name} differ: the newest camera_info is used; '
            f'if the lens zooms or the topics belong to different cameras, depth is wrong',
        )
    if report.fault:
        yield Finding(Level.WARN, report.fault)
    if report.lost and report.images and report.lost > 0.2 * report.images:
        total = report.lost + report.images
        yield Finding(Level.WARN, f'the transport lost {report.lost} of {total} images; {PROFILE_HINT}')
    if facts.waits_for_clock:
        yield Finding(
            Level.WARN,
            'use_sim_time is set and nothing has come on /clock: start what publishes it, such as '
            '`ros2 bag play --clock 100`; until then latency is not known and max_age drops nothing',
        )
    elif report.other_clock:
        yield Finding(
            Level.WARN,
            'stamps are of another clock, so latency is not known: play a bag with --clock and set use_sim_time; '
            'have a camera driver stamp with the time of the system',
        )
    ahead_s = -report.latency.p50
    if ahead_s > FUTURE_S:
        yield Finding(
            Level.WARN,
            f'stamps lie {ahead_s:.3f} s in the future: synchronise the clocks of the machines',
        )


def _slowness(report: Report, settings: Settings) -> Iterator[Finding]:
    p95 = report.latency.p95
    for level, limit in ((Level.ERROR, settings.latency_error), (Level.WARN, settings.latency_warn)):
        if math.isfinite(p95) and p95 > limit:
            yield Finding(level, f'latency p95 is {p95:.3f} s, above {limit:g} s')
            break
    working = report.published > 0 and report.image_age < settings.input_timeout
    for level, limit in ((Level.ERROR, settings.rate_error), (Level.WARN, settings.rate_warn)):
        if working and report.rate_out < limit:
            yield Finding(level, f'{report.rate_out:.1f} depth images a second, below {limit:g}')
            break
