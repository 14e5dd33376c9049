"""What all tests share: where real drives lie, and how tests run side by side."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault('OMP_NUM_THREADS', '1')


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share the tests out: a file stays in one process for the sake of its fixtures, and so does all of test/ros.

    Nodes of two tests at once would take each other's processor time, and some tests look at how punctual they are.
    """
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - only where tests are shared out

    class Folders(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = str(nodeid).split('::', 1)[0]
            return 'test/ros' if file.startswith('test/ros/') else file

    return Folders(config, log)


@pytest.fixture(scope='session')
def real_data() -> Path:
    """Return the folder of real drives and bags, or skip: it is no part of the repository."""
    folder = Path(os.environ.get('SIDEPTH_TEST_DATA', Path(__file__).parents[2] / 'shared' / 'data'))
    if not folder.is_dir():
        pytest.skip(f'no real recordings at {folder}')
    return folder
