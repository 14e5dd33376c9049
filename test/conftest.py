"""What all tests share: where real drives lie, and one thread for torch so that tests can run side by side."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault('OMP_NUM_THREADS', '1')


@pytest.fixture(scope='session')
def real_data() -> Path:
    """Return the folder of real drives and bags, or skip: it is no part of the repository."""
    folder = Path(os.environ.get('SIDEPTH_TEST_DATA', Path(__file__).parents[2] / 'shared' / 'data'))
    if not folder.is_dir():
        pytest.skip(f'no real recordings at {folder}')
    return folder
