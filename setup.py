"""Build sidepth_ros: the package of package.xml, its executables and the files `ros2 launch` finds.

`colcon build` and `pip install .` both come through here. What pip installs beside it are requirements/*.txt: cli.txt
always, the others as extras of the same name.
"""

import os
import sys
from pathlib import Path

from setuptools import find_packages, setup

NAME = 'sidepth_ros'
COMMANDS = (
    'train', 'prepare', 'evaluate', 'calibrate-scale', 'predict', 'synth', 'inspect', 'import-weights', 'benchmark',
    'view', 'camera', 'completion', 'export', 'push',
)
NO_EXTRAS = ('core', 'cli', 'dev', 'docs', 'ros-pip-jazzy')
FOR_ROS2_RUN = (
    'demo = sidepth_ros.demo.main:main',
    'camera_player = sidepth_ros.tools.camera_player:main',
    'camera_snapshot = sidepth_ros.tools.camera_snapshot:main',
    'motion_gate = sidepth_ros.tools.motion_gate:main',
    'adopt_checkpoint = sidepth_ros.tools.adopt_checkpoint:main',
    # Under the name of a command, main is that command: `ros2 run sidepth_ros train`.
    *(f'{command} = sidepth_core.cli:main' for command in COMMANDS),
)
# Outside of ROS nobody wants a program called `train` or `inspect` on the path: there, `sidepth train` is the way.
FOR_PIP = 'bdist_wheel' in sys.argv and 'AMENT_PREFIX_PATH' not in os.environ


def requirements(name: str) -> list[str]:
    """Return the lines of requirements/NAME.txt, those of the files that it names among them."""
    lines = (line.strip() for line in Path('requirements', f'{name}.txt').read_text(encoding='utf-8').splitlines())
    wanted = [line for line in lines if line and not line.startswith('#')]
    files = [line.split()[1] for line in wanted if line.startswith('-r')]
    return [line for file in files for line in requirements(Path(file).stem)] + [
        line for line in wanted if not line.startswith('-r')
    ]


def extras() -> dict[str, list[str]]:
    """Return what each part needs besides: train, the engines, ros (rclpy as wheels); all is every one of them."""
    files = [path.stem for path in sorted(Path('requirements').glob('*.txt'))]
    files = [name for name in files if name not in NO_EXTRAS and not name.endswith('lock')]
    parts = {'ros' if name == 'ros-pip-kilted' else name: requirements(name) for name in files}
    parts = {name: [line for line in lines if line not in requirements('cli')] for name, lines in parts.items()}
    return {**parts, 'all': sorted({line for lines in parts.values() for line in lines})}


def share(folder: str, *patterns: str) -> tuple[str, list[str]]:
    """Return the data_files row that installs a folder's files under share/sidepth_ros."""
    files = sorted(str(path) for pattern in patterns for path in Path(folder).glob(pattern))
    return f'share/{NAME}/{folder}', files


setup(
    name=NAME,
    version='0.1.0',
    description='Metric depth from one camera: a ROS 2 node and its self-supervised trainer',
    license='Apache-2.0',
    long_description=Path('README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    python_requires='>=3.10',
    install_requires=requirements('cli'),
    extras_require=extras(),
    packages=find_packages(include=['sidepth_core*', 'sidepth_ros*']),
    package_data={
        'sidepth_core': ['py.typed', 'weights/*/*.json', 'weights/*/*.safetensors', 'weights/*/*.md'],
        'sidepth_ros': ['py.typed'],
    },
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (f'share/{NAME}', ['package.xml']),
        share('launch', '*.launch.py'),
        share('config', '*.yaml', '*.rviz', '*.xml', '*.json'),
        share('training', '*.yaml', '*.md'),
    ],
    zip_safe=False,
    entry_points={
        'console_scripts': [
            'sidepth = sidepth_core.cli:main',
            'depth_node = sidepth_ros.node.main:main',
            *([] if FOR_PIP else FOR_ROS2_RUN),
        ],
    },
)
