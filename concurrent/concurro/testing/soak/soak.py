"""A soak from its start to its verdict.

    customers --systems--> applications --> networks --> master, slaves
                                               ^            ^
                                               +-- killer --+    every 0.3 to 2 s

When the time is over, the faults are undone, everything that runs must end, and then
memory, results and what is left behind are looked at. Every wait has an end.
"""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import signal
import tempfile
import threading
import time
import traceback
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from concurro.errors import ConcurroError
from concurro.nodes.application import ApplicationNode
from concurro.testing.soak.account import Account
from concurro.testing.soak.customers import RESULT_LIMIT, Customer, Desk
from concurro.testing.soak.faults import Killer
from concurro.testing.soak.inspection import MemoryWatch, Remains
from concurro.testing.soak.jobs import NoOps
from concurro.testing.soak.nodes import SLAVES, Nodes, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

PAUSE = (0.3, 2.0)
"""Between two faults [s]."""

START_LIMIT = 60.0
SETTLE_LIMIT = 90.0
"""How long what runs may take to end once nothing strikes any more [s]."""

TURN = 0.1
LOOK_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a soak is to do.

    Attributes:
        minutes: How long faults strike.
        seed: Decides faults and jobs; None draws one.
        groups: Which faults.
        workers: Of each slave.
        customers: How many systems run at once.
        keep: Whether the folder stays also when all is well.
    """

    minutes: float = 1.0
    seed: int | None = None
    groups: tuple[str, ...] = ()
    workers: int = 1
    customers: int = 4
    keep: bool = False


def soak(plan: Plan) -> list[str]:
    """Do it; return what is wrong, empty if nothing."""
    folder = Path(tempfile.mkdtemp(prefix="concurro-soak-"))
    account = Account(folder)
    seed = random.SystemRandom().getrandbits(32) if plan.seed is None else plan.seed
    groups = ",".join(plan.groups) or "none"
    account.say(f"soak of {plan.minutes:g} min, --seed {seed} --faults {groups}; everything is kept in {folder}")
    try:
        _Soak(plan, seed, account).run()
    except Exception:  # noqa: BLE001 - a soak that breaks has found something as well
        account.blame(f"the soak itself failed:\n{traceback.format_exc()}")
    faults = account.faults
    for fault in faults:
        account.say(f"  - {fault}")
    verdict = f"{len(faults)} things are wrong; the logs of all nodes are in {folder}" if faults else "all is well"
    account.say(f"{verdict} (--seed {seed} --minutes {plan.minutes:g} --faults {groups})")
    account.close()
    if not faults and not plan.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return faults


class _Soak:
    """One soak; used once."""

    def __init__(self, plan: Plan, seed: int, account: Account) -> None:
        self._plan = plan
        self._account = account
        self._seed = seed
        self._chance = random.Random(seed)
        marker = uuid.uuid4().hex
        self._runtime = Path(tempfile.mkdtemp(prefix="cs-", dir="/tmp"))
        self._environment = environment(marker, self._runtime)
        self._remains = Remains(marker, self._runtime)

    def run(self) -> None:
        """Run it; everything is ended whatever happens."""
        before = {name: os.environ.get(name) for name in self._environment}
        os.environ.update(self._environment)
        tempfile.tempdir = None
        try:
            self._run()
        finally:
            for process in self._remains.processes():
                with suppress(psutil.Error):
                    process.kill()
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
            tempfile.tempdir = None
            shutil.rmtree(self._runtime, ignore_errors=True)

    def _run(self) -> None:
        logs = self._account.folder / "logs"
        logs.mkdir()
        logging.basicConfig(filename=logs / "applications.log", format="%(asctime)s.%(msecs)03d %(message)s")
        nodes = self._nodes = Nodes(self._account, self._plan.workers)
        desks = self._desks = (Desk(nodes, "application 1"), Desk(nodes, "application 2"))
        self._killer = Killer(nodes, self._plan.groups, random.Random(self._chance.random()), self._account)
        self._memory = MemoryWatch(nodes)
        closing = threading.Event()
        self._customers = [
            Customer(number, pair, self._killer, random.Random(self._chance.random()), self._account, closing)
            for number, pair in enumerate([desks, desks[::-1]] * self._plan.customers, 1)
        ][: self._plan.customers]
        try:
            nodes.start()
            if self._wait_for_slaves():
                for customer in self._customers:
                    customer.start()
                self._strike_until(time.monotonic() + 60 * self._plan.minutes)
                self._killer.undo_all()
                closing.set()
                self._account.say("nothing strikes any more; what runs must end now")
                self._settle()
            self._sum_up()
            if self._account.faults:
                self._tell_stacks()
            for desk in desks:
                desk.close()
            nodes.end()
            for line in self._remains.find():
                self._account.blame(f"left behind: {line}")
        finally:
            nodes.close()

    def _wait_for_slaves(self) -> bool:
        deadline = time.monotonic() + START_LIMIT
        while time.monotonic() < deadline:
            if len(self._desks[0].node().status()["slaves"]) == SLAVES:
                return True
            time.sleep(TURN)
        self._account.blame(f"not all of {SLAVES} slaves joined within {START_LIMIT:g} s")
        return False

    def _strike_until(self, end: float) -> None:
        strike_at = look_at = time.monotonic()
        while (now := time.monotonic()) < end and not self._overdue():
            if now >= strike_at and self._plan.groups:
                self._killer.strike()
                strike_at = now + self._chance.uniform(*PAUSE)
            self._killer.undo_due()
            if now >= look_at:
                self._memory.look()
                look_at = now + LOOK_EVERY
            time.sleep(TURN)

    def _overdue(self) -> bool:
        """Say whether somebody waits too long: no use in going on then."""
        now = time.monotonic()
        return any(customer.busy and now - customer.busy[1] > RESULT_LIMIT + 5 for customer in self._customers)

    def _settle(self) -> None:
        deadline = time.monotonic() + SETTLE_LIMIT
        for customer in self._customers:
            while customer.is_alive() and time.monotonic() < deadline:
                customer.join(LOOK_EVERY)
                self._memory.look()
        for customer in self._customers:
            if customer.is_alive():
                what = customer.busy[0] if customer.busy else "nothing"
                self._account.blame(f"{customer.name} waits for {what}, {SETTLE_LIMIT:g} s after the last fault")
        if not any(customer.is_alive() for customer in self._customers):
            self._look_whether_it_works()

    def _look_whether_it_works(self) -> None:
        """Run one more system, on a cluster to which nothing is done."""
        try:
            self._wait_for_slaves()
            system = NoOps(500)
            result = self._desks[0].node().run(system, timeout=SETTLE_LIMIT)
            if result != system.expected:
                self._account.blame(f"afterwards a system gave {result!r} instead of {system.expected!r}")
        except (ConcurroError, TimeoutError) as error:
            self._account.blame(f"afterwards the cluster does not work: {error!r}")

    # Accounts

    def _sum_up(self) -> None:
        say = self._account.say
        done: Counter[str] = Counter()
        for customer in self._customers:
            done += customer.done
        say(f"{sum(self._killer.counts.values())} faults: {_listed(self._killer.counts)}")
        say(f"{sum(done.values())} jobs ended well: {_listed(done)}")
        lost = sum(customer.lost_hosts for customer in self._customers)
        say(f"{lost} of them lost a host that was killed; starts: {_listed(Counter(dict(self._starts())))}")
        lines, faults = self._memory.report()
        for line in lines:
            say(line)
        for fault in faults:
            self._account.blame(fault)

    def _starts(self) -> Iterator[tuple[str, int]]:
        for node in self._nodes.everybody():
            yield node.name, node.starts

    def _tell_stacks(self) -> None:
        """Keep what everybody does now, and why systems are where they are."""
        self._account.say("the stacks of the nodes go to their logs, the state of the master to status.json")
        self._ask()
        for customer in self._customers:
            customer.dismissed = True
        for node in self._nodes.everybody():
            node.tell_stacks()
        time.sleep(LOOK_EVERY)
        for process in self._remains.processes():  # hosts and workers end with it
            with suppress(psutil.Error):
                if "concurro.nodes.host" in " ".join(process.cmdline()):
                    process.send_signal(signal.SIGABRT)

    def _ask(self) -> None:
        config = {"application": {"connect_timeout": 5.0}, "security": self._nodes.security}
        answers: dict[str, object] = {}
        try:
            with ApplicationNode(self._nodes.url, config=config) as node:
                answers["status"] = node.request("status", []).result(10)
                for customer in self._customers:
                    if customer.is_alive() and customer.system_id:
                        text = str(node.request("explain", [customer.system_id]).result(10))
                        answers[customer.system_id] = text
                        self._account.say(text)
        except (ConcurroError, LookupError, TimeoutError) as error:
            answers["error"] = repr(error)
            self._account.say(f"the master does not answer: {error!r}")
        path = self._account.folder / "status.json"
        path.write_text(json.dumps(answers, indent=1, default=str), encoding="utf-8")


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"
