"""The course of a system, as a master kept it, read for reports."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite
from typing import Any, NamedTuple

from concurro.ids import Outcome
from concurro.scheduling.chronicle import ROW


class Attempt(NamedTuple):
    """One execution of a task. Times are seconds since the submission.

    Attributes:
        task: Number of the task within its system.
        number: Of the attempt, from 1.
        kind: Class name of the task.
        slave: Where it ran: an index into `Course.slaves`.
        leased: When its slave was given it [s].
        ended: When the master had its result [s].
        seconds: How long it ran, as measured where it did [s].
        arrived: About when its task came into being [s]; None for one that was tried before.
        bytes_in: Of the task, large parts included [B].
        bytes_out: Of its result, large parts included [B]; None when nobody knows.
        failure: How it failed; empty for one that is done.
    """

    task: int
    number: int
    kind: str
    slave: int
    leased: float
    ended: float
    seconds: float
    arrived: float | None
    bytes_in: int
    bytes_out: int | None
    failure: str = ""

    @property
    def queued(self) -> float | None:
        """Seconds until a slave was given it [s]."""
        return None if self.arrived is None else max(0.0, self.leased - self.arrived)

    @property
    def under_way(self) -> float:
        """Seconds that a slave had it and did not run it [s].

        It was sent ahead or on its way, or its result was.
        """
        return max(0.0, self.ended - self.leased - self.seconds)


class SlaveCourse(NamedTuple):
    """A slave that ran tasks of a system.

    Attributes:
        id, host: Its id, and the name of its machine.
        workers: The most that it had.
        attempts: How many ended there.
        seconds: How long they ran in sum [s].
    """

    id: str
    host: str
    workers: int
    attempts: int
    seconds: float


class Sample(NamedTuple):
    """The slaves at one moment.

    Attributes:
        at: Seconds since the submission [s].
        workers: Of all slaves.
        running: Attempts that run, of all systems.
        ratings: Slave id to rating; less is better. One that is not finite is not there: no chart and no JSON has it.
    """

    at: float
    workers: int
    running: int
    ratings: dict[str, float]


@dataclass(frozen=True, slots=True)
class Course:
    """The course of a system.

    Attributes:
        system_id, name, state: Of the system.
        counts: Tasks by state.
        wall: When it was submitted, since the epoch [s].
        span: Seconds from then until its end, or until now [s].
        stride: Of so many tasks that were done one is among `attempts`.
        attempts: Those that are known, in the order of their ends.
        failed: How many attempts failed, known one by one or not.
        longest: How long the longest attempt ran, known or not [s].
        slaves: Those that ran some.
        samples: What slaves were like now and then.
    """

    system_id: str
    name: str
    state: str
    counts: dict[str, int]
    wall: float
    span: float
    stride: int
    attempts: list[Attempt]
    failed: int = 0
    longest: float = 0.0
    slaves: list[SlaveCourse] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    @property
    def done(self) -> list[Attempt]:
        """The attempts that were done."""
        return [one for one in self.attempts if not one.failure]

    @property
    def failures(self) -> list[Attempt]:
        """The attempts that were not done."""
        return [one for one in self.attempts if one.failure]

    @property
    def work(self) -> float:
        """Seconds that all attempts ran in sum [s]."""
        return sum(slave.seconds for slave in self.slaves)

    @property
    def workers(self) -> float:
        """How many workers there were on average, of all slaves.

        Over the time, not over the samples: there is one only where a result came.
        """
        if not self.samples:
            return float(sum(slave.workers for slave in self.slaves))
        curve = [(min(self.span, one.at), one.workers) for one in self.samples]
        curve = [(0.0, curve[0][1]), *curve, (self.span, curve[-1][1])]
        return sum((end - begin) * (few + many) / 2 for (begin, few), (end, many) in pairwise(curve)) / self.span


def read_course(told: dict[str, Any]) -> Course:
    """Read what a master answers to `chronicle`."""
    began = told["began"]
    arrivals: list[tuple[int, float]] = [(number, at - began) for number, at in told["arrivals"]]
    numbers = [number for number, _ in arrivals]
    kinds = told["classes"]

    thinned = told.get("arrival_stride", 1) > 1

    def arrived(task: int, attempt: int) -> float | None:
        place = bisect_right(numbers, task) - 1
        if place < 0 or attempt > 1:
            return None
        first, at = arrivals[place]
        if not thinned or place + 1 == len(arrivals):
            return at
        after, later = arrivals[place + 1]  # others came between, about evenly
        return at + (later - at) * (task - first) / (after - first)

    attempts = [
        Attempt(
            task, number, kinds[kind], slave, leased - began, ended - began, seconds, arrived(task, number), bytes_in,
            None if bytes_out < 0 else bytes_out,
        )
        for task, leased, ended, seconds, number, slave, kind, bytes_in, bytes_out in ROW.iter_unpack(told["rows"])
    ]  # fmt: skip
    attempts += [
        Attempt(
            task, number, kinds[kind], slave, leased - began, ended - began, seconds, arrived(task, number), 0, None,
            why or Outcome(outcome).name,
        )
        for task, leased, ended, seconds, number, slave, kind, outcome, why in told["failures"]
    ]  # fmt: skip
    attempts.sort(key=lambda one: one.ended)
    return Course(
        told["system_id"],
        told["name"],
        told["state"],
        told["counts"],
        told["wall"],
        max(1e-6, told["ended"] - began),
        told["stride"],
        attempts,
        told["failed"],
        max(told.get("longest", 0.0), max((one.seconds for one in attempts), default=0.0)),
        [SlaveCourse(*one) for one in told["slaves"]],
        [_sample(at - began, *facts) for at, *facts in told["samples"]],
    )


def _sample(at: float, workers: int, running: int, ratings: list[tuple[str, float]]) -> Sample:
    return Sample(at, workers, running, {slave: rating for slave, rating in ratings if isfinite(rating)})
