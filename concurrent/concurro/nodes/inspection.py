"""Ask all slaves where they run, for somebody who wants to know.

    CLI --REQUEST "surroundings"--> master --LOOK_AROUND--> every slave
        <------- REPLY ------------        <-SURROUNDINGS--

Nothing is sent while nobody asks. Who is silent is waited for a little, and then left out.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from concurro.nodes.surroundings import surroundings
from concurro.wire.messages import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from concurro.transport.loop import Loop

PATIENCE = 2.0
"""How long slaves may take to answer [s]."""

ANSWER_VERSION = 1


class _Question:
    """A question that is under way."""

    def __init__(self, answer: Callable[[dict[str, Any]], None], waiting: set[str]) -> None:
        self.answer = answer
        self.waiting = waiting
        self.asked_at = time.time()
        self.found: dict[str, Any] = {}


class Inspection:
    """The questions about surroundings. Loop thread only.

    Args:
        loop: The master's.
        send: Sends a message to a peer.
    """

    def __init__(self, loop: Loop, send: Callable[[Any, Kind, list[Any]], object]) -> None:
        self._loop = loop
        self._send = send
        self._questions: dict[int, _Question] = {}
        self._counter = 0

    def ask(self, slaves: Iterable[str], own: str, answer: Callable[[dict[str, Any]], None]) -> None:
        """Ask every slave.

        Args:
            slaves: Their ids.
            own: The one inside this master; it is not asked, and is where we are. Empty for none.
            answer: Called once with `{"version", "master", "slaves": {id: its surroundings}}`. Each slave's
                has `ahead`: how far its clock is ahead of ours [s], known to `unsure` [s].
        """
        waiting = {slave for slave in slaves if slave != own}
        self._counter += 1
        number, question = self._counter, _Question(answer, waiting)
        self._questions[number] = question
        if own:
            question.found[own] = {**surroundings(), "ahead": 0.0, "unsure": 0.0}
        for slave in waiting:
            self._send(("slave", slave), Kind.LOOK_AROUND, [number])
        self._loop.after(PATIENCE, lambda: self._end(number))
        self._look(number, question)

    def heard(self, slave_id: str, number: int, facts: dict[str, Any]) -> None:
        """Take what a slave says; what nobody asked for is dropped."""
        question = self._questions.get(number)
        if question is None or slave_id not in question.waiting:
            return
        now = time.time()
        there = float(facts.get("time", now))
        took = max(0.0, now - question.asked_at)
        ahead = there - (question.asked_at + took / 2)
        question.found[slave_id] = {**facts, "ahead": ahead, "unsure": took / 2}
        question.waiting.discard(slave_id)
        self._look(number, question)

    def left(self, slave_id: str) -> None:
        """Wait no longer for a slave."""
        for number, question in list(self._questions.items()):
            question.waiting.discard(slave_id)
            self._look(number, question)

    def _look(self, number: int, question: _Question) -> None:
        if not question.waiting:
            self._end(number)

    def _end(self, number: int) -> None:
        question = self._questions.pop(number, None)
        if question is not None:
            question.answer({"version": ANSWER_VERSION, "master": surroundings(), "slaves": question.found})
