"""The tag queue of a master: requests are done once, whatever is lost on the way."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from concurro import ConfigError
from concurro_tagqueue.service import MEMORY, TagQueueService
from concurro_tagqueue.sessions import GIVEN_UP
from tests.support.played_service_host import PlayedPeer, PlayedServiceHost, answer_of

OK = 0
ANY = [None, None]


def a_service(host):
    service = TagQueueService()
    service.setup(host)
    return service


class Caller:
    """A proxy's side of a session: numbers requests, and asks again."""

    def __init__(self, name):
        self.name = name
        self.number = 0
        self.low = 1

    def attach(self, service, label="label"):
        self.service, self.peer, self.label = service, PlayedPeer(), label
        service.attach(self.peer, label, self.name, self.low)
        return self

    def ask(self, operation, *arguments, number=None, low=None, came=()):
        if number is None:
            number = self.number + 1
        self.number = max(self.number, number)
        self.low = number if low is None else low
        return self.service.do(self.peer, self.label, self.name, number, self.low, operation, list(arguments), came)

    def get(self, operation, *arguments, **options):
        status, value = answer_of(self.ask(operation, *arguments, **options))
        assert status == OK, value
        return value

    def received(self, number):
        self.service.received(self.peer, self.label, self.name, number)

    def counts(self):
        return tuple(self.get("counts")[:3])


@pytest.fixture
def host():
    """Give a master without a journal."""
    return PlayedServiceHost()


@pytest.fixture
def service(host):
    """Give a service that nobody used."""
    return a_service(host)


@pytest.fixture
def caller(service):
    """Give somebody who is connected."""
    return Caller("caller").attach(service)


def test_a_request_that_comes_again_is_answered_again_and_done_once(caller):
    added = caller.get("add", "a", None, 0, [b"x"], number=1)
    again = caller.get("add", "a", None, 0, [b"x"], number=1)
    taken = caller.get("take", ANY, None, None, number=2, low=1)

    assert again == added
    assert caller.get("take", ANY, None, None, number=2, low=1) == taken == [added[0], "a", False, b"x"]
    assert caller.counts() == ({}, {"a": 1}, {})


def test_a_wait_that_comes_again_waits_on_and_both_are_answered(caller):
    first = caller.ask("take", ANY, None, None, number=1)
    caller.attach(caller.service)
    second = caller.ask("take", ANY, None, None, number=1)

    caller.get("add", "a", None, 0, [b"x"], number=2, low=1)

    assert answer_of(first) == answer_of(second)
    assert answer_of(first)[1][1:] == ["a", False, b"x"]
    assert caller.counts() == ({}, {"a": 1}, {})


def test_answers_that_have_arrived_are_forgotten(caller):
    for number in range(1, 50):
        caller.get("add", "a", None, 0, [b"x"], number=number)

    (session,) = caller.service._served["label"].sessions.values()
    assert list(session.answers) == [49]


def test_answers_that_have_arrived_are_forgotten_while_an_older_request_waits(caller):
    waiting = caller.ask("take", [["never"], None], None, None, number=1)
    for number in range(2, 50):
        caller.get("add", "a", None, 0, [b"x"], number=number, low=1, came=[number - 1] if number > 2 else [])

    (session,) = caller.service._served["label"].sessions.values()
    assert list(session.answers) == [1, 49]
    assert answer_of(waiting) is None


def test_a_number_far_ahead_costs_no_look_at_those_between(caller):
    caller.get("add", "a", None, 0, [b"x"], number=1)

    caller.get("add", "a", None, 0, [b"x"], number=10**15)

    (session,) = caller.service._served["label"].sessions.values()
    assert list(session.answers) == [10**15]


@pytest.mark.parametrize("leave", ["properly", "for long"])
def test_a_label_ends_with_who_is_essential_for_it(host, service, caller, leave):
    peer = PlayedPeer()
    service.attach(peer, "label", "essential", 1, essential=True)
    waiting = caller.ask("take", ANY, None, None)

    if leave == "properly":
        service.detach(peer, "label", "essential", 1)
    else:
        service.peer_left(peer, "killed")
        host.pass_time(service.grace)

    assert answer_of(waiting)[1][0] == "TaskManagerTermination"


