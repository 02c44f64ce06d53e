"""An application's side of the protocol: wishes and messages in, messages out."""

from __future__ import annotations

from concurrent.futures import CancelledError

import pytest

from concurro.errors import (
    ClosedError,
    MasterUnreachable,
    RefusedError,
    SystemFailedError,
    TaskCancelled,
    TaskError,
    UnknownSystemError,
)
from concurro.ids import Outcome
from concurro.nodes.handle import SystemHandle
from concurro.wire.blobs import digest_of
from concurro.wire.messages import Kind
from tests.unit.nodes.application_driver import LARGE, Application
from tests.unit.nodes.host_driver import Number


@pytest.fixture
def application():
    return Application()


# Systems


def test_submits_and_gives_the_result(application):
    handle = application.submitted()

    application.end(42)

    assert handle.result(0) == 42
    assert handle.state == "complete"
    assert application.take(Kind.RELEASE) == [["job"]]
    assert not application.core.busy


def test_what_was_wished_before_the_connection_is_sent_with_it():
    application = Application()
    application.core.lost("for a test")
    handle = application.submit()
    question = application.request("status", [])
    assert application.take() == []

    application.core.joined(10, 1 << 26)

    assert [kind for kind, _ in application.take()] == [Kind.SUBMIT, Kind.REQUEST]
    assert not handle.done()
    assert not question.done()


def test_raises_the_error_that_was_gathered(application):
    handle = application.submitted()

    application.end(None, LookupError("not found"))

    with pytest.raises(LookupError, match="not found"):
        handle.result(0)
    assert handle.gathered[0] is None


def test_an_error_that_is_no_exception_fails_the_system(application):
    handle = application.submitted()

    application.end(None, "too few")

    with pytest.raises(SystemFailedError) as raised:
        handle.result(0)
    assert raised.value.error == "too few"


def test_a_failed_callback_raises_the_original_with_the_remote_traceback(application):
    handle = application.submitted()
    pickled = application.far.dumps_whole(ValueError("wrong"))

    failure = ["ValueError", "wrong", "Traceback (far away)", pickled, "Job.task_finished"]
    application.hear(Kind.ENDED, 1, "failed", [int(Outcome.RAISED), failure, None], "job")

    with pytest.raises(ValueError, match="wrong") as raised:
        handle.result(0)
    assert "far away" in str(raised.value.__cause__)
    assert raised.value.__notes__ == ["raised by Job.task_finished of the task system"]


def test_a_cancelled_system_raises_cancelled_and_keeps_what_was_gathered(application):
    handle = application.submitted()
    assert handle.cancel()
    assert application.take(Kind.CANCEL_SYSTEM) == [["job"]]
    assert not handle.done()

    application.end([1, 2], state="cancelled")

    with pytest.raises(CancelledError):
        handle.result(0)
    assert handle.gathered == ([1, 2], None)


def test_a_cancel_before_the_master_answered_reaches_the_master(application):
    handle = application.submit()

    handle.cancel()

    assert [kind for kind, _ in application.take()] == [Kind.SUBMIT, Kind.CANCEL_SYSTEM]
    assert not handle.done()


def test_a_cancel_while_the_connection_is_lost_is_sent_with_the_next(application):
    handle = application.submitted()
    application.core.lost("for a test")

    handle.cancel()
    application.core.joined(10, 1 << 26)

    assert [kind for kind, _ in application.take()] == [Kind.ATTACH, Kind.CANCEL_SYSTEM]


def test_a_cancel_of_what_was_never_sent_ends_it_at_once():
    application = Application()
    application.core.lost("for a test")
    handle = application.submit()

    handle.cancel()
    application.core.joined(10, 1 << 26)

    assert handle.cancelled()
    assert application.take() == []


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("options", ValueError),
        ("blobs", SystemFailedError),
        ("unknown", UnknownSystemError),
        ("later", RefusedError),
        (None, RefusedError),
    ],
)
def test_a_refused_submission_fails_with_the_reason(application, code, error):
    handle = application.submit()
    (body,) = application.take(Kind.SUBMIT)

    application.hear(Kind.SUBMITTED, body[0], 0, "job", "it is not wanted", code)

    with pytest.raises(error, match="it is not wanted"):
        handle.wait_accepted(0)


def test_attaching_to_an_unknown_system_says_so(application):
    handle = SystemHandle("nowhere", "attached", application)
    application.core.attach(handle)
    (body,) = application.take(Kind.ATTACH)

    application.hear(Kind.SUBMITTED, body[0], 0, "nowhere", "no system nowhere", "unknown")

    with pytest.raises(UnknownSystemError, match="no system nowhere"):
        handle.wait_accepted(0)


def test_a_system_that_was_accepted_is_attached_to_after_a_lost_connection(application):
    handle = application.submitted()
    application.core.lost("for a test")

    application.core.joined(10, 1 << 26)
    ((token, system_id),) = application.take(Kind.ATTACH)
    application.hear(Kind.SUBMITTED, token, 5, system_id, None, None)
    application.end("after all", number=5)

    assert handle.result(0) == "after all"


