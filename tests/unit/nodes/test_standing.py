"""What `explain` says of a system: one true sentence for each reason."""

from __future__ import annotations

import pytest

from concurro.nodes.answers import describe_status, describe_system, explain
from concurro.nodes.standing import MOST_KINDS
from concurro.scheduling.feeding import BYTE_WINDOW
from tests.unit.scheduling.cluster import task_class
from tests.unit.scheduling.system_driver import ALICE, BOB, DONE, LARGE, Master


@pytest.fixture
def master():
    return Master(grace=30.0)


def ask(master, system_id="job", callback=""):
    return explain(master.core, master.table, system_id, master.now, lambda number: callback)


def stuck(master):
    """Return what the status says of the tasks of each system that nobody can run."""
    status = describe_status(master.core, master.table, {}, master.now, {})
    return [system["stuck"] for system in status["systems"]]


def start(master, tasks=1, peer=ALICE, system_id="job", requires=None, **facts):
    """Start a system whose host has emitted tasks, and lease what can be."""
    life = master.start(peer, system_id)
    number = life.record.number
    master.out(0, number=number, classes=[task_class(requires=requires)], tasks=[[0, b"x"]] * tasks, **facts)
    master.pass_time()
    while not life.flow.idle:
        master.out(life.flow.number, number=number, **facts)
    return life


def test_a_system_whose_host_starts_says_so(master):
    master.submit()

    assert ask(master) == "System job (Job) is starting its host."


def test_a_system_whose_parts_travel_says_so(master):
    master.submit(blobs=LARGE)

    assert ask(master) == "System job (Job) waits for its parts to arrive."


def test_a_system_inside_its_callbacks_says_for_how_long(master):
    master.join()
    master.start()
    master.pass_time()

    master.now += 12.0

    assert ask(master) == "System job (Job) is inside its own callbacks for 12 s (host process 4711)."
    assert ask(master, callback="is_complete") == (
        "System job (Job) is inside its own callbacks for 12 s, now in is_complete (host process 4711)."
    )


def test_a_system_without_slaves_says_so(master):
    start(master, tasks=2)

    assert ask(master) == "System job (Job) waits: no slave is connected; 2 tasks are open."


def test_a_system_on_sick_slaves_says_what_ails_them(master):
    master.join()
    master.core.slave_changed("north", 2, "no workers start", {})
    start(master)

    assert ask(master) == "System job (Job) waits: every slave is sick: north (no workers start); 1 task is open."


def test_a_system_whose_tasks_fit_no_slave_names_one(master):
    master.join()
    start(master, tasks=3, requires={"gpu": 1})

    assert ask(master) == (
        "System job (Job) waits: no slave can run 3 tasks (job:0 for one): "
        "no slave offers gpu=1; 1 connected, they offer nothing but workers."
    )


def test_a_system_says_of_each_kind_of_tasks_why_no_slave_runs_it(master):
    master.join()
    life = start(master, requires={"gpu": 1})
    kinds = [task_class(1, requires={"tpu": 2}), task_class(2)]
    master.out(life.flow.number + 1, classes=kinds, tasks=[[1, b"x"], [1, b"x"], [2, b"x"]], first=1)
    offers = "1 connected, they offer nothing but workers"

    why = (
        f"no slave can run task job:0: no slave offers gpu=1; {offers}, "
        f"nor 2 tasks (job:1 for one): no slave offers tpu=2; {offers}"
    )

    assert ask(master) == f"System job (Job) waits: {why}; 1 other task is open."
    assert stuck(master) == [why]


def test_a_system_names_some_of_many_kinds_of_tasks_that_no_slave_runs(master):
    master.join()
    life = start(master)
    kinds = [task_class(number, requires={"gpu": number}) for number in range(1, MOST_KINDS + 3)]
    master.out(life.flow.number + 1, classes=kinds, tasks=[[kind[0], b"x"] for kind in kinds], first=1)

    (why,) = stuck(master)

    assert why.count("no slave offers") == MOST_KINDS
    assert why.endswith(", nor tasks of 2 more kinds")


def test_a_system_whose_tasks_fit_says_nothing_of_it_in_the_status(master):
    master.join()
    start(master)

    assert stuck(master) == [""]


def test_a_system_that_waits_for_its_share_says_who_has_the_workers(master):
    master.join()
    start(master, tasks=2, peer=BOB, system_id="other")

    start(master)

    assert ask(master) == (
        "System job (Job) waits for workers: 1 system (other most) has them, and its share (weight 1) comes "
        "as they finish; 0 tasks are leased, 1 queued, 0 done, 0 failed."
    )


def test_a_system_with_too_many_open_tasks_says_how_many_and_the_limit(master):
    master.join()
    start(master, tasks=250)

    assert "its generator is not pulled until some finish: 250 tasks are open, the limit is 256." in ask(master)


