"""Sentences about systems: why one is where it is.

One reason is named, the first that holds: what must change before anything else matters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from concurro.ids import Failure, Outcome, SystemState
from concurro.scheduling.explain import explain_requires, explain_stopped
from concurro.scheduling.feeding import BYTE_WINDOW
from concurro.scheduling.life import kept_until
from concurro.scheduling.roster import PAST_SYSTEMS

if TYPE_CHECKING:
    from concurro.records import SystemRecord
    from concurro.scheduling.core import SchedulerCore
    from concurro.scheduling.life import SystemLife
    from concurro.scheduling.systems import SystemTable

CALLBACK_PATIENCE = 1.0
"""After how long without an answer of its host a system is said to be in its callbacks [s]."""

MOST_KINDS = 3
"""Of so many kinds of tasks that no slave can run it is said why."""

KINDS_LOOKED_FOR = 20
"""So many such kinds are enough: each costs a look at every slave."""

LAST_TASKS = 20
"""Of so few open tasks the oldest is named."""

MEBIBYTE = 1024 * 1024


def explain_system(core: SchedulerCore, table: SystemTable, life: SystemLife, now: float, callback: str = "") -> str:
    """Return one true sentence about a system, whose host is in `callback`."""
    record = life.record
    who = f"System {record.system_id} ({record.name})"
    if record.state.ended:
        return f"{who}{_how_it_ended(table, life, now)}."
    leaving = _when_it_is_cancelled(table, life, now)
    if record.state is SystemState.STARTING:
        parts = "waits for its parts to arrive" if life.spooling and not life.accepted else "is starting its host"
        return f"{who} {parts}{leaving}."
    reason = (
        _why_it_comes_back(table, life)
        or _why_it_is_held(life, now, callback)
        or _why_nothing_runs(core, record)
        or _why_some_do_not_run(core, record)
        or _what_it_waits_for(core, table, life, now)
    )
    return f"{who} {reason}{_whose_workers_are_stopped(core, record)}{leaving}."


def _whose_workers_are_stopped(core: SchedulerCore, record: SystemRecord) -> str:
    """Name the stopped workers of slaves that have tasks of a system."""
    return "".join(
        explain_stopped(slave)
        for slave in core.slaves.values()
        if slave.stopped and any(task.system is record for task in slave.leases.values())
    )


def explain_past(table: SystemTable, system_id: str, number: int | None, now: float) -> str:
    """Return one sentence about a system that is kept no more, or its task.

    Raises:
        LookupError: Nothing is known of it.
    """
    past = table.past(system_id)
    if past is None:
        message = (
            f"no system {system_id}: this master has none of that id, or beginning of one, and none of "
            f"the last {PAST_SYSTEMS} that it forgot had it; concurrent status lists those that are there"
        )
        raise LookupError(message)
    when = "" if past.ended_at is None else f" {now - past.ended_at:.0f} s ago"
    kept = "the time to live of its result is over" if past.detached else "it was not detached"
    tasks = f"{_count(past.done, 'task')} of {past.emitted} done, {past.failed} failed"
    text = f"System {past.system_id} ({past.name}) ended{when}: {past.state}; {tasks}; it is no longer kept, as {kept}"
    if number is None:
        return f"{text}."
    if number >= past.emitted:
        return f"Task {past.system_id}:{number} never was. {text}."
    return f"Task {past.system_id}:{number} has ended. {text}."


def find_stuck(core: SchedulerCore, record: SystemRecord) -> tuple[int, str]:
    """Return how many tasks of a system no connected slave can run, and why.

    0 and "" when there is none, or no slave at all.
    """
    if not core.slaves or len(record.open) == record.leased:
        return 0, ""
    reasons: dict[int, str] = {}
    for one in record.classes.values():
        if one.requires and (reason := explain_requires(core, one)):
            reasons[one.number] = reason
            if len(reasons) == KINDS_LOOKED_FOR:
                break
    stuck: dict[int, list[str]] = {}
    for task in record.open.values() if reasons else ():
        if task.task_class.number in reasons and not task.lease:
            stuck.setdefault(task.task_class.number, []).append(task.id)
    if not stuck:
        return 0, ""
    kinds = []
    for number, ids in list(stuck.items())[:MOST_KINDS]:
        which = f"task {ids[0]}" if len(ids) == 1 else f"{len(ids)} tasks ({ids[0]} for one)"
        kinds.append(f"{which}: {reasons[number]}")
    if len(stuck) > MOST_KINDS:
        kinds.append(f"tasks of {_count(len(stuck) - MOST_KINDS, 'more kind')}")
    return sum(map(len, stuck.values())), f"no slave can run {', nor '.join(kinds)}"


def _how_it_ended(table: SystemTable, life: SystemLife, now: float) -> str:
    record = life.record
    tasks = f"{_count(record.done, 'task')} done, {record.failed} failed"
    untaken = life.ended_at is None and (life.news.waiting or life.news.sent)
    waits = ", whose result waits until its partial results were taken," if untaken else ""
    until = kept_until(life, table.grace)
    kept = "" if until is None else f"; its result is kept for {max(0.0, until - now):.0f} s more"
    why = ""
    if record.state is SystemState.FAILED and life.result is not None and life.result[0] != Outcome.DONE:
        why = f", {Failure(*life.result[1][:2]).brief}"
    return f"{waits} ended: {record.state.value}{why}; {tasks}{kept}"


def _when_it_is_cancelled(table: SystemTable, life: SystemLife, now: float) -> str:
    if life.cancel_by is not None:
        return "; it is being cancelled"
    if life.orphan_since is None:
        return ""
    left = max(0.0, life.orphan_since + table.grace - now)
    return f"; its application is gone, and it is cancelled in {left:.0f} s unless that comes back"


def _why_it_comes_back(table: SystemTable, life: SystemLife) -> str:
    """Say what the journal has to do with it."""
    if life.replay is not None:
        return "is given again what the journal kept of it"
    if life.rerun is not None:
        count = f"restart {life.restarted} of {life.options.get('restarts', 0)}"
        return f"is given its inputs again, since its host died ({count}); its tasks go on"
    if life.orphans is not None:
        count = _count(len(life.orphans.numbers), "task")
        return f"waits a moment for the slaves to say what they still run of {count} since the master was restarted"
    if life.kept and table.journal_is_full:
        return "waits: the disk of the master's journal is full; it goes on by itself as soon as there is room"
    if life.kept and table.journal_is_behind:
        return "waits: the journal does not write as fast as it goes on"
    return ""


def _why_it_is_held(life: SystemLife, now: float, callback: str) -> str:
    """Say who holds the system up, whatever the slaves do."""
    if life.news.waiting:
        followers = "application" if len(life.followers) == 1 else f"{len(life.followers)} applications"
        size = life.news.size / MEBIBYTE
        return f"waits: {size:.1f} MiB of its partial results were not taken by its {followers} yet"
    oldest = life.flow.oldest()
    if oldest is None or now - oldest <= CALLBACK_PATIENCE:
        return ""
    if life.implicit:
        return f"waits: its application has not taken results for {now - oldest:.0f} s"
    place = f", now in {callback}" if callback else ""
    return f"is inside its own callbacks for {now - oldest:.0f} s{place} (host process {life.host_pid})"


def _why_nothing_runs(core: SchedulerCore, record: SystemRecord) -> str:
    """Say what keeps every task of the system from running, if something does."""
    tasks = f"{_count(len(record.open), 'task')} {'is' if len(record.open) == 1 else 'are'} open"
    if not core.slaves:
        return f"waits: no slave is connected; {tasks}"
    slaves = core.slaves.values()
    unfit = [f"{slave.id} ({slave.sick or 'it is leaving'})" for slave in slaves if slave.sick or slave.draining]
    if len(unfit) == len(core.slaves) and not record.leased:
        state = "sick" if all(slave.sick for slave in slaves) else "sick or leaving"
        return f"waits: every slave is {state}: {', '.join(unfit)}; {tasks}"
    return ""


def _why_some_do_not_run(core: SchedulerCore, record: SystemRecord) -> str:
    """Say of how many queued tasks no slave has what they require."""
    count, why = find_stuck(core, record)
    if not count:
        return ""
    others = len(record.open) - count
    rest = f"; {_count(others, 'other task')} {'is' if others == 1 else 'are'} open" if others else ""
    return f"waits: {why}{rest}"


def _what_it_waits_for(core: SchedulerCore, table: SystemTable, life: SystemLife, now: float) -> str:
    """Say what the tasks of a system that is not held up wait for."""
    record = life.record
    running = record.leased
    queued = len(record.open) - running
    counts = f"{_count(running, 'task')} {'is' if running == 1 else 'are'} leased, {queued} queued, "
    counts += f"{record.done} done, {record.failed} failed"
    if queued and not running:
        return f"waits for workers: {_who_is_before(core, record)}; {counts}"
    if life.implicit or not record.open:
        return f"runs: {counts}"
    if life.flow.exhausted:
        if len(record.open) <= LAST_TASKS and not queued:
            return f"runs: its generator is exhausted, and it waits for {_oldest(record, now)}"
        return f"runs: its generator is exhausted; {counts}"
    return f"runs: {counts}{_credit(table, life, now)}"


def _who_is_before(core: SchedulerCore, record: SystemRecord) -> str:
    """Say whose tasks have the workers that the tasks of a system wait for."""
    others = [other for other in core.systems.values() if other is not record and other.leased]
    if not others:
        return "it gets the next that is free"
    most = max(others, key=lambda other: other.leased)
    busy = f"{_count(len(others), 'system')} ({most.system_id} most) {'has' if len(others) == 1 else 'have'} them"
    return f"{busy}, and its share (weight {record.weight:g}) comes as they finish"


def _credit(table: SystemTable, life: SystemLife, now: float) -> str:
    """Say why the generator of a system is not pulled now; empty when it is."""
    record = life.record
    if record.open_bytes >= BYTE_WINDOW:
        size, limit = record.open_bytes / MEBIBYTE, BYTE_WINDOW // MEBIBYTE
        return (
            f"; its generator is not pulled until some finish: {size:.1f} MiB of tasks are open, the limit is {limit}"
        )
    window = table.window(life, now)
    if (window - len(record.open)) * 4 < window:
        return (
            f"; its generator is not pulled until some finish: {len(record.open)} tasks are open, the limit is {window}"
        )
    return ""


def _oldest(record: SystemRecord, now: float) -> str:
    """Name the oldest running task of the few that a system waits for."""
    oldest = min(record.open.values(), key=lambda task: task.leased_at)
    since = f"{oldest.id} on slave {oldest.slave_id} for {now - oldest.leased_at:.0f} s"
    count = len(record.open)
    return f"its last task, {since}" if count == 1 else f"its last {count} tasks, longest for {since}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
