"""A slave: the agent of a machine's workers, and its session.

    master <--- Peer ---> SlaveNode --- SlaveAgent == launcher == worker, worker, ...

A lost connection costs nothing when another one is there in time. When the master has given
us up, or is silent for too long, its leases mean nothing any more: they are dropped, and the
slave joins again as a new one as soon as a master answers. A master with a journal may come
back for them: what runs goes on, and the restarted master is told what there is.
"""

from __future__ import annotations

import logging
import os
import platform
from typing import TYPE_CHECKING, Any, NamedTuple

from concurro.ids import Role
from concurro.nodes.agents import make_agent
from concurro.nodes.dialer import Dialer
from concurro.nodes.node import Node
from concurro.nodes.peer import keep_beating
from concurro.nodes.returning import unique_name
from concurro.nodes.surroundings import surroundings
from concurro.wire.messages import Farewell, Kind
from concurro.wire.session import SILENCE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from concurro.nodes.peer import Peer
    from concurro.wire.messages import Message

log = logging.getLogger("concurro.slave")

WORKER_PATIENCE = 5.0
_GIVEN_UP = (Farewell.SILENT, Farewell.PROTOCOL)
MASTER_SILENCE = 3 * SILENCE_LIMIT
"""After so long without the master its leases are dropped; it has given them to others long before [s]."""


HOLD_LIMIT = 600.0
"""After so long nobody comes back for what is held [s]."""


class _Held(NamedTuple):
    """Whose leases are held: epoch and journal of a master, our name there."""

    epoch: int
    journal: bytes
    was: str