def test_a_label_ends_with_who_is_essential_however_long_the_grace():
    host = PlayedServiceHost()
    service = a_service(host)
    service.grace = 2 * MEMORY
    caller, peer = Caller("caller").attach(service), PlayedPeer()
    service.attach(peer, "label", "essential", 1, essential=True)
    waiting = caller.ask("take", ANY, None, None)

    service.peer_left(peer, "killed")
    host.pass_time(MEMORY)
    host.pass_time(MEMORY)

    assert answer_of(waiting)[1][0] == "TaskManagerTermination"


def test_drained_tasks_that_went_back_are_not_ended(service, caller):
    caller.get("add", "a", None, 0, [b"x", b"y"])
    drained = [task_id for task_id, _ in caller.get("drain", "a")]
    service.peer_left(caller.peer, "cut off")
    caller.attach(service)
    again = caller.get("take", ANY, None, None)[0]

    ended = caller.get("discard", drained)

    assert ended == [again]
    assert caller.counts() == ({"a": 1}, {}, {})


def test_a_result_stays_until_it_is_said_to_have_come(host, caller):
    caller.get("add", "a", None, 0, [b"x"])
    task_id = caller.get("take", ANY, None, None)[0]
    caller.get("store", task_id, 0, b"y")
    collected = caller.get("collect", ANY, None, number=10)

    caller.service.peer_left(caller.peer, "cut off")
    caller.attach(caller.service)
    again = caller.get("collect", ANY, None, number=10)
    caller.received(10)
    caller.service.peer_left(caller.peer, "cut off")
    host.pass_time(MEMORY)

    assert again == collected == [task_id, "a", False, b"y"]
    assert Caller("other").attach(caller.service).counts() == ({}, {}, {})


def test_a_result_that_may_not_have_come_waits_for_who_took_it_then_is_the_next_ones(host, service, caller):
    caller.get("add", "a", None, 0, [b"x"])
    caller.get("store", caller.get("take", ANY, None, None)[0], 0, b"y")
    collected = caller.get("collect", ANY, None)
    service.peer_left(caller.peer, "killed")
    waiting = Caller("other").attach(service).ask("collect", ANY, None)

    host.pass_time(29.0)
    assert answer_of(waiting) is None
    host.pass_time(1.0)

    assert answer_of(waiting) == [OK, collected]


def test_who_comes_back_says_what_has_come(host, service, caller):
    caller.get("add", "a", None, 0, [b"x"])
    caller.get("store", caller.get("take", ANY, None, None)[0], 0, b"y")
    caller.get("collect", ANY, None)
    service.peer_left(caller.peer, "cut off")
    caller.low = caller.number + 1

    caller.attach(service)

    service.peer_left(caller.peer, "killed")
    host.pass_time(MEMORY)
    assert Caller("other").attach(service).counts() == ({}, {}, {})


def test_who_leaves_loses_what_it_held_and_its_waits(service, caller):
    other = Caller("other").attach(service)
    for _ in range(2):
        caller.get("add", "a", None, 0, [b"x"])
    other.get("register", None, "info")
    first = other.get("take", ANY, None, None)[0]
    wait = other.ask("take", [["b"], None], None, None)

    service.peer_left(other.peer, "killed")
    caller.get("add", "b", None, 0, [b"x"])

    assert answer_of(wait) is None
    assert caller.get("processes") == []
    assert caller.counts() == ({"a": 2, "b": 1}, {}, {})
    assert caller.get("take", ANY, None, None)[0] == first


