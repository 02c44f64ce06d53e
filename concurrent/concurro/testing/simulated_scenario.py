"""What happens in a simulation: all drawn from a seed.

Everything is drawn before anything runs: leaving a fault out changes nothing but what follows
from it, so a failing seed can be made smaller.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum

from concurro.testing.simulated_work import TaskPlan


class Mode(Enum):
    """What is asked of a run."""

    SAFETY = "safety"
    """Faults throughout; nothing wrong may happen, however little gets done."""

    LIVENESS = "liveness"
    """Faults stop; then everything ends, with the exact result."""


@dataclass(frozen=True, slots=True)
class SlavePlan:
    """A slave: its workers, and how much of `disk` it offers."""

    workers: int
    disk: float = 0.0


@dataclass(frozen=True, slots=True)
class JobPlan:
    """A job.

    Attributes:
        arrives: When it is submitted [s].
        rounds: Its tasks.
        publishes: Whether it publishes of each task whether it went well.
        enough: Complete after so many finished tasks; None for all.
        detach: Whether it goes on without its application.
        speculate: Whether straggler copies of its tasks may run.
        restarts: How often its host may be started again.
        cancel_at: When its application cancels it [s]; None for never.
    """

    arrives: float
    rounds: tuple[tuple[TaskPlan, ...], ...]
    publishes: bool = False
    enough: int | None = None
    detach: bool = False
    speculate: bool = False
    restarts: int = 0
    cancel_at: float | None = None

    @property
    def places(self) -> int:
        """How many tasks it has in the end, those that it pushes included."""
        return sum(1 + plan.pushes for plans in self.rounds for plan in plans)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        at: When, since the beginning [s].
        kind: What; see `concurro.testing.simulated_faults`.
        target: Number of the slave, job or machine that it befalls, modulo how many there are.
        seconds: How long it lasts, or until what ended is there again [s].
        amount: How much of it.
    """

    at: float
    kind: str
    target: int = 0
    seconds: float = 0.0
    amount: int = 1

    def __str__(self) -> str:
        """Say it in a line."""
        return f"{self.at:7.3f} s  {self.kind} {self.target} for {self.seconds:.2f} s, {self.amount}"


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens.

    Attributes:
        seed: What it was drawn from.
        mode: What is asked.
        ordered: Whether peers dial over AF_UNIX.
        journalled: Whether the master has a journal.
        slaves, jobs: Who is there.
        faults: In the order of time.
        calm_at: When faults stop, or the run does [s].
        turn_cost: What a turn of a loop takes at least [s].
        delay: Of a message, on the average [s].
        sync: What a sync of the disk takes, on the average [s].
        strategy: Of the master.
        pushed: Tasks that an application pushes one by one.
        snapshot_after: Finished tasks of a job after which a snapshot of it is taken.
    """

    seed: int
    mode: Mode
    ordered: bool
    journalled: bool
    slaves: tuple[SlavePlan, ...]
    jobs: tuple[JobPlan, ...]
    faults: tuple[Fault, ...]
    calm_at: float
    turn_cost: float = 1e-5
    delay: float = 200e-6
    sync: float = 0.002
    strategy: str = "least-loaded"
    pushed: tuple[TaskPlan, ...] = ()
    snapshot_after: int = 10_000


_OF_ALL = ("kill_slave", "freeze_slave", "kill_worker", "freeze_worker", "drain_slave", "lose_workers", "kill_host")
_ANYWHERE = (*_OF_ALL, "freeze_master", "kill_application", "kill_host", "freeze_host")
_OVER_TCP = ("cut", "cut_to_master", "cut_from_master", "reset", "slow", "lose", "repeat")
_WITH_JOURNAL = ("kill_master", "kill_master", "stop_master", "fill_disk", "slow_disk", "fail_disk")
_DURATIONS = (0.0005, 0.003, 0.01, 0.05, 0.3, 1.0, 3.0)
_LONG = (1.0, 3.0, 8.0)
_STRATEGIES = ("least-loaded", "round-robin", "throughput", "two-choices", "locality")


def draw(seed: int, mode: Mode) -> Scenario:
    """Return the scenario of a seed."""
    dice = random.Random(f"{seed} {mode.value}")
    ordered, journalled = dice.random() < 0.25, dice.random() < 0.5  # noqa: PLR2004 - a quarter, a half
    slaves = tuple(SlavePlan(dice.randint(1, 3), dice.choice((0.0, 1.0, 2.0))) for _ in range(dice.randint(1, 3)))
    disk = max(slave.disk for slave in slaves)
    jobs = tuple(_draw_job(dice, disk) for _ in range(dice.choice((1, 1, 2))))
    calm_at = dice.uniform(4.0, 16.0)
    kinds = list(_ANYWHERE)
    if not ordered:
        kinds += 2 * _OVER_TCP
    if journalled:
        kinds += 2 * _WITH_JOURNAL
    chosen = dice.sample(kinds, dice.randint(1, 5))
    busy_until = min(calm_at, _busy_until(jobs, sum(slave.workers for slave in slaves)))
    faults = []
    for _ in range(dice.randint(1, 8)):
        latest = busy_until if dice.random() < 0.8 else calm_at  # noqa: PLR2004 - most
        faults.append(_draw_fault(dice, chosen, latest))
    return Scenario(
        seed,
        mode,
        ordered,
        journalled,
        slaves,
        jobs,
        tuple(sorted(faults, key=lambda fault: fault.at)),
        calm_at,
        turn_cost=dice.choice((1e-5, 1e-4, 2e-3)),
        delay=dice.choice((1e-4, 1e-3, 2e-2)),
        sync=dice.choice((0.002, 0.02, 0.2)),
        strategy=dice.choice(_STRATEGIES),
        pushed=_draw_pushed(dice, disk),
        snapshot_after=dice.choice((1, 2, 5, 10_000)),
    )


def _busy_until(jobs: tuple[JobPlan, ...], workers: int) -> float:
    """Return when all jobs would have ended without faults, about [s]."""
    arrivals = [job.arrives for job in jobs]
    plans = [plan for job in jobs for plans in job.rounds for plan in plans]
    work = sum(plan.seconds * (1 + plan.pushes) for plan in plans)
    return max(arrivals) + work / workers + max(plan.seconds for plan in plans)


def _draw_job(dice: random.Random, disk: float) -> JobPlan:
    durations = _LONG if dice.random() < 0.25 else _DURATIONS  # noqa: PLR2004 - some
    rounds = tuple(
        tuple(_draw_task(dice, durations, disk) for _ in range(dice.randint(1, 10)))
        for _ in range(dice.choice((1, 1, 2)))
    )
    total = sum(map(len, rounds))
    return JobPlan(
        arrives=dice.uniform(0.0, 2.0),
        rounds=rounds,
        publishes=dice.random() < 0.3,  # noqa: PLR2004 - some
        enough=dice.randint(1, total) if dice.random() < 0.15 else None,  # noqa: PLR2004 - some
        detach=dice.random() < 0.4,  # noqa: PLR2004 - some
        speculate=dice.random() < 0.3,  # noqa: PLR2004 - some
        restarts=dice.choice((0, 0, 1, 3)),
        cancel_at=dice.uniform(0.1, 8.0) if dice.random() < 0.1 else None,  # noqa: PLR2004 - some
    )


def _draw_pushed(dice: random.Random, disk: float) -> tuple[TaskPlan, ...]:
    if dice.random() < 0.65:  # noqa: PLR2004 - most have none
        return ()
    return tuple(_draw_task(dice, _DURATIONS, disk) for _ in range(dice.randint(1, 8)))


def _draw_task(dice: random.Random, durations: tuple[float, ...], disk: float) -> TaskPlan:
    return TaskPlan(
        seconds=dice.choice(durations),
        behaviour=dice.choices(("plain", "raises", "poison", "large"), (80, 6, 5, 9))[0],
        max_retries=dice.choices((None, 0, 2), (70, 20, 10))[0],
        priority=dice.choice((0, 0, 0, 5)),
        requires=(("disk", 1.0),) if disk and dice.random() < 0.15 else (),  # noqa: PLR2004 - some
        pushes=dice.choices((0, 2), (90, 10))[0],
    )


def _draw_fault(dice: random.Random, kinds: list[str], calm_at: float) -> Fault:
    seconds = dice.choice((dice.uniform(0.05, 1.0), dice.uniform(1.0, 6.0), dice.uniform(6.0, 18.0)))
    kind = dice.choice(kinds)
    if kind.startswith(("cut", "freeze")) and dice.random() < 0.4:  # noqa: PLR2004 - some
        seconds = dice.uniform(9.0, 16.0)  # about as long as silence is borne
    return Fault(dice.uniform(0.1, calm_at), kind, dice.randrange(6), seconds, dice.randint(1, 4))
