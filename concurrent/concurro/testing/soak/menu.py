"""Which job comes next, and whether its tasks ran as often as they may."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from concurro.testing.soak.jobs import (
    Asking,
    Cancelling,
    Draws,
    Exiting,
    Large,
    Late,
    Leaving,
    NoOps,
    Once,
    Picky,
    Printing,
    Refusing,
    Rounds,
    Speculating,
    Squares,
    Strings,
    Tree,
)

if TYPE_CHECKING:
    import random

    from concurro.testing.soak.jobs import SoakSystem

MEBIBYTE = 1024 * 1024


@dataclass(slots=True)
class Job:
    """A system and how it is to be run.

    Attributes:
        system: It.
        published: What it must publish, each once; None when nobody looks.
        detached: Whether another application takes the result.
        cancel_after: When it is cancelled from outside; None never [s].
        path: Where its tasks leave lines; empty for nowhere.
        restarts: How often its host may be started again; 0: it ends with its host.
    """

    system: SoakSystem
    published: list[Any] | None = None
    detached: bool = False
    cancel_after: float | None = None
    path: str = ""
    restarts: int = 0

    @property
    def name(self) -> str:
        """Name what it is."""
        kind = type(self.system).__name__
        more = " detached" if self.detached else "" if self.cancel_after is None else " cancelled"
        return f"{kind}({self.system.count}){more}{' mortal' if not self.restarts else ''}"


def make_job(chance: random.Random, folder: str, number: int) -> Job:
    """Return the next job; most of them outlive their hosts.

    Args:
        chance: Decides.
        folder: Where tasks leave lines.
        number: Of the job; names its file.
    """
    job = _make(chance, folder, number)
    job.restarts = 0 if chance.random() < _SHARE_MORTAL else MOST_RESTARTS
    return job


def _make(chance: random.Random, folder: str, number: int) -> Job:
    kind = chance.choice(_KINDS)
    if kind is Once:
        path = f"{folder}/once-{number}"
        return Job(Once(chance.randint(20, 60), path), path=path)
    if kind is Large:
        most = chance.choice([MEBIBYTE // 8, MEBIBYTE, 6 * MEBIBYTE])
        return Job(Large(chance.randint(3, 12), chance.randrange(3), most))  # few seeds: slaves cache what they saw
    system = kind(chance.randint(*_SIZES.get(kind, (10, 80))))
    if kind is Squares and chance.random() < _SHARE_CANCELLED:
        return Job(Squares(10_000), cancel_after=chance.uniform(0, 2))
    if kind is Squares:
        return Job(system, published=list(range(system.count)))
    return Job(system, detached=chance.random() < _SHARE_DETACHED)


MOST_RESTARTS = 1000
_SHARE_MORTAL = 0.2
_SHARE_CANCELLED = 0.3
_SHARE_DETACHED = 0.2
_KINDS: list[Any] = [
    *(Squares, Squares, Tree, Rounds, Draws, Strings, Large, Large, Once, Once, Picky),
    *(Cancelling, Leaving, Refusing, Exiting, Late, Printing, Asking, Speculating, NoOps),
]
_SIZES = {NoOps: (500, 4000), Rounds: (2, 8), Draws: (5, 20), Late: (1, 3), Asking: (1, 3), Printing: (3, 10)}


def fault_of_once(job: Job, outcome: Any) -> str:
    """Say what is wrong with tasks that may run once; empty if nothing."""
    done, given_up = outcome
    runs: dict[int, int] = {}
    if os.path.exists(job.path):  # noqa: PTH110 - a path that travels is text
        with open(job.path, encoding="utf-8") as lines:  # noqa: PTH123 - the same
            for line in lines:
                number = int(line.split()[0])
                runs[number] = runs.get(number, 0) + 1
    if sorted([*done, *given_up]) != list(range(job.system.count)):
        return f"done {done} and given up {given_up} are not all {job.system.count} tasks, each once"
    if twice := {number: count for number, count in runs.items() if count > 1}:
        return f"ran more than once (task: times): {twice}"
    if unseen := [number for number in done if number not in runs]:
        return f"done, but they left no line in {job.path}: {unseen}"
    return ""
