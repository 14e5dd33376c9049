"""Write every page and file that is made from a table in the code: `make reference`; a test holds them current."""

from __future__ import annotations

import argparse
import ast
import importlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from sidepth_core.cli import COMMANDS
from sidepth_core.training.recipes import HEADING, REFERENCE, field_sentences, recipe_parser, render_recipe
from sidepth_core.training.settings import Recipe
from sidepth_ros.node.parameters import SPECS, Spec, render_yaml
from sidepth_ros.node.topics import INPUTS, NODE_OUTPUTS, OUTPUTS, SCALE_INPUTS, SERVICES, Interface

ROOT = Path(__file__).parents[1]
LAUNCH_FILES = ('depth', 'cameras', 'record', 'finetune')
MADE = '<!-- Made by `make reference` from the code: change it there. -->\n'


def pages() -> dict[Path, str]:
    """Return the text of every generated file by its path in the repository."""
    return {
        Path('config/depth.yaml'): render_yaml(),
        Path(f'training/{REFERENCE}.yaml'): render_recipe(Recipe(), HEADING),
        Path('docs/reference/node.md'): joined(node_page()),
        Path('docs/reference/commands.md'): joined(commands_page()),
        Path('docs/reference/recipe.md'): joined(recipe_page()),
    }


def joined(lines: Iterable[str]) -> str:
    """Return lines as the text of a file."""
    return '\n'.join(lines).rstrip() + '\n'


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield a table in Markdown, and an empty line."""
    yield f'| {" | ".join(headings)} |'
    yield '|---' * len(headings) + '|'
    for row in rows:
        yield f'| {" | ".join(map(escaped, row))} |'
    yield ''


def escaped(cell: str) -> str:
    """Return a text that neither ends its cell nor becomes HTML."""
    return ' '.join(cell.split()).replace('|', '&#124;').replace('<', '&lt;')


def node_page() -> Iterator[str]:
    """Yield the reference of the node: topics, services, parameters, launch arguments."""
    yield from (MADE, '# Node reference', '')
    yield 'What `depth_node` subscribes to, publishes, answers and can be told. How it behaves: [the node](../node.md).'
    yield 'Names are relative: remap them, or put the node into a namespace. With `cameras: [front, left]` the topics'
    yield 'of a camera are `front/image`, `front/depth/image` and so on.'
    for title, interfaces in (
        ('Subscribed topics', (*INPUTS, *SCALE_INPUTS)),
        ('Published topics', (*OUTPUTS, *NODE_OUTPUTS)),
        ('Services', SERVICES),
    ):
        yield from ('', f'## {title}', '')
        yield from table(('name', 'type', 'what'), map(interface_row, interfaces))
    yield 'The services of a lifecycle node (`~/change_state`, `~/get_state`, ...) and of parameters come with rclpy.'
    yield from ('', '## Parameters', '')
    yield 'In the order of [`config/depth.yaml`](../../config/depth.yaml). Those marked *start* are fixed from then on.'
    yield from ('', *table(('parameter', 'default', 'values', 'what'), map(parameter_row, SPECS.values())))
    yield from ('## Launch files', '')
    yield '`ros2 launch sidepth_ros FILE --show-args` says the same.'
    for name in LAUNCH_FILES:
        yield from ('', f'### {name}.launch.py', '')
        yield from table(('argument', 'default', 'what'), launch_rows(ROOT / 'launch' / f'{name}.launch.py'))


def interface_row(interface: Interface) -> tuple[str, str, str]:
    """Return the row of a topic or service."""
    return f'`{interface.name}`', f'`{interface.type}`', interface.sentence


def parameter_row(spec: Spec) -> tuple[str, str, str, str]:
    """Return the row of a node's parameter."""
    values = ', '.join(f'`{choice}`' for choice in spec.choices)
    if spec.low is not None and spec.high is not None:
        values = f'{spec.low:g} to {spec.high:g}'
    start = ' *start*' if spec.read_only else ''
    return f'`{spec.name}`', code(spec.default), values, spec.description + start


def code(value: object) -> str:
    """Return a value as YAML would show it, in backticks."""
    if isinstance(value, (list, tuple)):
        return f'`[{", ".join(map(repr, value))}]`'
    return f'`{str(value).lower() if isinstance(value, bool) or value is None else repr(value)}`'