def test_a_system_that_was_not_accepted_is_submitted_again(application):
    application.submit()
    application.core.lost("for a test")
    application.take()

    application.core.joined(10, 1 << 26)

    assert len(application.take(Kind.SUBMIT)) == 1


def test_progress_is_what_the_system_reports_or_what_is_finished(application):
    handle = application.submitted()

    application.event(counts={"done": 3, "failed": 1, "queued": 6})
    assert (handle.progress.done, handle.progress.total) == (4, None)

    application.event(progress=[5, 10, "halfway"], counts={"done": 3})
    assert (handle.progress.done, handle.progress.total, handle.progress.message) == (5, 10, "halfway")


def test_a_watcher_that_raises_disturbs_nobody(application, caplog):
    handle = application.submitted()
    heard = []

    def fail(progress):
        message = "no display"
        raise OSError(message)

    handle.watch(fail)
    handle.watch(heard.append)
    application.event(progress=[1, 2, ""])

    assert len(heard) == 1
    assert "no display" in caplog.text


def test_a_result_that_cannot_be_rebuilt_fails_the_system(application):
    handle = application.submitted()

    application.hear(Kind.ENDED, 1, "complete", [0, b"\x80\x05no pickle", None], "job")

    with pytest.raises(SystemFailedError, match="could not be rebuilt"):
        handle.result(0)


def test_close_ends_everything_that_waits(application):
    handle = application.submitted()
    question = application.request("status", [])
    future = application.push(Number(0))

    application.core.close(ClosedError("the application was closed"))

    for waiting in (handle, question, future):
        with pytest.raises(ClosedError):
            waiting.result(0)
    assert list(handle.partial_results()) == []


# Questions


def test_answers_go_to_their_questions(application):
    first, second = application.request("status", []), application.request("explain", ["nothing"])
    tokens = [body[0] for body in application.take(Kind.REQUEST)]

    application.hear(Kind.REPLY, *[tokens[1], False, "no system nothing"])
    application.hear(Kind.REPLY, *[tokens[0], True, {"slaves": []}])
    application.hear(Kind.REPLY, *[99, True, "nobody asked"])

    assert first.result(0) == {"slaves": []}
    with pytest.raises(LookupError, match="no system nothing"):
        second.result(0)


# Plain tasks


def test_pushed_tasks_are_sent_once_their_system_is_open(application):
    futures = [application.push(Number(number)) for number in range(3)]

    application.open()

    (out,) = application.take(Kind.OUT)
    assert (out[0], out[2], len(out[3]), len(out[4])) == (7, 0, 1, 3)
    assert not any(future.done() for future in futures)


def test_results_resolve_their_futures_and_are_acknowledged(application):
    futures = [application.push(Number(number)) for number in range(2)]
    application.open()
    application.take()

    application.done(1, 1, 0)

    assert [future.result(0) for future in futures] == [0, 10]
    ((number, consumed, *_),) = application.take(Kind.OUT)
    assert (number, consumed) == (7, 1)


def test_sends_no_more_tasks_than_the_master_gave_credit_for():
    application = Application(credit=3)
    for number in range(5):
        application.push(Number(number))
    application.open()
    assert sum(len(body[4]) for body in application.take(Kind.OUT)) == 3

    application.done(1, 0)

    assert sum(len(body[4]) for body in application.take(Kind.OUT)) == 1


def test_a_class_first_pushed_without_credit_is_announced_with_its_first_task():
    class Other(Number):
        pass

    application = Application(credit=1)
    application.push(Number(0))
    application.open()
    application.push(Other(1))
    application.core.flush_plain()
    application.take()

    application.done(1, 0)

    outs = application.take(Kind.OUT)
    assert [entry[0] for out in outs for entry in out[4]] == [1]
    assert [entry[0] for out in outs for entry in out[3]] == [1]


def test_a_failed_task_raises_at_its_future(application):
    future = application.push(Number(0))
    application.open()

    entry = [0, int(Outcome.RAISED), ["ValueError", "wrong", "Traceback ...", None], None, "north", 1, 1]
    application.hear(Kind.IN, 7, 1, 0.0, [entry], 0, 0, None, None)

    with pytest.raises(TaskError, match="ValueError: wrong"):
        future.result(0)


def test_a_hook_that_raises_fails_its_own_task_alone(application):
    class Broken(Number):
        def finished(self, result, error):
            message = "no such column"
            raise KeyError(message)

    broken, fine = application.push(Broken(0)), application.push(Number(1))
    application.open()
    application.take()

    application.done(1, 0, 1)

    with pytest.raises(KeyError, match="no such column"):
        broken.result(0)
    assert fine.result(0) == 10
    assert application.take(Kind.OUT)[0][1] == 1