def test_what_was_undone_when_somebody_left_is_done_again_when_it_comes_back(service, caller):
    caller.get("add", "a", None, 0, [b"x"], number=1)
    caller.get("register", None, "info", number=2, low=1)
    taken = caller.get("take", ANY, None, None, number=3, low=1)
    service.peer_left(caller.peer, "cut off")
    caller.attach(service)

    assert caller.get("register", None, "info", number=2, low=1) == 1
    assert caller.get("take", ANY, None, None, number=3, low=1) == taken
    assert caller.get("add", "a", None, 0, [b"x"], number=1, low=1) == [taken[0]]
    assert caller.counts() == ({}, {"a": 1}, {})


def test_what_nobody_wants_any_more_is_taken_back(caller):
    caller.get("add", "a", None, 0, [b"x"])
    caller.ask("take", ANY, None, None, number=10)
    caller.service.abandon(caller.peer, "label", "caller", 10)
    assert caller.counts() == ({"a": 1}, {}, {})
    wait = caller.ask("take", [["b"], None], None, None, number=20)

    caller.service.abandon(caller.peer, "label", "caller", 20)
    caller.number = 30
    caller.get("add", "b", None, 0, [b"x"])

    assert answer_of(wait) is None
    assert caller.counts() == ({"a": 1, "b": 1}, {}, {})


def test_a_wait_ends_with_its_timeout(host, caller):
    wait = caller.ask("take", ANY, None, 5.0)
    host.pass_time(4.9)
    assert answer_of(wait) is None

    host.pass_time(0.1)

    assert answer_of(wait)[1][0] == "WaitTimeoutError"
    caller.get("add", "a", None, 0, [b"x"])
    assert caller.counts() == ({"a": 1}, {}, {})


def test_who_does_not_ping_is_unregistered(host, caller):
    caller.get("register", 10.0, "one")
    caller.get("register", 2.0, "two")
    caller.get("add", "a", None, 0, [b"x"])
    caller.get("take", ANY, 1, None)

    host.pass_time(3.9)
    assert caller.get("processes") == [[0, "one"], [1, "two"]]
    host.pass_time(0.2)
    assert caller.get("processes") == [[0, "one"]]
    assert caller.counts() == ({"a": 1}, {}, {})
    caller.get("ping", 0)
    host.pass_time(19.9)
    assert caller.get("processes") == [[0, "one"]]
    host.pass_time(20.0)
    assert caller.get("processes") == []


def test_a_large_value_comes_ahead_in_parts_and_leaves_in_parts(caller):
    for _ in range(2):  # the line was lost in between
        for index, part in enumerate((b"one", b"two")):
            caller.service.ahead(caller.peer, "label", "caller", 5, index, part)
    (task_id,) = caller.get("add_large", "a", None, 0, 2, number=5)

    assert caller.get("take", ANY, None, None, number=6) == [task_id, "a", False, 2]
    parts = [caller.service.part(caller.peer, "label", "caller", 6, index) for index in range(2)]
    assert parts == [b"one", b"two"]
    with pytest.raises(ConfigError):
        caller.service.part(caller.peer, "label", "caller", 6, 2)


def test_parts_that_did_not_come_are_missed(caller):
    caller.service.ahead(caller.peer, "label", "caller", 1, 0, b"one")

    status, (name, _, _) = answer_of(caller.ask("add_large", "a", None, 0, 2, number=1))

    assert (status, name) == (1, "ConfigError")
    assert caller.counts() == ({}, {}, {})


def test_who_is_not_attached_is_refused(service, caller):
    caller.peer = PlayedPeer()

    with pytest.raises(ConfigError, match="nobody attached"):
        caller.ask("counts")


def test_nonsense_leaves_no_trace(caller):
    for operation, arguments in (("add", ["a"]), ("nothing", []), ("take", [3, None, None])):
        with pytest.raises((TypeError, KeyError, ValueError)):
            caller.ask(operation, *arguments, number=1)

    assert caller.get("counts", number=1)[:3] == [{}, {}, {}]


