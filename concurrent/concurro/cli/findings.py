"""What `concurrent doctor` thinks of what it sees: facts in, findings out.

Pure functions. Facts are what `surroundings` and a master's status hold.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from concurro.cli.rows import duration
from concurro.config.quantities import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FEWEST_FILES, SCARCE_FILES = 256, 4096
SCARCE_PROCESSES = 512
SCARCE_BACKLOG = 128
SCARCE_MEMORY = 0.05
SCARCE_SHARED = 64 * 1024 * 1024
OLDEST_PYZMQ = (27, 3)
CLOCK_LIMIT = 2.0
"""A clock that is this far off is told [s]."""

_MUST_BE_EQUAL = ("concurro",)
_MUST_BE_THERE = ("concurro", "pyzmq", "msgpack", "cloudpickle")
_WIRE = ("pyzmq", "libzmq", "msgpack", "psutil", "zope.interface")


class Verdict(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Finding(NamedTuple):
    """One line of the report.

    Attributes:
        where: `here`, `master` or `slave ID`.
        topic: Of what it is, in a word.
        verdict: How bad it is.
        text: What was found.
        remedy: What to do; empty when all is well.
    """

    where: str
    topic: str
    verdict: Verdict
    text: str
    remedy: str = ""


def judge_versions(where: str, versions: Mapping[str, str]) -> Iterator[Finding]:
    """Judge what is installed at one place."""
    for name in _MUST_BE_THERE:
        if name not in versions:
            remedy = f"install it there: pip install {name}"
            yield Finding(where, "versions", Verdict.PROBLEM, f"{name} is not installed", remedy)
    found = tuple(int(part) for part in versions.get("pyzmq", "").split(".")[:2] if part.isdecimal())
    if found and found < OLDEST_PYZMQ:
        yield Finding(
            where,
            "versions",
            Verdict.PROBLEM,
            f"pyzmq {versions['pyzmq']} encrypts large frames ten times more slowly than 27.3",
            "pip install 'pyzmq>=27.3'",
        )
    text = ", ".join(f"{name} {version}" for name, version in versions.items())
    yield Finding(where, "versions", Verdict.OK, text)


def compare_versions(where: str, there: Mapping[str, str], here: Mapping[str, str]) -> Iterator[Finding]:
    """Judge the versions at another place against those here."""
    place = f"on {where}" if where.startswith("slave") else f"of the {where}"
    own, other = (_minor(each.get("python", "")) for each in (here, there))
    if own and other and own != other:
        yield Finding(
            where,
            "versions",
            Verdict.PROBLEM,
            f"Python {own} here, {other} {place}; tasks travel only between equal versions",
            "start both with the same Python",
        )
    for name in sorted(set(here) & set(there) - {"python", *_WIRE}):
        if here[name] == there[name]:
            continue
        remedy = f"install the same version of {name} in both places"
        text = f"{name} {here[name]} here, {there[name]} {place}"
        if name not in _MUST_BE_EQUAL:
            text += "; what is pickled with one may not load with the other"
        yield Finding(where, "versions", Verdict.WARNING, text, remedy)


def judge_machine(where: str, facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Judge limits and memory of one place."""
    yield from _judge_limits(where, facts.get("limits", {}))
    memory = facts.get("memory") or {}
    if memory.get("total"):
        text = f"{format_size(memory['available'])} of {format_size(memory['total'])} available"
        scarce = memory["available"] < SCARCE_MEMORY * memory["total"]
        remedy = "run fewer workers, or limit them: [slave] memory_limit" if scarce else ""
        yield Finding(where, "memory", Verdict.WARNING if scarce else Verdict.OK, text, remedy)
    yield from _judge_shared_memory(where, facts.get("shared_memory") or {})
    backlog = facts.get("backlog")
    if backlog is not None:
        scarce = backlog < SCARCE_BACKLOG
        remedy = "as root: sysctl net.core.somaxconn=4096" if scarce else ""
        text = f"{backlog} connections may wait to be accepted (somaxconn)"
        text += "; many slaves that start at once may be refused" if scarce else ""
        yield Finding(where, "connections", Verdict.WARNING if scarce else Verdict.OK, text, remedy)


