"""The master: one loop that ties peers, hosts and the pure cores together.

    application --SUBMIT, OUT--> +--------------------------------+ --LEASES, RECALL--> slave
    application <--ENDED, IN---- |  SystemTable <-> SchedulerCore  | <-----RESULTS------ slave
    host ==OUT, IN============== |          BlobRelay              |
                                 +--------------------------------+
    drain every ready link, let the cores decide once, flush

It never unpickles anything and runs no user code but the chosen scheduler and strategy.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import time
from typing import TYPE_CHECKING, Any

from concurro.errors import NodeStartError
from concurro.execution.launching import Launcher
from concurro.execution.tidying import keep_tidy
from concurro.ids import Role
from concurro.interfaces import ITaskScheduler
from concurro.nodes.agents import make_standalone_agent
from concurro.nodes.answers import OPERATOR_REQUESTS, describe_status, explain
from concurro.nodes.arrivals import ResultArrivals
from concurro.nodes.carrier import Carrier
from concurro.nodes.dispatch import Dispatch
from concurro.nodes.door import Door
from concurro.nodes.hosts import HOST_MODULE, HostProcesses
from concurro.nodes.inspection import Inspection
from concurro.nodes.node import Node
from concurro.nodes.peer import keep_beating
from concurro.nodes.printed import Printed
from concurro.nodes.register import Register
from concurro.nodes.relay import BlobRelay
from concurro.nodes.returning import Returning
from concurro.nodes.settlements import Settlements
from concurro.nodes.switchboard import APPLICATION_KINDS, SLAVE_KINDS, Switchboard
from concurro.nodes.tunnels import INSIDE, Outer, Tunnels
from concurro.records import SlaveRecord
from concurro.scheduling.core import SchedulerCore
from concurro.scheduling.life import awaits_host
from concurro.scheduling.recovery import ADOPT_PATIENCE, REPLAY_PATIENCE
from concurro.scheduling.systems import SystemTable
from concurro.wire.blobs import BlobStore
from concurro.wire.messages import Farewell, Kind, Message
from concurro.wire.segments import SegmentPool

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from concurro.execution.agent import SlaveAgent
    from concurro.nodes.keeper import Keeper
    from concurro.nodes.peer import Peer
    from concurro.transport.loop import Timer

log = logging.getLogger("concurro.master")

SPOOL_CACHE = 16 * 1024 * 1024
EPOCH_MASK = (1 << 22) - 1
SETTLE_ROUNDS = 8
LAUNCHER_PERIOD = 60.0
LAUNCHER_DEATHS = 5
COLLECT_AFTER = (20_000, 20, 100)

_TUNNEL_KINDS = (Kind.TUNNEL, Kind.TUNNEL_OPEN, Kind.TUNNEL_END)
_BLOB_KINDS = (Kind.BLOB_GET, Kind.BLOB_CHUNK, Kind.BLOB_MISSING, Kind.BLOB_MAP, Kind.BLOB_MAPPED)


def collect_less_often() -> None:
    """Let the garbage collector of a process of ours run less often.

    Only where a master runs and nothing else: hardly anything that it makes is cyclic, and at
    Python's 700 a busy one spends a third of its time on looking at queued tasks. Where a
    user's code runs, cycles of large objects would stay for too long.
    """
    gc.set_threshold(*COLLECT_AFTER)


class MasterNode(Node):
    """Schedules tasks of applications and hosts on slaves.

    Args:
        config: What `Config.load` takes.
        plugins: Files and folders with components.

    `start` listens and returns, `run` blocks until a signal or `stop`, both once. As a
    context manager it starts and stops. Thread-safe: `start`, `stop`, `url`.
    """

    kind = "master"

    def __init__(self, config: Any = None, *, plugins: Sequence[Any] = ()) -> None:
        super().__init__(config, plugins=plugins)
        self._url = ""
        self._keeper: Keeper | None = None
        self._ends = contextlib.ExitStack()  # what `_open` started, however far it came
        self._wake: Timer | None = None

    @property
    def url(self) -> str:
        """The address that slaves and applications dial; known once started."""
        return self._url

    # Life

    def _open(self) -> None:  # noqa: PLR0915 - every part of a master, once
        config = self.env.config
        scheduler = self.env.selected(ITaskScheduler, "master.scheduler")
        self._ends.callback(self.env.stop)
        self.env.start()
        grace = float(config["master.grace"])
        epoch, journal = int(time.time()) & EPOCH_MASK, str(config["master.journal"] or "")
        self._spool = BlobStore(SPOOL_CACHE, SegmentPool(resident=False))
        if journal:
            from concurro.nodes.keeper import Keeper  # noqa: PLC0415 - most masters have no journal, and need no SQLite

            self._keeper = Keeper(journal, epoch, self.loop, self._spool, self.fail)
            self._ends.callback(self._keeper.close)
            epoch = self._keeper.epoch
        self._core = SchedulerCore(scheduler, epoch=epoch, seed=time.time_ns(), journalled=bool(journal))
        first = self._keeper.next_number if self._keeper is not None else 1
        kept = int(config["master.report_tasks"])
        self._table = SystemTable(self._core, grace=grace, journalled=bool(journal), first=first, kept_tasks=kept)
        self._relay = BlobRelay(self._spool, self._send_to, self.loop.request_flush, self._passes_descriptors)
        self._arrivals = ResultArrivals(self._relay, self._results_arrived, self._system_of_lease)
        self._settlements = Settlements(self.loop, self._send_to, self._arrivals.settled)
        self._dispatch = Dispatch(
            self._core, self._table, self._settlements, self._keeper, self._send_to, self.loop.now
        )
        door = self._door = Door(self.loop, self._core.epoch, grace, self.fail)
        door.on_joined, door.on_left = self._peer_joined, self._peer_left
        door.on_away, door.on_back = self._peer_away, self._peer_back
        door.on_full, door.on_late = self._peer_full, self._peer_late
        self._peers = door.peers
        self._aside: dict[str, str] = {}
        self._printed = Printed(self._core, self._table, self._peers)
        self._tunnels = Tunnels(self._core, self._send_to, self._backlog, door.knock)
        self._switchboard = Switchboard(self.env, self.loop, self._send_to, self._passes_descriptors, self._status)
        self._pids: dict[str, tuple[int, list[int]]] = {}
        self._register = Register()
        self._inspection = Inspection(self.loop, self._send_to)
        self._started_at = self.loop.now()
        self._agent: SlaveAgent | None = None
        self._agent_inbox: list[tuple[Kind, list[Any], Sequence[Any]]] = []
        self.loop.on_flush(self._settle)
        keys, most = config["security.keys"], int(config["security.connections"])
        self._url = self._door.open(str(config["master.listen"]), keys, most)
        self._launcher = Launcher(
            self.loop, cleanup_folder=self._cleanup_folder or self._door.own_folder, process=self._launcher_process
        )
        self._hosts = HostProcesses(self.loop, self._launcher, self._host_message, self._host_started, self._host_lost)
        self._carrier = Carrier(self._core, self._table, self._relay, self._hosts, self._keeper, self.loop.now)
        self._carrier.send, self._carrier.acknowledge = self._send_to, self._settlements.settle
        self._hosts.on_output, self._hosts.on_service = self._printed.host_wrote, self._welcome_host
        self._launcher.on_started = self._hosts.started
        self._launcher.on_ended = self._hosts.ended
        self._launcher.on_failed = self._hosts.failed
        self._launchers_lost: list[float] = []
        self._launcher.on_lost = self._launcher_lost
        self._ends.callback(self._hosts.close)
        self._ends.callback(self._launcher.stop)
        self._launcher.start()
        self._recover()
        if config["master.standalone"]:
            self._start_agent()
        self._launcher.prepare(HOST_MODULE)
        self._switchboard.prepare(config["master.services"], self._keeper)
        self._ends.callback(keep_beating(self.loop, lambda: list(self._peers.values())))
        self._ends.callback(keep_tidy(self.loop, self._spool))

    def _recover(self) -> None:
        """Bring back what the journal has."""
        missed = self._keeper.missed if self._keeper is not None else set()
        recovery = self._table.recovery
        self._returning = Returning(recovery, missed, self._slave_joined, self._slave_message, self._kill_leases)
        if self._keeper is not None:
            self._door.journal = self._keeper.name
            self._relay.fallback = self._keeper.read_blob
            self._keeper.recover(self._table, self.loop.now())
            self.loop.after(ADOPT_PATIENCE, self._stop_waiting)
            self.loop.after(REPLAY_PATIENCE, self._returning.give_up)

    def _stop_waiting(self) -> None:
        self._core.begin(self.loop.now())
        self._returning.miss_no_longer()
        if self._keeper is not None:
            self._keeper.miss_no_longer()
        self._table.stop_waiting(self.loop.now())

    def _close(self) -> None:
        fault = self._fault
        reason = "the master was stopped" if fault is None else f"the master failed: {type(fault).__name__}: {fault}"
        with self._ends:
            if self._wake is not None:
                self._wake.cancel()
            if self._url:  # whoever waits is told before anything else ends
                self._settlements.tell_all()
                self._door.close(reason, Farewell.STOPPED if fault is None else Farewell.FAILED)
                self._switchboard.close(reason)

    # Peers

    def _welcome_host(self, number: int, link: Any) -> None:
        """Take the channel for what a host's callbacks submit."""
        life = self._table.life(number)
        if life is not None:
            link.identity = INSIDE
            self._door.knock(link, Outer(life.record))

    def _peer_joined(self, peer: Peer, role: Role, name: str, facts: dict[str, Any]) -> None:
        peer.on_chunks_lost = lambda: self._relay.chunks_lost(peer.id)
        if role is Role.SLAVE:
            slave_id = peer.id[1]
            self._register.slave_joined(slave_id, peer.identity.name, self.loop.now())
            peer.on_message = lambda message: self._returning.take(slave_id, message)
            if self._keeper is not None:
                self._keeper.slave_seen(slave_id, facts.get("was"))
            if "was" in facts:
                self._returning.joined(slave_id, name, facts)
            else:
                self._slave_joined(slave_id, name, facts)
        else:
            peer.on_message = lambda message: self._application_message(peer, message)
            self._printed.joined(peer.id, facts)
            inside = peer.outer.system if peer.outer is not None else None
            client = str(facts.get("client_id", ""))
            self._register.application_joined(client, peer.identity.name, name, int(facts.get("pid", 0)))
            self._table.peer_joined(peer.id, client, inside)

    def _peer_left(self, peer: Peer, reason: str, since: float) -> None:
        if peer.id[0] == "slave":
            self._slave_left(peer.id[1], reason)
        else:
            self._table.peer_left(peer.id, since)
            self._printed.left(peer.id)
            self._switchboard.peer_left(peer.id, reason)
        self._relay.peer_left(peer.id)

    def _peer_away(self, peer: Peer, reason: str) -> None:
        """Lease nothing more to a slave without a connection."""
        if peer.id[0] == "slave":
            log.warning("the connection of slave %s was lost (%s); waiting for it to come back", peer.id[1], reason)
            self._set_aside(peer.id[1], f"its connection was lost ({reason}); waiting for it to come back")

    def _peer_back(self, peer: Peer) -> None:
        if peer.id[0] == "slave":
            log.info("slave %s is connected again", peer.id[1])
            self._set_aside(peer.id[1], "")

    def _peer_full(self, peer: Peer, full: bool) -> None:  # noqa: FBT001 - the signature of a callback
        """Lease nothing more to a slave that does not take what it was sent."""
        if peer.id[0] == "slave" and peer.away_since is None:
            self._set_aside(peer.id[1], "it does not take what it was sent; waiting for it" if full else "")

    def _set_aside(self, slave_id: str, reason: str) -> None:
        """Let a slave that is well otherwise get nothing for a while, or again."""
        slave = self._core.slaves.get(slave_id)
        if slave is None:
            return
        own = self._aside.pop(slave_id, slave.sick)
        if reason:
            self._aside[slave_id] = own
        self._core.begin(self.loop.now())
        self._core.slave_changed(slave_id, slave.workers, reason or own, slave.resources, draining=slave.draining)
        self._table.cluster_changed(self.loop.now())

    def _peer_late(self, peer: Peer, message: Message) -> None:
        """Count the results of a slave that was given up.

        Somebody else has its tasks.
        """
        if message.kind == Kind.RESULTS:
            log.info("slave %s, given up before, sends %d results too late", peer.id[1], len(message.body))
            self._core.results(peer.id[1], message.body)

    def _send_to(self, peer_id: Hashable, kind: Kind, body: list[Any], frames: Sequence[Any] = ()) -> bool:
        """Send to a peer; return whether there is one of that id."""
        peer = self._peers.get(peer_id)
        if peer is not None:
            peer.send(kind, body, frames)
        elif isinstance(peer_id, tuple) and peer_id[0] == "host":
            return self._hosts.send(peer_id[1], kind, body, frames)
        elif self._agent is not None and peer_id == ("slave", self._agent_id):
            self._agent.handle(Message(kind, 0, 0, body, tuple(frames)))
        else:
            return False
        return True

    def _passes_descriptors(self, peer_id: Hashable) -> bool:
        peer = self._peers.get(peer_id)
        if peer is not None:
            return peer.passes_descriptors
        return isinstance(peer_id, tuple) and (peer_id[0] == "host" or self._agent is not None)

    def _backlog(self, peer_id: Hashable) -> int:
        """Return the bytes that wait on the way to a peer [B]."""
        peer = self._peers.get(peer_id)
        return peer.backlog() if peer is not None else 0

    # Slaves

    def _slave_joined(self, slave_id: str, host: str, facts: dict[str, Any]) -> None:
        self._pids[slave_id] = (int(facts.get("pid", 0)), list(facts.get("worker_pids", ())))
        self._core.begin(self.loop.now())
        slave = SlaveRecord(slave_id, host, int(facts["workers"]), facts.get("resources"))
        self._core.slave_joined(slave)
        self._table.cluster_changed(self.loop.now())
        self._switchboard.slave_joined(slave_id, slave.workers)
        log.info("slave %s joined: workers=%d", slave_id, slave.workers)

    def _kill_leases(self, slave_id: str, leases: list[int]) -> None:
        self._send_to(("slave", slave_id), Kind.KILL, [leases])

    def _slave_left(self, slave_id: str, reason: str) -> None:
        self._returning.left(slave_id)
        if self._keeper is not None:
            self._keeper.slave_left(slave_id)
        log.info("slave %s left: %s", slave_id, reason)
        self._aside.pop(slave_id, None)
        self._pids.pop(slave_id, None)
        self._register.slave_left(slave_id)
        self._inspection.left(slave_id)
        self._settlements.forget(slave_id)
        self._core.begin(self.loop.now())
        self._tunnels.slave_left(slave_id, reason)
        self._switchboard.slave_left(slave_id, reason)
        self._core.slave_left(slave_id, reason)
        self._table.cluster_changed(self.loop.now())

    def _slave_message(self, slave_id: str, message: Message) -> None:  # noqa: C901 - one branch per kind
        kind, body = message.kind, message.body
        self._core.begin(self.loop.now())
        if kind == Kind.RESULTS:
            self._arrivals.take(slave_id, body)
        elif kind == Kind.RETURNED:
            self._core.returned(slave_id, body[0])
        elif kind == Kind.STARTED:
            self._core.started(slave_id, body[0])
        elif kind == Kind.OUTPUT:
            self._printed.slave_wrote(slave_id, body)
        elif kind == Kind.SLAVE_STATE:
            self._slave_state(slave_id, body)
        elif kind in _TUNNEL_KINDS:
            self._tunnels.take(slave_id, message)
        elif kind == Kind.WAITS:
            self._core.waits(slave_id, body[0], body[1])
        elif kind == Kind.SURROUNDINGS:
            self._inspection.heard(slave_id, body[0], body[1])
        elif kind == Kind.STUCK:
            now = self.loop.now()
            decided = not any(awaits_host(life, now) for life in self._table.lives())
            if self._core.stands_still(slave_id, decided=decided):
                self._send_to(("slave", slave_id), Kind.REFUSE_WAIT, [])
        elif kind in _BLOB_KINDS:
            self._relay.handle(("slave", slave_id), message)
        elif kind in SLAVE_KINDS:
            self._switchboard.from_slave(slave_id, message)

    def _results_arrived(self, slave_id: str, results: list[list[Any]]) -> None:
        self._core.begin(self.loop.now())
        self._core.results(slave_id, results)

    def _system_of_lease(self, slave_id: str, lease: int) -> int | None:
        """Return the number of the system of a lease; None: it does not count."""
        slave = self._core.slaves.get(slave_id)
        task = slave.leases.get(lease) if slave is not None else None
        return task.system.number if task is not None else None

    def _slave_state(self, slave_id: str, body: list[Any]) -> None:
        workers, pids, sick, resources = body[:4]
        draining = bool(body[4]) if len(body) > 4 else False  # noqa: PLR2004 - a later field
        lent = int(body[5]) if len(body) > 5 else 0  # noqa: PLR2004 - a later field
        known = self._core.slaves.get(slave_id)
        if known is None:
            return
        if sick and sick != known.sick:
            log.warning("slave %s is sick: %s", slave_id, sick)
        if slave_id in self._aside:
            self._aside[slave_id], sick = sick, known.sick
        known.lent = lent
        known.stopped = list(body[6]) if len(body) > 6 else []  # noqa: PLR2004 - a later field
        self._pids[slave_id] = (self._pids.get(slave_id, (0, []))[0], list(pids))
        if (workers, sick, resources, draining) != (known.workers, known.sick, known.resources, known.draining):
            self._core.slave_changed(slave_id, workers, sick, resources, draining=draining)
            self._table.cluster_changed(self.loop.now())
            self._switchboard.slave_changed(slave_id, draining=draining)

    def _start_agent(self) -> None:
        """Run tasks here as well.

        The unchanged slave agent, without a link in between.
        """
        self._agent_id = self._door.name_slave(os.uname().nodename)
        send, name = self._from_agent, self._agent_id
        agent = self._agent = make_standalone_agent(self.env, self.loop, send, name, self._launcher)
        self._ends.callback(agent.stop)
        agent.start()
        self.loop.off_flush(agent.flush)  # `_settle` calls it, and hears at once what it says
        resources = self.env.config["slave.resources"]
        facts = {"workers": agent.slots, "resources": resources, "pid": os.getpid()}
        self._register.slave_joined(self._agent_id, "", self.loop.now())
        self._slave_joined(self._agent_id, os.uname().nodename, facts)

    def _remove_own_slave(self, slave_id: str) -> bool:
        """End the agent inside a standalone master; return whether it was meant."""
        if self._agent is None or slave_id != self._agent_id:
            return False
        agent, self._agent = self._agent, None
        agent.stop()
        self._agent_inbox.clear()
        self._slave_left(slave_id, "it was removed")
        self._relay.peer_left(("slave", slave_id))
        return True

    def _from_agent(self, kind: Kind, body: list[Any], frames: Sequence[Any] = ()) -> None:
        self._agent_inbox.append((kind, body, frames))
        self.loop.request_flush(_look_again)

    # Applications

    def _application_message(self, peer: Peer, message: Message) -> None:  # noqa: C901 - one branch per kind
        kind, body, now = message.kind, message.body, self.loop.now()
        self._core.begin(now)
        if kind == Kind.OUT:
            self._table.output(peer.id, body, now)
        elif kind in _BLOB_KINDS:
            self._relay.handle(peer.id, message)
        elif kind in APPLICATION_KINDS:
            self._switchboard.from_application(peer, message)
        elif kind == Kind.REQUEST:
            self._answer(peer, *body[:3])
        elif kind == Kind.SUBMIT:
            token, system_id, name, payload, blobs, options = body[:6]
            seed = int.from_bytes(os.urandom(6), "big")
            self._table.submit(peer.id, token, system_id, name, payload, blobs, options, now, seed)
        elif kind == Kind.OPEN:
            token, system_id, name = body[:3]
            self._table.open(peer.id, token, system_id, name, now)
        elif kind == Kind.ATTACH:
            self._table.attach(peer.id, body[0], body[1], now)
        elif kind == Kind.CANCEL_SYSTEM:
            self._table.cancel(body[0], "cancelled by its application", now)
        elif kind == Kind.RELEASE:
            self._table.release(peer.id, body[0])
        elif kind == Kind.TAKEN:
            self._table.taken(peer.id, body[0], body[1], now)

    def _answer(self, peer: Peer, token: int, name: str, arguments: list[Any]) -> None:  # noqa: C901 - one branch per request
        now = self.loop.now()
        try:
            if name in OPERATOR_REQUESTS and Role.ADMIN not in peer.identity.roles:
                message = f"{name!r} is for admins; the key {peer.identity.name} is none of an admin"
                raise LookupError(message)  # noqa: TRY301 - one way out for every refusal
            if name == "status":
                answer: Any = self._status() | {"you": peer.identity.name}
            elif name == "surroundings":
                own = self._agent_id if self._agent is not None else ""
                self._inspection.ask(self._core.slaves, own, lambda found: peer.send(Kind.REPLY, [token, True, found]))
                return
            elif name == "workers":
                self._switchboard.list_workers(lambda listed: peer.send(Kind.REPLY, [token, True, listed]))
                return
            elif name == "explain":
                answer = explain(self._core, self._table, str(arguments[0]), now, self._hosts.callback)
            elif name == "chronicle":
                answer = self._table.chronicles.describe(str(arguments[0]), now)
            elif name == "output":
                answer = self._printed.last_lines(str(arguments[0]))
            elif name == "logs":
                answer = self._printed.pages(str(arguments[0]), int(arguments[1]))
            elif name == "cancel":
                answer = self._table.cancel(str(arguments[0]), "cancelled by an operator", now)
            elif name == "remove_slave":
                answer = self._remove_own_slave(str(arguments[0]))
            else:
                message = f"the master knows no request {name!r}"
                raise LookupError(message)  # noqa: TRY301 - one way out for every refusal
        except (LookupError, ValueError) as error:
            peer.send(Kind.REPLY, [token, False, str(error)])
            return
        peer.send(Kind.REPLY, [token, True, answer])

    def _status(self) -> dict[str, Any]:
        facts = {"url": self._url, "pid": os.getpid(), "uptime": self.loop.now() - self._started_at}
        facts["journal"] = None if self._keeper is None else self._keeper.describe(self._table.recovery.counts)
        now = self.loop.now()
        return self._register.completed(describe_status(self._core, self._table, self._pids, now, facts), now)

    # Hosts

    def _host_message(self, number: int, message: Message) -> None:
        now = self.loop.now()
        self._core.begin(now)
        if message.kind == Kind.OUT:
            self._table.output(("host", number), message.body, now)
        elif message.kind == Kind.SNAPSHOT:
            self._table.snapshot(number, message.body, now)
        elif message.kind in _BLOB_KINDS:
            self._relay.handle(("host", number), message)

    def _host_started(self, number: int, pid: int) -> None:
        self._core.begin(self.loop.now())
        self._table.host_started(number, pid, self.loop.now(), time.time())

    def _host_lost(self, number: int, reason: str) -> None:
        self._core.begin(self.loop.now())
        if self._table.host_lost(number, reason, self.loop.now()):
            self._relay.peer_away(("host", number))
        else:
            self._relay.peer_left(("host", number))

    def _launcher_lost(self, reason: str) -> None:
        """Start another launcher; the hosts are gone with the one before.

        Raises nothing: a master whose launchers die one after the other ends, and says why.
        """
        now = self.loop.now()
        self._launchers_lost = [at for at in self._launchers_lost if at > now - LAUNCHER_PERIOD] + [now]
        if len(self._launchers_lost) > LAUNCHER_DEATHS:
            self.fail(f"{len(self._launchers_lost)} launchers of the master in a row ended; the last: {reason}")
            return
        log.error("%s; the hosts of its systems are gone with it, and another one is started", reason)
        try:
            self._launcher.start()
        except NodeStartError as error:
            self.fail(f"the master's launcher was lost ({reason}), and no other starts: {error}")
            return
        self._hosts.launcher_lost(reason)

    # Deciding

    def _settle(self) -> None:
        """Let the cores decide for everything that arrived, and send what follows."""
        now, wall = self.loop.now(), time.time()
        self._core.begin(now)
        self._returning.look()
        for _ in range(SETTLE_ROUNDS):
            if self._agent is not None:
                self._agent.act()
                self._take_agent_inbox()
            if self._core.pending:
                self._dispatch.put_out()
                self._advance(now, wall)  # who waits for a result need not wait for other decisions
            self._core.tick(now)
            if self._core.pending:
                self._dispatch.put_out()
                if self._agent is not None:
                    self._agent.act()
                self.loop.flush_now()  # nor a slave for what is told to others
            self._advance(now, wall)
            if self._agent is not None:
                self._agent.flush()
            if not self._agent_inbox and not self._core.pending:
                break
        self._schedule_wake(now)

    def _advance(self, now: float, wall: float) -> None:
        self._table.advance(now, wall)
        self._carrier.carry_out()
        self.loop.flush_now()

    def _take_agent_inbox(self) -> None:
        inbox, self._agent_inbox = self._agent_inbox, []
        for kind, body, frames in inbox:
            self._slave_message(self._agent_id, Message(kind, 0, 0, body, tuple(frames)))

    def _schedule_wake(self, now: float) -> None:
        due = min((at for at in (self._core.wake_at, self._table.wake_at) if at is not None), default=None)
        if self._wake is not None and (due is None or self._wake.when != due):
            self._wake.cancel()
            self._wake = None
        if due is not None and self._wake is None:
            self._wake = self.loop.at(max(due, now + 0.001), self._woken)

    def _woken(self) -> None:
        self._wake = None


def _look_again() -> None:
    """Do nothing: a requested flush makes the loop turn, and `_settle` look."""