def test_an_empty_label_is_forgotten_when_nobody_may_come_back(host, service, caller):
    service.peer_left(caller.peer, "left")
    assert len(service.labels(None)) == 1

    host.pass_time(MEMORY)

    assert service.labels(None) == []


def test_a_label_with_tasks_is_kept(host, service, caller):
    caller.get("add", "a", None, 0, [b"x"])
    service.peer_left(caller.peer, "left")

    host.pass_time(2 * MEMORY)

    assert [record[:2] for record in service.labels(None)] == [["label", {"a": 1}]]


def test_with_a_journal_nothing_is_answered_before_it_is_on_disk():
    host = PlayedServiceHost({})
    caller = Caller("caller").attach(a_service(host))
    host.commit()

    added = caller.ask("add", "a", None, 0, [b"x"])
    assert answer_of(added) is None
    taken = caller.ask("take", ANY, None, None, low=1)
    host.commit(1)
    assert answer_of(added) is not None
    assert answer_of(taken) is None

    host.commit()
    assert answer_of(taken)[1][0] == answer_of(added)[1][0]


def test_a_master_that_ends_undoes_nothing_for_its_peers_come_back():
    host = PlayedServiceHost({})
    service = a_service(host)
    caller = Caller("caller").attach(service)
    caller.ask("register", None, "info")
    caller.ask("add", "a", None, 0, [b"x"])
    caller.ask("take", ANY, 0, None)
    host.ending = True
    service.peer_left(caller.peer, "the master was stopped")
    host.commit()

    caller.attach(a_service(PlayedServiceHost(host.disk)))

    assert caller.counts() == ({}, {"a": 1}, {})
    assert caller.get("processes") == [[0, "info"]]


def test_who_does_not_come_back_in_time_loses_what_it_held():
    host = PlayedServiceHost({})
    caller = Caller("caller").attach(a_service(host))
    caller.ask("add", "a", None, 0, [b"x"])
    caller.ask("take", ANY, None, None)
    host.commit()
    host = PlayedServiceHost(host.disk)
    service = a_service(host)
    other = Caller("other").attach(service)
    assert other.counts() == ({}, {"a": 1}, {})

    host.pass_time(30.0)

    assert other.counts() == ({"a": 1}, {}, {})


def test_a_forgotten_label_leaves_nothing_in_the_journal():
    host = PlayedServiceHost({})
    service = a_service(host)
    caller = Caller("caller").attach(service)
    caller.ask("store_data", "x", b"1")
    caller.ask("register", None, "info")
    caller.ask("add", "a", None, 0, [b"x", b"y"])
    caller.ask("take", ANY, 0, None)
    caller.ask("terminate")
    host.commit()
    assert host.disk

    service.detach(caller.peer, "label", "caller", 99)
    host.commit()

    assert host.disk == {}