def launch_rows(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the row of each argument that a launch file declares, read from its source: launch need not be there."""
    shared = ast.parse((ROOT / 'sidepth_ros' / 'launching.py').read_text(encoding='utf-8'))
    functions = {node.name: node for node in shared.body if isinstance(node, ast.FunctionDef)}
    names = constants(shared) | {'config': Path('config'), 'CONFIG': Path('config'), 'str': str}
    for node in functions['node_arguments'].body:
        if isinstance(node, ast.Assign):
            names |= {ast.unparse(node.targets[0]): ast.literal_eval(node.value)}
    declared = next(
        node.value
        for node in ast.parse(path.read_text(encoding='utf-8')).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'ARGUMENTS'
    )
    yield from arguments_of(declared, functions, names)


def constants(module: ast.Module) -> dict[str, object]:
    """Return the literal constants of a module by name."""
    found = {}
    for node in module.body:
        if isinstance(node, ast.Assign):
            try:
                found[ast.unparse(node.targets[0])] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found


def arguments_of(
    tree: ast.AST, functions: dict[str, ast.FunctionDef], names: dict[str, object]
) -> Iterator[tuple[str, str, str]]:
    """Yield the rows of the calls of `argument(...)`, and of the functions of launching.py that return some."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name))
    for call in sorted(calls, key=lambda call: call.lineno):
        called = ast.unparse(call.func)
        if called == 'argument':
            name, default, sentence, *choices = (evaluate(each, names) for each in call.args)
            values = ', '.join(f'`{choice}`' for choice in (choices[0] if choices else ()) if choice)
            given = 'must be given' if default is None else f'`{default}`' if default else 'empty'
            yield f'`{name}`', given, f'{sentence}{f" ({values})" if values else ""}'
        elif called in {'node_arguments', 'fastdds_argument'}:
            yield from arguments_of(functions[called], functions, names)


def evaluate(expression: ast.expr, names: dict[str, object]) -> Any:  # noqa: ANN401 - whatever it is
    """Return the value of an expression of our own launch files."""
    return eval(compile(ast.Expression(expression), 'launch', 'eval'), dict(names))  # noqa: S307


def commands_page() -> Iterator[str]:
    """Yield the reference of the commands, from their own parsers."""
    yield from (MADE, '# Command reference', '')
    yield '`sidepth COMMAND --help` says the same. In a ROS 2 workspace, `ros2 run sidepth_ros COMMAND` runs it.'
    yield 'Exit status: 0 for success, 2 for an error, which is one sentence on stderr, 130 after Ctrl-C.'
    rows = ((f'[`{name}`](#sidepth-{name})', line) for name, line in COMMANDS.items())
    yield from ('', *table(('command', 'what'), rows))
    for name in COMMANDS:
        yield from (f'## sidepth {name}', '')
        yield from command_section(name, parser_of(name))


def parser_of(command: str) -> argparse.ArgumentParser:
    """Return the parser that a command parses its arguments with."""
    module = importlib.import_module(f'sidepth_core.cli.{command.replace("-", "_")}')
    if hasattr(module, 'parser'):
        return module.parser()
    parsers: list[argparse.ArgumentParser] = []

    def caught(parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        parsers.append(parser)
        raise StopIteration

    kind = type(recipe_parser()) if command == 'train' else argparse.ArgumentParser
    with mock.patch.object(kind, 'parse_args', caught):
        try:
            module.main([])
        except StopIteration:
            return parsers[0]
    raise LookupError(f'sidepth {command} parses no arguments')


def command_section(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield what a command is, its options by group, and its examples."""
    if parser.description:
        yield from ('```text', parser.description.strip('\n'), '```', '')
    for group in parser._action_groups:  # noqa: SLF001 - argparse lists them nowhere else
        actions = [action for action in group._group_actions if is_listed(action)]  # noqa: SLF001
        if not actions:
            continue
        yield from (f'**{(group.title or "options").capitalize()}**', '')
        if group.description:
            yield from (group.description, '')
        yield from table(('argument', 'default', 'what'), (option_row(action, parser) for action in actions))
    if name == 'train':
        yield 'Every setting of a recipe is an option too, `--data.sources`, `--optimiser.batch_size` and so on:'
        yield from ('[recipe reference](recipe.md).', '')
    if parser.epilog:
        yield from ('```text', parser.epilog.strip('\n'), '```', '')


def is_listed(action: argparse.Action) -> bool:
    """Whether an argument belongs into the table: the settings of a recipe's sections have a page of their own."""
    is_section = '.' in action.dest or action.dest in {item.name for item in fields(Recipe) if is_section_of(item)}
    return action.help != argparse.SUPPRESS and not is_section and action.dest != 'help'


def is_section_of(item: Field[Any]) -> bool:
    """Whether a setting holds settings."""
    return is_dataclass(default_of(item))


def option_row(action: argparse.Action, parser: argparse.ArgumentParser) -> tuple[str, str, str]:
    """Return the row of an argument."""
    names = ', '.join(f'`{option}`' for option in action.option_strings) or f'`{action.metavar or action.dest}`'
    if action.option_strings and action.nargs != 0:
        metavar = ' '.join(action.metavar) if isinstance(action.metavar, tuple) else action.metavar
        choices = ' or '.join(map(str, action.choices or ()))
        names += f' {metavar or choices or action.dest.upper()}'
    values = {**vars(action), 'prog': parser.prog}
    sentence = (action.help or '') % values
    is_silent = any(action.default is each for each in (None, False, argparse.SUPPRESS)) or action.default == []
    return names, 'required' if action.required else '' if is_silent else code_of(action.default), sentence


def code_of(default: object) -> str:
    """Return a default in backticks, its strings bare as they are typed."""
    return f'`{default}`' if isinstance(default, (str, int, float, Path)) else code(default)


def recipe_page() -> Iterator[str]:
    """Yield the reference of a recipe's settings, a table for each of its sections."""
    yield from (MADE, '# Recipe reference', '')
    yield 'Every setting of a training run. A recipe is a YAML file with those that differ from these defaults, or from'
    yield 'those of the recipe that it names as its `base`; each is an option of `sidepth train`: `--model.width 416`.'
    yield '`sidepth train --print-recipe` writes all of them: [training/reference.yaml](../../training/reference.yaml).'
    yield from ('', '## Recipes that come with the package', '')
    recipes = sorted(path for path in (ROOT / 'training').glob('*.yaml') if path.stem != REFERENCE)
    rows = ((f'[`{path.stem}`](../../training/{path.name})', about(path)) for path in recipes)
    yield from table(('recipe', 'what'), rows)
    yield from ('## Top level', '')
    yield from settings_table(Recipe, '')
    for item in fields(Recipe):
        if is_section_of(item):
            yield from (f'## {item.name}', '', field_sentences(Recipe)[item.name], '')
            yield from settings_table(type(default_of(item)), f'{item.name}.')


def about(recipe: Path) -> str:
    """Return the first paragraph of the comment on top of a recipe."""
    lines = (line.removeprefix('#').strip() for line in recipe.read_text(encoding='utf-8').splitlines())
    return ' '.join(itertools.takewhile(bool, lines))


def settings_table(settings: type, prefix: str) -> Iterator[str]:
    """Yield the table of a section's settings, those of its own sections behind them."""
    sentences = field_sentences(settings)
    plain = [item for item in fields(settings) if not is_section_of(item)]
    rows = ((f'`{prefix}{item.name}`', code(default_of(item)), sentences[item.name]) for item in plain)
    yield from table(('setting', 'default', 'what'), rows)
    for item in fields(settings):
        if is_section_of(item) and prefix:
            yield from settings_table(type(default_of(item)), f'{prefix}{item.name}.')


def default_of(item: Field[Any]) -> Any:  # noqa: ANN401 - whatever it is
    """Return the default of a setting."""
    return item.default if item.default is not MISSING else item.default_factory()  # type: ignore[misc]


def main() -> None:
    """Write what differs."""
    for path, text in pages().items():
        file = ROOT / path
        if not file.is_file() or file.read_text(encoding='utf-8') != text:
            file.write_text(text, encoding='utf-8')
            print(path)  # noqa: T201


if __name__ == '__main__':
    main()
