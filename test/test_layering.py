"""sidepth_core imports no ROS, and modules and rooms import downwards only."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROS = ('rclpy', 'sidepth_ros', 'cv_bridge', 'launch', 'launch_ros', 'builtin_interfaces', 'std_srvs')

FLOORS = (
    {'errors', 'image_headers', 'structured_text', 'threads', 'old_names', 'hub'},
    {'camera', 'images', 'precision'},
    {'geometry', 'rectify', 'stabiliser', 'gates', 'depth_maps', 'colour_maps'},
    {'models', 'losses', 'zoom'},
    {'checkpoint', 'visualisation', 'outputs'},
    {'data', 'engines'},
    {'augment', 'inference', 'scale'},
    {'evaluation'},
    {'training', 'benchmarks'},
    {'cli'},
)
"""The modules of sidepth_core, ground floor first: each may import from its own floor and from those below."""

DATA_FLOORS = (
    {'frames', 'clips', 'calibration', 'tracks', 'deferred', 'rectified', 'two_view', 'assumed_camera', 'live'}
    | {'share', 'two_view_depth'},
    {'depth_truth'},
    {'folders', 'bags'},
    {'kitti', 'prepare', 'synthetic'},
    {'sources'},
)
"""The same for the rooms and modules of sidepth_core.data; rooms of one floor do not import each other."""

ROS_FLOORS = (
    {'domain', 'fastdds'},
    {'messages'},
    {'node', 'tools', 'launching'},
    {'demo'},
    {'benchmark'},
)
"""The same for the rooms and modules of sidepth_ros."""

FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}
CORE = sorted(set((ROOT / 'sidepth_core').rglob('*.py')) - {ROOT / 'sidepth_core' / '__init__.py'})
ROOMS = [
    (path, package, floors)
    for package, floors in (('sidepth_core.data', DATA_FLOORS), ('sidepth_ros', ROS_FLOORS))
    for path in sorted((ROOT / package.replace('.', '/')).rglob('*.py'))
    if path != ROOT / package.replace('.', '/') / '__init__.py'
]


DOORS = (
    *(f'sidepth_core.data.{room}' for room in ('bags', 'kitti', 'folders', 'depth_truth', 'prepare')),
    'sidepth_core.checkpoint',
    'sidepth_ros.messages',
)
"""Packages that others import from as a whole, never from a module inside."""


def imported(path: Path) -> set[str]:
    """Return the dotted names that a file imports, wherever in the file it does."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update(f'{node.module}.{alias.name}' for alias in node.names)
    return names


def module_of(path: Path) -> str:
    """Return the first name below sidepth_core: a module, or the package the file lies in."""
    return path.relative_to(ROOT / 'sidepth_core').with_suffix('').parts[0]


@pytest.mark.parametrize('path', CORE, ids=lambda path: str(path.relative_to(ROOT)))
def test_core_imports_no_ros(path: Path) -> None:
    roots = {name.split('.')[0] for name in imported(path)}
    assert not {root for root in roots if root in ROS or root.endswith('_msgs')}


@pytest.mark.parametrize('path', CORE, ids=lambda path: str(path.relative_to(ROOT)))
def test_core_modules_import_downwards_only(path: Path) -> None:
    above = {
        name
        for name in imported(path)
        if name.startswith('sidepth_core.') and FLOOR_OF.get(name.split('.')[1], 0) > FLOOR_OF[module_of(path)]
    }
    assert not above


@pytest.mark.parametrize(('path', 'package', 'floors'), ROOMS, ids=[str(row[0].relative_to(ROOT)) for row in ROOMS])
def test_rooms_import_downwards_only(path: Path, package: str, floors: tuple[set[str], ...]) -> None:
    floor_of = {name: floor for floor, names in enumerate(floors) for name in names}
    prefix = f'{package}.'
    own = path.relative_to(ROOT / package.replace('.', '/')).with_suffix('').parts[0]
    others = {name.removeprefix(prefix).split('.')[0] for name in imported(path) if name.startswith(prefix)} - {own}
    top = 0 if package == 'sidepth_core.data' and floor_of[own] == 0 else floor_of[own] - 1
    assert not {name for name in others if floor_of[name] > top}


@pytest.mark.parametrize('room', DOORS)
def test_a_room_is_entered_by_its_door(room: str) -> None:
    inside = ROOT / room.replace('.', '/')
    modules = {f'{room}.{path.stem}' for path in inside.glob('*.py')} - {f'{room}.__init__'}
    outside = [path for path in ROOT.glob('sidepth_*/**/*.py') if inside not in path.parents]
    entered = {
        f'{path.relative_to(ROOT)}: {name}'
        for path in outside
        for name in imported(path)
        if modules & {name, name.rpartition('.')[0]}
    }
    assert modules
    assert not entered


def test_the_walk_sees_the_package() -> None:
    assert {'camera', 'data', 'models', 'cli'} <= {module_of(path) for path in CORE}
