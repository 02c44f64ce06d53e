"""Measure workloads side by side with their peers.

    python -m benchmarks --list
    python -m benchmarks W1 W2 W5 W9 --peers ppe --repeat 5 --json figures.json
    python -m benchmarks strategies

Every measurement runs in a fresh process; contenders take turns, so that a noisy minute
hits all of them. Shown are medians, and ours as a ratio: above 1 is better than the peer.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.comparison import main as compare_strategies
from benchmarks.workloads import OURS, WORKLOADS, Workload, select

ROOT = Path(__file__).parents[1]
Runs = dict[str, list[dict[str, float]]]


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["strategies"]:
        return compare_strategies(arguments[1:])
    options = _parser().parse_args(arguments)
    if options.list:
        _print_list()
        return 0
    try:
        workloads = select(options.workloads)
    except LookupError as error:
        print(error.args[0], file=sys.stderr)
        return 2
    report: dict[str, Any] = {"machine": _machine(), "settings": _settings(options), "workloads": {}}
    failed = False
    for workload in workloads:
        runs, faults = _measure(workload, options)
        failed = failed or bool(faults)
        report["workloads"][workload.name] = {"title": workload.title, "runs": runs, "faults": faults}
        _print_table(workload, runs, faults)
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("workloads", nargs="*", help="names, e.g. W2; W1 is every W1-...; none is all")
    parser.add_argument("--list", action="store_true", help="list workloads and contenders")
    parser.add_argument("--peers", default="all", help="all, none, or names with commas, e.g. ppe,pool")
    parser.add_argument("--repeat", type=int, default=5, help="measurements per contender")
    parser.add_argument("--workers", type=int, default=2, help="worker processes")
    parser.add_argument("--count", type=int, default=0, help="tasks; 0 is the workload's own number")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds per measurement")
    parser.add_argument("--json", default="", help="also write every figure to this file")
    return parser


def _print_list() -> None:
    for workload in WORKLOADS:
        print(f"{workload.name:<12} {workload.title}")
        print(f"{'':<12} {', '.join(workload.contenders)}; {workload.metric} [{workload.unit}]")
    print(f"{'strategies':<12} the built-in strategies on five kinds of load, simulated; see strategies --help")


def _contenders(workload: Workload, peers: str) -> list[str]:
    """Return ours and the chosen peers. Limits, being no peers, are always shown."""
    limits = {"fork", "bare"}
    chosen = set(peers.split(","))
    return [
        name
        for name in workload.contenders
        if name.startswith(OURS) or peers == "all" or name in chosen or (name in limits and peers != "none")
    ]


def _measure(workload: Workload, options: argparse.Namespace) -> tuple[Runs, dict[str, str]]:
    runs: Runs = {name: [] for name in _contenders(workload, options.peers)}
    faults: dict[str, str] = {}
    for _ in range(options.repeat):
        for contender, results in runs.items():
            if contender not in faults:
                outcome = _measure_once(workload.name, contender, options)
                if isinstance(outcome, str):
                    faults[contender] = outcome
                else:
                    results.append(outcome)
    return runs, faults


def _measure_once(name: str, contender: str, options: argparse.Namespace) -> dict[str, float] | str:
    """Return the metrics of one run, or why there are none."""
    command = [sys.executable, "-m", "benchmarks.measure", name, contender, str(options.workers), str(options.count)]
    # This checkout is measured, whichever one is installed.
    folders = [str(ROOT), str(ROOT / "concurrent"), str(ROOT / "plugins")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    try:
        run = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, timeout=options.timeout, check=True
        )
        metrics: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        return f"{type(error).__name__}: {error}"
    return metrics


def _print_table(workload: Workload, runs: Runs, faults: dict[str, str]) -> None:
    print(f"\n{workload.name}: {workload.title}")
    ours = _median(runs.get(OURS, []), workload.metric)
    for contender, results in runs.items():
        if contender in faults:
            print(f"  {contender:<20} failed: {faults[contender]}")
            continue
        value = _median(results, workload.metric)
        ratio = _ratio(workload, ours, value) if contender != OURS else None
        beside = f"   {OURS} / {contender}: {ratio:.2f}" if ratio else ""
        others = {name: _median(results, name) for name in results[0] if name != workload.metric}
        details = "  ".join(f"{name} {median:.4g}" for name, median in others.items() if median is not None)
        print(f"  {contender:<20} {value:12.4g} {workload.unit:<8} {details}{beside}")


def _median(results: list[dict[str, float]], metric: str) -> float | None:
    return statistics.median(result[metric] for result in results) if results else None


def _ratio(workload: Workload, ours: float | None, theirs: float | None) -> float | None:
    """Return by what factor ours is better; below 1 it is worse."""
    if not ours or not theirs:
        return None
    return ours / theirs if workload.more_is_better else theirs / ours


def _machine() -> dict[str, object]:
    return {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "concurro": version("concurro"),
    }


def _settings(options: argparse.Namespace) -> dict[str, object]:
    return {"workers": options.workers, "repeat": options.repeat, "count": options.count, "peers": options.peers}


if __name__ == "__main__":
    sys.exit(main())
