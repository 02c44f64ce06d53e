"""Driven slave cores with one and two workers that are ready."""

from __future__ import annotations

import pytest

from tests.unit.execution.slave_driver import SlaveDriver


@pytest.fixture
def one():
    driver = SlaveDriver(workers=1)
    driver.ready()
    return driver


@pytest.fixture
def two():
    driver = SlaveDriver(workers=2)
    driver.ready()
    return driver
