"""Recorded loads: what was to be done, from a file or from a journal.

    FILE.csv    a line per task: job, arrives, duration, and what else is known of it
    FILE.json   {"slaves": [...], "jobs": [...]}: jobs with their tasks, machines if they matter
    FOLDER      a master's journal: the systems that run, with the durations that were measured

Unknown columns and keys are refused: a misspelt one would be left out without a word.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concurro.errors import ConfigError
from concurro.ids import Outcome
from concurro.journal.folder import JournalFolder
from concurro.journal.store import JournalStore
from concurro.testing.simulated_load import Job, Load, SimulatedTask, TaskKind
from concurro.testing.simulated_slave import SlaveModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from concurro.scheduling.rows import KeptSystem

_OF_A_TASK = ("duration", "count", "priority", "requires", "blobs")
_OF_A_JOB = ("arrives", "weight", "application", "tasks")
_OF_A_SLAVE = ("name", "count", "workers", "speed", "resources", "rate", "cache")
_COLUMNS = ("job", "arrives", "weight", "application", *_OF_A_TASK)

NANOSECOND = 1e-9


def read_load(path: str | Path) -> Load:
    """Return the load that a file or a journal has.

    Raises:
        ConfigError: It is none, or a value in it cannot be used; says where.
        JournalError: The journal cannot be used.
    """
    place = Path(path)
    if place.is_dir():
        return _of_journal(place)
    try:
        text = place.read_text(encoding="utf-8")
    except OSError as error:
        message = f"the load {place} cannot be read: {error.strerror}"
        raise ConfigError(message) from error
    load = _of_json(text, place) if place.suffix == ".json" else _of_csv(text, place)
    if not load.jobs:
        message = f"the load {place} has no task"
        raise ConfigError(message)
    return load


def make_slaves(count: int, workers: int = 4) -> tuple[SlaveModel, ...]:
    """Return equal machines without resources."""
    return tuple(SlaveModel(f"slave-{number:04}", workers) for number in range(count))


# A table


def _of_csv(text: str, place: Path) -> Load:
    jobs: dict[str, dict[str, Any]] = {}
    reader = csv.DictReader(text.splitlines())
    _refuse_unknown(reader.fieldnames or (), _COLUMNS, f"{place}:1")
    for line in reader:
        where = f"{place}:{reader.line_num}"
        facts = {key: value for key, value in line.items() if value not in (None, "")}
        job = jobs.setdefault(facts.pop("job", "job"), {"tasks": []})
        for key in ("arrives", "weight", "application"):
            if key in facts:
                job[key] = facts.pop(key)
        for key in ("requires", "blobs"):
            if key in facts:
                facts[key] = _pairs(facts[key], where)
        job["tasks"].append((facts, where))
    return Load((), _in_order(_job(job, str(place)) for job in jobs.values()))


def _pairs(text: str, where: str) -> dict[str, float]:
    """Return `gpu=1;disk=2` as a mapping."""
    pairs = [item.partition("=") for item in text.split(";") if item.strip()]
    return {name.strip(): _number(amount, where) for name, _, amount in pairs}


# A document


def _of_json(text: str, place: Path) -> Load:
    try:
        document = json.loads(text)
        slaves, jobs = document.get("slaves", []), document["jobs"]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        message = f"{place} is no load: {error!r}; it must be an object with a list `jobs`"
        raise ConfigError(message) from error
    for number, job in enumerate(jobs):
        _refuse_unknown(job, _OF_A_JOB, f"{place}: job {number}")
        where = f"{place}: job {number}"
        job["tasks"] = [(task, f"{where}, task {count}") for count, task in enumerate(job.get("tasks", []))]
    machines = [model for number, slave in enumerate(slaves) for model in _machines(slave, f"{place}: slave {number}")]
    return Load(tuple(machines), _in_order(_job(job, str(place)) for job in jobs))


def _machines(facts: Mapping[str, Any], where: str) -> list[SlaveModel]:
    _refuse_unknown(facts, _OF_A_SLAVE, where)
    name, count = str(facts.get("name", "slave")), int(facts.get("count", 1))
    more = {key: facts[key] for key in ("workers", "speed", "resources", "rate", "cache") if key in facts}
    names = [name] if "count" not in facts else [f"{name}-{number:04}" for number in range(count)]
    return [SlaveModel(one, **more) for one in names]


# Both


def _job(facts: Mapping[str, Any], where: str) -> Job:
    tasks: list[SimulatedTask] = []
    known: dict[tuple[int, tuple[tuple[str, float], ...]], int] = {}
    for task, place in facts["tasks"]:
        _refuse_unknown(task, _OF_A_TASK, place)
        requires = {name: _number(amount, place) for name, amount in dict(task.get("requires") or {}).items()}
        priority = int(_number(task.get("priority", 0), place))
        kind = known.setdefault((priority, tuple(sorted(requires.items()))), len(known))
        blobs = tuple((name, int(_number(size, place))) for name, size in dict(task.get("blobs") or {}).items())
        if "duration" not in task:
            message = f"{place}: a task needs a duration"
            raise ConfigError(message)
        one = SimulatedTask(_number(task["duration"], place), kind, blobs)
        tasks += [one] * int(_number(task.get("count", 1), place))
    shapes = tuple(TaskKind(priority, dict(requires)) for priority, requires in known)
    arrives, weight = _number(facts.get("arrives", 0), where), _number(facts.get("weight", 1), where)
    return Job(arrives, tuple(tasks), shapes or (TaskKind(),), weight, str(facts.get("application", "")))


def _in_order(jobs: Iterable[Job]) -> tuple[Job, ...]:
    return tuple(sorted((job for job in jobs if job.tasks), key=lambda job: job.arrives))


def _refuse_unknown(names: Iterable[str], known: tuple[str, ...], where: str) -> None:
    unknown = sorted(set(names) - set(known))
    if unknown:
        message = f"{where}: {', '.join(unknown)} is not known here; there are {', '.join(known)}"
        raise ConfigError(message)


def _number(value: Any, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        message = f"{where}: {value!r} is no number"
        raise ConfigError(message) from None
    if number < 0:
        message = f"{where}: {value!r} is less than 0"
        raise ConfigError(message)
    return number


# A journal


def _of_journal(place: Path) -> Load:
    folder = JournalFolder(place, must_exist=True)
    try:
        store = JournalStore(folder, read_only=True)
        try:
            systems = store.load()
        finally:
            store.close()
    finally:
        folder.close()
    first = min((kept.accepted.submitted_at for kept in systems.values()), default=0.0)
    jobs = _in_order(_kept_job(kept, first) for kept in systems.values())
    if not jobs:
        message = f"the journal {place} has no finished task of a running system; what has ended leaves its result only"
        raise ConfigError(message)
    return Load((), jobs)


def _kept_job(kept: KeptSystem, first: float) -> Job:
    """Return what is known of a system: the tasks that are done."""
    entries = [entry for row in kept.inputs if row.n for entry in row.body[3] if entry[1] == Outcome.DONE]
    tasks = tuple(SimulatedTask(entry[6] * NANOSECOND) for entry in sorted(entries, key=lambda entry: int(entry[0])))
    accepted = kept.accepted
    weight = float(accepted.options.get("weight", 1.0))
    return Job(accepted.submitted_at - first, tasks, (TaskKind(),), weight, accepted.client)