def judge_clock(where: str, ahead: float, unsure: float, other: str) -> Finding:
    """Judge how far a clock is ahead of another [s], known to `unsure` [s]."""
    if abs(ahead) - unsure <= CLOCK_LIMIT:
        return Finding(where, "clock", Verdict.OK, f"as {other}, within {CLOCK_LIMIT + unsure:.2g} s")
    text = f"{duration(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} {other}"
    remedy = "synchronize the clocks (NTP): no deadline goes by them, but times in logs and journals do"
    return Finding(where, "clock", Verdict.WARNING, text, remedy)


def judge_status(status: Mapping[str, Any]) -> Iterator[Finding]:
    """Judge what a master says of itself, its slaves and its systems."""
    slaves = status["slaves"]
    running = sum(slave["workers"] for slave in slaves)
    if slaves:
        yield Finding("master", "slaves", Verdict.OK, f"{len(slaves)} connected, workers: {running}")
    else:
        remedy = f"start one: concurrent-slave --master {status['url']}"
        yield Finding("master", "slaves", Verdict.WARNING, "there are no slaves: no task can run", remedy)
    for slave in slaves:
        yield from _judge_slave(slave)
    for system in status["systems"]:
        if system.get("stuck"):
            remedy = f"concurrent explain {system['system_id']}"
            yield Finding("master", "systems", Verdict.WARNING, f"{system['system_id']}: {system['stuck']}", remedy)


def _judge_slave(slave: Mapping[str, Any]) -> Iterator[Finding]:
    where = f"slave {slave['id']}"
    if slave["sick"]:
        remedy = "mend that there; its log says more. It gets tasks again as soon as it is well"
        yield Finding(where, "state", Verdict.PROBLEM, f"gets no tasks: {slave['sick']}", remedy)
    elif slave["draining"]:
        yield Finding(where, "state", Verdict.OK, "is leaving, and takes nothing new")
    if slave.get("stopped"):
        pids = " ".join(map(str, slave["stopped"]))
        text = f"workers are stopped in the middle of a task: process {pids}"
        yield Finding(where, "state", Verdict.WARNING, text, f"let them go on there: kill -CONT {pids}")


def _judge_limits(where: str, limits: Mapping[str, Any]) -> Iterator[Finding]:
    if "open files" in limits:
        _, hard = limits["open files"]  # a node raises the soft one to it when it starts
        verdict = (
            Verdict.OK
            if hard < 0 or hard >= SCARCE_FILES
            else Verdict.WARNING
            if hard >= FEWEST_FILES
            else Verdict.PROBLEM
        )
        text = f"open files: at most {_limit(hard)}"
        remedy = "" if verdict is Verdict.OK else "raise it: ulimit -Hn 65536, or LimitNOFILE= of the service"
        text += "" if verdict is Verdict.OK else "; each connection, worker and shared value takes some"
        yield Finding(where, "limits", verdict, text, remedy)
    if "processes" in limits:
        soft, _ = limits["processes"]
        scarce = 0 <= soft < SCARCE_PROCESSES
        remedy = "raise it: ulimit -u 4096, or TasksMax= of the service" if scarce else ""
        text = f"processes of this user: at most {_limit(soft)}"
        yield Finding(where, "limits", Verdict.WARNING if scarce else Verdict.OK, text, remedy)


def _judge_shared_memory(where: str, facts: Mapping[str, Any]) -> Iterator[Finding]:
    if not facts.get("memfd", True):
        text = "this system has no memfd: large values are copied between processes"
        yield Finding(where, "shared memory", Verdict.WARNING, text, "use Linux 3.17 or later where that matters")
    if "total" not in facts:
        return
    text = f"/dev/shm has {format_size(facts['available'])} of {format_size(facts['total'])} left"  # noqa: S108 - told
    scarce = facts["available"] < SCARCE_SHARED
    if scarce:
        text += "; Concurrent does not need it, libraries in tasks may"
    remedy = "remove what is left there, or enlarge it: docker run --shm-size 1g" if scarce else ""
    yield Finding(where, "shared memory", Verdict.WARNING if scarce else Verdict.OK, text, remedy)


def _limit(limit: int) -> str:
    return "any number" if limit < 0 else str(limit)


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
