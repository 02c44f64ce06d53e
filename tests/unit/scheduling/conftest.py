"""A cluster around a scheduler core, a master around a table of systems."""

from __future__ import annotations

import pytest

from tests.unit.scheduling.cluster import Cluster
from tests.unit.scheduling.system_driver import Master


@pytest.fixture
def cluster():
    return Cluster()


@pytest.fixture
def master():
    return Master()
