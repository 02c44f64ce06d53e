"""The example of services finds what there is to find."""

from __future__ import annotations

import sys

import pytest

from tests.support.programs import EXAMPLES, run_program


@pytest.mark.slow
@pytest.mark.usefixtures("runtime_folder")
def test_a_search_shares_its_bound_and_a_worker_keeps_a_list():
    run = run_program(sys.executable, EXAMPLES / "services" / "search.py")

    assert run.stdout.split() == ["1", "499999500000"]
