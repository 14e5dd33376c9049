"""Depth networks of the `transformers` library behind the interface of ours.

`folder.py` reads what a folder of theirs holds, without that library; `network.py` is the network that wraps theirs;
`loading.py` makes it, and imports `transformers` only then.
"""

from sidepth_core.models.foundation.description import FoundationInfo
from sidepth_core.models.foundation.folder import FoundationFolder, is_foundation, read_folder

__all__ = ['FoundationFolder', 'FoundationInfo', 'is_foundation', 'read_folder']
