"""The life of a task system, driven by numbered inputs."""

from __future__ import annotations

import pytest

from concurro.errors import StalledSystemError, TaskCancelled
from concurro.ids import Outcome
from tests.unit.nodes.host_driver import PULL, Driver, Job, Number, numbers

# The way from the first pull to the result


def test_prepares_the_system_before_everything_else():
    driver = Driver(Job(numbers(1)))

    assert driver.system.calls == ["init"]
    assert driver.outputs[0][:2] == [1, 0]


def test_runs_a_system_to_its_result():
    driver = Driver(Job(numbers(5), wanted=5))

    end = driver.run()

    assert end[0] == "complete"
    assert driver.result(end) == ([0, 1, 2, 3, 4], None)


def test_pulls_no_more_than_asked_for():
    drawn = []
    job = Job(wanted=1)
    job.generate_tasks = lambda master: (drawn.append(number) or Number(number) for number in range(10**9))
    driver = Driver(job)

    out = driver.pull(7)

    assert len(out[4]) == 7
    assert drawn == list(range(7))
    assert not out[9]["exhausted"]


def test_goes_on_where_the_last_pull_stopped():
    driver = Driver(Job(numbers(5), wanted=5))

    assert (driver.pull(2)[2], len(driver.outputs[-1][4])) == (0, 2)
    assert (driver.pull(2)[2], len(driver.outputs[-1][4])) == (2, 2)
    assert (driver.pull(2)[2], len(driver.outputs[-1][4])) == (4, 1)
    assert driver.outputs[-1][9] == {"exhausted": True, "round": 1}


def test_a_pull_stops_at_its_budget_of_bytes():
    driver = Driver(Job(numbers(100), wanted=100))

    out = driver.pull(100, budget=1)

    assert len(out[4]) == 1


def test_announces_each_class_once():
    driver = Driver(Job(numbers(4), wanted=4))

    first, second = driver.pull(2), driver.pull(2)

    assert [entry[0] for entry in first[3]] == [0]
    assert first[3][0][1].endswith("Number")
    assert second[3] == []


def test_only_a_pull_advances_the_generator():
    driver = Driver(Job(numbers(5), wanted=5))
    driver.pull(1)

    out = driver.finish(0)

    assert out[4] == []


def test_tells_the_task_then_the_system_then_asks_whether_it_is_complete():
    calls = []

    class Telling(Number):
        def finished(self, result, error):
            calls.append(("task", result, error))

    job = Job([Telling(0), Telling(1)], wanted=2)
    job.calls = calls
    driver = Driver(job)
    driver.pull()
    driver.finish(0)

    assert calls == ["init", "generate", ("task", 0, None), "finished number-0", "complete?"]


def test_the_task_that_comes_back_is_the_systems_own_with_what_was_learned():
    driver = Driver(Job(numbers(1)))
    (task,) = driver.system.rounds[0]
    driver.pull()

    driver.finish(0)

    assert (task.task_id, task.system_id) == ("job:0", "job")
    assert (task.slave_id, task.attempt, task.attempt_duration) == ("north", 1, 0.002)


def test_a_system_may_be_complete_in_the_middle_of_a_batch():
    driver = Driver(Job(numbers(5), wanted=2))
    driver.pull()

    out = driver.finish(0, 1, 2, 3)

    assert driver.result(out[8]) == ([0, 1], None)
    assert driver.system.calls.count("gather") == 1


def test_nothing_happens_after_the_end():
    driver = Driver(Job(numbers(2), wanted=1))
    driver.pull()
    driver.finish(0)
    calls = list(driver.system.calls)

    out = driver.finish(1, pull=PULL)

    assert driver.system.calls == calls
    assert out[3:9] == [[], [], [], [], None, None]


# Rounds


def test_asks_for_another_round_when_nothing_is_outstanding():
    driver = Driver(Job(numbers(1), numbers(1, 1), wanted=2))

    end = driver.run()

    assert driver.result(end) == ([0, 1], None)
    assert driver.system.calls == [
        *["init", "generate", "finished number-0", "complete?", "complete?"],
        *["generate", "finished number-1", "complete?", "gather"],
    ]


def test_begins_no_round_while_tasks_are_outstanding():
    driver = Driver(Job(numbers(2), numbers(1, 2), wanted=3))
    driver.pull()
    driver.finish(0, pull=PULL)

    assert driver.system.calls.count("generate") == 1


@pytest.mark.parametrize("empty", [(), [], None, iter(())])
def test_a_system_without_tasks_is_stalled(empty):
    job = Job()
    job.generate_tasks = lambda master: empty
    driver = Driver(job)

    state, (outcome, failure, _) = driver.pull()[8]

    assert (state, outcome) == ("failed", Outcome.RAISED)
    assert failure[0] == StalledSystemError.__name__
    assert "round 1 of generate_tasks yielded no task" in failure[1]


def test_a_later_round_without_tasks_is_stalled():
    driver = Driver(Job(numbers(1), []))

    state, (_, failure, _) = driver.run()

    assert state == "failed"
    assert "round 2 of generate_tasks yielded no task" in failure[1]


def test_a_system_that_is_complete_after_its_last_task_is_not_stalled():
    job = Job(numbers(1))
    asked = []
    job.is_complete = lambda master: asked.append(1) or len(asked) == 2
    driver = Driver(job)

    state, _ = driver.run()

    assert state == "complete"


def test_a_round_whose_tasks_were_pushed_is_not_stalled():
    job = Job(numbers(1), numbers(1, 2), wanted=3)
    take = job.task_finished

    def push_one_more(master, task, result, error):
        take(master, task, result, error)
        if result == 0:
            master.push_task(Number(1))

    job.task_finished = push_one_more
    driver = Driver(job)

    assert driver.result(driver.run()) == ([0, 1, 2], None)


