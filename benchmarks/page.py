"""The files of the documentation's page: figures, tables and a chart of them.

performance.json           every figure of every run
performance.csv            a row per workload, a column per peer, medians
performance-limits.csv     the same figures beside raw limits, and our own variants
performance-targets.csv    what we want to reach, and whether we do
performance.svg            a panel per workload
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from benchmarks import targets
from benchmarks.pools.kinds import PEERS
from benchmarks.report import median, ratio
from benchmarks.workload import OURS

if TYPE_CHECKING:
    from pathlib import Path

NAME = "performance"
TCP = "concurro-tcp"
COLUMNS = (OURS, TCP, *PEERS)


def write(folder: Path, report: dict[str, Any]) -> None:
    """Write every file of the page; the chart needs matplotlib."""
    from benchmarks.bars import draw  # noqa: PLC0415 - of the extra `bench`

    (folder / f"{NAME}.json").write_text(to_json(report), encoding="utf-8")
    for suffix, text in tables(report).items():
        (folder / f"{NAME}{suffix}.csv").write_text(text, encoding="utf-8")
    draw(report, folder / f"{NAME}.svg")


def read(folder: Path) -> dict[str, Any]:
    """Return what was written before; no workloads when nothing was."""
    path = folder / f"{NAME}.json"
    empty: dict[str, Any] = {"workloads": {}}
    if not path.exists():
        return empty
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report


def to_json(report: dict[str, Any]) -> str:
    """Return a report as the text of a file."""
    return json.dumps(report, indent=1) + "\n"


def tables(report: dict[str, Any]) -> dict[str, str]:
    """Return the text of each table by what its file name ends with."""
    return {
        "": _to_csv(["workload", "unit", *COLUMNS], _peer_rows(report)),
        "-limits": _to_csv(
            ["workload", "contender", "median", "unit", f"{OURS} is better by", "beside"], _rows(report)
        ),
        "-targets": _to_csv(["workload", "target", "measured", "reached"], targets.rows(report)),
    }


def _peer_rows(report: dict[str, Any]) -> list[list[str]]:
    """Return a row per workload that has peers."""
    found = []
    for name, one in report["workloads"].items():
        medians = {who: median(runs, one["metric"]) for who, runs in one["runs"].items()}
        if PEERS.keys() & medians.keys():
            figures = ["" if (value := medians.get(who)) is None else f"{value:,.3g}" for who in COLUMNS]
            found.append([name, f"{one['unit']}, {_better(one)}", *map(_plain, figures)])
    return found


def _rows(report: dict[str, Any]) -> list[list[str]]:
    """Return a row per contender that is no peer."""
    found = []
    for name, one in report["workloads"].items():
        ours = median(one["runs"].get(OURS, []), one["metric"])
        for contender, runs in one["runs"].items():
            value = median(runs, one["metric"])
            if contender in PEERS or value is None:
                continue
            factor = ratio(ours, value, more_is_better=one["more_is_better"]) if contender != OURS else None
            beside = {metric: median(runs, metric) for metric in runs[0] if metric != one["metric"]}
            details = ", ".join(f"{metric} {_plain(f'{figure:,.3g}')}" for metric, figure in beside.items())
            better = f"{factor:.2f}" if factor else ""
            found.append([name, contender, _plain(f"{value:,.3g}"), f"{one['unit']}, {_better(one)}", better, details])
    return found


def _better(one: dict[str, Any]) -> str:
    return "more is better" if one["more_is_better"] else "less is better"


def _plain(figure: str) -> str:
    """Return a figure without exponent: 1.23e+05 is 123,000."""
    return f"{float(figure):,.0f}" if "e+" in figure else figure


def _to_csv(heads: list[str], rows: list[list[str]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(rows)
    return stream.getvalue()
