"""Soaks, as they are typed."""

from __future__ import annotations

import faulthandler
import sys

import pytest

from tests.support.programs import run_program


def soak(*options):
    """Run one; complain with everything that it said when something was wrong."""
    return run_program(sys.executable, "-P", "-m", "concurro.testing.soak", *options, timeout=340).stdout


@pytest.mark.slow
@pytest.mark.timeout(360)
def test_a_minute_of_every_fault_leaves_exact_results_and_nothing_behind(tmp_path, monkeypatch):
    faulthandler.cancel_dump_traceback_later()  # it takes that long, and nothing hangs
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # the logs of a soak that failed are kept there

    said = soak("--minutes", 1)

    assert "all is well" in said
    assert " faults: " in said
