"""Services of plugins: on the master and in workers, called from everywhere."""

from __future__ import annotations

import os
import pickle
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from concurro import (
    ConfigError,
    LocalCluster,
    NotPicklableError,
    ServiceFailedError,
    ServiceLostError,
    Task,
    TaskSystem,
    UnknownServiceError,
    WaitInCallbackError,
    current_application,
)
from tests.support.jobs import SHIPPED, Square
from tests.support.waiting import wait_until

PLUGINS = [str(Path(__file__).parents[1] / "support" / "service_plugins" / "tally.py")]
LIMIT = 30.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Give a cluster of two slaves with a worker each, whose services everybody may use."""
    tmp_path_factory.getbasetemp()
    with LocalCluster(workers=1, slaves=2, plugins=PLUGINS, config=SHIPPED) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def leaves_nothing_behind(request):
    """Watch tests that have a cluster of their own from outside."""
    if "cluster" not in request.fixturenames:
        request.getfixturevalue("runtime_folder")


@pytest.fixture
def application(cluster):
    """Give the application of the cluster."""
    return cluster.application


@pytest.fixture
def shelves(application):
    """Give the shelf in a worker of each slave."""
    by_slave = {worker.slave_id: worker for worker in application.workers()}
    return [application.service("shelf", worker.address) for worker in by_slave.values()]


class AskTally(Task):
    """Adds to the tally, from inside a task."""

    name = "ask-tally"

    def __init__(self):
        """Take nothing."""

    def __call__(self):
        return current_application().service("tally").add(1).result(LIMIT)


class AskShelf(Task):
    """Calls a service in a worker, from inside a task."""

    name = "ask-shelf"

    def __init__(self, worker):
        self.worker = worker

    def __call__(self):
        return current_application().service("shelf", self.worker).echo(os.getpid()).result(LIMIT)


class Calling(TaskSystem):
    """Calls services in its callbacks."""

    def __init__(self, worker):
        super().__init__()
        self.worker = worker
        self.answers = []

    def generate_tasks(self, master):
        return [AskShelf(self.worker)]

    def task_finished(self, master, task, result, error):
        shelf = current_application().service("shelf", self.worker)
        self.answers.append(shelf.echo("in a callback").result(LIMIT))

    def is_complete(self, master):
        return bool(self.answers)

    def gather_result(self, master):
        return self.answers, None


class Point:
    """A class of the test: the worker cannot import it."""

    def __init__(self, x):
        self.x = x

    def __reduce__(self):
        return Point, (self.x,)


class Bomb:
    """Pickles, and raises where it is loaded."""

    def __reduce__(self):
        return divmod, (1, 0)


# The master's


def test_a_service_of_the_master_keeps_its_state_between_calls(application):
    tally = application.service("tally")
    before = tally.add(0).result(LIMIT)

    answers = [tally.add(1) for _ in range(100)]

    assert [answer.result(LIMIT) for answer in answers] == [before + index + 1 for index in range(100)]


def test_one_application_has_one_proxy_of_a_service(application):
    assert application.service("tally") is application.service("tally")


def test_an_answer_may_come_later(application):
    tally = application.service("tally")

    late = tally.later(0.2, "late")
    early = tally.add(0)

    assert isinstance(early.result(LIMIT), int)
    assert not late.done()
    assert late.result(LIMIT) == "late"


def test_what_a_service_of_the_master_raises_is_raised_at_the_caller(application):
    with pytest.raises(ValueError, match="no such thing") as caught:
        application.service("tally").fail("no such thing").result(LIMIT)

    assert "tally.py" in str(caught.value.__cause__)


def test_an_unknown_service_is_named_with_the_closest(application):
    with pytest.raises(UnknownServiceError, match="did you mean 'tally'"):
        application.service("taly").add(1).result(LIMIT)


def test_an_unknown_method_is_named_with_the_closest(application):
    with pytest.raises(UnknownServiceError, match="did you mean 'events'"):
        application.service("tally").event().result(LIMIT)


def test_a_method_that_is_not_listed_cannot_be_called(application):
    with pytest.raises(UnknownServiceError, match="no method 'setup'"):
        application.service("tally").setup(1).result(LIMIT)


def test_wrong_arguments_are_the_callers_error(application):
    with pytest.raises(TypeError, match="amount"):
        application.service("tally").add().result(LIMIT)


def test_what_is_not_plain_is_refused_at_the_call(application):
    with pytest.raises(NotPicklableError, match="plain values"):
        application.service("tally").add(object())


def test_an_answer_that_is_not_plain_is_told(application):
    with pytest.raises(NotPicklableError, match="plain values"):
        application.service("tally").odd().result(LIMIT)


def test_a_service_tells_everybody_who_listens(application):
    tally = application.service("tally")
    heard, came = [], threading.Event()
    tally.listen().result(LIMIT)

    tally.on_told(lambda *news: (heard.append(news), came.set()))
    tally.tell("shout", "hello")

    assert came.wait(LIMIT)
    assert heard[0][:2] == ("heard", "hello")


def test_a_service_sees_slaves_and_workers_come(application):
    tally = application.service("tally")
    addresses = sorted(worker.address for worker in application.workers())

    events = tally.events().result(LIMIT)

    assert tally.peers().result(LIMIT) == addresses
    assert tally.status().result(LIMIT) == 2
    assert sum(event[0] == "slave joined" for event in events) == 2
    assert {event[1] for event in events if event[0] == "worker joined"} >= set(addresses)


def test_a_proxy_does_not_travel(application):
    with pytest.raises(NotPicklableError, match="does not travel"):
        pickle.dumps(application.service("tally"))


def test_a_call_that_would_wait_in_a_callback_is_refused(application):
    caught = []
    tally = application.service("tally")
    future = tally.add(0)

    def wait_there(done):
        try:
            tally.add(0).result(LIMIT)
        except WaitInCallbackError as error:
            caught.append(error)

    future.add_done_callback(wait_there)
    future.result(LIMIT)

    wait_until(lambda: caught, LIMIT, "the refusal")


def test_an_inline_cluster_says_that_it_has_no_services():
    with LocalCluster(inline=True) as inline, pytest.raises(ConfigError, match="inline"):
        inline.service("tally")


# In workers


def test_each_slave_has_as_many_workers_for_services_as_for_tasks(cluster, application):
    workers = application.workers()
    slaves = {slave.id: set(slave.workers) for slave in cluster.slaves}

    assert {worker.slave_id for worker in workers} == set(slaves)
    assert len(workers) == 2
    assert not any(worker.pid in slaves[worker.slave_id] for worker in workers)


def test_a_service_in_a_worker_lives_across_calls_in_one_process(application):
    worker = application.workers()[0]
    shelf = application.service("shelf", worker.address)

    shelf.put("key", {"a": 1}).result(LIMIT)

    assert shelf.get("key").result(LIMIT) == {"a": 1}
    assert shelf.pid().result(LIMIT) == worker.pid
    assert shelf.address().result(LIMIT) == worker.address


def test_calls_run_in_the_order_in_which_they_were_made(shelves):
    shelf = shelves[0]
    first = shelf.count_up(0).result(LIMIT)

    answers = [shelf.count_up(index) for index in range(3000)]

    assert [answer.result(LIMIT) for answer in answers] == list(range(first + 1, first + 3001))


def test_a_method_that_waits_does_not_keep_others_waiting(shelves):
    waiting = shelves[0].wait(0.5)

    assert shelves[0].echo(1).result(LIMIT) == 1
    assert not waiting.done()
    waiting.result(LIMIT)


def test_what_a_method_raises_is_raised_at_the_caller(shelves):
    with pytest.raises(KeyError, match="k") as caught:
        shelves[0].fail(KeyError("k")).result(LIMIT)

    assert "tally.py" in str(caught.value.__cause__)


def test_an_error_that_cannot_be_rebuilt_is_told_by_name_and_text(shelves):
    with pytest.raises(ServiceFailedError, match="TooOddError: one") as caught:
        shelves[0].raise_odd().result(LIMIT)

    assert caught.value.type_name == "TooOddError"
    assert "tally.py" in caught.value.traceback
    assert shelves[0].echo(1).result(LIMIT) == 1


def test_an_argument_that_does_not_unpickle_is_the_calls_error(shelves):
    with pytest.raises(ZeroDivisionError):
        shelves[0].echo(Bomb()).result(LIMIT)

    assert shelves[0].echo(1).result(LIMIT) == 1


def test_an_argument_that_does_not_travel_is_an_error_at_the_call(shelves):
    with pytest.raises(NotPicklableError, match="lock"):
        shelves[0].echo(threading.Lock())


def test_an_answer_that_does_not_travel_is_the_calls_error(shelves):
    with pytest.raises(NotPicklableError, match="generator"):
        shelves[0].unpicklable().result(LIMIT)

    assert shelves[0].echo(1).result(LIMIT) == 1


def test_instances_of_classes_that_travel_by_value_come_and_go(shelves):
    assert shelves[0].echo(Point(3)).result(LIMIT).x == 3


def test_large_arrays_come_and_go(shelves):
    array = np.arange(1_000_000.0)

    again = shelves[0].echo(array).result(LIMIT)

    assert (again == array).all()


def test_on_one_machine_large_arrays_are_mapped(shelves):
    assert shelves[0].map_here(np.arange(1_000_000.0)).result(LIMIT)[0].startswith("/memfd:")


def test_a_value_moves_from_worker_to_worker_without_its_caller(shelves):
    array = np.arange(500_000.0)
    shelves[0].put("array", array).result(LIMIT)
    address = shelves[0].address().result(LIMIT)

    shelves[1].fetch("array", address).result(LIMIT)

    assert (shelves[1].get("array").result(LIMIT) == array).all()


def test_workers_call_one_another_in_a_circle(shelves):
    first, second = (shelf.address().result(LIMIT) for shelf in shelves)

    answer = shelves[0].call_other(second, "call_other", first, "echo", "round").result(LIMIT)

    assert answer == "round"


def test_a_service_in_a_worker_calls_one_of_the_master(shelves, application):
    before = application.service("tally").add(0).result(LIMIT)

    assert shelves[0].tally(5).result(LIMIT) == before + 5


def test_a_service_in_a_worker_pushes_tasks(shelves):
    assert shelves[0].submit(Square(7)).result(LIMIT) == 49


def test_a_parcel_is_kept_and_handed_on_unopened(application, shelves):
    content = {"array": np.arange(200_000.0), "point": Point(4)}

    size = shelves[0].keep("parcel", application.pack(content)).result(LIMIT)
    again = shelves[0].kept("parcel").result(LIMIT)
    shelves[1].keep("parcel", again).result(LIMIT)

    assert size > 1_600_000
    assert again.open()["point"].x == 4
    assert (shelves[1].open("parcel").result(LIMIT)["array"] == content["array"]).all()


def test_a_service_tells_its_caller_in_order(shelves):
    numbers, complete = [], threading.Event()

    def told(method, number):
        numbers.append(number)
        if number == 99:
            complete.set()

    shelves[1].on_told(told)
    shelves[1].tell_back(100).result(LIMIT)

    assert complete.wait(LIMIT)
    assert numbers == list(range(100))


def test_an_unknown_service_in_a_worker_is_named_with_the_closest(application):
    worker = application.workers()[0].address

    with pytest.raises(UnknownServiceError, match="did you mean 'shelf'"):
        application.service("shelves", worker).echo(1).result(LIMIT)


def test_an_unknown_worker_is_told(application):
    with pytest.raises(ServiceLostError, match="no worker for services has the address 'nowhere/1'"):
        application.service("shelf", "nowhere/1").echo(1).result(LIMIT)


def test_a_line_that_was_closed_fails_its_open_calls_and_can_be_opened_again(application, shelves):
    shelf = shelves[0]
    waiting = shelf.wait(1.0)

    shelf.close()

    with pytest.raises(ServiceLostError, match="closed here"):
        waiting.result(LIMIT)
    again = application.service("shelf", shelf.worker)
    assert again is not shelf
    assert again.echo(1).result(LIMIT) == 1
    assert wait_until(lambda: again.seen().result(LIMIT), LIMIT, "the service's notice")


# From tasks and callbacks


def test_tasks_call_services(cluster, application):
    worker = application.workers()[0]
    before = application.service("tally").add(0).result(LIMIT)

    answers = [future.result(LIMIT) for future in cluster.push_tasks([AskTally() for _ in range(4)])]
    pid = cluster.push_task(AskShelf(worker.address)).result(LIMIT)

    assert sorted(answers) == [before + 1, before + 2, before + 3, before + 4]
    assert psutil.pid_exists(pid)


def test_a_system_calls_services_in_its_callbacks(cluster, application):
    worker = application.workers()[0]

    assert cluster.run(Calling(worker.address), timeout=LIMIT) == ["in a callback"]


def test_a_service_that_keeps_the_masters_loop_for_a_while_harms_nobody(application):
    tally = application.service("tally")
    began = time.monotonic()

    blocked = tally.block(0.3)
    answer = tally.add(0)

    assert isinstance(answer.result(LIMIT), int)
    assert blocked.result(LIMIT) is None
    assert time.monotonic() - began >= 0.3
