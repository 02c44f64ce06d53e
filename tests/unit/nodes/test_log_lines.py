"""How log lines look to people."""

from __future__ import annotations

import logging

import pytest

from concurro.nodes.log_lines import Plain


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("concurro.nodes.dialer", "it is gone"),
        ("concurro.system.Slow", "it is gone"),
        ("urllib3.connection", "urllib3.connection: it is gone"),
        ("concurrods", "concurrods: it is gone"),
        ("root", "root: it is gone"),
    ],
)
def test_only_loggers_of_others_are_named(name, line):
    record = logging.LogRecord(name, logging.WARNING, __file__, 1, "it is %s", ("gone",), None)

    assert Plain().format(record) == line
