"""YAML and JSON from outside: what is plain is read, what is meant to harm is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidepth_core.structured_text import read_json, read_yaml

LAUGHS = 'a0: &a0 [x, x]\n' + ''.join(f'a{n}: &a{n} [{", ".join([f"*a{n - 1}"] * 9)}]\n' for n in range(1, 12))


def test_plain_yaml_is_read_with_its_aliases_and_merges() -> None:
    assert read_yaml('a: &a {x: 1}\nb: *a\nc: {<<: *a, y: [2, null]}') == {
        'a': {'x': 1},
        'b': {'x': 1},
        'c': {'x': 1, 'y': [2, None]},
    }
    assert read_yaml('') is None


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        (LAUGHS, r'stand for 1\.1e\+11 values'),
        ('a: &a [*a]', 'holds itself'),
        ('[' * 2_000, 'nested too deep'),
        ('{a: ' * 2_000, 'nested too deep'),
        ('!!python/object/apply:os.system ["touch ran"]', 'could not determine a constructor'),
        ('!!python/name:os.system', 'could not determine a constructor'),
        ('a: [', 'expected the node content'),
        ('a: 1\n---\nb: 2', 'single document'),
        ('\0', 'special characters are not allowed'),
    ],
)
def test_yaml_that_is_not_plain_is_refused(
    text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=words):
        read_yaml(text)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('text', ['[' * 100_000, '{"a":' * 100_000, '[', '1' * 5000, b'\xff\xfe\xff'])
def test_json_that_cannot_be_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r'nested too deep|Expecting value|4300 digits|decode'):
        read_json(text)
