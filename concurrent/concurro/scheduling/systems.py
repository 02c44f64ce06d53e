"""How task systems live: submitted, hosted, pulled, ended, fetched.

    SUBMIT --> StartHost --> START --> OUT 0 --> IN n / OUT n ... --> end --> ENDED
                                        |                              |
              tasks, cancels -----------+---> SchedulerCore            +--> kept for `ttl`

An application that pushes plain tasks is the host of an implicit system: OPEN instead of
SUBMIT, the same OUT and IN, no process. Pure: events in, commands out.

A turn costs what happened in it, however many systems there are: whatever touches a system
puts it on the agenda, and `advance` looks at what is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.errors import ProtocolError
from concurro.ids import SystemState
from concurro.records import SystemRecord
from concurro.scheduling.acceptance import Acceptance
from concurro.scheduling.agenda import Agenda
from concurro.scheduling.attendance import Attendance
from concurro.scheduling.chronicle import Chronicles
from concurro.scheduling.commands import (
    DropBlobs,
    HostBack,
    Send,
    Spool,
    StopHost,
    acknowledgements,
    offers_of,
    unused_of,
)
from concurro.scheduling.deadlines import Deadlines
from concurro.scheduling.feeding import Feeder
from concurro.scheduling.life import (
    SystemLife,
    count_tasks,
    ended_body,
    failure_result,
    note_notice,
    state_of,
)
from concurro.scheduling.news import NewsDesk, owner_of
from concurro.scheduling.old_classes import forget_classes
from concurro.scheduling.options import fault_of_options
from concurro.scheduling.recording import Recorder
from concurro.scheduling.recovery import Recovery
from concurro.scheduling.rerun import HostRestarts, skip_known
from concurro.scheduling.roster import Roster
from concurro.scheduling.snapshots import SnapshotDesk
from concurro.scheduling.withdrawing import cancel_emitted
from concurro.wire.messages import Kind

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from concurro.scheduling.core import SchedulerCore
    from concurro.scheduling.roster import PastSystem
    from concurro.scheduling.rows import InputApplied, KeptSystem, SnapshotTaken

CANCEL_PATIENCE = 5.0
"""How long a host may take for `gather_result` after a cancel [s]."""

EVENT_PERIOD = 0.25
"""How often counts go to applications that follow a system [s]."""


class SystemTable:
    """Every system of a master. Loop thread only."""

    def __init__(
        self, core: SchedulerCore, *, grace: float = 60.0, journalled: bool = False, first: int = 1, kept_tasks: int = 0
    ) -> None:
        self._core = core
        self.chronicles = Chronicles(core.slaves, kept_tasks)
        self.grace = grace
        self.journal_is_full = False  # its disk is: what waits for it waits for room
        self._roster = Roster(first)
        self._attendance = Attendance()
        self._commands: list[Any] = []
        self._recorder = Recorder(self._command, journalled=journalled)
        counts, taken = lambda life: count_tasks(life.record), self._recorder.taken
        self._news = NewsDesk(self._command, self._finish_end, counts, taken)
        self.recovery = Recovery(core, self._recorder, self._news, self._command, self._end_by_host, self.notice)
        self._acceptance = Acceptance(self._recorder, self._command)
        self._restarts = HostRestarts(self._recorder, self.recovery, self._command, self.notice)
        self._feeder = Feeder(core, self._command, self._recorder)
        self._snapshots = SnapshotDesk(self._recorder, self._command)
        self._agenda = Agenda()
        self._deadlines = Deadlines(core, self._news, self._agenda, grace)
        self._deadlines.forget, self._deadlines.give_up = self._forget, self._give_up
        self._deadlines.cancel, self._deadlines.notice = self.cancel, self.notice
        self._counts_changed: set[int] = set()
        self._hosted: set[int] = set()  # systems with a host that have not ended
        self._next_event = 0.0
        self._wall = 0.0

    # What people ask

    def lives(self) -> Iterable[SystemLife]:
        """Return every system that is known."""
        return self._roster

    def find(self, system_id: str) -> SystemLife | None:
        """Return a system by its id, or by a unique beginning of it."""
        return self._roster.find(system_id)

    def life(self, number: int) -> SystemLife | None:
        """Return a system by its number."""
        return self._roster.get(number)

    def listeners(self, number: int) -> tuple[Hashable, ...]:
        """Return who is told what a system and its tasks print."""
        life = self._roster.get(number)
        if life is None:
            return ()
        inside = self._attendance.inside(life.owner)
        return life.listeners if inside is None else self.listeners(inside.number)

    def window(self, life: SystemLife, now: float) -> int:
        """Return how many tasks may be open before the generator rests."""
        return self._feeder.window(life, now)

    def emitted(self, system_id: str) -> int | None:
        """Return how many tasks a system has emitted.

        None when it is not known, or was long ago.
        """
        return self._roster.emitted(system_id)

    def past(self, system_id: str) -> PastSystem | None:
        """Return a system that was forgotten; None when nothing is known of it."""
        return self._roster.past(system_id)

    @property
    def journal_is_behind(self) -> bool:
        """Whether so much waits for the journal that hosts wait too."""
        return self._recorder.full

    @property
    def wake_at(self) -> float | None:
        """When `advance` is needed at the latest [s]; at times too early."""
        return self._agenda.next_time

    def take_commands(self) -> list[Any]:
        """Return what follows from everything since the last call."""
        taken, self._commands = self._commands, []
        return taken

    # Applications

    def submit(  # noqa: PLR0913 - the fields of SUBMIT
        self,
        peer: Hashable,
        token: int,
        system_id: str,
        name: str,
        payload: bytes,
        blobs: list[Any] | None,
        options: dict[str, Any],
        now: float,
        seed: int,
    ) -> None:
        """Take a submission; the same one twice is one system.

        Raises:
            ProtocolError: The id is that of somebody's plain tasks.
        """
        life = self._roster.of_id(system_id)
        if life is not None and life.implicit:
            message = f"system {system_id} is no submitted system"
            raise ProtocolError(message)
        if life is not None and (life.accepted or not (blobs or life.submitters)):
            self._follow(life, peer, token, now, owner=not life.options.get("detach"))
            return
        fault = fault_of_options(options)
        if fault:
            self._acceptance.refuse(peer, token, system_id, fault, "options")
            return
        if life is None:
            life = self._create(peer, system_id, name, payload, blobs, options, now, seed)
        life.followers.add(peer)
        self._own(life, peer)
        if blobs:
            life.spooling += 1
            number = life.record.number
            self._commands.append(Spool(peer, blobs, ("submit", number, (peer, token)), number))
        else:
            self._acceptance.accept(life, peer, token, now, self._wall)

    def open(self, peer: Hashable, token: int, system_id: str, name: str, now: float) -> None:
        """Make the implicit system of an application.

        Raises:
            ProtocolError: There is a system of that id.
        """
        if self._roster.of_id(system_id) is not None:
            message = f"there is a system {system_id} already"
            raise ProtocolError(message)
        life = self._create(peer, system_id, name, b"", None, {}, now, 0)
        life.implicit = True
        self._own(life, peer)
        self._core.start_system(life.record)
        self._acceptance.confirm(life, peer, token)

    def attach(self, peer: Hashable, token: int, system_id: str, now: float) -> None:
        """Let an application follow a system that it, or another, submitted."""
        life = self.find(system_id)
        if life is None or life.implicit:
            text = f"no system {system_id}: it was never submitted here, or its result expired"
            self._acceptance.refuse(peer, token, system_id, text, "unknown")
            return
        self._follow(life, peer, token, now, owner=False)

    def release(self, peer: Hashable, system_id: str) -> None:
        """Forget a result that arrived, unless it is kept on purpose."""
        life = self._roster.of_id(system_id)
        if life is None or life.ended_at is None:
            return
        self._unfollow(life, peer, life.ended_at)
        if not life.options.get("detach") and not life.followers:
            self._forget(life)

    def taken(self, peer: Hashable, number: int, event: int, now: float) -> None:
        """Note that an application has taken what it was told up to an EVENT."""
        life = self._roster.get(number)
        if life is not None:
            self._touch(life)
            self._news.taken(life, peer, event, now)

    def cancel(self, system_id: str, reason: str, now: float) -> bool:
        """Cancel a running system; return whether there was one.

        Once it is under way, another one changes nothing.
        """
        life = self.find(system_id)
        if life is None or life.is_over:
            return False
        if life.implicit or life.record.state is SystemState.STARTING:
            self._end(life, SystemState.CANCELLED, failure_result("CancelledError", reason), now)
        elif life.cancel_by is None:
            life.flow.cancel = reason
            life.cancel_by = now + CANCEL_PATIENCE
            self._recorder.cancelled(life, reason)
            self._touch(life)
            if life.replay is None:  # of a replay nobody knows its tasks yet
                self._core.cancel_tasks(life.record, list(life.record.open))
        return True

    def peer_joined(self, peer: Hashable, client: str, inside: SystemRecord | None = None) -> None:
        """Note which application a peer is: over a new connection, it is the same.

        Args:
            peer: It.
            client: Its own id.
            inside: The system whose task or callback it serves; None for one of its own.
        """
        self._attendance.joined(peer, client, inside)

    def peer_left(self, peer: Hashable, now: float) -> None:
        """Note that an application is gone.

        What it did not detach ends after a grace.
        """
        inside = self._attendance.inside(peer)
        for number in self._attendance.left(peer):
            life = self._roster[number]
            life.known_to.discard(peer)
            self._unfollow(life, peer, now)
            if life.owner != peer or life.ended_at is not None:
                continue
            if life.implicit:
                life.owner = None
                self._end(life, SystemState.CANCELLED, failure_result("CancelledError", "its application left"), now)
            elif inside is not None and not life.options.get("detach"):
                reason = f"what submitted it, in system {inside.system_id} ({inside.name}), ended"
                self._end(life, SystemState.CANCELLED, failure_result("CancelledError", reason), now)
            elif not life.options.get("detach"):
                life.owner = None
                life.orphan_since = now
                self._touch(life)

    # Hosts

    def spooled(self, token: Any, error: str | None, now: float) -> None:
        """Go on after blobs arrived in the spool, or did not."""
        purpose, number, rest = token
        life = self._roster.get(number)
        if life is None:
            owner = rest.owner if purpose == "snapshot" else number if purpose == "submit" else owner_of(number, rest)
            self._command(DropBlobs(owner))  # they came too late
            return
        if purpose == "submit":
            if self._acceptance.parts_arrived(life, rest, error, now, self._wall):
                self._forget(life)
            return
        if purpose == "snapshot":
            self._snapshots.spooled(life, rest, error, now)
            return
        if error is not None and rest.end is not None:
            rest.end = SystemState.FAILED, failure_result("SystemFailedError", f"result lost: {error}")
        self._touch(life)
        self._news.spooled(life, rest, error, now)

    def host_started(self, number: int, pid: int, now: float, wall: float) -> None:
        """Give a new host its system."""
        life = self._roster.get(number)
        if life is None or life.ended_at is not None:
            self._commands.append(StopHost(number))
            return
        life.host_pid = pid
        self._hosted.add(number)
        self._touch(life)
        rerun = life.rerun
        if rerun is not None:
            facts = rerun.start_facts(life.inputs)
        else:
            life.flow.started(now)
            facts = None if life.replay is None else life.replay.start_facts
        if facts is None:
            facts = {"name": life.record.name, "view": self._feeder.view(now), "time": wall}
            self._recorder.sent(life, 0, [facts])
        body = [number, life.record.system_id, *state_of(life), life.seed, facts]
        self._commands.append(Send(life.host, Kind.START, body))
        if rerun is not None:
            self._restarts.started(life, rerun)
            return
        self._core.start_system(life.record)
        self.chronicles.begin(life.record, life.submitted_at, now, wall)
        if life.replay is not None:
            life.replay.restore(self._core, life)
        elif life.restarted:  # nothing was asked of the one before, and nothing is given again
            self._commands.append(HostBack(number))

    def host_lost(self, number: int, reason: str, now: float) -> bool:
        """Start a lost host again, or fail its system; return whether it starts."""
        life = self._roster.get(number)
        if life is None or life.is_over:
            return False
        self._snapshots.give_up(life)
        if life.cancel_by is not None:
            self._give_up(life, now)
            return False
        fault = self._restarts.begin(life, reason, now)
        if fault:
            self._end(life, SystemState.FAILED, failure_result("HostLost", fault), now)
        return not fault

    def reread(self, number: int, rows: list[InputApplied], snapshot: SnapshotTaken | None = None) -> None:
        """Go on with a system whose recorded course was read."""
        life = self._roster.get(number)
        if life is not None and not life.is_over:
            self._restarts.reread(life, rows, snapshot)

    def snapshot(self, number: int, body: list[Any], now: float) -> None:
        """Take what a host pickled of itself."""
        life = self._roster.get(number)
        if life is not None and not life.is_over:
            self._snapshots.arrived(life, body, now)

    def recover(self, kept: KeptSystem, now: float, wall: float) -> None:
        """Take a system that the journal kept; its blobs are in the spool."""
        life = self.recovery.take(kept, now, wall, self.grace)
        self._roster.add(life)
        self._touch(life)

    def stop_waiting(self, now: float) -> None:
        """Wait no longer for applications that were there before."""
        for life in list(self._roster):
            self._touch(life)
            if life.news.held:
                self._news.stop_holding(life, now)

    def recorded(self, token: int, now: float) -> None:
        """Go on after rows were written to the journal."""
        if self._recorder.recorded(token, now):
            self._agenda.note_all(self._hosted)

    def output(self, peer: Hashable, body: list[Any], now: float) -> None:
        """Apply OUT n."""
        number, n, first, classes, tasks, cancelled, publications, progress, end, facts = body[:10]
        life = self._roster.get(number)
        if life is None or life.host != peer or life.is_over:
            return
        record = life.record
        self._touch(life)
        if life.rerun is not None:
            self._commands += offers_of(life.host, record, classes, first, tasks)
            self._restarts.step(life, life.rerun, body, now)
            return
        acknowledged = [] if facts.get("more") else life.flow.answered(n, len(tasks), now)
        life.flow.exhausted = bool(facts.get("exhausted"))
        life.round = facts.get("round", life.round)
        for notice in facts.get("notices", ()):
            note_notice(life, notice)
        if classes:
            self._core.announce_classes(record, classes)
        if life.replay is not None:
            self.recovery.step(life, life.replay, body, now)
            self._commands += offers_of(life.host, record, classes, first, tasks)
            return
        if tasks and life.cancel_by is None:
            self._core.emit(record, *skip_known(life, first, tasks))
        cancel_emitted(self._core, record, cancelled, facts.get("unstarted", ()))
        self._commands += offers_of(life.host, record, classes, first, tasks)
        forget_classes(self._core.scheduler, record, facts.get("retired", ()))
        self._recorder.emitted(life, first, classes, tasks, cancelled)

        def kept(later: float) -> None:
            self._commands += acknowledgements(acknowledged)
            self._tell(life, publications, progress, later)
            self._end_by_host(life, end, later)

        life.ending = end is not None
        if facts.get("more"):
            kept(now)
        else:
            self._snapshots.answered(life, n)
            self._recorder.answered(life, n, now, kept)

    def _end_by_host(self, life: SystemLife, end: list[Any] | None, now: float) -> None:
        if end is not None:
            state = SystemState(end[0]) if life.cancel_by is None else SystemState.CANCELLED
            self._end(life, state, end[1], now, by_host=True)

    def _tell(self, life: SystemLife, publications: list[Any], progress: list[Any] | None, now: float) -> None:
        if progress is not None:
            life.progress = progress
        if publications:
            self._news.publish(life, publications, now)
        if life.notices or (progress is not None and not publications):
            self._news.tell(life, now)

    def finished(self, number: int, entries: list[list[Any]], leases: list[tuple[str, int] | None]) -> None:
        """Queue final tasks for their host."""
        life = self._roster.get(number)
        if life is None or life.ended_at is not None:
            self._commands += acknowledgements(leases)
            return
        life.flow.add(entries, leases)
        self._touch(life)

    def notice(self, number: int, text: str, now: float) -> None:
        """Tell the applications that follow a system something, once.

        Those that follow it later are told as well, as long as nobody was.
        """
        life = self._roster.get(number)
        if life is not None and not life.record.state.ended and note_notice(life, text):
            self._news.tell(life, now)

    def cluster_changed(self, now: float) -> None:
        """Note that slaves came or went: hosts are told with their next input."""
        self._feeder.cluster_changed(now)
        self._agenda.note_all(self._hosted)
        if not self._core.slaves:
            self._agenda.note_all(self._roster.numbers())  # their tasks wait from now on

    # Time

    def advance(self, now: float, wall: float) -> None:
        """Send the inputs that are due, end what waited too long, tell followers."""
        self._wall = wall
        due = [life for number in self._agenda.take(now) if (life := self._roster.get(number)) is not None]
        for life in due:
            if life.record.unused:
                self._commands += unused_of(life.record)
            fed = life.ended_at is None and self._feeder.feed(life, now, wall)
            if fed and (life.flow.finished or not life.implicit):
                self._touch(life)  # there may be more to send than went into one input
            self._agenda.arm(life.record.number, self._snapshots.look(life, now))
            self._agenda.arm(life.record.number, life.flow.waits_until)
        for life in due:
            self._deadlines.check(life, now)
        if now >= self._next_event:
            self._next_event = now + EVENT_PERIOD
            changed, self._counts_changed = self._counts_changed | self._core.touched, set()
            self._core.touched.clear()
            self._news.tell_counts([life for number in sorted(changed) if (life := self._roster.get(number))], now)

    def _touch(self, life: SystemLife) -> None:
        """Look at a system in the next turn: something happened to it."""
        self._agenda.note(life.record.number)
        self._counts_changed.add(life.record.number)

    # Ends

    def _give_up(self, life: SystemLife, now: float) -> None:
        """End a cancelled system whose host does not answer."""
        self._end(life, SystemState.CANCELLED, failure_result("CancelledError", "cancelled"), now)

    def _end(
        self, life: SystemLife, state: SystemState, result: list[Any], now: float, *, by_host: bool = False
    ) -> None:
        if life.record.state.ended:
            return
        self._hosted.discard(life.record.number)
        self._snapshots.give_up(life)
        self.recovery.forget(life)
        self._touch(life)
        self._core.end_system(life.record, state)
        self._commands += unused_of(life.record)
        life.unsettled = life.flow.rest()
        life.flow.finished.clear()
        if life.news.under_way and not by_host:
            # What it has not sent yet never comes: whoever waits for that is told.
            self._command(StopHost(life.record.number))
        blobs = [] if life.implicit else result[2] or []
        self._news.announce_end(life, state, result, now, blobs=blobs)

    def _finish_end(self, life: SystemLife, state: SystemState, result: list[Any], now: float) -> None:
        life.record.state = state
        life.result = result
        self._recorder.ended(life, self._wall, now, lambda later: self._end_kept(life, later))

    def _end_kept(self, life: SystemLife, now: float) -> None:
        """Let others learn that a system is over."""
        life.ended_at = now
        self.chronicles.end(life.record, now)
        self._commands += acknowledgements(life.unsettled)
        self._news.tell_all(life, now)
        self._touch(life)
        for peer in life.listeners:
            self._commands.append(Send(peer, Kind.ENDED, ended_body(life)))
        if not life.implicit:
            self._commands.append(StopHost(life.record.number))
        else:
            self._forget(life)

    def _forget(self, life: SystemLife) -> None:
        self._roster.drop(life)
        self._agenda.drop(life.record.number)
        self._hosted.discard(life.record.number)
        self._attendance.drop(life)
        self._news.drop(life)
        self._recorder.forgotten(life)
        self._commands.append(DropBlobs(life.record.number))

    # Small steps

    def _create(  # noqa: PLR0913 - the fields of SUBMIT
        self,
        peer: Hashable,
        system_id: str,
        name: str,
        payload: bytes,
        blobs: list[Any] | None,
        options: dict[str, Any],
        now: float,
        seed: int,
    ) -> SystemLife:
        record = SystemRecord(
            self._roster.next_number(),
            system_id,
            name,
            weight=float(options.get("weight", 1.0)),
            application=self._attendance.application(peer),
            speculate=bool(options.get("speculate", False)),
            depth=self._attendance.depth(peer),
        )
        life = SystemLife(record, payload, blobs, options, peer, now, seed)
        life.client = self._attendance.client(peer)
        life.nested = self._attendance.inside(peer) is not None
        self._roster.add(life)
        return life

    def _follow(self, life: SystemLife, peer: Hashable, token: int, now: float, *, owner: bool) -> None:
        life.followers.add(peer)
        self._attendance.concern(life, peer)
        self._touch(life)
        life.told = ()
        is_back = life.client != "" and life.client == self._attendance.client(peer)
        if owner or (is_back and not life.options.get("detach")):
            self._own(life, peer)
        self._acceptance.confirm(life, peer, token)
        self._news.followed(life, peer, now)
        if life.ended_at is not None:
            self._commands.append(Send(peer, Kind.ENDED, ended_body(life)))

    def _own(self, life: SystemLife, peer: Hashable) -> None:
        life.owner, life.orphan_since = peer, None
        self._attendance.concern(life, peer)
        self._touch(life)

    def _unfollow(self, life: SystemLife, peer: Hashable, now: float) -> None:
        if peer in life.followers:
            life.followers.discard(peer)
            self._touch(life)
            self._news.left(life, peer, now)

    def _command(self, command: Any) -> None:
        self._commands.append(command)