class SlaveNode(Node):
    """Runs tasks for a master.

    Args:
        config: What `Config.load` takes.
        plugins: Files and folders with components.
    """

    kind = "slave"

    def __init__(self, config: Any = None, *, plugins: Sequence[Any] = ()) -> None:
        super().__init__(config, plugins=plugins)
        self.on_joined: Callable[[str], None] = lambda slave_id: None  # noqa: ARG005
        self.slave_id = ""
        self._master = str(self.env.config["slave.master"])
        self._agent: Any = None
        self._peer: Peer | None = None
        self._dialer: Dialer | None = None
        self._stopping = False
        self._epoch = 0
        self._journal = b""
        self._held: _Held | None = None

    def _open(self) -> None:
        self._stop_beating = keep_beating(self.loop, lambda: [self._peer] if self._peer is not None else [])
        self.env.start()
        self._agent = make_agent(self.env, self.loop, self._send, self._backlog, self._launcher_process)
        self._agent.use_descriptors(self._passes_descriptors)
        self._agent.start()
        self._dial_when_ready(self.loop.now() + WORKER_PATIENCE)

    def _dial_when_ready(self, deadline: float) -> None:
        """Join with workers that run.

        A slave whose workers do not start joins all the same, and says why: as soon as it is
        sick, or after a while.
        """
        agent = self._agent
        if agent is None or self._stopping:
            return
        if len(agent.worker_pids()) < agent.slots and not agent.sick and self.loop.now() < deadline:
            self.loop.after(0.005, lambda: self._dial_when_ready(deadline))
            return
        self._dial(float(self.env.config["slave.connect_timeout"]) or None)

    def _close(self) -> None:
        self._stop_beating()
        if self._dialer is not None:
            self._dialer.stop()
        if self._peer is not None:
            self._peer.close("the slave was stopped", Farewell.STOPPED)
        if self._agent is not None:
            self._agent.stop()
        self.env.stop()

    def _interrupted(self, number: int) -> None:
        """Drain at the first signal, end at the second."""
        if self._stopping or self._agent is None or self._peer is None:
            self.loop.stop()
            return
        self._stopping = True
        limit = float(self.env.config["slave.drain_timeout"])
        log.warning(
            "signal %d: finishing the tasks that run, for at most %g s; calls of tesserae end; once more to stop now",
            number,
            limit,
        )
        self._agent.drain(self._drained)
        self.loop.after(limit, self.loop.stop)

    def _drained(self) -> None:
        # The last results leave with this turn's flush.
        self.loop.after(0.05, self.loop.stop)

    def _dial(self, patience: float | None) -> None:
        assert self._agent is not None  # noqa: S101 - it is made before the first call
        facts = {
            "pid": os.getpid(),
            "workers": self._agent.slots,
            "resources": dict(self.env.config["slave.resources"]),
            "worker_pids": self._agent.worker_pids(),
        }
        if self._held is not None:
            facts["was"] = self._held.was
        keys = self.env.config["security.keys"]
        dialer = self._dialer = Dialer(
            self.loop,
            self._master,
            Role.SLAVE,
            platform.node(),
            facts,
            patience=patience,
            resume_patience=MASTER_SILENCE,
            silence=MASTER_SILENCE,
            keys=keys,
        )
        dialer.on_joined = self._joined
        dialer.on_failed = self._failed
        dialer.start()

    def _joined(self, peer: Peer, welcome: list[Any]) -> None:
        assert self._agent is not None  # noqa: S101 - it is made before the first call
        self._peer = peer
        peer.on_chunks_lost = self._agent.resume_transfers
        peer.on_message = self._take
        peer.on_closed = self._lost
        self.slave_id = str(welcome[1])
        log.debug("joined the master at %s as %s", self._master, self.slave_id)
        self._agent.set_slave_id(self.slave_id)
        self._epoch, self._journal = int(welcome[0]), bytes(welcome[5].get("journal", b""))
        held, self._held = self._held, None
        if held is not None:
            self._come_back(peer, held)
        if hasattr(self._agent, "keep"):
            self._agent.keep(keeps=bool(self._journal))
        self._agent.announce()
        self.on_joined(self.slave_id)

    def _come_back(self, peer: Peer, held: _Held) -> None:
        """Tell a master what is left of the one before on its journal."""
        holdings: list[list[Any]] = []
        if held.journal == self._journal and self._epoch > held.epoch:
            holdings = self._agent.holdings()
            log.warning("back at the master at %s, with tasks of the one before: %d", self._master, len(holdings))
        else:
            self._agent.abandon()
        peer.send(Kind.INVENTORY, holdings)

    def _let_go(self, held: _Held) -> None:
        if self._held is held and self._agent is not None:
            log.warning("no master came back in %g s: its tasks are dropped", HOLD_LIMIT)
            self._agent.abandon()

    def _take(self, message: Message) -> None:
        if message.kind == Kind.LOOK_AROUND:
            self._send(Kind.SURROUNDINGS, [message.body[0], surroundings()])
        elif self._agent is not None:
            self._agent.handle(message)

    def _lost(self, reason: str) -> None:
        farewell = "" if self._peer is None else self._peer.farewell
        self._peer = None
        if self._dialer is not None:
            self._dialer.stop()
        if self._stopping:
            self.loop.stop()
            return
        holds = bool(self._journal) and farewell not in _GIVEN_UP and hasattr(self._agent, "hold")
        log.warning(
            "the master at %s is gone (%s); its tasks %s, and it is tried again until it returns",
            self._master,
            reason,
            "go on, since it has a journal" if holds else "are dropped",
        )
        if holds:
            held = self._held = _Held(self._epoch, self._journal, unique_name(self._epoch, self.slave_id))
            self._agent.hold()
            self.loop.after(HOLD_LIMIT, lambda: self._let_go(held))
        elif self._agent is not None:
            self._agent.abandon()
        self._dial(None)

    def _failed(self, error: Exception) -> None:
        self._fault = error
        self.loop.stop()

    def _send(self, kind: Kind, body: list[Any], frames: Sequence[Any] = ()) -> None:
        if self._peer is not None:
            self._peer.send(kind, body, frames)

    def _passes_descriptors(self) -> bool:
        return self._peer is not None and self._peer.passes_descriptors

    def _backlog(self) -> int:
        return self._peer.backlog() if self._peer is not None else 0