def test_a_system_with_too_many_bytes_open_says_how_many_and_the_limit(master):
    master.join()
    life = start(master)
    life.record.open_bytes = BYTE_WINDOW

    assert "its generator is not pulled until some finish: 64.0 MiB of tasks are open, the limit is 64." in ask(master)


def test_a_system_whose_generator_has_room_says_nothing_of_it(master):
    master.join()
    start(master, tasks=2)

    assert ask(master) == "System job (Job) runs: 2 tasks are leased, 0 queued, 0 done, 0 failed."


def test_a_system_that_waits_for_its_last_tasks_names_the_oldest(master):
    master.join()
    start(master, tasks=2, exhausted=True)

    master.now += 40.0

    assert ask(master) == (
        "System job (Job) runs: its generator is exhausted, and it waits for its last 2 tasks, "
        "longest for job:0 on slave north for 40 s."
    )


def test_a_system_says_which_workers_of_its_slaves_are_stopped(master):
    master.join()
    master.join("south")
    start(master, tasks=1)
    (name,) = [slave.id for slave in master.core.slaves.values() if slave.leases]
    for slave in master.core.slaves.values():
        slave.stopped = [4712]

    stopped = f"; process 4712 of the workers of slave {name} is stopped (as by SIGSTOP; SIGCONT ends that)."

    assert ask(master).endswith(stopped)
    assert ask(master, "job:0").endswith(stopped)


def test_a_system_whose_application_is_gone_says_when_it_is_cancelled(master):
    master.join()
    start(master, exhausted=True)
    master.table.peer_left(ALICE, master.now)

    master.now += 10.0

    assert ask(master).endswith("; its application is gone, and it is cancelled in 20 s unless that comes back.")


def test_a_system_that_is_cancelled_says_so(master):
    master.join()
    start(master)
    master.table.cancel("job", "not wanted", master.now)

    assert ask(master).endswith("; it is being cancelled.")


def test_an_ended_system_says_how_long_its_result_is_kept(master):
    master.start(detach=True, ttl=100.0)
    master.out(1, end=["complete", DONE])
    master.table.release(ALICE, "job")

    master.now += 30.0

    assert ask(master) == (
        "System job (Job) ended: complete; 0 tasks done, 0 failed; its result is kept for 70 s more."
    )


def test_a_system_that_failed_says_why(master):
    master.start()
    master.out(1, end=["failed", [1, ["ValueError", "no such file\nor folder", "Traceback", None], None]])

    assert ask(master).startswith("System job (Job) ended: failed, ValueError: no such file ...; 0 tasks done")


def test_a_system_that_is_forgotten_says_how_it_ended_and_why_it_is_gone(master):
    master.join()
    start(master, tasks=2)
    master.finish_all()
    master.pass_time()
    master.out(2, end=["complete", DONE])
    master.table.release(ALICE, "job")

    master.pass_time(90.0)
    master.pass_time(10.0)

    ended = "System job (Job) ended 100 s ago: complete; 2 tasks of 2 done, 0 failed; it is no longer kept, as "
    assert ask(master) == f"{ended}it was not detached."
    assert ask(master, "job:1") == f"Task job:1 has ended. {ended}it was not detached."
    assert ask(master, "job:2") == f"Task job:2 never was. {ended}it was not detached."


def test_a_system_of_which_nothing_is_known_is_refused(master):
    with pytest.raises(LookupError, match="no system nobody: this master has none of that id"):
        ask(master, "nobody")


def test_a_task_is_found_by_the_beginning_of_the_id_of_its_system(master):
    master.join()
    start(master, system_id="a-long-id")

    assert ask(master, "a-lo:0").startswith("Task a-long-id:0 is leased to slave north")


def test_the_tasks_of_a_system_that_ended_and_is_kept_are_known(master):
    master.join()
    start(master, tasks=2)
    master.finish_all()
    master.pass_time()

    master.out(2, end=["complete", DONE])

    assert ask(master, "job:1") == "Task job:1 is done."
    assert ask(master, "job:2") == ("Task job:2 never was: the system ended (complete) after 2 tasks, numbers 0 to 1.")


def test_an_application_that_takes_no_results_is_named(master):
    master.join()
    master.table.open(ALICE, 1, "plain", "tasks", master.now)
    master.out(0, peer=ALICE, classes=[task_class()], tasks=[[0, b"x"]])
    master.pass_time()
    master.finish_all()
    master.pass_time()

    master.now += 5.0

    assert ask(master, "plain") == "System plain (tasks) waits: its application has not taken results for 5 s."


@pytest.mark.parametrize("implicit", [False, True])
def test_the_application_of_a_system_is_told(master, implicit):
    master.table.peer_joined(ALICE, "the application")
    if implicit:
        master.table.open(ALICE, 1, "job", "tasks", master.now)
    else:
        master.submit()

    described = describe_system(master.table.find("job"), master.now)

    assert described["application"] == "the application"
