"""The example of a strategy of the monitor chooses as it says."""

from __future__ import annotations

import sys

import pytest

from tests.support.programs import EXAMPLES, run_program


@pytest.mark.slow
@pytest.mark.usefixtures("runtime_folder")
def test_a_tessera_goes_where_no_call_has_failed():
    run = run_program(sys.executable, EXAMPLES / "own_workers" / "probe.py")

    assert run.stdout.splitlines() == ["worker:0:0: no answer", "worker:0:1: 42"]
