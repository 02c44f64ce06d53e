"""A table that looks only at what is due commands what one does that looks at everything."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from concurro.ids import Outcome
from concurro.scheduling.commands import Spool
from concurro.scheduling.feeding import Feeder
from concurro.scheduling.news import NEWS_BYTES
from concurro.scheduling.systems import SystemTable
from concurro.wire.messages import Kind
from tests.unit.scheduling.cluster import task_class
from tests.unit.scheduling.system_driver import ALICE, BOB, DONE, Master

PEERS = st.sampled_from([ALICE, BOB, ("application", 3)])
JOBS = st.sampled_from(["job-a", "job-b", "job-c"])
HUGE = [[0, b"digest", NEWS_BYTES]]
PUBLICATIONS = st.sampled_from([[], [], [[b"small", None]], [[b"", HUGE]], [[b"", HUGE], [b"small", None]]])
CLASSES = [task_class(0), task_class(1, requires={"gpu": 1})]
GRACE = 30.0


class WalkingTable(SystemTable):
    """Looks at every system in every turn."""

    def advance(self, now, wall):
        self._agenda.note_all(self._roster.numbers())
        self._counts_changed.update(self._roster.numbers())
        super().advance(now, wall)


class TableMachine(RuleBasedStateMachine):
    """Applications, hosts, slaves and a clock do the same to two masters."""

    @initialize()
    def masters_start(self):
        self.lazy = Master(GRACE)
        self.walking = Master(GRACE, WalkingTable)
        self.spools = []
        self.plain = 0
        self.both(lambda master: master.start(ALICE, "job-a"))
        self.both(lambda master: master.start(BOB, "job-b"))

    def both(self, act):
        """Let something happen to both, and a turn after it."""
        for master in (self.lazy, self.walking):
            act(master)
        self.compare()
        for master in (self.lazy, self.walking):
            master.pass_time()
        self.compare()

    def compare(self):
        lazy, walking = self.lazy.take(), self.walking.take()
        assert [plain(one) for one in lazy] == [plain(one) for one in walking]
        pairs = zip(lazy, walking, strict=True)
        self.spools += [(one.token, other.token) for one, other in pairs if isinstance(one, Spool)]

    @rule(peer=PEERS, job=JOBS, detach=st.booleans(), large=st.booleans())
    def submit(self, peer, job, detach, large):
        blobs = HUGE if large else None
        self.both(lambda master: master.submit(peer, job, blobs=blobs, detach=detach, ttl=50.0))

    @rule(peer=PEERS)
    def open(self, peer):
        self.plain += 1
        self.both(lambda master: master.table.open(peer, 1, f"plain-{self.plain}", "tasks", master.now))

    @rule(index=st.integers(0, 9))
    def host_starts(self, index):
        life = self.life(index)
        if life is not None and not life.implicit and life.host_pid is None:
            self.both(lambda master: master.table.host_started(life.record.number, 7, master.now, 1e9))

    @rule(index=st.integers(0, 9))
    def host_dies(self, index):
        life = self.life(index)
        if life is not None and life.host_pid is not None:
            self.both(lambda master: master.table.host_lost(life.record.number, "killed", master.now))

    @rule(
        index=st.integers(0, 9),
        behind=st.sampled_from([0, 0, 0, 1]),
        tasks=st.sampled_from([0, 1, 3, 300, 300]),
        cancelled=st.lists(st.integers(0, 9), max_size=3),
        publications=PUBLICATIONS,
        ends=st.sampled_from([False] * 7 + [True]),
        facts=st.fixed_dictionaries({}, optional={"exhausted": st.booleans(), "notices": st.just(["odd"])}),
    )
    def host_answers(self, index, behind, tasks, cancelled, publications, ends, facts):
        life = self.life(index)
        if life is None or (life.host_pid is None and not life.implicit):
            return
        record = life.record
        first = len(record.open) + record.done + record.failed + record.cancelled
        if life.cancel_by is not None or life.implicit:
            publications = []
        classes = [] if record.classes else CLASSES
        n = max(0, life.flow.number - behind)

        def answer(master):
            host = master.table.life(record.number).host
            master.out(
                n,
                peer=host,
                number=record.number,
                first=first,
                classes=classes,
                tasks=[[number % 2, b"x"] for number in range(tasks)],
                cancelled=cancelled,
                publications=publications,
                end=["complete", DONE] if ends and not life.implicit else None,
                **facts,
            )

        self.both(answer)

    @rule(which=st.integers(0, 9), error=st.sampled_from([None, None, "its holder left"]))
    @precondition(lambda self: self.spools)
    def blobs_arrive(self, which, error):
        lazy, walking = self.spools.pop(which % len(self.spools))
        tokens = {id(self.lazy): lazy, id(self.walking): walking}
        self.both(lambda master: master.table.spooled(tokens[id(master)], error, master.now))

    @rule(job=JOBS, peer=PEERS)
    def attach(self, job, peer):
        self.both(lambda master: master.table.attach(peer, 2, job, master.now))

    @rule(job=JOBS, peer=PEERS)
    def release(self, job, peer):
        self.both(lambda master: master.table.release(peer, job))

    @rule(peer=PEERS, index=st.integers(0, 9))
    def take_news(self, peer, index):
        life = self.life(index)
        if life is not None:
            number, event = life.record.number, life.news.number
            self.both(lambda master: master.table.taken(peer, number, event, master.now))

    @rule(index=st.integers(0, 9))
    def cancel(self, index):
        life = self.life(index)
        if life is not None:
            self.both(lambda master: master.table.cancel(life.record.system_id, "not wanted", master.now))

    @rule(peer=PEERS)
    def peer_leaves(self, peer):
        self.both(lambda master: master.table.peer_left(peer, master.now))

    @rule(index=st.integers(0, 9), text=st.sampled_from(["odd", "strange"]))
    def scheduler_warns(self, index, text):
        life = self.life(index)
        if life is not None:
            self.both(lambda master: master.table.notice(life.record.number, text, master.now))

    @rule(name=st.sampled_from(["north", "south"]), workers=st.sampled_from([1, 3, 200]))
    def slave_joins(self, name, workers):
        if name not in self.lazy.core.slaves:
            self.both(lambda master: master.join(name, workers))

    @rule(name=st.sampled_from(["north", "south"]))
    def slave_leaves(self, name):
        def leave(master):
            master.core.slave_left(name, "killed")
            master.table.cluster_changed(master.now)

        self.both(leave)

    @rule(name=st.sampled_from(["north", "south"]), count=st.integers(1, 300), nanoseconds=st.sampled_from([10, 10**9]))
    def tasks_finish(self, name, count, nanoseconds):
        if name not in self.lazy.core.slaves:
            return

        def finish(master):
            leases = list(master.core.slaves[name].leases)[:count]
            results = [[lease, 0, b"result", None, nanoseconds] for lease in leases]
            failed = [[lease, int(Outcome.RAISED), ["ValueError", "wrong"], None, 1] for lease in leases[:1]]
            master.core.results(name, failed + results[1:])

        self.both(finish)

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.3, 2.5, 31.0, 61.0]))
    def time_passes(self, seconds):
        self.both(lambda master: master.pass_time(seconds))

    @invariant()
    def the_same_systems_are_known(self):
        lazy, walking = ([*master.table.lives()] for master in (self.lazy, self.walking))
        assert [life.record.state for life in lazy] == [life.record.state for life in walking]

    def life(self, index):
        """Return one of the systems as the first master knows it; None when there are none."""
        lives = list(self.lazy.table.lives())
        return lives[index % len(lives)] if lives else None


def plain(command):
    """Return a command without what the two masters cannot share."""
    if isinstance(command, Spool):
        return command.peer, command.blobs, command.token[0], command.owner
    return command


TestTableMachine = TableMachine.TestCase
TestTableMachine.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


def test_a_turn_looks_at_no_system_to_which_nothing_happened(monkeypatch):
    master = Master()
    master.join()
    for number in range(1000):
        master.start(("application", number), f"job-{number}")
        master.out(0, number=number + 1, classes=[task_class()], tasks=[[0, b"x"]] * 300, exhausted=True)
    for _ in range(3):
        master.pass_time(1.0)
    looked_at = []
    feed = Feeder.feed
    monkeypatch.setattr(
        Feeder, "feed", lambda *arguments: looked_at.append(arguments[1].record.number) or feed(*arguments)
    )

    for _ in range(10):
        master.pass_time(1.0)
    assert looked_at == []

    leases = master.finish_all()
    master.pass_time(1.0)
    assert 1 <= len(set(looked_at)) <= len(leases)


def test_many_classes_are_not_all_looked_at_for_each_input(monkeypatch):
    master = Master()
    master.join()
    life = master.start()
    master.out(0, classes=[task_class(number) for number in range(1000)])
    walks = []

    class Walked(dict):
        def values(self):
            walks.append(len(self))
            return super().values()

    life.record.classes = Walked(life.record.classes)
    for _ in range(100):
        master.pass_time(0.001)
        for body in master.inputs():
            master.out(body[1])

    assert len(walks) <= 2


def test_systems_whose_leases_changed_are_told_although_nothing_else_happened(master):
    master.start()
    master.pass_time()
    master.out(1, classes=[task_class()], tasks=[[0, b"a"]], exhausted=True)
    master.pass_time(1.0)
    master.take()
    master.join()

    master.pass_time(1.0)

    assert [event.body[3]["leased"] for event in master.take(Kind.EVENT)] == [1]


def test_a_system_is_fed_again_once_its_news_were_taken(master):
    master.start()
    master.out(0, publications=[[b"", HUGE], [b"", HUGE]])
    spools = master.take(Spool)
    master.table.spooled(spools[0].token, None, master.now)
    master.pass_time()
    assert master.inputs() == []

    master.table.taken(ALICE, 1, 1, master.now)
    master.pass_time()

    assert [body[1] for body in master.inputs()] == [1]


def test_a_system_goes_on_for_a_grace_although_nobody_else_stirs():
    master = Master(GRACE)
    master.start()
    master.table.attach(BOB, 2, "job", master.now)
    master.pass_time()
    master.table.release(ALICE, "job")
    master.table.peer_left(ALICE, master.now)
    master.pass_time()

    master.pass_time(GRACE + 1.0)

    assert master.table.find("job").cancel_by is not None


def test_a_batch_too_large_for_one_input_goes_on_with_the_next_turn(master):
    master.join(workers=200)
    master.start()
    master.out(0, classes=[task_class()], tasks=[[0, b"x"]] * 200, exhausted=True)
    master.pass_time()
    master.finish_all()
    master.take()

    for _ in range(3):
        master.pass_time()

    assert [len(body[3]) for body in master.inputs()] == [64, 64]


def test_a_full_window_grows_with_the_cluster(master):
    master.start()
    master.out(0, classes=[task_class()], tasks=[[0, b"x"]] * 256)
    master.pass_time()
    master.pass_time()
    assert master.inputs() == []

    master.join(workers=200)
    master.pass_time()

    assert [body[4] for body in master.inputs()] == [64]


def test_a_system_that_only_waits_is_told_that_there_is_no_slave(master):
    master.start()
    master.out(0, classes=[task_class()], tasks=[[0, b"x"]], exhausted=True)
    master.pass_time()
    master.pass_time(0.1)
    master.take()

    master.pass_time(3.0)

    (event,) = master.take(Kind.EVENT)
    assert event.body[5] == ["1 task waits: no slave is connected to the master"]


def test_a_system_whose_last_slave_left_is_told_so(master):
    master.join()
    master.start()
    master.out(0, classes=[task_class()], tasks=[[0, b"x"]] * 3, exhausted=True)
    master.pass_time(60.0)
    master.pass_time(60.0)
    master.take()

    master.core.slave_left("north", "killed")
    master.table.cluster_changed(master.now)
    master.pass_time()

    (event,) = master.take(Kind.EVENT)
    assert event.body[5] == ["3 tasks wait: no slave is connected to the master"]
