"""What the watchdog says, and that it says what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sidepth_ros.node.parameters import Settings
from sidepth_ros.node.statistics import Percentiles, Statistics
from sidepth_ros.node.watchdog import InputFacts, Level, TopicFacts, findings

IMAGE = TopicFacts('/front/image', 'sensor_msgs/msg/Image', 1)
INFO = TopicFacts('/front/camera_info', 'sensor_msgs/msg/CameraInfo', 1)
FACTS = InputFacts(IMAGE, INFO)
NOTHING = Percentiles.of([])
HEALTHY = replace(
    Statistics().report(),
    images=100, infos=100, published=100, rate_in=10.0, rate_out=10.0, image_age=0.1, info_age=0.1,
    latency=Percentiles(0.1, 0.2, 0.3),
)  # fmt: skip


def test_healthy_camera_has_no_finding() -> None:
    assert findings(HEALTHY, FACTS, Settings()) == []


@pytest.mark.parametrize(
    ('facts', 'changes', 'words'),
    [
        (replace(IMAGE, publishers=0), {}, ['nobody publishes it', 'remap']),
        (replace(IMAGE, publishers=0, candidates=('/cam/image_raw',)), {}, ['/cam/image_raw']),
        (
            replace(IMAGE, publishers=0, candidates=('/depth/image',), twin='/front/image/compressed'),
            {},
            ['start the node on /front/image/compressed', "image_transport 'compressed'"],
        ),
        (
            replace(IMAGE, publishers=0, other_kinds=('sensor_msgs/msg/CompressedImage',)),
            {},
            ['carries sensor_msgs/msg/CompressedImage', "image_transport 'compressed'"],
        ),
        (replace(IMAGE, incompatible='reliability'), {}, ['QoS cannot match', 'qos_overrides./front/image.sub']),
        (IMAGE, {}, ['though 1 publish it', 'fastdds_shm.xml']),
        (IMAGE, {'lost': 40}, ['lost 40 messages', 'fastdds_shm.xml']),
        (IMAGE, {'images': 5, 'image_age': 9.0}, ['for 9.0 s', 'camera has stopped']),
    ],
)
def test_silent_image_topic_is_explained(facts: TopicFacts, changes: dict[str, object], words: list[str]) -> None:
    silent = replace(HEALTHY, **{'images': 0, 'image_age': float('inf'), **changes})
    found = findings(silent, InputFacts(facts, INFO), Settings())
    assert [finding.level for finding in found] == [Level.ERROR]
    assert '/front/image' in found[0].sentence
    for word in words:
        assert word in found[0].sentence


def test_missing_camera_info_is_named() -> None:
    silent = replace(HEALTHY, infos=0, info_age=float('inf'))
    found = findings(silent, InputFacts(IMAGE, replace(INFO, publishers=0)), Settings())
    assert '/front/camera_info' in found[0].sentence
    assert found[0].level == Level.ERROR


def test_camera_info_that_is_published_only_once_is_explained_or_used() -> None:
    (never,) = findings(replace(HEALTHY, infos=0, info_age=float('inf')), FACTS, Settings())
    assert 'qos_overrides./front/camera_info.subscription.durability to transient_local' in never.sentence
    assert never.level == Level.ERROR
    (once,) = findings(replace(HEALTHY, infos=1, info_age=9.0), FACTS, Settings())
    assert once == (Level.WARN, 'no message on /front/camera_info for 9.0 s: the last one is used')


@pytest.mark.parametrize(
    ('changes', 'level', 'word'),
    [
        ({'stamps_agree': False}, Level.WARN, 'differ'),
        ({'fault': 'image that cannot be decoded: step 3'}, Level.WARN, 'step 3'),
        ({'lost': 30}, Level.WARN, 'lost 30 of 130'),
        ({'other_clock': True}, Level.WARN, 'use_sim_time'),
        ({'latency': Percentiles(-2.0, -1.9, -1.8)}, Level.WARN, 'stamps lie 2.000 s in the future'),
        ({'latency': Percentiles(0.1, 0.7, 0.9)}, Level.WARN, 'above 0.5 s'),
        ({'latency': Percentiles(0.1, 2.5, 2.9)}, Level.ERROR, 'above 2 s'),
        ({'rate_out': 4.0}, Level.WARN, 'below 5'),
        ({'rate_out': 1.0}, Level.ERROR, 'below 2'),
    ],
)
def test_trouble_is_named(changes: dict[str, object], level: Level, word: str) -> None:
    found = findings(replace(HEALTHY, **changes), FACTS, Settings(rate_warn=5.0, rate_error=2.0))
    assert [finding.level for finding in found] == [level]
    assert word in found[0].sentence


def test_worst_comes_first() -> None:
    report = replace(HEALTHY, stamps_agree=False, latency=Percentiles(3.0, 3.0, 3.0))
    assert [finding.level for finding in findings(report, FACTS, Settings())] == [Level.ERROR, Level.WARN]


def test_clock_that_was_never_heard_is_named_instead_of_another_clock() -> None:
    facts = replace(FACTS, waits_for_clock=True)
    (found,) = findings(replace(HEALTHY, other_clock=True), facts, Settings())
    assert 'nothing has come on /clock' in found.sentence


def test_two_publishers_of_a_topic_are_named() -> None:
    (found,) = findings(HEALTHY, replace(FACTS, info=replace(INFO, publishers=2)), Settings())
    assert found.level == Level.WARN
    assert '2 publish /front/camera_info and are mixed up here: stop all but one' in found.sentence
