"""The errors that sidepth raises itself; what the operating system says (OSError) passes through."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SidepthError(Exception):
    """Base of every error of sidepth. Its message says what is wrong, what was expected and what to do."""


class ConfigError(SidepthError):
    """A parameter, a recipe or an argument has a value that cannot work."""


class DatasetError(SidepthError):
    """A drive, a video, a folder or a prepared cache cannot be used."""


class BagError(DatasetError):
    """A rosbag2 recording cannot be used."""


class CheckpointError(SidepthError):
    """A checkpoint is missing, damaged, or of another model."""


class ImageFormatError(SidepthError):
    """An image has an encoding, a size or a length that cannot be decoded."""


class ImageSizeError(ImageFormatError):
    """An image claims more pixels than are decoded."""


class ScaleError(SidepthError):
    """Metres were asked for and nothing here can give them."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return what an unknown name may have meant, as a hint: the nearest known one, or all of them."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f'did you mean {close[0]!r}?' if close else f'expected one of {", ".join(names)}'
