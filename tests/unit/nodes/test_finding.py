"""Which master is meant when nobody names one."""

from __future__ import annotations

import pytest

import concurro.nodes.finding
from concurro import find_master


@pytest.fixture
def default_master(monkeypatch):
    """Say who listens on the default address: nobody, or a master of ours."""
    monkeypatch.setattr(concurro.nodes.finding, "is_ours", lambda url, keys: listening)
    listening: list[str] = []
    return listening


@pytest.mark.parametrize("table", ["application", "slave"])
def test_a_configured_master_is_meant_whether_it_runs_or_not(table, default_master):
    assert find_master({table: {"master": "tcp://127.0.0.1:1"}}) == "tcp://127.0.0.1:1"


def test_the_application_s_own_master_comes_first(default_master):
    config = {"application": {"master": "ipc:///first"}, "slave": {"master": "ipc:///second"}}

    assert find_master(config) == "ipc:///first"


def test_nobody_is_meant_when_nothing_is_configured_and_nobody_is_there(default_master):
    assert find_master({}) is None


def test_a_master_of_ours_on_the_default_address_is_meant(default_master):
    default_master.append("somebody")

    assert find_master({}) == "tcp://127.0.0.1:8081"
