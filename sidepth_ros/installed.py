"""Where the files of config/ lie: in the repository, in a colcon install, or beside a pip-installed package."""

from __future__ import annotations

import sys
from pathlib import Path

from sidepth_core.errors import ConfigError


def config_file(name: str) -> Path:
    """Return the path of a file of config/.

    Raises:
        ConfigError: If it is in none of the places where an installation puts it.
    """
    here = Path(__file__).resolve()
    # The repository; then colcon's <prefix>/lib/python3.x/site-packages/sidepth_ros; then pip's data files.
    roots = [here.parents[1], *(parent / 'share' / 'sidepth_ros' for parent in [*here.parents, Path(sys.prefix)])]
    for root in roots:
        if (root / 'config' / name).is_file():
            return root / 'config' / name
    raise ConfigError(f'config/{name} is not installed: install the package again, or source its setup.bash')
