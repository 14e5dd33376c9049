"""What the shell blocks of README and docs say, checked with the real parsers and tables; nothing is run."""

from __future__ import annotations

import argparse
import importlib
import re
import runpy
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from sidepth_core.cli import COMMANDS
from sidepth_core.errors import SidepthError
from sidepth_ros.node import topics
from sidepth_ros.node.parameters import SPECS, Settings

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r'^```(sh|python)\n(.*?)^```', re.MULTILINE | re.DOTALL)
OUTSIDE = {
    'git', 'rosdep', 'colcon', 'source', '.', 'export', 'cd', 'python3', 'docker', 'fastdds', 'pre-commit', 'sbatch',
}  # fmt: skip
"""Programs that are not ours: not looked into."""
VARIABLES = {'$SLURM_ARRAY_TASK_ID': '3', '$SLURM_ARRAY_TASK_COUNT': '8'}
"""What the shell would put in their place."""
OTHER_PACKAGES = {'camera_calibration', 'depthimage_to_laserscan', 'depth_image_proc', 'rtabmap_launch'}
"""ROS packages that are not ours; these lines were written after their documentation."""


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    language: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    """Yield the shell and Python blocks of a page."""
    for language, text in BLOCK.findall(page.read_text(encoding='utf-8')):
        yield Block(page, language, text)


def commands(text: str) -> Iterator[list[str]]:
    """Yield the commands of a shell block as words: comments gone, continued lines joined, && and | apart."""
    for name, value in VARIABLES.items():
        text = text.replace(name, value)
    for line in text.replace('\\\n', ' ').splitlines():
        words: list[str] = []
        lexer = shlex.shlex(line.replace('<this repository>', 'REPOSITORY'), posix=True, punctuation_chars='&|')
        lexer.whitespace_split = True
        for word in lexer:
            if word in {'&&', '|', '&'}:
                yield words
                words = []
            else:
                words.append(word)
        if words:
            yield words


def fault(words: Sequence[str]) -> str | None:
    """Return what is wrong with a command, or None."""
    while words and re.fullmatch(r'\w+=.*', words[0]):
        words = words[1:]
    program, *rest = words
    if program == 'torchrun':
        return sidepth_fault(rest[rest.index('sidepth') + 1 :])
    checks: dict[str, Callable[[list[str]], str | None]] = {
        'sidepth': sidepth_fault, 'make': make_fault, 'pip': pip_fault, 'ros2': ros2_fault, 'python': python_fault,
    }  # fmt: skip
    if program in checks:
        return checks[program](rest)
    return None if program in OUTSIDE else f'{program} is neither ours nor known'


def sidepth_fault(words: list[str]) -> str | None:
    """Return what a command's own parser says of its arguments."""
    command, *arguments = words
    if command not in COMMANDS:
        return None if command.startswith('--') else f'no command {command}'
    if command == 'train':
        recipes: Any = importlib.import_module('sidepth_core.training.recipes')
        return train_fault(arguments, recipes)
    parser = generator()['parser_of'](command)
    try:
        parser.parse_args(arguments)
    except (argparse.ArgumentError, SystemExit) as error:
        return f'sidepth {command} refuses {arguments}: {error}'
    return None


def train_fault(arguments: list[str], recipes: Any) -> str | None:
    """Return what train says of its arguments; a recipe that the reader is to have is one that only is not there."""
    places = [place for place, word in enumerate(arguments) if word == '--recipe']
    for place in places:
        if arguments[place + 1] in {'mine.yaml', 'runs/mine/config.yaml', 'runs/monday/config.yaml'}:
            arguments[place + 1] = 'finetune_bag'
    parser = recipes.recipe_parser(prog='sidepth train')
    parser.add_argument('--bag', action='append', default=[])
    parser.add_argument('--print-recipe', action='store_true')
    try:
        recipes.read_arguments(parser, arguments)
    except SidepthError as error:
        return str(error)
    return None


