"""The command `sidepth`: each command is one module here with `main(argv) -> exit status`."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sidepth_core import __version__
from sidepth_core.errors import ConfigError, SidepthError, did_you_mean
from sidepth_core.threads import let_threads_sleep

SECTIONS = {
    'estimate depth': {
        'camera': 'show live depth of a webcam or a video file in a window, or publish it as a camera over ROS 2',
        'view': 'show image, depth and a point cloud that can be turned as a page for a browser, or a drive as a video',
        'predict': 'estimate depth of images, videos or bags and save it',
    },
    'train and evaluate on your own recordings': {
        'inspect': 'show what a checkpoint, a bag or a prepared cache holds',
        'prepare': 'decode, rectify and select frames of recordings once, into a cache that training reads fast',
        'train': 'train or fine-tune depth without labels on bags, videos, folders, KITTI or the synthetic world',
        'evaluate': 'score depth, pose, zoom and flicker against ground truth',
        'calibrate-scale': 'measure the scale of a checkpoint with odometry, ranges or a known camera height',
        'import-weights': 'turn a published DaB-Net .pth into a sidepth checkpoint',
    },
    'tools': {
        'synth': 'render a drive through the synthetic world into a video, a folder or a rosbag2',
        'export': 'write a checkpoint as a file for ONNX Runtime, OpenVINO or TensorRT',
        'push': 'publish a checkpoint with its model card on the Hugging Face Hub',
        'benchmark': 'measure speed and memory on this machine',
        'completion': 'print what makes the Tab key complete commands and options in bash, zsh or tcsh',
    },
}
"""The commands by task, each with its line in the help."""
COMMANDS = {name: line for section in SECTIONS.values() for name, line in section.items()}
"""Every command with its line in the help."""


def printable(text: object) -> str:
    """Return a text with what is not UTF-8, as a file name can hold, shown as escapes."""
    return str(text).encode('utf-8', 'backslashreplace').decode()


def run(main: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    """Run a command; an error of ours or of the disk becomes one line on stderr and exit status 2, as argparse's do."""
    try:
        return main(argv)
    except SidepthError as error:
        print(f'error: {printable(error)}', file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read the output, `head` say, has enough: there is nobody to tell, nor at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        place = f'{error.filename!r}: ' if error.filename else ''
        print(f'error: {place}{printable(error.strerror or error)}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run `sidepth COMMAND ARGUMENTS` and return its exit status.

    Called under the name of a command, as `ros2 run sidepth_ros train` does, it is that command.
    """
    if argv is None:
        program = Path(sys.argv[0]).stem
        argv = [program, *sys.argv[1:]] if program in COMMANDS else sys.argv[1:]
    arguments = list(argv)
    if not arguments or arguments[0] in {'-h', '--help'}:
        print(overview())
        return 0
    if arguments[0] == '--version':
        print(f'sidepth {__version__}')
        return 0
    command, rest = arguments[0], arguments[1:]
    if command not in COMMANDS:
        print(f'error: no command {command!r}: {did_you_mean(command, COMMANDS)}', file=sys.stderr)
        return 2
    let_threads_sleep()
    # What OpenCV warns of before a camera or a video cannot be opened is in our own error, in words.
    os.environ.setdefault('OPENCV_LOG_LEVEL', 'ERROR')
    return run(lambda argv: int(_module(command).main(argv)), rest)


def overview() -> str:
    """Return the help of `sidepth` itself: its commands by task."""
    width = max(map(len, COMMANDS))
    lines = ['usage: sidepth COMMAND [ARGUMENTS]   (sidepth COMMAND --help says more)']
    for title, section in SECTIONS.items():
        lines += ['', f'{title}:', *(f'  {name:{width}}  {line}' for name, line in section.items())]
    return '\n'.join(lines)


def _module(command: str) -> Any:  # noqa: ANN401 - a module with `main(argv) -> exit status`
    """Import a command. Ctrl-C ends the process at once: raised in the middle of an import it can be lost there.

    Raises:
        ConfigError: If a package is missing, as training's are after a bare `pip install .`.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return importlib.import_module(f'sidepth_core.cli.{command.replace("-", "_")}')
    except ModuleNotFoundError as error:
        if str(error.name).startswith('sidepth'):
            raise
        raise ConfigError(
            f'sidepth {command} needs the Python package {error.name!r}, which is not installed: '
            "pip install '.[train]' in a clone, or pip install -r requirements/train.txt"
        ) from None
    finally:
        signal.signal(signal.SIGINT, before)
