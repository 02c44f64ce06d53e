"""Run simulations: `python -m concurro.testing.simulate`.

    --seed N [--mode safety|liveness]      one run, told in words
    --campaign N | --minutes M             many, from a first seed on; a failing one prints how to run it again
    --load FILE                            what if: a recorded load with another strategy, another cluster

    draw(seed) --> Scenario --> Run (SimulatedCluster, faults, invariants) --> Verdict
                                    |
             real nodes and cores over simulated network, processes, disk, time

Everything follows from the seed: the same one gives the same digest of all that was said, on
every machine and under every PYTHONHASHSEED.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from concurro.errors import ConcurroError
from concurro.testing.recorded_load import make_slaves, read_load
from concurro.testing.simulated_load import Load
from concurro.testing.simulated_run import shrink, simulate
from concurro.testing.simulated_scenario import Mode, draw
from concurro.testing.what_if import ask, table

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from concurro.testing.simulated_run import Verdict

MOST_FAILURES = 10
"""A campaign ends after so many failing seeds: they are the same few defects by then."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return 1 when anything failed, else 0."""
    options = _parser().parse_args(arguments)
    modes = [Mode(options.mode)] if options.mode else list(Mode)
    if options.load:
        return _what_if(options.load, options.strategy or ["least-loaded"], options.slaves, options.workers)
    if options.campaign or options.minutes:
        return _campaign(options.seed, options.campaign, options.minutes, modes)
    without = [int(place) for place in options.without.split(",") if place]
    return max(_tell(options.seed, mode, without) for mode in modes)


def repro(seed: int, mode: Mode, without: Collection[int] = ()) -> str:
    """Return the line that runs a seed again."""
    left_out = f" --without {','.join(map(str, without))}" if without else ""
    return f"python -m concurro.testing.simulate --seed {seed} --mode {mode.value}{left_out}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m concurro.testing.simulate", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="which run; of a campaign, the first")
    parser.add_argument("--mode", choices=[mode.value for mode in Mode], help="one of them only")
    parser.add_argument("--without", default="", help="places of faults that are left out, e.g. 0,2")
    parser.add_argument("--campaign", type=int, default=0, metavar="N", help="run so many seeds")
    parser.add_argument("--minutes", type=float, default=0.0, metavar="M", help="run seeds for so long")
    parser.add_argument("--load", metavar="FILE", help="a recorded load: a .csv, a .json, or the folder of a journal")
    parser.add_argument("--strategy", action="append", metavar="NAME", help="what to run it with; may be repeated")
    parser.add_argument("--slaves", type=int, default=0, metavar="N", help="so many equal slaves instead of the file's")
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="workers of each of these slaves")
    return parser


def _what_if(path: str, strategies: list[str], slaves: int, workers: int) -> int:
    try:
        load = read_load(path)
        if slaves or not load.slaves:
            load = Load(make_slaves(slaves or 1, workers), load.jobs)
        answers = [ask(load, strategy) for strategy in strategies]
    except (ConcurroError, RuntimeError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for line in table(load, answers):
        _say(line)
    return 0


def _tell(seed: int, mode: Mode, without: list[int]) -> int:
    scenario = draw(seed, mode)
    carrier = "AF_UNIX" if scenario.ordered else "TCP"
    journal = "a journal" if scenario.journalled else "no journal"
    _say(f"seed {seed}, {mode.value}: {len(scenario.slaves)} slaves over {carrier}, {journal}, {scenario.strategy}")
    for place, fault in enumerate(scenario.faults):
        _say(f"  {'left out' if place in without else place:>8}  {fault}")
    verdict = simulate(seed, mode, without)
    _say(f"  {verdict.steps} steps, {verdict.seconds:.2f} s, trace {verdict.trace}: {', '.join(verdict.outcomes)}")
    for wrong in verdict.faults:
        _say(f"  WRONG: {wrong}")
    return 1 if verdict.faults else 0


def _campaign(first: int, count: int, minutes: float, modes: list[Mode]) -> int:
    started, runs, failures = time.perf_counter(), 0, 0
    for seed in _seeds(first, count, minutes, started):
        for mode in modes:
            verdict = simulate(seed, mode)
            runs += 1
            if verdict.faults:
                failures += 1
                _tell_failure(seed, mode, verdict)
        if failures >= MOST_FAILURES:
            break
    seconds = time.perf_counter() - started
    _say(f"{runs} runs in {seconds:.1f} s, {runs / seconds * 60:.0f} per minute; {failures} failed")
    return 1 if failures else 0


def _seeds(first: int, count: int, minutes: float, started: float) -> Iterator[int]:
    seed = first
    while not (count and seed >= first + count):
        if minutes and time.perf_counter() - started > minutes * 60:
            return
        yield seed
        seed += 1


def _tell_failure(seed: int, mode: Mode, verdict: Verdict) -> None:
    _say(f"FAILED: {verdict.faults[0]}")
    _say(f"  {repro(seed, mode, shrink(seed, mode))}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
