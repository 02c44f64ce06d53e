"""Fixtures for every test."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.support.leftovers import watch_leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A slow machine is no reason to fail, and an example database would be a file left behind.
settings.register_profile("concurro", deadline=None, database=None, print_blob=True)
settings.load_profile("concurro")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # `pytest &` in a script: every process of a test would too
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def runtime_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a short private folder; afterwards prove that nothing was left behind."""
    tmp_path_factory.getbasetemp()  # `tmp_path` must not come to lie below the watched folder
    with watch_leftovers() as folder:
        yield folder
