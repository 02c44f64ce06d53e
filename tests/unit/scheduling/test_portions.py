"""A host whose tasks keep the slaves busy for long is told in portions."""

from tests.unit.scheduling.cluster import task_class

MILLISECOND = 1_000_000


def finish(master, count, nanoseconds=MILLISECOND):
    """Let the slave end its oldest tasks."""
    leases = list(master.core.slaves["north"].leases)[:count]
    master.core.results("north", [[lease, 0, b"result", None, nanoseconds] for lease in leases])
    master.pass_time()


def start_with_many(master, count=200, nanoseconds=MILLISECOND):
    """Start a system whose tasks of a millisecond keep a slave busy; its host has answered everything."""
    master.join()
    life = master.start()
    master.pass_time()
    master.out(1, classes=[task_class(0)], tasks=[[0, b"x"]] * count, exhausted=True)
    master.pass_time()
    while life.record.done < 2 or len(master.core.slaves["north"].leases) < 20:
        finish(master, 1, nanoseconds)
    for _ in range(10):
        master.pass_time(0.01)
        master.out(life.flow.number, exhausted=True)
    master.take()
    return life


def test_tells_what_finishes_after_a_pause_at_once(master):
    start_with_many(master)

    finish(master, 1)

    assert [len(body[3]) for body in master.inputs()] == [1]


def test_tells_what_finishes_soon_after_with_what_happens_next(master):
    life = start_with_many(master)
    finish(master, 1)
    master.out(life.flow.number, exhausted=True)
    master.inputs()

    master.pass_time(0.001)
    finish(master, 2)
    soon = master.inputs()
    master.pass_time(0.0025)
    finish(master, 3)

    assert (soon, [len(body[3]) for body in master.inputs()]) == ([], [5])


def test_asks_to_be_woken_for_what_waits(master):
    life = start_with_many(master)
    finish(master, 1)
    master.out(life.flow.number, exhausted=True)
    master.pass_time(0.001)
    finish(master, 2)
    master.inputs()

    due = master.table.wake_at
    master.pass_time(due - master.now + 1e-6)

    assert [len(body[3]) for body in master.inputs()] == [2]


def test_tells_at_once_what_a_system_with_few_tasks_under_way_may_wait_for(master):
    life = start_with_many(master)
    finish(master, 40)
    while len(master.core.slaves["north"].leases) > 12:
        finish(master, 1)
    master.pass_time(0.1)
    master.out(life.flow.number, exhausted=True)
    finish(master, 1)
    master.out(life.flow.number, exhausted=True)
    master.inputs()

    master.pass_time(0.001)
    finish(master, 1)

    assert len(life.record.open) < 24
    assert [len(body[3]) for body in master.inputs()] == [1]


def test_a_cancel_waits_for_nothing(master):
    life = start_with_many(master)
    finish(master, 1)
    master.out(life.flow.number, exhausted=True)
    master.inputs()

    master.table.cancel("job", "enough", master.now)
    master.pass_time(0.001)

    assert [body[6] for body in master.inputs()] == ["enough"]
