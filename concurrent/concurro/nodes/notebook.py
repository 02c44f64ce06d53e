"""What a notebook shows of a cluster, its slaves and a system.

Small HTML without scripts or colours of its own; what people named is escaped, and lists end
somewhere.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from concurro.ids import Failure, SystemState
from concurro.nodes.display import duration_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from concurro.ids import ProgressRecord

MOST_ROWS = 50
"""Rows of a table; the others are counted."""

MOST_SIGNS = 300
"""Characters of a text in a table."""

_WORDS = {"queued": "queued", "leased": "at work", "done": "done", "failed": "failed", "cancelled": "cancelled"}


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table; a row of its own says how many it leaves out."""
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    body = "".join(f"<tr>{''.join(f'<td>{_shown(cell)}</td>' for cell in row)}</tr>" for row in rows[:MOST_ROWS])
    if len(rows) > MOST_ROWS:
        body += f'<tr><td colspan="{len(heads)}">and {len(rows) - MOST_ROWS} more</td></tr>'
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def cluster_html(title: str, status: dict[str, Any]) -> str:
    """Return a cluster, or a master, with what runs there.

    Args:
        title: What it is.
        status: As `LocalCluster.status()` gives it.
    """
    slaves, systems = status["slaves"], status["systems"]
    workers = sum(slave["workers"] - slave["lent"] for slave in slaves)
    running = sum(slave["running"] for slave in slaves)
    where = f" at <code>{_shown(status['url'])}</code>" if status["url"] else ""
    totals = f"{_count(len(slaves), 'slave')}, {_count(workers, 'worker')}, {running} at work"
    parts = [f"<p><b>{escape(title)}</b>{where}: {totals}</p>", slaves_html(slaves)]
    if systems:
        names = ("system", "name", "state", "open", "done", "failed", "since")
        keys = ("system_id", "name", "state", "open", "done", "failed")
        rows = [[*(one[key] for key in keys), duration_text(one["elapsed"])] for one in systems]
        parts.append(table(names, rows))
    return "".join(parts)


def slaves_html(slaves: Iterable[dict[str, Any]]) -> str:
    """Return the slaves of a status as a table."""
    names = ("slave", "host", "workers", "at work", "sent ahead", "finished", "offers", "state")
    rows = [
        (
            slave["id"],
            slave["host"],
            slave["workers"] - slave["lent"],
            slave["running"],
            slave["queued"],
            slave["finished"],
            ", ".join(f"{name}={amount:g}" for name, amount in sorted(slave["resources"].items())),
            slave["sick"] or ("leaving" if slave["draining"] else "ok"),
        )
        for slave in slaves
    ]
    return table(names, rows)


def system_html(name: str, system_id: str, state: str, progress: ProgressRecord, fault: BaseException | None) -> str:
    """Return a submitted system.

    Args:
        name: Class name of the system.
        system_id: Its id.
        state: Where it stands.
        progress: As last heard.
        fault: Why it failed; None when it did not.
    """
    counts = ", ".join(f"{progress.counts[key]} {word}" for key, word in _WORDS.items() if progress.counts.get(key))
    rows: list[tuple[str, object]] = [("state", state), ("tasks", counts or "none yet")]
    bar = ""
    if progress.total:
        share = min(1.0, max(0.0, progress.done / progress.total))
        rows.append(("progress", f"{progress.done} of {progress.total} ({share:.0%})"))
        if state == SystemState.RUNNING.value:
            bar = f'<progress max="1" value="{share:.3f}"></progress>'
    if progress.message:
        rows.append(("says", progress.message))
    rows.append(("time", duration_text(progress.elapsed)))
    if fault is not None:
        rows.append(("failed with", Failure(type(fault).__name__, str(fault)).brief))
    body = "".join(f"<tr><th>{label}</th><td>{_shown(value)}</td></tr>" for label, value in rows)
    return f"<p><b>{_shown(name)}</b> <code>{_shown(system_id)}</code> {bar}</p><table><tbody>{body}</tbody></table>"


def _shown(value: object) -> str:
    text = str(value)
    return escape(text if len(text) <= MOST_SIGNS else f"{text[:MOST_SIGNS]} ...")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
