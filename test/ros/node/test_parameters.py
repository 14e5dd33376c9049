"""The one table of parameters, and what is made of it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from sidepth_core.errors import ConfigError
from sidepth_ros.node.parameters import MODEL_PARAMETERS, SPECS, Settings, misspelt, render_yaml

CONFIG = Path(__file__).parents[3] / 'config' / 'depth.yaml'


def test_config_file_is_what_the_table_says() -> None:
    assert CONFIG.read_text() == render_yaml(), 'write parameters.render_yaml() to config/depth.yaml'


def test_config_file_gives_the_defaults() -> None:
    values = yaml.safe_load(CONFIG.read_text())['/**']['ros__parameters']
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    assert Settings(**values) == Settings()


def test_every_parameter_is_described_and_bounded() -> None:
    assert list(SPECS) == [item.name for item in fields(Settings)]
    for spec in SPECS.values():
        assert spec.description.endswith('.'), spec.name
        if isinstance(spec.default, (int, float)) and not isinstance(spec.default, bool):
            assert spec.low is not None, spec.name
            assert spec.high is not None, spec.name
    assert set(SPECS) >= MODEL_PARAMETERS


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'engine': 'steam'}, "engine is 'steam', expected one of eager"),
        ({'max_age': -1.0}, 'max_age is -1.0, expected at least 0'),
        ({'cloud_stride': 17}, 'expected at most 16'),
        ({'cloud_stride': 2.5}, 'expected a value like 1'),
        ({'cloud_stride': True}, 'expected a value like 1'),
        ({'stabilise': 1}, 'expected a value like False'),
        ({'checkpoint': 5}, "expected a value like ''"),
        ({'min_depth': 50.0, 'max_depth': 20.0}, r'min_depth \(50\) must be below max_depth \(20\)'),
        ({'color_near': 50.0, 'color_far': 50.0}, 'color_near'),
        ({'rate_error': 5.0, 'rate_warn': 2.0}, 'rate_error'),
        ({'network_size': '640x190'}, 'multiples of 32'),
        ({'network_size': 'large'}, 'WIDTHxHEIGHT'),
        ({'cameras': ()}, 'different names'),
        ({'cameras': ('front', 'front')}, 'different names'),
        ({'cameras': ('front', '')}, 'different names'),
        ({'cameras': ('2nd',)}, 'different names'),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Settings(**values)


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r'engine.*max_age'):
        Settings(engine='steam', max_age=-1.0)


def test_whole_number_is_a_number() -> None:
    assert Settings(max_age=1).max_age == 1


def test_change_is_checked_against_what_stays() -> None:
    settings = Settings().changed({'max_depth': 20.0})
    assert settings.max_depth == 20.0
    with pytest.raises(ConfigError, match='must be below'):
        settings.changed({'min_depth': 30.0})


def test_network_size_is_width_by_height() -> None:
    assert Settings(network_size='640x192').network_shape == (192, 640)
    assert Settings().network_shape is None


def test_name_that_is_nearly_one_of_ours_is_a_slip() -> None:
    assert misspelt(['max_dept', 'max_depth', 'use_sim_time', 'robot_description']) == [
        "there is no parameter 'max_dept': did you mean 'max_depth'?"
    ]
