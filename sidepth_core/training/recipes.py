"""Recipes as files: complete, commented YAML; read strictly, written with each field's sentence above it."""

from __future__ import annotations

import argparse
import difflib
import inspect
import textwrap
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, DefaultHelpFormatter

from sidepth_core.errors import ConfigError
from sidepth_core.old_names import current_option, current_recipe
from sidepth_core.training.settings import Recipe

COMMENT_WIDTH = 110


class _HelpFormatter(argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Leaves the lines of the description, commands among them, as they are written."""


def recipe_parser(**options: Any) -> ArgumentParser:  # noqa: ANN401 - what argparse takes
    """Return the command-line parser that has every field of a recipe, with its sentence, and --recipe FILE."""
    parser = ArgumentParser(
        exit_on_error=False, default_env=False, formatter_class=_HelpFormatter, **options
    )
    parser.add_argument('--recipe', action='config', help='recipe file (YAML); what follows it overrides it')
    parser.add_class_arguments(Recipe)
    return parser


def read_arguments(parser: ArgumentParser, argv: Sequence[str], without_recipe: str | None = None) -> Recipe:
    """Return the recipe that command-line arguments ask for: a file's values, and what the arguments override.

    Args:
        parser: From recipe_parser; may have an option --bag, whose sources are added to the recipe's.
        argv: The arguments.
        without_recipe: Name of the recipe to start from when --recipe is not among them; None starts from defaults.

    Raises:
        ConfigError: If an option or key is unknown (the nearest one is named), or a value cannot be.
        OSError: If the recipe file cannot be read.
    """
    arguments = [current_option(argument) for argument in _split_assignments(argv)]
    _check_options(arguments, parser)
    if '--recipe' in arguments[:-1]:
        place = arguments.index('--recipe') + 1
        arguments[place] = str(find_recipe(arguments[place]))
    elif without_recipe and not {'-h', '--help'} & set(arguments):
        place = 1
        arguments = ['--recipe', str(find_recipe(without_recipe)), *arguments]
    else:
        place = 0
    if place:
        arguments[place] = checked(Path(arguments[place]))
    try:
        parsed = parser.parse_args(arguments)
    except ArgumentError as error:
        raise ConfigError(_one_line(str(error))) from None
    values = parser.instantiate(parsed)
    recipe = Recipe(**{field.name: values[field.name] for field in fields(Recipe)})
    added = tuple(values.get('bag') or ())
    return replace(recipe, data=replace(recipe.data, sources=(*recipe.data.sources, *added)))


def has_option(argv: Sequence[str], option: str) -> bool:
    """Whether an option is among arguments, as `--option value` or `--option=value`."""
    return option in _split_assignments(argv)


def _split_assignments(argv: Sequence[str]) -> list[str]:
    """Return arguments with every `--option=value` as two."""
    return [part for text in argv for part in (text.split('=', 1) if text.startswith('--') else [text])]


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe file.

    Raises:
        ConfigError: If it is no YAML mapping, a key is unknown, or a value cannot be.
        OSError: If the file cannot be read.
    """
    return read_arguments(recipe_parser(), ['--recipe', str(path)])


def find_recipe(name: str) -> Path:
    """Return the path of a recipe: a file, or the name of one that comes with the package ('finetune_bag').

    Raises:
        ConfigError: If there is none; says which there are.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    folders = [folder for folder in shipped_folders() if folder.is_dir()]
    for folder in folders:
        shipped = folder / f'{path.stem}.yaml'
        if path.parent == Path() and shipped.is_file():
            return shipped
    known = sorted({file.stem for folder in folders for file in folder.glob('*.yaml')})
    raise ConfigError(f'no recipe {name!r}: expected a file, or one of {", ".join(known)}')


def shipped_folders() -> Iterator[Path]:
    """Yield where the recipes may lie: beside the package in the source tree, under share/ where it is installed."""
    for parent in Path(__file__).resolve().parents[2:]:
        yield parent / 'share' / 'sidepth_ros' / 'training'
        if (parent / 'package.xml').exists():
            yield parent / 'training'


def checked(path: Path) -> str:
    """Return a recipe's YAML under today's keys; refuse keys that no recipe has, naming the nearest that it has.

    Raises:
        ConfigError: If there is one, or the file is no YAML mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except yaml.YAMLError as error:
        raise ConfigError(f'{str(path)!r} is no YAML: {_one_line(str(error))}') from error
    if not isinstance(content, Mapping):
        raise ConfigError(f'{str(path)!r} is no recipe: expected a mapping of settings, got {type(content).__name__}')
    current = current_recipe(content)
    faults = list(_unknown(current, Recipe, ''))
    if faults:
        raise ConfigError(f'{str(path)!r} has unknown keys: {"; ".join(faults)}')
    return yaml.safe_dump(current, sort_keys=False) if current != content else str(path)


def _unknown(content: Mapping[str, Any], settings: type, prefix: str) -> Iterator[str]:
    types = typing.get_type_hints(settings)
    for key, value in content.items():
        if key not in types:
            yield f'{prefix}{key} ({nearest(str(key), list(types))})'
        elif is_dataclass(types[key]) and isinstance(value, Mapping):
            yield from _unknown(value, types[key], f'{prefix}{key}.')


def nearest(name: str, known: list[str]) -> str:
    """Return what an unknown name may have meant, as a hint."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f'did you mean {close[0]!r}?' if close else f'expected one of {", ".join(known)}'


def _check_options(arguments: list[str], parser: ArgumentParser) -> None:
    """Refuse an option that does not exist, naming the nearest one; argparse itself only says that it is unknown."""
    known = [option for action in parser._actions for option in action.option_strings]  # noqa: SLF001 - argparse lists them nowhere else
    for option in arguments:
        if option.startswith('--') and len(option) > 2 and option not in known:
            raise ConfigError(f'no option {option!r}: {nearest(option, known)}')


def _one_line(text: str) -> str:
    return ' '.join(text.split())


def render_recipe(recipe: Recipe, heading: str) -> str:
    """Return a recipe as complete YAML, each field under its sentence."""
    lines = [f'# {line}'.rstrip() for line in heading.splitlines()]
    return '\n'.join([*lines, '', *_rendered(recipe, 0)]) + '\n'


def _rendered(settings: Any, depth: int) -> Iterator[str]:  # noqa: ANN401 - any of the settings' dataclasses
    indent = '  ' * depth
    sentences = field_sentences(type(settings))
    for field in fields(settings):
        value = getattr(settings, field.name)
        if depth == 0 and is_dataclass(value):
            yield ''
        for line in textwrap.wrap(sentences[field.name], COMMENT_WIDTH - len(indent) - 2):
            yield f'{indent}# {line}'
        if is_dataclass(value):
            yield f'{indent}{field.name}:'
            yield from _rendered(value, depth + 1)
        elif isinstance(value, tuple) and field.name == 'sources' and value:
            yield f'{indent}{field.name}:'
            yield from (f'{indent}- {_flow(item)}' for item in value)
        else:
            yield f'{indent}{field.name}: {_flow(list(value) if isinstance(value, tuple) else value)}'


def _flow(value: Any) -> str:  # noqa: ANN401 - what YAML takes
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=True)
    return text.removesuffix('\n').removesuffix('\n...')


def field_sentences(settings: type) -> dict[str, str]:
    """Return each field's sentence from the class's docstring, section Attributes."""
    section = inspect.getdoc(settings).split('Attributes:\n')[1].split('\n\n')[0]  # type: ignore[union-attr] # settings have docstrings
    sentences: dict[str, str] = {}
    name = ''
    for line in textwrap.dedent(section).splitlines():
        if line and not line.startswith(' '):
            name, _, text = line.partition(': ')
            sentences[name] = text
        else:
            sentences[name] += ' ' + line.strip()
    return sentences
