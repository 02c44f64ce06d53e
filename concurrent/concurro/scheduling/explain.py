"""Sentences about tasks and systems: why something is where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.ids import Outcome, format_task_id, parse_task_id
from concurro.scheduling.queue import Standing
from concurro.scheduling.resources import SLACK, covers, format_amounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.records import SlaveRecord, SystemRecord, TaskClass, TaskRecord
    from concurro.scheduling.placing import Placing
    from concurro.scheduling.queue import ClassQueue, FairQueue, SystemQueue


def find_task(host: Any, task_id: str) -> tuple[SystemRecord | None, TaskRecord | None]:
    """Return the live system of a task and its record, if it is open."""
    system_id, number = parse_task_id(task_id)
    for system in host.systems.values():
        if system.system_id == system_id:
            return system, system.open.get(number)
    return None, None


def explain_queued(task_id: str, host: Any, placing: Placing, asked_back: Callable[[str, int], bool]) -> str:
    """Return one true sentence about an open task.

    Args:
        task_id: Which.
        host: The `ISchedulerHost`.
        placing: What is queued, and where there is room.
        asked_back: Says whether a slave was asked for a lease again.
    """
    system, task = find_task(host, task_id)
    if system is None:
        return f"No running system has a task {task_id}."
    if task is None:
        return explain_final(system, parse_task_id(task_id)[1])
    before = explain_retry(task)
    if task.lease:
        return f"Task {task_id} {explain_lease(host, task, asked_back)}{before}."
    known = placing.queue.systems.get(system.number)
    queue = None if known is None else known.by_class.get(task.task_class.number)
    hindrance = explain_hindrance(host, task, queue, placing)
    if hindrance:
        return f"Task {task_id} waits: {hindrance}{before}."
    again = f" again after attempt {task.attempt}" if task.attempt else ""
    workers = "every worker is busy" if _all_busy(host) else "a worker is free"
    share = "" if known is None else explain_share(known, placing.queue)
    return f"Task {task_id} is queued{again}: {workers}, and {_count_ahead(task, known)}{share}{before}."


def explain_final(system: SystemRecord, number: int) -> str:
    """Say how a task ended that is not open, or that there was none."""
    who = f"Task {format_task_id(system.system_id, number)}"
    emitted = len(system.open) + system.done + system.failed + system.cancelled
    if number >= emitted:
        if system.state.ended:
            return f"{who} never was: the system ended ({system.state.value}) after {_numbered(emitted)}."
        return f"{who} was not emitted yet: so far the system has emitted {_numbered(emitted)}."
    ending = system.endings.get(number)
    if ending is not None:
        attempt = f" in attempt {ending.attempt} on slave {ending.slave_id}" if ending.slave_id else ""
        how = "was cancelled" if ending.outcome is Outcome.CANCELLED else "failed"
        return f"{who} {how}{attempt}{': ' if ending.reason else ''}{ending.reason}."
    if system.failed + system.cancelled == len(system.endings):
        return f"{who} is done."
    return f"{who} has ended; the master no longer keeps how."


def explain_retry(task: TaskRecord) -> str:
    """Say how the attempt before failed; empty when there was none."""
    number = task.attempt - 1 if task.lease else task.attempt
    return f"; attempt {number} failed: {task.failure.brief}" if task.failure is not None and number > 0 else ""


def _numbered(count: int) -> str:
    if count == 0:
        return "no task"
    return "one task, number 0" if count == 1 else f"{count} tasks, numbers 0 to {count - 1}"


def explain_lease(host: Any, task: TaskRecord, asked_back: Callable[[str, int], bool]) -> str:
    """Say which slave has a task, since when, and whether a copy runs."""
    slave_id = str(task.slave_id)
    slave = host.slaves.get(slave_id)
    before = 0
    if slave is not None:
        before = list(slave.leases).index(task.lease) + 1 - slave.workers if task.lease in slave.leases else 0
    retry = f", attempt {task.attempt}" if task.attempt > 1 else ""
    since = host.now() - task.leased_at
    text = f"is leased to slave {slave_id} since {since:.1f} s{retry}"
    if before > 0:
        text = f"was sent ahead to slave {slave_id} {since:.1f} s ago{retry}, behind what its workers have"
        if asked_back(slave_id, task.lease):
            text += ", and is asked back for a worker that is free"
    if task.copy is not None:
        since = host.now() - task.copy.leased_at
        text += f", with a copy, attempt {task.copy.attempt}, on slave {task.copy.slave_id} since {since:.1f} s"
    return text + explain_wait(host, task) + ("" if slave is None else explain_stopped(slave))


def explain_share(system: SystemQueue, queue: FairQueue) -> str:
    """Name who is served before a system; empty when it is next."""
    mine = system.application
    ahead: list[tuple[tuple[float, int, float], SystemQueue]] = []
    nested = False
    for other in queue.systems.values():
        if other is system or not other.backlog or not other.entry:
            continue
        place = (other.application.virtual_time, other.rank, other.virtual_time)
        if other.application is mine:
            if other.rank != system.rank:
                sooner = other.rank < system.rank
                nested = nested or sooner
            else:
                sooner = other.virtual_time < system.virtual_time
        else:
            sooner = other.application.virtual_time < mine.virtual_time
        if sooner:
            ahead.append((place, other))
    if not ahead:
        return ""
    first = min(ahead, key=lambda one: one[0])[1].record
    others = f" and {len(ahead) - 1} more are" if len(ahead) > 1 else " is"
    got = "they got" if len(ahead) > 1 else "it got"
    reason = f"{got} less for the weight" + (" or a task waits for that" if nested else "")
    return f"; system {first.system_id} ({first.name}){others} served first, as {reason}"


def explain_stopped(slave: SlaveRecord) -> str:
    """Say which workers of a slave do not go on; empty for none."""
    if not slave.stopped:
        return ""
    pids = ", ".join(map(str, slave.stopped))
    which, verb = ("process", "is") if len(slave.stopped) == 1 else ("processes", "are")
    return f"; {which} {pids} of the workers of slave {slave.id} {verb} stopped (as by SIGSTOP; SIGCONT ends that)"


def explain_wait(host: Any, task: TaskRecord) -> str:
    """Say for what a leased task waits; empty when it does not."""
    slave = host.slaves.get(task.slave_id)
    what = slave.waits.get(task.lease) if slave is not None else None
    return f"; it waits for {what}" if what else ""


def explain_hindrance(host: Any, task: TaskRecord, queue: ClassQueue | None, placing: Placing) -> str:
    """Say why no slave takes the task even with free workers.

    Empty when one could.
    """
    if not host.slaves:
        return "no slave is connected"
    unfit = explain_requires(host, task)
    if unfit:
        return unfit
    slaves = list(host.slaves.values())
    fitting = [slave for slave in slaves if covers(slave.resources, task.requires)]
    usable = [slave for slave in fitting if not slave.sick and not slave.draining]
    if not usable:
        reasons = ", ".join(f"{slave.id} ({slave.sick or 'it is leaving'})" for slave in fitting)
        which = "every slave" if len(fitting) == len(slaves) else "every slave that offers what it requires"
        state = "is sick" if all(slave.sick for slave in fitting) else "is sick or leaving"
        return f"{which} {state}: {reasons}"
    if not any(covers(slave.free, task.requires) for slave in usable):
        taken = {
            name: amount
            for name, amount in task.requires.items()
            if all(slave.free.get(name, 0.0) + SLACK < amount for slave in usable)
        }
        kept = f"; slave {queue.reserved_on} is kept for it" if queue is not None and queue.reserved_on else ""
        return f"other tasks have taken the {format_amounts(taken or task.requires)} that it requires{kept}"
    return "" if queue is None else _explain_refusal(task, queue, usable, placing)


def _explain_refusal(task: TaskRecord, queue: ClassQueue, usable: list[SlaveRecord], placing: Placing) -> str:
    """Say who else keeps a task from a slave that has all that it requires."""
    if queue.standing is Standing.DECLINED and queue.head() is not None:
        return "the strategy would rather wait than place the tasks of its class now"
    if task.requires:
        fitting = [slave for slave in usable if slave.id in placing.room.idle and covers(slave.free, task.requires)]
        if not fitting and placing.room.idle:
            return f"every worker is busy where {format_amounts(task.requires)}, which it requires, is free"
        kept = [slave for slave in fitting if not placing.parking.may_use(slave, queue)]
        other = placing.parking.reserved[kept[0].id].head() if kept and len(kept) == len(fitting) else None
        if other is not None:
            return f"slave {kept[0].id} is kept for task {other.id}, which requires more and waits for longer"
    return ""


def explain_requires(host: Any, task: TaskRecord | TaskClass) -> str:
    """Say which requirements no connected slave can meet; empty when one can."""
    requires = task.requires
    slaves = host.slaves.values()
    if not requires or any(covers(slave.resources, requires) for slave in slaves):
        return ""
    offered = sorted({name for slave in slaves for name in slave.resources})
    names = ", ".join(offered) if offered else "nothing but workers"
    missing = []
    for name, amount in sorted(requires.items()):
        most = max((slave.resources.get(name, 0.0) for slave in slaves), default=0.0)
        if most + SLACK < amount:
            missing.append(f"{name}={amount:g}" + (f" (the most is {most:g})" if most else ""))
    what = " nor ".join(missing) or f"{format_amounts(requires)} together"
    return f"no slave offers {what}; {len(host.slaves)} connected, they offer {names}"


def _all_busy(host: Any) -> bool:
    usable = (slave for slave in host.slaves.values() if not slave.sick and not slave.draining)
    return all(len(slave.leases) >= slave.workers for slave in usable)


def _count_ahead(task: TaskRecord, system: SystemQueue | None) -> str:
    """Say how many tasks of its system stand before a task."""
    higher = older = 0
    for queue in system.by_class.values() if system is not None else ():
        priority = queue.task_class.priority
        if priority > task.priority:
            higher += len(queue.wanted())
        elif priority == task.priority:
            older += sum(1 for other in queue.wanted() if other.number < task.number)
    counts = []
    if higher:
        counts.append(f"{higher} of higher priority")
    if older or not higher:
        counts.append(f"{older} older" if older else "none")
    verb = "is" if higher + older == 1 else "are"
    return f"{' and '.join(counts)} of the tasks of its system {verb} before it"
