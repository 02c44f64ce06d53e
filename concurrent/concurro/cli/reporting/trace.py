"""The course of a system in Chrome's trace format.

Perfetto and chrome://tracing open it.

A slave is a process there, a lane of its workers a thread, an attempt a complete event. Times are
microseconds since the submission. Source: Trace Event Format (Google, 2016).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.cli.printing import json_text
from concurro.cli.reporting.lanes import Placed, place_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concurro.cli.reporting.course import Course

MICROSECOND = 1e-6


def trace_text(course: Course) -> str:
    """Return the trace as JSON."""
    facts = {"system": course.system_id, "name": course.name, "state": course.state, "one_task_of": course.stride}
    return json_text({"traceEvents": list(trace_events(course)), "displayTimeUnit": "ms", "otherData": facts})


def trace_events(course: Course) -> Iterator[dict[str, Any]]:
    """Give the events of a trace."""
    for number, slave in enumerate(course.slaves):
        yield _name("process_name", number + 1, 0, f"slave {slave.id}")
    for number, placed in place_all(course):
        for lane in sorted({one.lane for one in placed}):
            yield _name("thread_name", number + 1, lane + 1, f"worker {lane + 1}")
        for one in placed:
            yield _attempt(course, number + 1, one)
    for sample in course.samples:
        at = _microseconds(sample.at)
        counts = {"at work": sample.running, "free": max(0, sample.workers - sample.running)}
        yield {"name": "workers", "ph": "C", "pid": 0, "ts": at, "args": counts}
        if sample.ratings:
            yield {"name": "rating", "ph": "C", "pid": 0, "ts": at, "args": sample.ratings}
    if course.samples:
        yield _name("process_name", 0, 0, "cluster")


def _attempt(course: Course, process: int, one: Placed) -> dict[str, Any]:
    attempt = one.attempt
    facts: dict[str, Any] = {"task": f"{course.system_id}:{attempt.task}", "attempt": attempt.number}
    facts["under way [s]"] = round(attempt.under_way, 6)
    if attempt.queued is not None:
        facts["queued [s]"] = round(attempt.queued, 6)
    if attempt.failure:
        facts["failure"] = attempt.failure
    else:
        facts["bytes in"] = attempt.bytes_in
    if attempt.bytes_out is not None:
        facts["bytes out"] = attempt.bytes_out
    event: dict[str, Any] = {"name": attempt.kind, "cat": "failed" if attempt.failure else "task", "ph": "X"}
    event |= {"ts": _microseconds(one.begin), "dur": _microseconds(one.end - one.begin)}
    if attempt.failure:
        event["cname"] = "terrible"
    return event | {"pid": process, "tid": one.lane + 1, "args": facts}


def _name(kind: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": process, "tid": thread, "args": {"name": name}}


def _microseconds(seconds: float) -> float:
    return round(seconds / MICROSECOND, 3)
