"""A cluster around a scheduler core."""

from __future__ import annotations

import pytest

from tests.unit.scheduling.cluster import Cluster


@pytest.fixture
def cluster():
    return Cluster()