def test_is_not_asked_whether_it_is_complete_before_the_first_pull():
    job = Job(numbers(1, 1), wanted=1)
    job.init_system = lambda master: master.push_task(Number(0))
    driver = Driver(job)

    out = driver.finish(0)

    assert "complete?" not in job.calls
    assert out[8] is None


# What a system asks of its master


def test_tasks_pushed_while_it_is_prepared_are_emitted_at_once():
    job = Job()
    ids = []
    job.init_system = lambda master: ids.extend([master.push_task(Number(0)), *master.push_tasks(numbers(2, 1))])

    driver = Driver(job)

    assert ids == ["job:0", "job:1", "job:2"]
    assert len(driver.outputs[0][4]) == 3


def test_cancels_its_own_open_tasks():
    job = Job(numbers(2))
    job.task_finished = lambda master, task, result, error: master.cancel_task("job:1")
    driver = Driver(job)
    driver.pull()

    out = driver.finish(0)

    assert out[5] == [1]


def test_a_cancelled_task_comes_back_with_its_error():
    driver = Driver(Job(numbers(2)))
    driver.pull()

    driver.give([driver.failed(1, Outcome.CANCELLED)])

    assert isinstance(driver.system.errors[0], TaskCancelled)


def test_a_task_that_is_final_cannot_be_cancelled():
    job = Job(numbers(2))
    job.task_finished = lambda master, task, result, error: master.cancel_task(task.task_id)
    driver = Driver(job)
    driver.pull()

    assert driver.finish(0)[5] == []


@pytest.mark.parametrize(("wrong", "text"), [("another:1", "another system"), ("1", "is not a task id")])
def test_a_wrong_task_id_ends_the_system_and_says_so(wrong, text):
    job = Job(numbers(1))
    job.task_finished = lambda master, task, result, error: master.cancel_task(wrong)
    driver = Driver(job)
    driver.pull()

    state, (_, failure, _) = driver.finish(0)[8]

    assert state == "failed"
    assert text in failure[1]


def test_publishes_in_order_and_reports_the_last_progress():
    job = Job(numbers(1))

    def tell(master, task, result, error):
        master.publish("one")
        master.report_progress(1, 10, "begun")
        master.publish([2])
        master.report_progress(2, 10, "under way")

    job.task_finished = tell
    driver = Driver(job)
    driver.pull()

    out = driver.finish(0)

    assert [driver.packer.loads(*published) for published in out[6]] == ["one", [2]]
    assert out[7] == [2, 10, "under way"]
    assert driver.pull()[6:8] == [[], None]


def test_what_is_published_while_it_gathers_leaves_with_the_end():
    job = Job(numbers(1), wanted=1)

    def gather(master):
        master.publish("last words")
        return 1, None

    job.gather_result = gather
    driver = Driver(job)
    driver.pull()

    out = driver.finish(0)

    assert driver.packer.loads(*out[6][0]) == "last words"
    assert out[8][0] == "complete"


def test_time_and_slaves_come_from_inputs_alone():
    seen = []
    job = Job(numbers(3))
    job.task_finished = lambda master, task, result, error: seen.append(
        (master.now(), master.num_workers, [slave.id for slave in master.slaves])
    )
    driver = Driver(job)
    driver.pull()
    view = [["north", "north.example", 4, 1, 0, 0.25, {}], ["south", "south.example", 2, 0, 0, 0.0, {}]]

    driver.give([driver.done(0)], wall=2000.5)
    driver.give([driver.done(1)], wall=2001.5, view=view)
    driver.give([driver.done(2)], wall=2002.5)

    assert seen == [(2000.5, 0, []), (2001.5, 6, ["north", "south"]), (2002.5, 6, ["north", "south"])]


class Random(Job):
    """Decides by chance, time and the number of workers."""

    def generate_tasks(self, master):
        for _ in range(20):
            yield Number(master.random.randrange(10**6))

    def task_finished(self, master, task, result, error):
        super().task_finished(master, task, result, error)
        if master.random.random() < 0.5:
            master.push_task(Number(int(master.now()) + master.num_workers))
        master.publish(master.random.random())


def test_the_same_inputs_give_the_same_outputs_again():
    def trace(seed):
        driver = Driver(Random(), seed)
        for step in range(6):
            driver.give([driver.done(number) for number in list(driver.open)[:3]], pull=4, wall=1000.0 + step)
        return driver.outputs

    assert trace(7) == trace(7)
    assert trace(7) != trace(8)


# Partial results


def test_what_was_published_is_kept_until_the_master_has_it():
    values = [bytes([number]) * 100_000 for number in range(4)]
    job = Job(numbers(1))
    job.task_finished = lambda master, *_: [master.publish(value) for value in values]
    driver = Driver(job)
    driver.pull()
    blobs = driver.packer.blobs
    blobs._cache_limit = 0
    publications = driver.finish(0)[6]
    digests = [parts[0][1] for _, parts in publications]

    blobs.put(b"another")
    assert [driver.packer.loads(*publication) for publication in publications] == values

    driver.core.release_published(3)
    blobs.put(b"yet another")
    assert [digest in blobs for digest in digests] == [False, False, False, True]


def test_no_more_is_released_than_was_published():
    job = Job(numbers(2))
    job.task_finished = lambda master, *_: master.publish(bytes(100_000))
    driver = Driver(job)
    driver.pull()

    driver.core.release_published(1 << 62)
    ((_, ((_, digest, _),)),) = driver.finish(0)[6]
    driver.packer.blobs.put(bytes(1 << 20))

    assert digest in driver.packer.blobs
    driver.core.release_published(1)
    assert not driver.packer.blobs._of_owner.get(("publication", 1))
