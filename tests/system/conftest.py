"""Every test with real processes proves that it left none, nor anything else, behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def leaves_nothing_behind(runtime_folder: Path) -> Path:
    """Watch the test from outside."""
    return runtime_folder