class Simulation:
    """Requesters, takers and a master that dies at any moment, or cuts somebody off.

    Every caller asks for one thing after the other, and asks again until it is answered.
    """

    def __init__(self, seed, *, durable):
        self.dice = random.Random(seed)
        self.durable = durable
        self.disk = {}
        self.results = Counter()
        self.added = 0
        self.done = Counter()
        self.requesters = [Caller(f"requester {number}") for number in range(2)]
        self.takers = [Caller(f"taker {number}") for number in range(3)]
        self.asked = {}
        self.start()

    def start(self):
        """Begin with what is on disk."""
        self.host = PlayedServiceHost(self.disk if self.durable else None)
        self.service = a_service(self.host)
        for caller in (*self.requesters, *self.takers):
            self.reach(caller)

    def reach(self, caller):
        """Attach a caller again; it repeats what it waits for."""
        caller.attach(self.service)
        asked = self.asked.get(caller)
        if asked is not None:
            number, operation, arguments, _ = asked
            self.asked[caller] = (number, operation, arguments, caller.ask(operation, *arguments, number=number))

    def begin(self, caller, operation, *arguments):
        called = caller.ask(operation, *arguments)
        self.asked[caller] = (caller.number, operation, arguments, called)

    def next_of_requester(self, caller, adds):
        if adds:
            self.added += 1
            self.begin(caller, "add", f"tag {self.added % 3}", None, 0, [b"%d" % self.added])
        else:
            self.begin(caller, "collect", ANY, None)

    def step(self, *, adds):
        """Let something happen to somebody."""
        caller = self.dice.choice((*self.requesters, *self.takers))
        if caller not in self.asked:
            if caller in self.requesters:
                self.next_of_requester(caller, adds and caller is self.requesters[0])
            else:
                self.begin(caller, "take", self.dice.choice([ANY, [None, "tag*"]]), None, None)
            return
        number, operation, _, called = self.asked[caller]
        answered = answer_of(called)
        if answered is None or self.dice.random() < 0.2:
            return  # not there, or it is lost on its way
        status, value = answered
        del self.asked[caller]
        if operation == "take":
            assert status == OK
            self.done[value[3]] += 1
            self.begin(caller, "store", value[0], 0, value[3])
        elif operation == "collect":
            if self.dice.random() < 0.7:
                caller.received(number)
            caller.low = number + 1
            self.results[value[3]] += 1

    def trouble(self):
        """Let the master die, or somebody be cut off."""
        if self.durable and self.dice.random() < 0.4:
            self.host.commit(self.dice.randrange(4))
            self.start()
            return
        caller = self.dice.choice((*self.requesters, *self.takers))
        self.service.peer_left(caller.peer, "cut off")
        self.reach(caller)


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("seed", range(25))
def test_every_task_has_one_result_whatever_happens(seed, durable):
    simulation = Simulation(seed, durable=durable)
    for _ in range(600):
        simulation.step(adds=True)
        if simulation.dice.random() < 0.4:
            simulation.host.commit(simulation.dice.randrange(3))
        if simulation.dice.random() < 0.03:
            simulation.trouble()
    for _ in range(4000):
        simulation.step(adds=False)
        simulation.host.commit()

    assert simulation.added > 20
    assert simulation.results == Counter(b"%d" % number for number in range(1, simulation.added + 1))
    rest = simulation.service._served["label"].core
    assert rest.tasks.keys() == set()


def test_with_a_journal_losses_count_over_restarts_and_a_task_that_was_given_up_stays_so():
    disk = {}

    def next_master():
        host = PlayedServiceHost(disk)
        service = a_service(host)
        return host, service, Caller("requester").attach(service)

    def lose_a_taker(host, service, name):
        taker = Caller(name).attach(service)
        taken = taker.ask("take", ANY, None, None)
        host.commit()
        answer_of(taken)
        service.peer_left(taker.peer, "killed")
        host.commit()

    host, service, requester = next_master()
    requester.ask("add", "a", None, 0, [b"x"])
    host.commit()
    lose_a_taker(host, service, "first")
    lose_a_taker(host, service, "second")
    host, service, _ = next_master()
    lose_a_taker(host, service, "third")

    host, service, requester = next_master()
    collected = requester.ask("collect", ANY, None, number=10)
    host.commit()
    status, (_, tag, ending, reason) = answer_of(collected)

    assert (status, tag, ending) == (OK, "a", GIVEN_UP)
    assert reason.decode().startswith("3 who ran task")


def test_who_leaves_properly_or_is_missed_by_the_next_master_is_no_taker_that_was_lost():
    disk = {}
    for name in ("first", "second", "third", "fourth"):
        host = PlayedServiceHost(disk)
        service = a_service(host)
        host.pass_time(service.grace)
        taker = Caller(name).attach(service)
        if name == "first":
            taker.ask("add", "a", None, 0, [b"x"])
        taken = taker.ask("take", ANY, None, None)
        host.commit()
        assert answer_of(taken)[0] == OK
        if name == "third":
            service.detach(taker.peer, "label", name, taker.number + 1)
            host.commit()

    assert [task.losses for task in service._served["label"].core.tasks.values()] == [0]
