"""The lists of systems and slaves."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from concurro.cli import tables

STATUS = {
    "url": "ipc:///m",
    "systems": [{"state": "complete", "name": "Sum"}, {"state": "failed", "name": "Sum"}],
    "slaves": [{"host": "north"}],
}


@pytest.mark.parametrize(
    ("command", "options", "text"),
    [
        (tables.systems_command, ["--state", "running"], "no system matches (2 in all)\n"),
        (tables.slaves_command, ["--host", "south"], "no slave matches (1 in all)\n"),
    ],
)
def test_options_that_leave_nothing_are_told_from_a_master_that_has_nothing(monkeypatch, command, options, text):
    @contextmanager
    def asked_master(**where):
        yield SimpleNamespace(status=lambda: STATUS)

    monkeypatch.setattr(tables, "asked_master", asked_master)
    monkeypatch.setattr(tables, "ask_surroundings", lambda application: {"slaves": {}})
    monkeypatch.setattr(tables, "slave_condition", lambda slave: "ok")

    run = CliRunner().invoke(command, options)

    assert run.output == text
