"""Build sidepth_ros: the package of package.xml, its executables and the files `ros2 launch` finds."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = 'sidepth_ros'
COMMANDS = (
    'train', 'prepare', 'evaluate', 'calibrate-scale', 'predict', 'synth', 'inspect', 'import-weights', 'benchmark',
)


def share(folder: str, *patterns: str) -> tuple[str, list[str]]:
    """Return the data_files row that installs a folder's files under share/sidepth_ros."""
    files = sorted(str(path) for pattern in patterns for path in Path(folder).glob(pattern))
    return f'share/{NAME}/{folder}', files


setup(
    name=NAME,
    version='0.1.0',
    description='Metric depth from one camera: a ROS 2 node and its self-supervised trainer',
    license='Apache-2.0',
    python_requires='>=3.10',
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
            'demo = sidepth_ros.demo.main:main',
            'camera_player = sidepth_ros.tools.camera_player:main',
            'camera_snapshot = sidepth_ros.tools.camera_snapshot:main',
            'motion_gate = sidepth_ros.tools.motion_gate:main',
            'adopt_checkpoint = sidepth_ros.tools.adopt_checkpoint:main',
            # Under the name of a command, main is that command: `ros2 run sidepth_ros train`.
            *(f'{command} = sidepth_core.cli:main' for command in COMMANDS),
        ],
    },
)
