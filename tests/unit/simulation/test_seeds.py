"""Seeds run without fault, and the same seed is the same run."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from concurro.testing import simulate as command
from concurro.testing.simulated_run import simulate
from concurro.testing.simulated_scenario import Mode, draw


def failures(seeds, *modes):
    """Return the line that repeats each failing run, with what was wrong."""
    found = []
    for seed in seeds:
        for mode in modes or (list(Mode)[seed % 2],):
            wrong = simulate(seed, mode).faults
            if wrong:
                found.append(f"{command.repro(seed, mode)}: {wrong[0]}")
    return found


def test_a_few_seeds_run_without_fault():
    assert failures(range(20)) == []


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 1000, 250))
def test_a_thousand_seeds_run_without_fault(first):
    assert failures(range(first, first + 250)) == []


def test_a_seed_gives_the_same_run_again():
    assert simulate(7, Mode.LIVENESS) == simulate(7, Mode.LIVENESS)


@pytest.mark.slow
def test_a_seed_gives_the_same_run_under_every_hash_seed():
    code = (
        "from concurro.testing.simulated_run import simulate\n"
        "from concurro.testing.simulated_scenario import Mode\n"
        "print([simulate(seed, mode).trace for seed in range(15) for mode in Mode])\n"
    )

    traces = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]

    assert traces[0] == traces[1]


def test_different_seeds_give_different_runs():
    assert simulate(3, Mode.SAFETY).trace != simulate(4, Mode.SAFETY).trace


def test_the_seeds_cover_every_kind_of_fault_carrier_and_journal():
    scenarios = [draw(seed, mode) for seed in range(500) for mode in Mode]

    kinds = {fault.kind for scenario in scenarios for fault in scenario.faults}
    worlds = {(scenario.ordered, scenario.journalled) for scenario in scenarios}

    assert len(kinds) == 22
    assert len(worlds) == 4


def test_the_command_tells_a_run_in_words(capsys):
    code = command.main(["--seed", "1", "--mode", "safety"])

    told = capsys.readouterr().out
    assert code == 0
    assert "seed 1, safety" in told
    assert simulate(1, Mode.SAFETY).trace in told


def test_a_campaign_counts_its_runs(capsys):
    code = command.main(["--campaign", "3", "--mode", "liveness"])

    assert code == 0
    assert capsys.readouterr().out.startswith("3 runs in ")
