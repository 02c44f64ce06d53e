"""Measure workloads side by side with their peers.

    python -m benchmarks --list
    python -m benchmarks W1 W2 W5 W9 --peers ppe,ray --repeat 5 --json figures.json --chart figures.svg
    python -m benchmarks strategies

Every measurement runs in fresh processes; contenders take turns, so that a noisy minute
hits all of them. Shown are medians, and ours as a ratio: above 1 is better than the peer.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import page
from benchmarks.arguments import Parser, file_to_write, folder_to_write, not_negative, positive, seconds
from benchmarks.comparison import main as compare_strategies
from benchmarks.pools.kinds import PEERS, is_installed
from benchmarks.report import LEGEND, Measured, machine
from benchmarks.runner import MeasurementFailed, ends_cleanly, measure, orphans_adopted
from benchmarks.workloads import WORKLOADS, select

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from benchmarks.sweeper import Tell
    from benchmarks.workload import Workload


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
        peers = choose_peers(options.peers)
    except LookupError as error:
        print(error.args[0], file=sys.stderr)
        return 2
    if (options.chart or options.write) and find_spec("matplotlib") is None:
        print("--chart and --write need matplotlib, of the extra `bench`", file=sys.stderr)
        return 2
    before = page.read(Path(options.write)) if options.write and options.add else {"workloads": {}}
    measured = []
    print(LEGEND, flush=True)
    with orphans_adopted(), ends_cleanly() as tell:
        for workload in workloads:
            measured.append(_measure(workload, _contenders(workload, peers), options, tell))
            print(measured[-1].table(), flush=True)
            _write(measured, before, options)
    return 1 if any(one.faults for one in measured) else 0


def choose_peers(names: str) -> set[str]:
    """Return the peers that are asked for and installed; say which are not.

    Raises:
        LookupError: A name that no peer has.
    """
    asked = list(PEERS) if names == "all" else [name for name in names.split(",") if name and name != "none"]
    for name in asked:
        if name not in PEERS:
            message = f"no peer {name!r}; there are {', '.join(PEERS)}"
            raise LookupError(message)
    for name in asked:
        if not is_installed(name):
            print(f"{name} is not installed and left out: pip install '.[bench]' brings it", flush=True)
    return {name for name in asked if is_installed(name)}


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0], epilog=LEGEND)

    def add(name: str, kind: Callable[[str], Any], default: Any, text: str) -> None:
        parser.add_argument(name, type=kind, default=default, help=f"{text} (default: {default or 'none'})")

    parser.add_argument("workloads", nargs="*", help="names, e.g. W2; W1 is every W1-... (default: all)")
    parser.add_argument("--list", action="store_true", help="list workloads and contenders")
    add("--peers", str, "all", "all, none, or names with commas, e.g. ppe,ray")
    add("--repeat", positive, 5, "measurements per contender")
    add("--budget", seconds, 30.0, "seconds after which a contender has run enough")
    add("--enough", positive, 3, "but at least so often")
    add("--workers", positive, 2, "worker processes")
    parser.add_argument(
        "--count", type=not_negative, default=0, help="tasks (default: the workload's own number, or 0)"
    )
    add("--timeout", seconds, 300.0, "seconds per measurement")
    add("--json", file_to_write, None, "also write every figure to this file")
    add("--chart", file_to_write, None, "also draw the medians as an SVG, with matplotlib")
    add("--write", folder_to_write, None, "write the files of the documentation's page to this folder")
    parser.add_argument("--add", action="store_true", help="with --write: keep there what is not measured now")
    return parser


def _print_list() -> None:
    for workload in WORKLOADS:
        print(f"{workload.name:<12} {workload.title}")
        print(f"{'':<12} {', '.join(workload.contenders)}; {workload.metric} [{workload.unit}]")
    print(f"{'strategies':<12} the built-in strategies on five kinds of load, simulated; see strategies --help")


def _contenders(workload: Workload, peers: set[str]) -> list[str]:
    """Return ours, the chosen peers, and limits, which are no peers."""
    return [name for name in workload.contenders if name not in PEERS or name in peers]


def _measure(workload: Workload, contenders: list[str], options: argparse.Namespace, tell: Tell) -> Measured:
    measured = Measured(workload, {name: [] for name in contenders})
    spent = dict.fromkeys(contenders, 0.0)
    for done in range(options.repeat):
        for contender in contenders:
            if contender in measured.faults or (done >= options.enough and spent[contender] > options.budget):
                continue
            started = time.monotonic()
            try:
                metrics = measure(
                    *(workload.name, contender),
                    workers=options.workers,
                    count=options.count,
                    timeout=options.timeout,
                    tell=tell,
                )
            except MeasurementFailed as fault:
                measured.faults[contender] = str(fault)
            else:
                measured.runs[contender].append(metrics)
            spent[contender] += time.monotonic() - started
    return measured


def _write(measured: list[Measured], before: dict[str, Any], options: argparse.Namespace) -> None:
    """Write what there is so far: a long run may be cut short."""
    settings = {"workers": options.workers, "repeat": options.repeat, "count": options.count, "peers": options.peers}
    report: dict[str, Any] = {"machine": machine(), "settings": settings}
    known = before["workloads"] | {one.workload.name: one.to_json() for one in measured}
    order = [workload.name for workload in WORKLOADS]
    report["workloads"] = dict(sorted(known.items(), key=lambda item: order.index(item[0])))
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if options.chart:
        from benchmarks.bars import draw  # noqa: PLC0415 - matplotlib, of the extra `bench`

        draw(report, Path(options.chart))
    if options.write:
        page.write(Path(options.write), report)


if __name__ == "__main__":
    sys.exit(main())
