"""Recipes as files: YAML that says what differs from its base, read strictly; written in full, each field commented.

`base: finetune_bag` in a recipe names the one that it changes: one that comes with the package, or a path from the
recipe's own folder. Without it, a recipe changes the defaults.
"""

from __future__ import annotations

import argparse
import inspect
import textwrap
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, DefaultHelpFormatter

from sidepth_core.errors import ConfigError, did_you_mean
from sidepth_core.old_names import current_option, current_recipe
from sidepth_core.structured_text import read_yaml
from sidepth_core.training.settings import Recipe

COMMENT_WIDTH = 110
BASE = 'base'
REFERENCE = 'reference'
"""Name of the file that lists every setting: no recipe to train by, though it is one."""
HEADING = """\
Every setting of a training run, each under its sentence; `sidepth train --print-recipe` writes it.

A recipe needs only what differs from these values, or from those of the recipe that it names as its base:

  base: finetune_bag
  steps: 600

`sidepth train --recipe mine.yaml --print-recipe` shows what becomes of it."""


class _HelpFormatter(argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Leaves the lines of the description, commands among them, as they are written."""


def recipe_parser(**options: Any) -> ArgumentParser:  # noqa: ANN401 - what argparse takes
    """Return the command-line parser that has every field of a recipe, with its sentence, and --recipe FILE."""
    parser = ArgumentParser(
        exit_on_error=False, default_env=False, print_config=None, formatter_class=_HelpFormatter, **options
    )
    parser.add_argument(
        '--recipe',
        action='config',
        metavar='RECIPE',
        help='recipe file (YAML), or the name of one that comes with the package; other options override it, wherever '
        'they stand',
    )
    parser.add_class_arguments(Recipe)
    return parser


def put_first(parser: ArgumentParser, title: str, options: Sequence[str]) -> None:
    """Let the help begin with some options under a title of their own; files for whole sections are not shown."""
    actions = {text: action for action in parser._actions for text in action.option_strings}  # noqa: SLF001 - as below
    chosen = [actions[option] for option in options]
    for group in parser._action_groups:  # noqa: SLF001 - argparse has no other way to move an option
        group._group_actions = [action for action in group._group_actions if action not in chosen]  # noqa: SLF001
    first = parser.add_argument_group(title)
    first._group_actions.extend(chosen)  # noqa: SLF001
    groups: list[Any] = parser._action_groups  # type: ignore[assignment] # noqa: SLF001 - jsonargparse says Sequence
    groups.insert(0, groups.pop())
    for option, action in actions.items():
        if any(other.startswith(f'{option}.') for other in actions):
            action.help = argparse.SUPPRESS


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
    arguments = _with_true(arguments, parser)
    named, arguments = _take_out(arguments, '--recipe')
    if len(named) > 1:
        raise ConfigError(f'--recipe is given {len(named)} times: name one, and let it name the other as its base')
    if not named and without_recipe and not {'-h', '--help'} & set(arguments):
        named = [without_recipe]
    if named:
        # First, so that what else is given overrides it.
        arguments = ['--recipe', yaml.safe_dump(read_settings(find_recipe(named[0]))), *arguments]
    try:
        parsed = parser.parse_args(arguments)
    except ArgumentError as error:
        raise ConfigError(_one_line(str(error))) from None
    values = parser.instantiate(parsed)
    recipe = Recipe(**{field.name: values[field.name] for field in fields(Recipe)})
    added = tuple(values.get('bag') or ())
    return replace(recipe, data=replace(recipe.data, sources=(*recipe.data.sources, *added)))


def _take_out(arguments: Sequence[str], option: str) -> tuple[list[str], list[str]]:
    """Return the values of an option, and the arguments without it; one without a value stays where it is."""
    values, others = [], list(arguments)
    while option in others[:-1]:
        place = others.index(option)
        values.append(others[place + 1])
        del others[place : place + 2]
    return values, others


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
    known = sorted({file.stem for folder in folders for file in folder.glob('*.yaml')} - {REFERENCE})
    raise ConfigError(f'no recipe {name!r}: expected a file, or one of {", ".join(known)}')


def shipped_folders() -> Iterator[Path]:
    """Yield where the recipes may lie: beside the package in the source tree, under share/ where it is installed."""
    for parent in Path(__file__).resolve().parents[2:]:
        yield parent / 'share' / 'sidepth_ros' / 'training'
        if (parent / 'package.xml').exists():
            yield parent / 'training'


def read_settings(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return what a recipe file sets, over what its base sets.

    Args:
        path: The file.
        above: The recipes whose base it is, outermost first.

    Raises:
        ConfigError: If the file is no YAML mapping, has a key that no recipe has (the nearest one is named), or its
            base is missing or rests on this very recipe.
        OSError: If a file cannot be read.
    """
    chain = (*above, path.resolve())
    if path.resolve() in above:
        raise ConfigError(f'recipes rest on each other in a circle: {" -> ".join(str(each) for each in chain)}')
    try:
        content = read_yaml(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ConfigError(f'{str(path)!r} is no YAML: {error}') from error
    if not isinstance(content, Mapping):
        raise ConfigError(f'{str(path)!r} is no recipe: expected a mapping of settings, got {type(content).__name__}')
    own = current_recipe({key: value for key, value in content.items() if key != BASE})
    faults = list(_unknown(own, Recipe, '', also=(BASE,)))
    if faults:
        raise ConfigError(f'{str(path)!r} has unknown keys: {"; ".join(faults)}')
    if BASE not in content:
        return own
    return _laid_over(read_settings(_find_base(content[BASE], path), chain), own)


def _find_base(name: object, path: Path) -> Path:
    """Return the file of a recipe's base: beside the recipe, or one that comes with the package."""
    if not isinstance(name, str):
        raise ConfigError(f'base of {str(path)!r} is {name!r}: expected the name of a recipe, or a path')
    beside = [path.parent / name, path.parent / f'{name}.yaml']
    try:
        return next((file for file in beside if file.is_file()), None) or find_recipe(name)
    except ConfigError as error:
        raise ConfigError(f'base of {str(path)!r}: {error}') from None


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return one mapping with the values of another over its own; mappings in it alike."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _laid_over(merged[key], value) if both else value
    return merged


def _unknown(
    content: Mapping[str, Any], settings: type, prefix: str, also: tuple[str, ...] = ()
) -> Iterator[str]:
    types = typing.get_type_hints(settings)
    for key, value in content.items():
        if key not in types:
            yield f'{prefix}{key} ({did_you_mean(str(key), [*types, *also])})'
        elif is_dataclass(types[key]) and isinstance(value, Mapping):
            yield from _unknown(value, types[key], f'{prefix}{key}.')


def _check_options(arguments: list[str], parser: ArgumentParser) -> None:
    """Refuse an option that does not exist, naming the nearest one; argparse itself only says that it is unknown."""
    known = [option for action in parser._actions for option in action.option_strings]  # noqa: SLF001 - argparse lists them nowhere else
    for option in arguments:
        if option.startswith('--') and len(option) > 2 and option not in known:
            raise ConfigError(f'no option {option!r}: {did_you_mean(option, known)}')


def _with_true(arguments: Sequence[str], parser: ArgumentParser) -> list[str]:
    """Return arguments in which a switch that stands alone, as --resume may, has its value `true`."""
    switches = {text for action in parser._actions if _is_switch(action) for text in action.option_strings}  # noqa: SLF001 - as above
    completed = []
    for argument, following in zip(arguments, [*arguments[1:], '--'], strict=True):
        completed.append(argument)
        if argument in switches and following.startswith('--'):
            completed.append('true')
    return completed


def _is_switch(action: argparse.Action) -> bool:
    return getattr(action, '_typehint', None) is bool


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