def test_tells_each_final_task_to_the_application(application):
    told = []
    application.core.on_task = lambda task, result, error: told.append((task.name, result, error))
    application.push(Number(0))
    application.open()

    application.done(1, 0)

    assert told == [("number-0", 0, None)]


def test_inputs_are_consumed_in_order_although_one_is_large(application):
    futures = [application.push(Number(number)) for number in range(2)]
    order = []
    for number, future in enumerate(futures):
        future.add_done_callback(lambda _, number=number: order.append(number))
    application.open()
    application.take()
    large = [0, 0, *application.far.dumps(bytes(LARGE)), "north", 1, 1]

    application.hear(Kind.IN, 7, 1, 0.0, [large], 0, 0, None, None)
    application.done(2, 1)
    assert order == []
    application.chunks()

    assert order == [0, 1]
    assert futures[0].result(0) == bytes(LARGE)


def test_a_result_whose_part_is_lost_is_that_tasks_error(application):
    future, other = application.push(Number(0)), application.push(Number(1))
    application.open()
    payload, blobs = application.far.dumps(bytes(LARGE))
    application.hear(Kind.IN, 7, 1, 0.0, [[0, 0, payload, blobs, "north", 1, 1]], 0, 0, None, None)

    application.hear(Kind.BLOB_MISSING, digest_of(application.far.blobs.get(blobs[0][1])), LARGE)
    application.done(2, 1)

    with pytest.raises(TaskError, match="could not be rebuilt"):
        future.result(0)
    assert other.result(0) == 10


def test_tasks_that_were_sent_are_lost_with_the_connection(application):
    finished = []

    class Told(Number):
        def finished(self, result, error):
            finished.append(error)

    told = []
    application.core.on_task = lambda task, result, error: told.append((task.name, type(error)))
    future = application.push(Told(0))
    application.open()

    application.core.lost("cut")

    with pytest.raises(MasterUnreachable, match="cut"):
        future.result(0)
    assert told == [("number-0", TaskError)]
    assert len(finished) == 1


def test_who_pushed_tasks_to_a_lost_master_is_told_what_is_lost_why_and_what_to_do():
    application = Application()
    futures = [application.push(Number(n)) for n in range(3)]
    application.open()

    application.core.lost("it was restarted meanwhile")
    said = str(futures[2].exception(0))

    assert said.startswith("3 pushed tasks were lost")
    assert "it was restarted meanwhile" in said
    assert "push again what may run twice, or submit a task system" in said


def test_tasks_that_were_not_sent_survive_a_lost_connection():
    application = Application()
    application.core.lost("cut")
    future = application.push(Number(0))
    application.core.lost("cut again")
    application.core.joined(10, 1 << 26)

    application.open()
    application.done(1, 0)

    assert future.result(0) == 0


def test_tasks_pushed_after_a_lost_connection_belong_to_a_new_system(application):
    application.push(Number(0))
    application.open()
    before = application.core.plain.system_id
    application.core.lost("cut")
    application.core.joined(10, 1 << 26)

    future = application.push(Number(1))
    application.open()
    application.done(1, 0)

    assert application.core.plain.system_id != before
    assert future.result(0) == 0


def test_a_part_that_arrives_after_a_lost_connection_consumes_nothing_new(application):
    application.push(Number(0))
    application.open()
    application.take()
    large = [0, 0, *application.far.dumps(bytes(LARGE)), "north", 1, 1]
    application.hear(Kind.IN, 7, 1, 0.0, [large], 0, 0, None, None)
    old = application.take()
    application.core.lost("cut")
    application.core.joined(10, 1 << 26)
    future = application.push(Number(1))
    application.open()
    other = [0, 0, *application.far.dumps(bytes(LARGE + 1)), "north", 1, 1]
    application.hear(Kind.IN, 7, 1, 0.0, [other], 0, 0, None, None)

    new = application.take()
    application.sent = old
    application.chunks()
    assert not future.done()

    application.sent = new
    application.chunks()
    assert future.result(0) == bytes(LARGE + 1)


def test_cancels_are_sent_with_the_next_output(application):
    application.push(Number(0))
    application.open()
    application.take()

    application.core.plain.unwant(0, started=True)
    application.core.flush_plain()

    (out,) = application.take(Kind.OUT)
    assert out[5] == [0]


def test_plain_tasks_that_the_master_ended_are_cancelled_and_the_next_begin_anew(application):
    future = application.push(Number(3))
    application.open()
    opened = application.core.plain.system_id

    application.hear(Kind.ENDED, 7, "cancelled", [1, ["CancelledError", "cancelled by an operator"], None], opened)

    with pytest.raises(TaskCancelled, match="cancelled by an operator"):
        future.result(0)
    application.take()
    application.push(Number(4))
    application.core.flush_plain()
    assert [body[1] for body in application.take(Kind.OPEN)] == ["plain-2"]
