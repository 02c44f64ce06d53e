"""Whether jobs ended as they must.

result of a job --> every task once, right values
errors          --> only those that something led to: the ledger knows what ran
partial results --> each once, and nothing told that is not true in the end
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.testing.invariants import CRASH_LIMIT
from concurro.testing.simulated_work import SimulatedJob, SimulatedTask, value_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from concurro.nodes.application import ApplicationNode
    from concurro.nodes.futures import TaskFuture
    from concurro.nodes.handle import SystemHandle
    from concurro.testing.invariants import Ledger
    from concurro.testing.simulated_processes import Process
    from concurro.testing.simulated_scenario import JobPlan
    from concurro.testing.simulated_work import TaskPlan


class SubmittedJob:
    """A job and who waits for it.

    Attributes:
        plan: What it does.
        number: Which.
        system: What is submitted.
        handle: What follows it; None before that, and while its application is replaced.
        process: The application.
        accepted: Whether its submission was acknowledged.
        told: Place of a task to whether it was told to have ended well, and the epoch when that was told.
        hosts_killed: How many of its hosts were killed.
        orphaned: Whether nobody waits for it any more.
        replaced: Whether another application follows it by now.
    """

    def __init__(self, plan: JobPlan, number: int) -> None:
        self.plan = plan
        self.number = number
        self.system = SimulatedJob([list(plans) for plans in plan.rounds], publishes=plan.publishes, enough=plan.enough)
        self.handle: SystemHandle | None = None
        self.process: Process | None = None
        self.accepted = False
        self.told: dict[int, tuple[bool, int]] = {}
        self.hosts_killed = 0
        self.orphaned = self.replaced = False

    @property
    def done(self) -> bool:
        """Whether somebody has its outcome, or nobody wants it."""
        return self.orphaned or (self.handle is not None and self.handle.done())

    @property
    def outcome(self) -> str:
        """How it ended, in a word."""
        handle = self.handle
        if self.orphaned:
            return "orphaned"
        if handle is None or not handle.done():
            return "running"
        if handle.cancelled():
            return "cancelled"
        return "complete" if handle.exception() is None else type(handle.exception()).__name__

    def published(self) -> list[int]:
        """Return the places of which its application was told, in order."""
        return [] if self.handle is None else [place for place, _ in self.handle._published.untaken()]  # noqa: SLF001 - without taking it


def judge(jobs: Iterable[SubmittedJob], ledger: Ledger, masters: int) -> Iterator[str]:
    """Yield what is wrong with the outcomes of jobs that ended.

    Args:
        jobs: Which.
        ledger: What ran.
        masters: How many masters there were.
    """
    for job in jobs:
        handle = job.handle
        if handle is None or not handle.done() or job.orphaned:
            continue
        error = None if handle.cancelled() else handle.exception()
        if handle.cancelled():
            if job.plan.cancel_at is None:
                yield f"job {job.number} was cancelled, and nobody asked for it"
        elif error is not None:
            if not (job.hosts_killed > job.plan.restarts and "HostLost" in f"{type(error).__name__} {error}"):
                yield f"job {job.number} failed: {type(error).__name__}: {error}"
        else:
            values, errors, faults, places = handle.result()
            for fault in (*faults, *_of_result(job, values, errors, places), *_of_news(job, values, errors)):
                yield f"job {job.number}: {fault}"
            for place, (type_name, attempt, max_retries) in errors.items():
                fault = _of_error(job, ledger, place, type_name, attempt, max_retries, masters)
                if fault:
                    yield f"job {job.number}: task {place} failed with {type_name} in attempt {attempt}: {fault}"


class PushedTasks:
    """Tasks that an application pushes one by one.

    Attributes:
        plans: What they do.
        futures: What became of each; empty before they were pushed.
    """

    def __init__(self, plans: Sequence[TaskPlan]) -> None:
        self.plans = plans
        self.futures: list[TaskFuture] = []

    def push(self, application: ApplicationNode) -> None:
        """Push all of them."""
        self.futures = [application.push_task(SimulatedTask(place, plan)) for place, plan in enumerate(self.plans)]

    @property
    def done(self) -> bool:
        """Whether every one is final."""
        return len(self.futures) == len(self.plans) and all(future.done() for future in self.futures)

    def judge(self, ledger: Ledger, *, may_be_cut_off: bool) -> Iterator[str]:
        """Yield what is wrong with those that are final.

        Args:
            ledger: What ran.
            may_be_cut_off: Whether the application may have lost its master, and its tasks with it.
        """
        for place, future in enumerate(self.futures):
            if not future.done():
                continue
            error = future.exception()
            if error is None:
                value = future.result()
                got = int.from_bytes(value[-8:], "big") if isinstance(value, bytes) else value
                if got != value_of(place):
                    yield f"pushed task {place} gave {got}, not {value_of(place)}"
                continue
            plan, name = self.plans[place], type(error).__name__
            expected = {"raises": {"SimulatedFailureError"}, "poison": {"WorkerLost"}}.get(plan.behaviour, set())
            system, _, number = future.task_id.rpartition(":")
            times = sum(run.end not in ("done", "raised") for run in ledger.runs(system, int(number)))
            lost = {"WorkerLost"} if plan.max_retries is not None or times >= CRASH_LIMIT else set()
            cut_off = {"MasterUnreachable", "CancelledError"} if may_be_cut_off else set()
            if name not in expected | lost | cut_off:
                yield f"pushed task {place} ({plan.behaviour}) failed: {name}: {error}"


def _of_result(job: SubmittedJob, values: dict[int, Any], errors: dict[int, Any], places: int) -> Iterator[str]:
    if job.plan.enough is None:
        if places != job.plan.places:
            yield f"{places} tasks were emitted, {job.plan.places} were planned"
        if sorted([*values, *errors]) != list(range(places)):
            yield f"{len(values)} values and {len(errors)} errors of {places} tasks"
    for place, value in values.items():
        if value != value_of(place):
            yield f"got {value} of task {place}, not {value_of(place)}"


def _of_news(job: SubmittedJob, values: dict[int, Any], errors: dict[int, Any]) -> Iterator[str]:
    published, ended = job.published(), values.keys() | errors.keys()
    if len(published) != len(set(published)):
        yield f"partial results came twice: {published}"
    if job.plan.publishes and not job.replaced and set(published) != ended:
        yield f"partial results of {sorted(ended - set(published))} never came"
    for place, (went_well, _) in job.told.items():
        if went_well != (place in values):
            yield f"task {place} was told to have ended {'well' if went_well else 'badly'}, it did not"


def _of_error(  # noqa: PLR0913 - what an error says
    job: SubmittedJob,
    ledger: Ledger,
    place: int,
    type_name: str,
    attempt: int,
    max_retries: int | None,
    masters: int,
) -> str:
    """Say why a task may not have failed so; empty when it may."""
    runs = ledger.runs(job.system.system_id, place)
    if type_name == "SimulatedFailureError":
        return "" if runs and runs[0].plan.behaviour == "raises" else "it was not to raise"
    if type_name != "WorkerLost":
        return "nothing that happened leads to that"
    if max_retries is not None and attempt > max_retries:
        return ""
    lost = sum(run.end not in ("done", "raised") for run in runs)
    return "" if lost >= min(3, 1 + masters) else f"it was lost {lost} times only"
