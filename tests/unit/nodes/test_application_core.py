"""An application's side of the protocol: wishes and messages in, messages out."""

from __future__ import annotations

import itertools
import logging
from concurrent.futures import CancelledError, Future

import pytest

from concurro.errors import (
    ClosedError,
    MasterUnreachable,
    RefusedError,
    SystemFailedError,
    TaskError,
    UnknownSystemError,
)
from concurro.ids import Outcome
from concurro.nodes.application_core import ApplicationCore
from concurro.nodes.handle import Control, SystemHandle
from concurro.wire.blobs import BlobStore, digest_of
from concurro.wire.messages import Kind, Message
from concurro.wire.payload import Packer
from concurro.wire.transfer import BlobTransfer
from concurro.wire.travelling import Travelling
from tests.unit.nodes.host_driver import Number

LARGE = 200_000


class Application(Control):
    """A core, what it sent, and a packer on the other side."""

    def __init__(self, credit=100):
        self.sent = []
        self.store = BlobStore()
        self.packer = Packer(self.store, Travelling())
        self.far = Packer(BlobStore(), Travelling())
        ids = itertools.count(1)
        self.core = ApplicationCore(self.packer, self.send, "alice", lambda: f"plain-{next(ids)}")
        self.core.use_transfer(BlobTransfer(self.store, lambda kind, body, frames: self.send(kind, body)))
        self.credit = credit
        self.core.joined(credit, 1 << 26)

    def send(self, kind, body):
        self.sent.append((kind, body))

    def take(self, kind=None):
        taken, self.sent = self.sent, []
        return taken if kind is None else [body for one, body in taken if one == kind]

    def hear(self, kind, *body):
        self.core.handle(Message(kind, 1, 0, list(body)))

    def chunks(self):
        """Serve what was asked for from the far side."""
        for digest, size, offset, length in self.take(Kind.BLOB_GET):
            chunk = self.far.blobs.get(digest)[offset : offset + length]
            self.core.handle(Message(Kind.BLOB_CHUNK, 1, 0, [digest, size, offset], (chunk,)))

    # Systems

    def submit(self, system_id="job"):
        handle = SystemHandle(system_id, "Job", self)
        self.core.submit(handle, [system_id, "Job", b"pickled", None, {}])
        return handle

    def submitted(self, system_id="job"):
        """Submit a system and let the master accept it as number 1."""
        handle = self.submit(system_id)
        (body,) = self.take(Kind.SUBMIT)
        self.hear(Kind.SUBMITTED, body[0], 1, system_id, None, None)
        return handle

    def end(self, value=None, error=None, state="complete", number=1, system_id="job"):
        payload, blobs = self.far.dumps((value, error))
        self.hear(Kind.ENDED, number, state, [0, payload, blobs], system_id)

    def event(self, *values, number=1, progress=None, counts=None, event=1):
        published = [list(self.far.dumps(value)) for value in values]
        self.hear(Kind.EVENT, number, published, progress, counts, 1.0, [], event)

    def cancel_system(self, system_id):
        self.core.cancel_system(system_id)

    def request(self, name, arguments):
        future = Future()
        self.core.request(future, name, arguments)
        return future

    # Plain tasks

    def push(self, task):
        plain = self.core.plain
        plain.ledger.add(task)
        future = plain.futures[plain.ledger.last] = Future()
        return future

    def open(self):
        """Let the master open the implicit system as number 7."""
        self.core.flush_plain()
        (body,) = self.take(Kind.OPEN)
        self.hear(Kind.SUBMITTED, body[0], 7, body[1], None, None)
        self.core.flush_plain()

    def done(self, n, *numbers):
        entries = [[number, 0, *self.far.dumps(number * 10), "north", 1, 1] for number in numbers]
        self.hear(Kind.IN, 7, n, 0.0, entries, 0, 0, None, None)
        self.core.flush_plain()


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


def test_two_handles_of_one_system_both_hear_everything(application):
    first = application.submitted()
    second = application.submit()
    assert application.take(Kind.SUBMIT) == []

    application.event("published")
    application.end(3)

    assert [handle.result(0) for handle in (first, second)] == [3, 3]
    assert [list(handle.partial_results()) for handle in (first, second)] == [["published"], ["published"]]
    second.wait_accepted(0)


def test_partial_results_come_in_order_and_end_with_the_system(application):
    handle = application.submitted()

    application.event(1)
    application.event(bytes(LARGE))
    application.event(3)
    application.end("result")
    assert not handle.done()
    application.chunks()
    application.chunks()

    assert list(handle.partial_results()) == [1, bytes(LARGE), 3]
    assert handle.result(0) == "result"


def test_the_master_hears_what_was_taken_once_its_parts_are_here(application):
    application.submitted()

    application.event("small", event=1)
    application.event(bytes(LARGE), event=2)
    application.event("small", event=3)
    before = application.take()
    application.sent = [one for one in before if one[0] == Kind.BLOB_GET]
    application.chunks()

    assert [body for kind, body in before if kind == Kind.TAKEN] == [[1, 1]]
    assert application.take(Kind.TAKEN) == [[1, 2], [1, 3]]


def test_news_of_a_system_that_is_not_followed_any_more_are_taken_as_well(application):
    application.event("small", number=5, event=9)

    assert application.take(Kind.TAKEN) == [[5, 9]]


def test_news_of_a_lost_connection_are_not_confirmed_over_the_next(application):
    handle = application.submitted()
    application.event(bytes(LARGE))
    application.core.lost("for a test")
    application.core.joined(10, 1 << 26)

    application.chunks()

    assert application.take(Kind.TAKEN) == []
    assert not handle.done()


def test_a_partial_result_that_does_not_arrive_is_told_and_only_that_one_is_missing(application, caplog):
    handle = application.submitted()

    application.event(bytes(LARGE), event=1)
    application.event("fine", event=2)
    digest, size = application.take(Kind.BLOB_GET)[0][:2]
    application.hear(Kind.BLOB_MISSING, digest, size)
    application.end(1)

    assert list(handle.partial_results()) == ["fine"]
    assert "a partial result did not arrive" in caplog.text
    assert "nobody has it any more" in caplog.text
    assert application.take(Kind.TAKEN) == [[1, 1], [1, 2]]


def test_a_partial_result_that_cannot_be_rebuilt_does_not_stop_the_others(application, caplog):
    handle = application.submitted()

    with caplog.at_level(logging.WARNING):
        application.hear(Kind.EVENT, 1, [[b"\x80\x05no pickle", None]], None, {}, 1.0)
    application.event("fine")
    application.end(1)

    assert list(handle.partial_results()) == ["fine"]
    assert "could not be rebuilt" in caplog.text


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

    application.core.plain.cancelled.append(0)
    application.core.flush_plain()

    (out,) = application.take(Kind.OUT)
    assert out[5] == [0]
