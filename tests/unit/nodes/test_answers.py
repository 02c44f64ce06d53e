"""What a master answers to people who ask."""

from __future__ import annotations

import pytest

from concurro.nodes.answers import explain
from concurro.scheduling.news import NEWS_BYTES
from tests.unit.scheduling.system_driver import DONE, Master

PUBLICATIONS = [[b"", [[0, bytes([number]) * 32, NEWS_BYTES // 2]]] for number in range(4)]


@pytest.fixture
def master():
    return Master()


def ask(master):
    return explain(master.core, master.table, "job", master.now)


def test_a_system_that_waits_for_its_application_says_so(master):
    master.join()
    master.start()

    master.out(1, publications=PUBLICATIONS)

    assert ask(master) == (
        "System job (Job) waits: 64.0 MiB of its partial results were not taken by its application yet."
    )


def test_an_end_that_waits_for_partial_results_says_so(master):
    master.join()
    master.start()

    master.out(1, publications=PUBLICATIONS, end=["complete", DONE])

    assert "whose result waits until its partial results were taken, ended: complete" in ask(master)


def test_a_system_that_waits_for_nobody_runs(master):
    master.join()
    master.start()

    master.out(1, publications=PUBLICATIONS[:1])

    assert "runs: 0 tasks are leased" in ask(master)