_GENERATOR: dict[str, Any] = {}


def generator() -> dict[str, Any]:
    """Return the names of docs/make_reference.py."""
    if not _GENERATOR:
        _GENERATOR.update(runpy.run_path(str(ROOT / 'docs' / 'make_reference.py')))
    return _GENERATOR


def make_fault(words: list[str]) -> str | None:
    """Return which target does not exist."""
    makefile = (ROOT / 'Makefile').read_text(encoding='utf-8')
    targets = [word for word in words if '=' not in word]
    missing = [target for target in targets if not re.search(rf'^{target}:', makefile, re.MULTILINE)]
    return f'make has no {missing}' if missing else None


def pip_fault(words: list[str]) -> str | None:
    """Return which requirements file or extra does not exist."""
    for word in words:
        name = word.removeprefix('src/sidepth/')
        if name.startswith('requirements/') and not (ROOT / name).is_file():
            return f'{name} is not there'
        extras = re.fullmatch(r'\.\[([\w,]+)\]', word)
        known = {path.stem for path in (ROOT / 'requirements').glob('*.txt')} | {'ros', 'all'}
        unknown = set(extras[1].split(',') if extras else ()) - known
        if unknown:
            return f'there is no extra {sorted(unknown)}'
    return None


def python_fault(words: list[str]) -> str | None:
    """Return whether a script of the repository is missing."""
    return f'{words[0]} is not there' if words[0].endswith('.py') and not (ROOT / words[0]).is_file() else None


def ros2_fault(words: list[str]) -> str | None:
    """Return what is wrong with a line of the ros2 command."""
    verb, *rest = words
    checks = {
        'run': run_fault, 'launch': launch_fault, 'param': param_fault, 'service': service_fault, 'topic': topic_fault,
    }  # fmt: skip
    if verb in checks:
        return None if rest[0] in OTHER_PACKAGES else checks[verb](rest)
    return None if verb in {'bag', 'lifecycle', 'pkg'} else f'ros2 {verb} is not known here'


def run_fault(words: list[str]) -> str | None:
    """Return which executable does not exist, or what it says of its arguments."""
    package, executable, *arguments = words
    if package == 'sidepth_ros' and executable in COMMANDS:
        return sidepth_fault([executable, *arguments])
    is_ours = package == 'sidepth_ros' and f"'{executable} = " in (ROOT / 'setup.py').read_text(encoding='utf-8')
    return None if is_ours else f'no executable {package} {executable}'


def service_fault(words: list[str]) -> str | None:
    """Return which service the node does not have."""
    known = {each.name.replace('~', '/depth'): each.type for each in topics.SERVICES}
    return None if known.get(words[1]) == words[2] else f'no service {words[1:]}'


def topic_fault(words: list[str]) -> str | None:
    """Return which topic the node does not publish."""
    outputs = {f'/{each.name.lstrip("/")}' for each in (*topics.OUTPUTS, *topics.NODE_OUTPUTS)}
    return None if words[1] in outputs else f'no topic {words[1]}'


def launch_fault(words: list[str]) -> str | None:
    """Return which launch file or argument does not exist."""
    package, name, *arguments = words
    file = ROOT / 'launch' / name
    if package != 'sidepth_ros' or not file.is_file():
        return f'no launch file {package} {name}'
    declared = {row[0].strip('`') for row in generator()['launch_rows'](file)}
    given = {argument.partition(':=')[0] for argument in arguments if ':=' in argument}
    return f'{name} has no {sorted(given - declared)}' if given - declared else None


def param_fault(words: list[str]) -> str | None:
    """Return why the node would refuse a parameter's value."""
    verb, _, name, *value = words
    if name not in SPECS:
        return f'no parameter {name}'
    if verb == 'set':
        try:
            Settings().changed({name: type(SPECS[name].default)(yaml.safe_load(value[0]))})
        except SidepthError as error:
            return str(error)
    return None
