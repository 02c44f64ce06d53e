"""The task managers of a master: a service of it.

    proxy --attach(label, session)--------------> its session, of this peer from now on
          --do(label, session, number, ...)-----> the answer; a wait is a future, and holds nothing up
          --ahead / part------------------------> large values, in parts
    peer left: its processes unregister, its tasks return to the front
    no ping for two periods: alike, of one process

The master looks at neither parameters nor results. Who leaves may come back, on another line: it has
`[tagqueue] grace` for that, before the results that were on their way to it are somebody else's. With a journal
all of it survives the master, and for as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro import Component, ConfigError, DurationOption, IMasterService, IMasterServiceHost, IntOption, implementer
from concurro_tagqueue.core import CRASH_LIMIT
from concurro_tagqueue.rows import read
from concurro_tagqueue.served import ServedTasks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from concurro import IServicePeer
    from concurro_tagqueue.sessions import Session

MEMORY = 600.0
"""What a session was answered is remembered so long after its line was lost [s]."""


@implementer(IMasterService)
class TagQueueService(Component):
    """Task managers by label: tasks that processes take by tag."""

    name = "tagqueue"
    offered_on = ("master",)
    methods = ("abandon", "ahead", "attach", "detach", "do", "labels", "part", "received")
    grace = DurationOption(
        30.0,
        "How long who was cut off may take to come back for results, and to another master also for its tasks [s].",
    )

    crash_limit = IntOption(
        CRASH_LIMIT,
        "A task whose takers were lost so often, one after the other, runs no more and fails; 0 for no limit.",
        minimum=0,
    )

    def __init__(self) -> None:
        super().__init__()
        self._served: dict[str, ServedTasks] = {}

    def setup(self, host: IMasterServiceHost) -> None:
        """Begin with what the journal has."""
        self._host = host
        all_kept = read(host.kept)
        host.kept.clear()  # or every value would stay as long as the master
        for label, kept in all_kept.items():
            self._served[label] = ServedTasks.restored(label, host, kept, self.crash_limit)
        if self._served:
            host.after(self.grace, self._miss_no_longer)

    def peer_left(self, peer: IServicePeer, reason: str) -> None:
        """Let go what its sessions held."""
        if self._host.ending:
            return  # they may come back to the next master
        for served in list(self._served.values()):
            for session in [session for session in served.sessions.values() if session.peer is peer]:
                self._end(served, session, f"whose connection was lost ({reason})")

    # For peers

    def attach(self, peer: IServicePeer, label: str, session: str, low: int, essential: bool = False) -> str:  # noqa: FBT001, FBT002 - as it travels
        """Speak for a session from now on; return which task manager it is.

        All answers below `low` have come.

        The answer is another one when there is a new task manager of that label. It ends with its essential
        session, when that leaves, or was away for `grace`.

        Raises:
            ConfigError: It has another essential session.
        """
        served = self._served.get(label)
        if served is None:
            served = self._served[label] = ServedTasks(label, self._host, crash_limit=self.crash_limit)
        if essential:
            served.refuse_second_essential(session)
        served.attach(peer, session, low, essential=essential)
        return served.origin

    def do(  # noqa: PLR0913 - a request, all of it plain
        self,
        peer: IServicePeer,
        label: str,
        session: str,
        number: int,
        low: int,
        operation: str,
        arguments: list[Any],
        came: Sequence[int] = (),
    ) -> list[Any] | Future[Any]:
        """Do what a session asks, once, however often it asks.

        All answers below `low` have come, and those to the requests of the numbers `came`.
        """
        served, found = self._find(peer, label, session)
        answer: list[Any] | Future[Any] = served.do(found, number, low, operation, arguments, came)
        return answer

    def ahead(self, peer: IServicePeer, label: str, session: str, number: int, index: int, part: bytes) -> None:  # noqa: PLR0913
        """Take a part of a large value of a request to come."""
        _, found = self._find(peer, label, session)
        parts = found.ahead.setdefault(number, [])
        del parts[index:]
        parts.append(part)

    def part(self, peer: IServicePeer, label: str, session: str, number: int, index: int) -> bytes:
        """Return a part of the large value of an answer."""
        _, found = self._find(peer, label, session)
        answer = found.answers.get(number)
        parts = answer.parts() if answer is not None else []
        if not 0 <= index < len(parts):
            message = f"request {number} has no part {index} to give"
            raise ConfigError(message)
        return parts[index]

    def received(self, peer: IServicePeer, label: str, session: str, number: int) -> None:
        """Learn that a result has come."""
        served, found = self._find(peer, label, session)
        served.received(found, number)

    def abandon(self, peer: IServicePeer, label: str, session: str, number: int) -> None:
        """Learn that nobody wants the answer of a request."""
        served, found = self._find(peer, label, session)
        served.abandon(found, number)

    def detach(self, peer: IServicePeer, label: str, session: str, low: int) -> None:
        """Learn that a session has ended, and does not come back.

        All answers below `low` have come.
        """
        served, found = self._find(peer, label, session)
        served.attach(peer, session, low, essential=found.essential)
        served.end(found)
        served.end_essential(found)
        served.forget(found)
        self._tidy(served)

    def labels(self, peer: IServicePeer) -> list[list[Any]]:  # noqa: ARG002 - every method is given who calls
        """Return what there is: label, counts, processes, whether terminated."""
        return [
            [
                label,
                *served.core.number_of_tasks(),
                [[process_id, process.info] for process_id, process in served.core.processes.items()],
                served.core.terminated,
            ]
            for label, served in self._served.items()
        ]

    # How

    def _find(self, peer: IServicePeer, label: str, session: str) -> tuple[ServedTasks, Session]:
        served = self._served.get(label)
        found = None if served is None else served.sessions.get(session)
        if served is None or found is None or found.peer is not peer:
            message = f"nobody attached to label {label!r} as {session!r} here"
            raise ConfigError(message)
        return served, found

    def _end(self, served: ServedTasks, session: Session, lost: str = "") -> None:
        served.end(session, lost)
        ended = session.since

        def if_still_away(let_go: Callable[[Session], None]) -> None:
            if session.since == ended and served.sessions.get(session.name) is session:
                let_go(session)
                self._tidy(served)

        self._host.after(self.grace, lambda: if_still_away(served.end_results))
        self._host.after(self.grace, lambda: if_still_away(served.end_essential))
        self._host.after(max(MEMORY, self.grace), lambda: if_still_away(served.forget))  # after what is above
        self._tidy(served)

    def _tidy(self, served: ServedTasks) -> None:
        """Forget a task manager that nobody needs.

        One that was terminated goes with the last who is connected; an empty one when nobody may come back.
        """
        connected = any(session.since is None for session in served.sessions.values())
        unneeded = not connected if served.core.terminated else not served.sessions
        if unneeded and served.is_done and self._served.get(served.label) is served:
            served.erase()
            del self._served[served.label]

    def _miss_no_longer(self) -> None:
        """Let go what those held who did not come back to this master."""
        for served in list(self._served.values()):
            for session in [one for one in served.sessions.values() if one.peer is None and one.since is None]:
                self._host.log.warning("label %r: a connection did not come back, its tasks return", served.label)
                self._end(served, session)
