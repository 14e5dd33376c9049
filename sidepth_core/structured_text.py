"""YAML and JSON from outside: read without executing anything, and within bounds.

A short text can be deep enough to end the parser, or, by aliases of aliases, stand for more values than memory holds.
"""

from __future__ import annotations

import json
from typing import Any

import yaml

LARGEST = 100_000
"""Values that a file may stand for once its aliases are written out; the longest recipe has a few hundred."""


def read_yaml(text: str) -> Any:  # noqa: ANN401 - whatever a text holds
    """Return what a YAML text holds: plain values only, tags of other types are refused.

    Raises:
        ValueError: If it is no such YAML, is nested too deep, refers to itself, or stands for more than LARGEST values.
    """
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        count = _values(root, {})
        if count > LARGEST:
            raise ValueError(f'its aliases stand for {count:.3g} values, expected at most {LARGEST}')
        return loader.construct_document(root)
    except yaml.YAMLError as error:
        raise ValueError(' '.join(str(error).split())) from error
    except RecursionError:
        raise ValueError('it is nested too deep') from None


def read_json(text: str | bytes) -> Any:  # noqa: ANN401 - whatever a text holds
    """Return what a JSON text holds.

    Raises:
        ValueError: If it is no JSON, or is nested too deep.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError('it is nested too deep') from None


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """Return how many values a node stands for, aliases written out."""
    if id(node) in known:
        if not known[id(node)]:
            raise ValueError('it holds itself')
        return known[id(node)]
    known[id(node)] = 0  # while it is being counted
    inside: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        inside = node.value
    elif isinstance(node, yaml.MappingNode):
        inside = [part for pair in node.value for part in pair]
    known[id(node)] = 1 + sum(_values(part, known) for part in inside)
    return known[id(node)]
