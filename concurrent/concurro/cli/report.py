"""What a run says at its end: the result on stdout, the rest on stderr."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from concurro.cli.outcomes import EXIT_FAILED, failure_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from concurro.nodes.handle import SystemHandle

JSON_VERSION = 1


@dataclass(frozen=True, slots=True)
class Report:
    """How a job ended.

    Attributes:
        system_id: Of the system.
        state: `complete`, `failed`, `cancelled`, or `running` when it did not react.
        has_result: Whether something was gathered.
        result: What was gathered.
        failure: Why it failed, with its traceback; empty if it did not.
        failure_type: Class name of what was raised.
        counts: Tasks by state.
        elapsed: Seconds from submission to end [s].
        exit_code: For the process.
    """

    system_id: str
    state: str
    has_result: bool = False
    result: Any = None
    failure: str = ""
    failure_type: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    elapsed: float = 0.0
    exit_code: int = 0

    @classmethod
    def of(cls, handle: SystemHandle, elapsed: float) -> Report:
        """Return the report of a system that ended, or that does not react."""
        counts = dict(handle.progress.counts)
        state = handle.state
        if not handle.done() or handle.cancelled():
            gathered = handle.gathered
            value, error = gathered if gathered is not None else (None, None)
            failure = "" if error is None else _described(error)
            kind = "" if error is None else type(error).__name__
            return cls(handle.system_id, state, value is not None, value, failure, kind, counts, elapsed, EXIT_FAILED)
        fault = handle.exception()
        if fault is not None:
            return cls(
                handle.system_id,
                state,
                failure=failure_text(fault),
                failure_type=type(fault).__name__,
                counts=counts,
                elapsed=elapsed,
                exit_code=EXIT_FAILED,
            )
        return cls(handle.system_id, state, has_result=True, result=handle.result(), counts=counts, elapsed=elapsed)


def print_report(report: Report, *, as_json: bool, tell_id: bool = False) -> None:
    """Print the result, what went wrong, and the summary.

    Args:
        report: How the job ended.
        as_json: Whether to print the result as JSON.
        tell_id: Whether a master goes on that can be asked about the system, by its id.
    """
    if report.failure:
        click.echo(report.failure, err=True)
    which = f"; system {report.system_id}" if tell_id else ""
    click.echo(f"{summary(report.counts, report.elapsed)}{which}", err=True)
    if as_json:
        click.echo(to_json(report))
    elif report.has_result:
        print(report.result)


def print_detached(system_id: str, master: str, *, as_json: bool, keys: str | None = None) -> None:
    """Print the id of a detached system, and what to do with it.

    Args:
        system_id: Its id.
        master: Address of its master.
        as_json: Whether to print the id as JSON.
        keys: The key file that was given; whoever asks later needs it as well.
    """
    where = f"--master {master}" + (f" --keys {shlex.quote(keys)}" if keys else "")
    settings = f', config={{"security.keys": {keys!r}}}' if keys else ""
    if as_json:
        click.echo(json.dumps({"version": JSON_VERSION, "system_id": system_id, "state": "running"}))
    else:
        click.echo(system_id)
    click.echo(
        f"The job goes on at {master}, and its result is kept for a day.\n"
        f"  state:   concurrent explain {system_id} {where}\n"
        f"  cancel:  concurrent cancel {system_id} {where}\n"
        f"  result:  ApplicationNode({master!r}{settings}).attach({system_id!r}).result()",
        err=True,
    )


def summary(counts: Mapping[str, int], elapsed: float) -> str:
    """Return one line: how many tasks ended how, and in which time."""
    total = sum(counts.values())
    open_tasks = total - sum(counts.get(state, 0) for state in ("done", "cancelled", "failed"))
    parts = [f"{counts.get(state, 0)} {state}" for state in ("done", "cancelled", "failed")]
    if open_tasks:
        parts.append(f"{open_tasks} open")
    return f"{total} task{'' if total == 1 else 's'}: {', '.join(parts)} in {elapsed:.2f} s"


def to_json(report: Report) -> str:
    """Return the report as one JSON object.

    A result that JSON lacks as its `repr`.
    """
    record: dict[str, Any] = {
        "version": JSON_VERSION,
        "system_id": report.system_id,
        "state": report.state,
        "result": report.result,
        "error": {"type": report.failure_type, "text": report.failure} if report.failure else None,
        "counts": dict(report.counts),
        "elapsed": round(report.elapsed, 6),
    }
    try:
        return json.dumps(record, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        record["result"] = repr(report.result)
        return json.dumps(record)


def _described(error: object) -> str:
    return failure_text(error) if isinstance(error, BaseException) else str(error)
