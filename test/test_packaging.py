"""What package managers see: one version everywhere, executables that import, files that exist."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

import sidepth_core

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope='module')
def arguments() -> dict[str, Any]:
    """Return what setup.py passes to setuptools."""
    passed: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        setuptools = pytest.importorskip('setuptools')
        patch.setattr(setuptools, 'setup', lambda **values: passed.update(values))
        patch.setitem(sys.modules, 'setup_under_test', types.ModuleType('setup_under_test'))
        exec(compile((ROOT / 'setup.py').read_text(), 'setup.py', 'exec'), sys.modules['setup_under_test'].__dict__)  # noqa: S102
    return passed


@pytest.fixture(scope='module')
def manifest() -> ET.Element:
    """Return package.xml."""
    return ET.parse(ROOT / 'package.xml').getroot()  # noqa: S314 - our own file


def executables(arguments: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return name, module and function of every executable."""
    rows = arguments['entry_points']['console_scripts']
    return [re.fullmatch(r'(\S+) = (\S+):(\w+)', row).groups() for row in rows]  # type: ignore[union-attr]


def test_version_is_the_same_everywhere(arguments: dict[str, Any], manifest: ET.Element) -> None:
    assert arguments['version'] == manifest.findtext('version') == sidepth_core.__version__


def test_name_and_licence_are_the_same_everywhere(arguments: dict[str, Any], manifest: ET.Element) -> None:
    assert arguments['name'] == manifest.findtext('name')
    assert arguments['license'] == manifest.findtext('license')
    assert (ROOT / 'resource' / arguments['name']).is_file()


def test_every_executable_is_a_function_that_exists(arguments: dict[str, Any]) -> None:
    for name, module, function in executables(arguments):
        path = ROOT / Path(*module.split('.')).with_suffix('.py')
        path = path if path.is_file() else path.with_suffix('') / '__init__.py'
        assert path.is_file(), f'executable {name!r} wants module {module!r}'
        functions = [node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
        assert function in functions, f'executable {name!r} wants {module}.{function}'


def test_every_executable_imports(arguments: dict[str, Any]) -> None:
    pytest.importorskip('rclpy', reason='rclpy is not installed')
    for _, module, function in executables(arguments):
        assert callable(getattr(importlib.import_module(module), function))


def test_every_command_has_an_executable_and_a_module(arguments: dict[str, Any]) -> None:
    from sidepth_core.cli import COMMANDS  # noqa: PLC0415

    names = {name for name, _, _ in executables(arguments)}
    assert set(COMMANDS) <= names
    missing = [name for name in COMMANDS if not (ROOT / 'sidepth_core/cli' / f'{name.replace("-", "_")}.py').is_file()]
    assert not missing


def test_every_file_for_ros2_launch_is_installed(arguments: dict[str, Any]) -> None:
    installed = {path for _, paths in arguments['data_files'] for path in paths}
    there = {
        str(path.relative_to(ROOT)) for folder in ('launch', 'config', 'training') for path in (ROOT / folder).iterdir()
        if path.is_file() and not path.name.startswith('.')
    }
    assert there <= installed
    assert all((ROOT / path).is_file() for path in installed)


def test_default_weights_are_installed(arguments: dict[str, Any]) -> None:
    patterns = arguments['package_data']['sidepth_core']
    weights = [path for path in (ROOT / 'sidepth_core/weights').glob('*/*') if path.is_file()]
    assert all(any(path.match(pattern) for pattern in patterns) for path in weights)


def test_packages_leave_tests_and_recipes_out(arguments: dict[str, Any]) -> None:
    assert {name.partition('.')[0] for name in arguments['packages']} == {'sidepth_core', 'sidepth_ros'}


def test_console_scripts_go_where_ros2_run_looks() -> None:
    assert '[install]\ninstall_scripts=$base/lib/sidepth_ros' in (ROOT / 'setup.cfg').read_text()


def test_pyproject_leaves_the_package_to_setup_py() -> None:
    # A [project] table makes new setuptools drop the executables.
    assert not re.search(r'^\[project', (ROOT / 'pyproject.toml').read_text(), re.MULTILINE)


def test_configuration_files_are_well_formed() -> None:
    for path in (ROOT / 'config').iterdir():
        if path.suffix in {'.yaml', '.rviz', '.json'}:  # JSON is YAML
            assert isinstance(yaml.safe_load(path.read_text()), dict), path
        else:
            assert ET.parse(path).getroot() is not None, path  # noqa: S314 - our own file


def test_a_wheel_outside_of_ros_puts_no_common_names_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    passed: dict[str, Any] = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(pytest.importorskip('setuptools'), 'setup', lambda **values: passed.update(values))
    monkeypatch.setattr(sys, 'argv', ['setup.py', 'bdist_wheel'])
    monkeypatch.delenv('AMENT_PREFIX_PATH', raising=False)
    exec(compile((ROOT / 'setup.py').read_text(), 'setup.py', 'exec'), {'__name__': 'setup'})  # noqa: S102
    assert {name for name, _, _ in executables(passed)} == {'sidepth', 'depth_node'}


def test_pip_installs_what_the_commands_need_and_offers_the_rest(arguments: dict[str, Any]) -> None:
    required, extras = arguments['install_requires'], arguments['extras_require']
    assert {'torch>=2.6', 'rosbags>=0.10.9', 'timm>=1.0.15'} <= set(required)
    assert 'lightning>=2.5' in extras['train']
    assert any(line.startswith('ros-rclpy') for line in extras['ros'])
    assert {line for lines in extras.values() for line in lines} == set(extras['all'])


def test_the_node_without_rclpy_says_where_it_comes_from() -> None:
    # -S leaves out every installed package, as on a machine that has none.
    script = 'import sys; sys.path.insert(0, sys.argv.pop()); from sidepth_ros.node.main import main; main()'
    command = [sys.executable, '-I', '-S', '-c', script, ROOT]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith('error: the node needs rclpy')
    assert len(ended.stderr.splitlines()) == 1


def test_citation_has_the_version(arguments: dict[str, Any]) -> None:
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text(encoding='utf-8'))
    assert citation['version'] == arguments['version']


@pytest.mark.parametrize('path', sorted((ROOT / '.github').rglob('*.yml')), ids=lambda path: path.name)
def test_workflows_and_templates_are_well_formed(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text(encoding='utf-8')), dict)
