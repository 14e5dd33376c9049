"""What tests of training share: clips of the debug recipe, prepared once for each file of tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sidepth_core.training.recipes import load_recipe
from sidepth_core.training.sources import prepare_sources

DEBUG = load_recipe(Path(__file__).parents[3] / 'training' / 'debug.yaml')


@pytest.fixture(scope='module')
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of caches that holds that of the debug recipe."""
    folder = tmp_path_factory.mktemp('cache')
    prepare_sources(replace(DEBUG, data=replace(DEBUG.data, cache=str(folder))))
    return folder
